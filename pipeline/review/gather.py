"""Near copies that wait in the same queue become one case, so that one decision settles all of them. Pure.

Stricter than a search for copies: a decision speaks for every member, so each of two videos has to be found in the
other. One that merely contains the other may be manipulated in the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np

from pipeline.events.values import FrameHash
from pipeline.match.banks import THRESHOLD
from pipeline.match.index import Near
from pipeline.match.pdq import LEAST_QUALITY

MUTUAL_SHARE = 0.8
"""Of each one's frames, so many have to be found in the other (vPDQ's usual share for a match)."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An open task, and what its upload looks like."""

    task_id: UUID
    queue: str
    harm: str
    sha256: str | None
    frames: tuple[FrameHash, ...]


@dataclass
class Cases:
    """The cases of open tasks, by what they look like: bytes first, then frames. Kept in memory, made anew at start."""

    _by_bytes: dict[tuple[str, str, str], UUID] = field(default_factory=dict)
    _seen: set[UUID] = field(default_factory=set)
    _looks: dict[tuple[str, str], list[tuple[UUID, frozenset[bytes]]]] = field(default_factory=dict)

    def known(self, task: Waiting, case_id: UUID) -> None:
        """This task belongs to this case."""
        kind = (task.queue, task.harm)
        if task.sha256 is not None:
            self._by_bytes.setdefault((*kind, task.sha256), case_id)
        codes = _codes(task.frames)
        # One look per case, its first: copies of copies drift away from what the decision is about.
        if codes and case_id not in self._seen:
            self._seen.add(case_id)
            self._looks.setdefault(kind, []).append((case_id, codes))

    def of(self, task: Waiting) -> UUID:
        """The case that a task belongs to; its own, under its own id, where nothing is alike. Remembers the task."""
        kind = (task.queue, task.harm)
        found = self._by_bytes.get((*kind, task.sha256)) if task.sha256 is not None else None
        found = found or _alike(_codes(task.frames), self._looks.get(kind, ())) or task.task_id
        self.known(task, found)
        return found


def _codes(frames: Iterable[FrameHash]) -> frozenset[bytes]:
    return frozenset(frame.pdq for frame in frames if frame.quality >= LEAST_QUALITY)


def _alike(codes: frozenset[bytes], among: Sequence[tuple[UUID, frozenset[bytes]]]) -> UUID | None:
    """The case whose frames are these and the other way round."""
    if not codes or not among:
        return None
    queries = np.frombuffer(b"".join(sorted(codes)), np.uint8).reshape(-1, 32)
    rows = np.frombuffer(b"".join(code for _, theirs in among for code in sorted(theirs)), np.uint8).reshape(-1, 32)
    owner = np.repeat(np.arange(len(among)), [len(theirs) for _, theirs in among])
    hits = Near(rows).search(queries, THRESHOLD)
    whose = owner[hits.row]
    best: tuple[float, UUID] | None = None
    for which in np.unique(whose):
        mine = len(np.unique(hits.query[whose == which])) / len(codes)
        theirs = len(np.unique(hits.row[whose == which])) / len(among[which][1])
        share = min(mine, theirs)
        if share >= MUTUAL_SHARE and (best is None or share > best[0]):
            best = share, among[which][0]
    return best[1] if best else None
