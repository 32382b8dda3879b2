"""Every patch of the crops that the network over patches learns from, on disk: most of a megabyte a crop."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.models import graphs
from pipeline.models.seam import PATCHES
from pipeline.models.sources import write_atomically

Half = NDArray[np.float16]


class PatchStore:
    """A file per sample: crops × 196 × (PATCH_COUNT + 1); the last number is how much of the patch was blended in.

    A sample without a face has a file without crops.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __contains__(self, key: str) -> bool:
        return self._file(key).is_file()

    def keep(self, key: str, crops: list[tuple[NDArray[np.float32], NDArray[np.float32] | None]]) -> None:
        """Write the patches (196 × PATCH_COUNT) and cells (14 × 14; None: nothing blended in) of a sample's crops."""
        rows = np.zeros((len(crops), PATCHES, graphs.PATCH_COUNT + 1), np.float16)
        for row, (patches, cells) in zip(rows, crops, strict=True):
            row[:, :-1] = patches
            row[:, -1] = 0 if cells is None else cells.ravel()
        packed = io.BytesIO()
        np.save(packed, rows)
        write_atomically(self._file(key), packed.getvalue())

    def crop(self, key: str, number: int) -> Half:
        """One crop of a sample, 196 × (PATCH_COUNT + 1). Raises OSError for a sample that was never kept."""
        return np.asarray(np.load(self._file(key), mmap_mode="r", allow_pickle=False)[number])

    def _file(self, key: str) -> Path:
        return self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.npy"
