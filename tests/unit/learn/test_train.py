from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.learn import seams
from pipeline.learn import train as subject
from pipeline.learn.blend import PARTS
from pipeline.learn.features import FoundFace
from pipeline.learn.manifest import Picture, in_turn, read_manifest
from pipeline.learn.samples import FaceCrop, Sample
from pipeline.learn.train import (
    COPIES,
    FILMED,
    FILMED_LARGE,
    LARGE_SOURCE,
    filmed_samples,
    pointing_samples,
    train_head,
    training_samples,
)
from pipeline.models import graphs
from pipeline.models.build import read_head
from pipeline.models.seam import read_seam

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


def test_sources_take_turns() -> None:
    """The first few pictures are of as many sources as there are."""
    pictures = [_picture(f"a{i}", "a") for i in range(9)] + [_picture(f"b{i}", "b") for i in range(3)]
    order = in_turn(pictures, 0)
    assert sorted(p.file for p in order) == sorted(p.file for p in pictures)
    assert {p.source for p in order[:2]} == {p.source for p in order[2:4]} == {"a", "b"}


def test_diverse_sources_are_read_more_often_than_a_large_one() -> None:
    """One large set does not set the tone; development pictures and real swaps are never trained on."""
    pictures = [_picture(f"large{i}", "large") for i in range(LARGE_SOURCE)] + [_picture("rare", "rare")]
    pictures += [_picture("dev", "rare", split="dev"), _picture("swap", "rare", fake=True, family="face_swap")]
    files = [sample.picture.file for sample in training_samples("swap", pictures, 0)]
    assert files.count("large0") == 1
    assert files.count("rare") == COPIES
    assert not {"dev", "swap"} & set(files)
    assert {sample.kind for sample in training_samples("swap", pictures, 0)} == {"pair"}


def test_the_network_sees_faces_anew_and_those_of_small_sources_more_often() -> None:
    """Each further draw is of a face that the line sees too, under a key of its own; generated faces are not drawn."""
    pictures = [_picture(f"large{i}", "large") for i in range(LARGE_SOURCE)] + [_picture("rare", "rare")]
    pairs = training_samples("synthesis", [*pictures, _picture("g", "b", fake=True, family="gan_face")], 0)
    filmed = filmed_samples(pairs)
    assert {sample.kind for sample in filmed} == {"filmed"}
    files = [sample.picture.file for sample in filmed]
    assert (files.count("large0"), files.count("rare"), files.count("g")) == (FILMED_LARGE, FILMED, 0)
    assert len({sample.key for sample in (*pairs, *filmed)}) == len(pairs) + len(filmed)


def test_what_is_left_out_of_a_network_is_left_out_whole(tmp_path: Path) -> None:
    """All draws of a source's faces fall into one part; of a source that is most of the set, all of a picture's."""
    pictures = [_picture(f"large{i}", "large") for i in range(40)] + [_picture(f"r{i}", f"s{i % 5}") for i in range(15)]
    pairs = training_samples("swap", pictures, 0)
    samples = [*pairs, *filmed_samples(pairs)]
    store = subject.FeatureStore(tmp_path)
    empty = subject.Reading(np.zeros(4, np.float16), np.zeros((0, 4), np.float16), np.zeros(0, np.float16))
    for sample in samples:
        store.keep(sample.key, (empty, empty))
    names = np.repeat([s.picture.source for s in samples], 2)
    files = np.repeat([s.picture.file for s in samples], 2)
    faces = subject._Faces(np.zeros((len(names), 4), np.float32), np.arange(len(names)) % 2 == 1, names, files)
    parts = subject._parts(samples, store, faces, 0)
    assert len(parts) == len(names)
    assert all(len(set(parts[names == name])) == 1 for name in set(names) - {"large"})
    assert set(parts[names == "large"]) == set(range(subject.SEAM_FOLDS))
    assert all(len(set(parts[files == file])) == 1 for file in set(files))


def test_a_limit_counts_pictures_of_each_kind() -> None:
    """So many reals, so many fakes."""
    pictures = [_picture(f"r{i}", "a") for i in range(9)]
    pictures += [_picture(f"g{i}", "b", fake=True, family="gan_face") for i in range(9)]
    samples = training_samples("synthesis", pictures, 0, limit=4)
    assert len({s.picture.file for s in samples if not s.picture.fake}) == 4
    assert sum(s.picture.fake for s in samples) == 4


def test_the_map_is_asked_about_faces_that_no_head_has_seen() -> None:
    """Every part in turn, development reals only, no blend twice."""
    pictures = [_picture(f"d{i}", "a", split="dev") for i in range(30)] + [_picture("train", "a")]
    samples = pointing_samples(pictures, 0)
    assert {s.picture.split for s in samples} == {"dev"}
    assert {s.part for s in samples} == set(PARTS)
    assert len({s.key for s in samples}) == len(samples)


