from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ConfigError
from pipeline.learn import train as subject
from pipeline.learn.features import FoundFace, level
from pipeline.learn.train import read_manifest, train_head
from pipeline.models import graphs
from pipeline.models.build import read_head

HEADER = "file,label,family,source,licence,split\n"


def test_a_manifest_without_the_columns_is_refused(tmp_path: Path) -> None:
    """The message names the columns."""
    path = tmp_path / "manifest.csv"
    path.write_text("file,label\na.jpg,real\n", "utf-8")
    with pytest.raises(ConfigError, match="family, source, licence and split"):
        read_manifest(path)


def test_an_unknown_head_is_refused(tmp_path: Path) -> None:
    """The message lists the heads."""
    with pytest.raises(ConfigError, match="no such head: swop; there are swap, synthesis"):
        train_head("swop", tmp_path / "m.csv", tmp_path, tmp_path, home=tmp_path)


def test_levelling_brings_all_crops_to_one_kind() -> None:
    """The result has the crop's size, and fine detail that no 96–224 pixels can hold is gone from it."""
    crop = np.random.default_rng(0).integers(0, 256, (224, 224, 3)).astype(np.uint8)
    levelled = [level(crop, np.random.default_rng(seed)) for seed in range(4)]
    assert all(image.shape == crop.shape for image in levelled)
    assert all(
        np.diff(image.astype(float), axis=1).std() < np.diff(crop.astype(float), axis=1).std() for image in levelled
    )


@pytest.mark.parametrize("head", ["swap", "synthesis"])
def test_a_head_is_trained_written_and_reported(head: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a manifest to a head that the build accepts; a second run reads no picture and gives the same bytes."""
    asked = _pretend(monkeypatch)
    manifest = tmp_path / "manifest.csv"
    rows = [f"r{i}.jpg,real,real,{'ab'[i % 2]}/x:{i},MIT,{'dev' if i % 5 == 0 else 'train'}" for i in range(60)]
    rows += [f"g{i}.jpg,fake,gan_face,c/x:{i},MIT,{'dev' if i % 5 == 0 else 'train'}" for i in range(40)]
    rows += [f"s{i}.jpg,fake,face_swap,d/x:{i},MIT,dev" for i in range(8)] + ["clip.mp4,real,real,a/x,MIT,train"]
    manifest.write_text(HEADER + "\n".join(rows), "utf-8")
    report = train_head(head, manifest, tmp_path, tmp_path / "out.json", home=tmp_path / "home", seed=1)
    written = report.path.read_bytes()
    weights = read_head(report.path)
    assert weights.weight.shape == (graphs.FEATURE_COUNT,)
    assert report.real == 48
    assert report.fake == (48 if head == "swap" else 32)
    assert report.cross_validated.value > 0.9
    assert {name for name, _ in report.dev} == {"as they are", "one size and codec"}
    assert all(figure.value > 0.9 for _, figure in report.dev)
    assert any("dev as they are" in line for line in report.lines())
    before = len(asked)
    train_head(head, manifest, tmp_path, tmp_path / "out.json", home=tmp_path / "home", seed=1)
    assert report.path.read_bytes() == written
    assert len(asked) == before


def test_a_manifest_with_one_kind_of_face_cannot_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Synthesis needs generated faces; the message counts what was found."""
    _pretend(monkeypatch)
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(HEADER + "\n".join(f"r{i}.jpg,real,real,a/x,MIT,train" for i in range(12)), "utf-8")
    with pytest.raises(ConfigError, match="found 0 fake of 12"):
        train_head("synthesis", manifest, tmp_path, tmp_path, home=tmp_path / "home")


def _pretend(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Pictures that are one number, and an encoder whose features shift with it. Returns the pictures read so far."""
    asked: list[str] = []

    class Reader:
        def __init__(self, *_: object) -> None:
            pass

        def largest_face(self, image: np.ndarray) -> FoundFace:  # type: ignore[type-arg]
            return FoundFace((0, 0, 9, 9), np.zeros((5, 2), np.float32), 1.0)

        def features(self, crop: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
            rng = np.random.default_rng(len(asked))
            features = rng.normal(0, 1, graphs.FEATURE_COUNT).astype(np.float32)
            features[:40] += 4 * float(crop.mean() > 100)
            return features

    def read(path: Path) -> np.ndarray:  # type: ignore[type-arg]
        asked.append(path.name)
        return np.full((300, 300, 3), 0 if path.name.startswith("r") else 200, np.uint8)

    def blend(image: np.ndarray, *_: object) -> tuple[np.ndarray, None]:  # type: ignore[type-arg]
        return image + 200, None

    monkeypatch.setattr(subject, "FaceReader", Reader)
    monkeypatch.setattr(subject, "read_image", read)
    monkeypatch.setattr(subject, "self_blend", blend)
    return asked
