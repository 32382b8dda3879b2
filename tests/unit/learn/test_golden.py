"""A golden set holds what the served heads read, and says so when it was made for others."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.detect.face_forgery import FEATURES, FaceForgery
from pipeline.errors import ConfigError
from pipeline.events.values import Family
from pipeline.learn import golden as subject
from pipeline.learn.evaluate import Item
from pipeline.learn.features import FoundFace
from pipeline.models.build import SEAM
from tests.unit.models.test_seam import random_weights, write


def test_a_golden_set_holds_the_answer_of_the_network_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each face the pooled features and, last, what the network in the models' folder says of its patches."""
    weights, rng = random_weights(), np.random.default_rng(0)
    read = [(rng.normal(size=FEATURES - 1), rng.normal(size=(196, 2304))) for _ in range(2)]
    answers = iter(read)

    class Reader:
        def __init__(self, *_: object) -> None:
            pass

        def largest_face(self, image: object) -> FoundFace:
            return FoundFace((50, 50, 150, 150), np.full((5, 2), 100, np.float32), 1.0)

        def read(self, crop: object) -> object:
            return next(answers)

    monkeypatch.setattr(subject, "FaceReader", Reader)
    monkeypatch.setattr(subject, "read_image", lambda _: np.zeros((200, 200, 3), np.uint8))
    monkeypatch.setattr(subject, "crop_face", lambda *_: None)
    (tmp_path / "face_forgery").mkdir()
    write(tmp_path / "face_forgery" / SEAM, dict(weights.arrays))
    made_as = {"a.jpg": "", "b.jpg": "face_swap"}
    items = tuple(Item(file, tmp_path / file, bool(made), made, "s", "test") for file, made in made_as.items())
    made = subject.make_golden(items, Family.FACE_SWAP, tmp_path / "golden.npz", tmp_path, tmp_path)
    assert made.features.shape == (2, FEATURES)
    assert made.fake.tolist() == [False, True]
    for row, (pooled, patches) in zip(made.features, read, strict=True):
        assert row[:-1] == pytest.approx(pooled, abs=0.01)
        assert row[-1] == pytest.approx(float(weights(patches)), abs=0.01)


def test_a_golden_set_of_another_model_is_refused(tmp_path: Path) -> None:
    """Numbers that other heads read would be judged with confidence, and wrongly."""
    path = tmp_path / "golden.npz"
    path.write_bytes(subject.packed(np.zeros((2, FEATURES - 1), np.float16), [False, True], ["a", "b"]))
    with pytest.raises(ConfigError, match="make it again"):
        subject.read_golden(path)


def test_a_golden_set_of_another_network_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many numbers that mean something else; heads alone made anew leave it of use."""
    path = tmp_path / "golden.npz"
    path.write_bytes(subject.packed(np.zeros((2, FEATURES), np.float16), [False, True], ["a", "b"]))
    monkeypatch.setattr(FaceForgery, "version", f"{FaceForgery.version}.1")
    assert subject.read_golden(path).features.shape == (2, FEATURES)
    monkeypatch.setattr(FaceForgery, "version", "99")
    with pytest.raises(ConfigError, match="make it again"):
        subject.read_golden(path)


def test_a_golden_set_that_says_nothing_of_its_model_is_refused(tmp_path: Path) -> None:
    """Those of before are told by what they lack."""
    path = tmp_path / "golden.npz"
    np.savez(path, features=np.zeros((2, FEATURES)), fake=np.array([False, True]), names=np.array(["a", "b"]))
    with pytest.raises(ConfigError, match="before 7"):
        subject.read_golden(path)
