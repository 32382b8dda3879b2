"""Patches on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.learn.patch_store import PatchStore
from pipeline.models import graphs
from pipeline.models.seam import PATCHES


def test_what_is_kept_comes_back_crop_by_crop(tmp_path: Path) -> None:
    """Another store on the same folder knows the sample; patches and cells are as they were, nought where none are."""
    patches = np.arange(PATCHES * graphs.PATCH_COUNT, dtype=np.float32).reshape(PATCHES, -1) % 7
    cells = np.linspace(0, 1, PATCHES, dtype=np.float32).reshape(graphs.GRID, graphs.GRID).round(2)
    PatchStore(tmp_path).keep("pair 0 a.jpg", [(patches, None), (patches + 1, cells)])
    store = PatchStore(tmp_path)
    assert "pair 0 a.jpg" in store
    assert "pair 1 a.jpg" not in store
    assert np.array_equal(store.crop("pair 0 a.jpg", 0), np.c_[patches, np.zeros(PATCHES)].astype(np.float16))
    assert np.array_equal(store.crop("pair 0 a.jpg", 1), np.c_[patches + 1, cells.ravel()].astype(np.float16))


def test_a_picture_without_a_face_is_known_too(tmp_path: Path) -> None:
    """It is not read again, and has no crop."""
    store = PatchStore(tmp_path)
    store.keep("plain 0 b.jpg", [])
    assert "plain 0 b.jpg" in store
    with pytest.raises(IndexError):
        store.crop("plain 0 b.jpg", 0)
