"""Features of faces on disk, so that a second head, or a second run, reads only what is new."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.models.sources import write_atomically

Half = NDArray[np.float16]


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What is kept of one crop: the features of the whole face, and of some patches how much of them was blended in.

    features: n; patches: k × m; inside: k, 0–1. Half precision: its rounding is far below the noise of
    seven-bit weights.
    """

    features: Half
    patches: Half
    inside: Half


class FeatureStore:
    """Readings by key, in files of a few hundred. A key without readings is a picture without a face."""

    def __init__(self, folder: Path, shard: int = 200) -> None:
        """Reads what is there. Raises ValueError when a file is not of this kind."""
        self._folder, self._shard = folder, shard
        self._known: dict[str, tuple[Reading, ...]] = {}
        self._fresh: dict[str, tuple[Reading, ...]] = {}
        for file in sorted(folder.glob("*.npz")):
            self._known |= _unpacked(file)

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def __getitem__(self, key: str) -> tuple[Reading, ...]:
        return self._known[key]

    def keep(self, key: str, readings: tuple[Reading, ...]) -> None:
        """Remember the readings of one sample; they reach the disk with the next full shard, or by `flush`."""
        self._known[key] = self._fresh[key] = readings
        if len(self._fresh) >= self._shard:
            self.flush()

    def flush(self) -> None:
        """Write what is new."""
        if not self._fresh:
            return
        # Named by what is in it: two runs at once do not overwrite each other's.
        name = hashlib.sha256("\n".join(self._fresh).encode()).hexdigest()[:16]
        write_atomically(self._folder / f"{name}.npz", _packed(self._fresh))
        self._fresh = {}


def _packed(known: dict[str, tuple[Reading, ...]]) -> bytes:
    readings = [reading for kept in known.values() for reading in kept]
    width = readings[0].patches.shape[1] if readings else 0
    stream = io.BytesIO()
    np.savez(
        stream,
        keys=np.array(list(known)),
        crops=np.array([len(kept) for kept in known.values()]),
        features=np.stack([r.features for r in readings]) if readings else np.zeros((0, 0), np.float16),
        patches=np.concatenate([np.zeros((0, width), np.float16), *(r.patches for r in readings)]),
        inside=np.concatenate([np.zeros(0, np.float16), *(r.inside for r in readings)]),
        counts=np.array([len(r.inside) for r in readings], int),
    )
    return stream.getvalue()


def _unpacked(file: Path) -> dict[str, tuple[Reading, ...]]:
    with np.load(file, allow_pickle=False) as kept:
        features, patches, inside = kept["features"], kept["patches"], kept["inside"]
        ends = np.cumsum(kept["counts"]).astype(int)
        readings = [
            Reading(row, patches[end - count : end], inside[end - count : end])
            for row, count, end in zip(features, kept["counts"], ends, strict=True)
        ]
        stops = np.cumsum(kept["crops"]).astype(int)
        return {
            str(key): tuple(readings[stop - crops : stop])
            for key, crops, stop in zip(kept["keys"], kept["crops"], stops, strict=True)
        }
