"""The network over patches learns a disagreement between patches, and is served as it was trained."""

from __future__ import annotations

import io
from itertools import repeat
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.learn import seams as subject
from pipeline.learn.heads import auc
from pipeline.models import graphs
from pipeline.models.seam import PATCHES, read_seam


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that is trained in seconds."""
    for name, value in {"DEPTH": 1, "WIDTH": 16, "ROUNDS": 4, "BATCH": 16, "PEAK": 1e-2}.items():
        monkeypatch.setattr(subject, name, value)


def _faces(count: int) -> subject.Labelled:
    """Every second one is blended: in twelve of its patches all numbers lie elsewhere."""
    rng = np.random.default_rng(5)
    patches = rng.integers(-2, 3, (count, PATCHES, graphs.PATCH_COUNT), dtype=np.int8).astype(np.float16)
    cells, fake = np.zeros((count, PATCHES), np.float32), np.arange(count) % 2 == 1
    for row in np.flatnonzero(fake):
        cells[row, rng.choice(PATCHES, 12, replace=False)] = 1
    patches[cells > 0] += np.linspace(-1, 1, graphs.PATCH_COUNT, dtype=np.float16)

    def crops(rows: NDArray[np.intp]) -> NDArray[np.float16]:
        return patches[rows]

    return subject.Labelled(crops, cells, fake)


@pytest.mark.usefixtures("small")
def test_a_few_blended_patches_give_a_face_away() -> None:
    """Faces that it was not trained on are told apart; the same seed gives the same weights."""
    faces = _faces(64)
    told: list[str] = []
    first, again = (subject.train_seam(faces, np.arange(48), 1, told.append) for _ in range(2))
    unseen = np.arange(48, 64)
    assert auc(subject.logits(first, faces.crops, unseen, at_once=7).astype(float), faces.fake[unseen]) > 0.9
    assert subject.packed(first) == subject.packed(again)
    assert [line.split(",")[0] for line in told[:2]] == ["seam head: round 1 of 4", "seam head: round 2 of 4"]


@pytest.mark.usefixtures("small")
def test_what_is_served_answers_as_what_was_trained(tmp_path: Path) -> None:
    """The file read back is the same network, and its arithmetic that of training without anything left out."""
    import jax.numpy as jnp

    faces = _faces(32)
    trained = subject.train_seam(faces, np.arange(32), 3)
    (tmp_path / "seam.npz").write_bytes(subject.packed(trained))
    served = read_seam(tmp_path / "seam.npz")
    assert all(np.array_equal(served.arrays[name], array) for name, array in trained.arrays.items())
    weights = {name: jnp.asarray(array) for name, array in trained.arrays.items()}
    seen = faces.crops(np.arange(4)).astype(np.float32)
    answer = subject._answer(weights, subject._patches(weights, seen, repeat(None)), repeat(None))
    assert served(seen) == pytest.approx(np.asarray(answer), abs=1e-4)


def test_the_file_holds_half_precision_alone() -> None:
    """Every array of the file is float16, so that it stays small enough to be kept with the code."""
    weights = subject._finished(
        subject._drawn(np.random.default_rng(0)),
        np.zeros(graphs.PATCH_COUNT, np.float32),
        np.ones(graphs.PATCH_COUNT, np.float32),
    )
    with np.load(io.BytesIO(subject.packed(weights)), allow_pickle=False) as kept:
        assert {kept[name].dtype for name in kept.files} == {np.dtype(np.float16)}