@pytest.mark.parametrize("head", ["swap", "synthesis"])
def test_a_head_is_trained_written_and_reported(head: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a manifest to a head that the build accepts; a second run reads no picture and gives the same bytes."""
    asked = _pretend(monkeypatch)
    manifest = tmp_path / "manifest.csv"
    rows = [f"r{i}.jpg,real,real,{'ab'[i % 2]}/x:{i},MIT,{'dev' if i % 5 == 0 else 'train'}" for i in range(60)]
    rows += [f"g{i}.jpg,fake,gan_face,c/x:{i},MIT,{'dev' if i % 5 == 0 else 'train'}" for i in range(40)]
    rows += [f"s{i}.jpg,fake,face_swap,d/x:{i},MIT,dev" for i in range(8)] + ["clip.mp4,real,real,a/x,MIT,train"]
    manifest.write_text(HEADER + "\n".join(rows), "utf-8")
    told: list[tuple[int, int]] = []
    out, home = tmp_path / f"{head}.json", tmp_path / "home"
    report = train_head(head, manifest, tmp_path, out, home=home, seed=1, advance=lambda *n: told.append(n))
    written = _written(tmp_path)
    assert set(written) == ({"swap.json", "heat.json", "seam.npz"} if head == "swap" else {"synthesis.json"})
    assert read_head(out).weight.shape == (graphs.FEATURE_COUNT,)
    assert report.real == 48 * COPIES
    assert report.fake == (48 * COPIES if head == "swap" else 32)
    assert all(test.auc.value > 0.9 for test in (*report.left_out, *report.dev))
    assert {"a/x", "b/x"} <= {test.name for test in report.left_out}
    assert len(report.dev) == 2
    assert told[-1][0] == told[-1][1] == len(told)
    assert bool(read_head(out).weight[-1] > 0) is (head == "swap")
    if head == "swap":
        assert read_seam(tmp_path / "seam.npz").width == 16
        assert read_head(tmp_path / "heat.json", graphs.PATCH_FEATURES, graphs.PATCH_COUNT).weight.shape == (
            graphs.PATCH_COUNT,
        )
        games = dict(report.pointing)
        assert games["all"].hits > 0.9 > games["all"].chance
        assert any("points at all" in line for line in report.lines())
    assert any("TPR" in line for line in report.lines())
    before = len(asked)
    train_head(head, manifest, tmp_path, out, home=home, seed=1)
    assert _written(tmp_path) == written
    assert len(asked) == before


@pytest.mark.parametrize(("head", "steady"), [("synthesis", True), ("swap", False)])
def test_one_large_source_does_not_say_what_is_noise_to_a_synthesis_head(head: str, steady: bool) -> None:
    """Its many rows weigh no more than 50; the swap head takes every row for one."""
    rng = np.random.default_rng(3)
    features = rng.normal(0, 1, (300, 8)).astype(np.float32)
    fake = np.arange(300) % 3 == 0
    features[fake] += 1
    sources = np.where(fake, "generator", np.where(np.arange(300) % 2 == 0, "large", "small"))
    features[sources == "large", :4] *= 5
    pictures = np.arange(300).astype(str)
    often = np.repeat(np.arange(300), np.where(sources == "large", 4, 1))
    one, many = (
        subject._fit(head, subject._Faces(features[r], fake[r], sources[r], pictures[r]))
        for r in (np.arange(300), often)
    )
    assert (many.weight == pytest.approx(one.weight, rel=1e-6)) is steady


def test_a_manifest_with_one_kind_of_face_cannot_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Synthesis needs generated faces; the message counts what was found."""
    _pretend(monkeypatch)
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(HEADER + "\n".join(f"r{i}.jpg,real,real,a/x,MIT,train" for i in range(12)), "utf-8")
    with pytest.raises(ConfigError, match="found 0 fake of 24"):
        train_head("synthesis", manifest, tmp_path, tmp_path, home=tmp_path / "home")


def _written(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for kind in ("*.json", "*.npz") for file in folder.glob(kind)}


def _picture(file: str, source: str, *, fake: bool = False, family: str = "real", split: str = "train") -> Picture:
    return Picture(file, fake, family, source, split)


def _pretend(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Pictures that are one number, and an encoder whose features shift with it. Returns the pictures read so far."""
    asked: list[str] = []
    mouth = np.zeros((graphs.GRID, graphs.GRID), np.float32)
    mouth[8:10, 5:9] = 1

    class Reader:
        def __init__(self, *_: object) -> None:
            pass

        def largest_face(self, image: NDArray[np.uint8]) -> FoundFace:
            return FoundFace((0, 0, 9, 9), np.zeros((5, 2), np.float32), 1.0)

        def read(self, crop: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            rng = np.random.default_rng((len(asked), int(crop.mean())))
            features = rng.normal(0, 1, graphs.POOLED_COUNT).astype(np.float32)
            patches = rng.normal(0, 1, (graphs.GRID**2, graphs.PATCH_COUNT)).astype(np.float32)
            if crop.mean() > 100:
                features[-400:] += 4
                patches[mouth.ravel() > 0, :400] += 4
            return features, patches

    def read(path: Path) -> NDArray[np.uint8]:
        asked.append(path.name)
        return np.full((9, 9, 3), 0 if path.name.startswith("r") else 200, np.uint8)

    def crops(sample: Sample, image: NDArray[np.uint8], *_: object) -> tuple[FaceCrop, ...]:
        return (FaceCrop(image), FaceCrop(image + 200, mouth, "mouth"))[: 2 if sample.kind in ("pair", "filmed") else 1]

    for name, value in {"DEPTH": 1, "WIDTH": 16, "ROUNDS": 2, "PEAK": 3e-3}.items():
        monkeypatch.setattr(seams, name, value)
    monkeypatch.setattr(subject, "FaceReader", Reader)
    monkeypatch.setattr(subject, "read_image", read)
    monkeypatch.setattr(subject, "crops_of", crops)
    return asked
