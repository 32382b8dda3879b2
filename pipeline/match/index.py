"""Which of many 256-bit hashes are near this one: exact, in milliseconds for ten million, shared between processes.

Multi-index hashing (Norouzi, Punjani and Fleet, "Fast exact search in Hamming space with multi-index hashing", 2014).
The bits are cut into `m` pieces. Two hashes that differ in at most d bits differ in at most ⌊d / m⌋ bits of at least
one piece; so for each piece a table says which hashes have it, the entries up to that many bits away are looked up, and
what they hold is compared in full. Nothing within the distance is missed. With pieces about as long as the logarithm of
the count, few hashes are compared: about 3,000 of ten million at distance 31.

The tables are plain arrays, written once and mapped into memory: a worker starts without reading them, and all workers
of a machine share one copy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.match.pdq import BITS, BYTES

SCANNED = 20_000
"""Up to so many hashes all of them are compared, which takes less than a millisecond, and there are no tables."""

_LONGEST = 24
"""Bits of a piece. A table has an entry per value: 64 MB at 24 bits."""

_USUAL = 31
"""The distance that the pieces are chosen for: the fewest entries looked up and hashes compared. Others work too."""

Codes = NDArray[np.uint8]
"""n × 32."""


class Hits(NamedTuple):
    """Pairs: the row of the query, the row of the index, the bits that differ."""

    query: NDArray[np.int64]
    row: NDArray[np.int64]
    distance: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Piece:
    """Bits `first` to `last` of every hash. The rows with value v are `rows[starts[v] : starts[v + 1]]`."""

    first: int
    last: int
    starts: NDArray[np.uint32]
    rows: NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Near:
    """Hashes, ready to be searched; row numbers are those of `codes`."""

    codes: Codes
    pieces: tuple[_Piece, ...] = ()

    def search(self, queries: Codes, distance: int) -> Hits:
        """Every pair that differs in at most `distance` bits, ordered by query and row."""
        if not len(self.codes) or not len(queries):
            nothing = np.empty(0, np.int64)
            return Hits(nothing, nothing, nothing)
        found = [self._one(query, distance) for query in np.ascontiguousarray(queries)]
        return Hits(
            np.repeat(np.arange(len(found)), [len(rows) for rows, _ in found]),
            np.concatenate([rows for rows, _ in found]),
            np.concatenate([distances for _, distances in found]),
        )

    def _one(self, query: NDArray[np.uint8], distance: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        if not self.pieces or probes(len(self.pieces), distance) > len(self.codes) // 8:
            rows = np.arange(len(self.codes))
            apart = _apart(self.codes, query)
        else:
            rows = np.unique(
                np.concatenate([_candidates(piece, query, self._flips(distance)) for piece in self.pieces])
            )
            apart = _apart(self.codes[rows], query)
        near = apart <= distance
        return rows[near], apart[near]

    def _flips(self, distance: int) -> int:
        return distance // len(self.pieces)

    def save(self, folder: Path) -> None:
        """Write the arrays into an existing folder."""
        np.save(folder / "codes.npy", self.codes)
        for i, piece in enumerate(self.pieces):
            np.save(folder / f"starts-{i:02}.npy", piece.starts)
            np.save(folder / f"rows-{i:02}.npy", piece.rows)


def build(codes: Codes) -> Near:
    """Tables for `codes`; about 2 s and 100 MB per million."""
    codes = np.ascontiguousarray(codes)
    return Near(codes, tuple(_piece(codes, first, last) for first, last in cuts(len(codes))))


def open_saved(folder: Path) -> Near:
    """What `save` wrote, mapped into memory. Raises OSError or ValueError."""
    codes = mapped(folder / "codes.npy")
    if not (folder / "starts-00.npy").exists():
        return Near(codes)
    return Near(
        codes,
        tuple(
            _Piece(first, last, mapped(folder / f"starts-{i:02}.npy"), mapped(folder / f"rows-{i:02}.npy"))
            for i, (first, last) in enumerate(cuts(len(codes)))
        ),
    )


def mapped(path: Path) -> NDArray[Any]:
    """An array of a file, without reading it; an empty one cannot be mapped. Raises OSError or ValueError."""
    try:
        return np.asarray(np.load(path, mmap_mode="r"))
    except ValueError:
        whole: NDArray[Any] = np.load(path)
        if whole.size:
            raise
        return whole


def cuts(count: int) -> tuple[tuple[int, int], ...]:
    """Where the pieces of `count` hashes begin and end; none where all are compared."""
    if count <= SCANNED:
        return ()
    longest = min(_LONGEST, math.ceil(math.log2(count)) + 1)
    pieces = min(range(math.ceil(BITS / longest), 33), key=lambda m: probes(m, _USUAL) * (1 + count / 2 ** (BITS / m)))
    ends = np.linspace(0, BITS, pieces + 1).astype(int).tolist()
    return tuple(pairwise(ends))


def probes(pieces: int, distance: int) -> int:
    """How many table entries one search looks up."""
    length = math.ceil(BITS / pieces)
    return pieces * sum(math.comb(length, flips) for flips in range(distance // pieces + 1))


def _piece(codes: Codes, first: int, last: int) -> _Piece:
    values = _values(codes, first, last)
    starts = np.zeros((1 << (last - first)) + 1, np.uint32)
    np.cumsum(np.bincount(values, minlength=1 << (last - first)), out=starts[1:])
    return _Piece(first, last, starts, np.argsort(values, kind="stable").astype(np.uint32))


def _values(codes: Codes, first: int, last: int) -> NDArray[np.uint32]:
    """The bits `first` to `last` of each hash as a number."""
    value = np.zeros(len(codes), np.uint64)
    end = (last + 7) // 8
    for byte in range(first // 8, end):
        value = (value << np.uint64(8)) | codes[:, byte]
    mask = np.uint64((1 << (last - first)) - 1)
    return ((value >> np.uint64(8 * end - last)) & mask).astype(np.uint32)


@lru_cache(maxsize=16)
def _masks(length: int, flips: int) -> NDArray[np.uint32]:
    """Every way of flipping at most `flips` of `length` bits."""
    ways = [sum(1 << bit for bit in bits) for count in range(flips + 1) for bits in combinations(range(length), count)]
    return np.array(ways, np.uint32)


def _candidates(piece: _Piece, query: NDArray[np.uint8], flips: int) -> NDArray[np.int64]:
    values = _values(query[None], piece.first, piece.last) ^ _masks(piece.last - piece.first, flips)
    starts = piece.starts[values].astype(np.int64)
    counts = piece.starts[values + 1].astype(np.int64) - starts
    # The ranges starts[i] … starts[i] + counts[i] one after the other, without a loop.
    ends = np.cumsum(counts)
    places = np.arange(ends[-1]) + np.repeat(starts - ends + counts, counts)
    found: NDArray[np.int64] = piece.rows[places].astype(np.int64)
    return found


def _apart(codes: Codes, query: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How many bits of each row differ from the query."""
    words = np.ascontiguousarray(codes).view(np.uint64) ^ query.view(np.uint64)
    return np.asarray(np.bitwise_count(words).sum(axis=1), np.int64)


assert BYTES % 8 == 0  # rows are compared as 64-bit words
