"""How soon after a fault things are as they were before it. Pure: moments in seconds, on one clock.

The backlog at a moment is how many uploads are published and have no outcome yet. Faults overlap, so what a fault finds
is what others left, and what comes after it may be another's doing: the figures of one fault are upper bounds, those of
a kind over a run say which hurt for longer.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.chaos.schedule import Fault, Kind

UNDER_WAY = 12
"""Uploads that are under way at any moment when nothing is wrong: three workers with four each."""


@dataclass(frozen=True, slots=True)
class Happened:
    """A fault that took place. `whom`: for people. `ready`: when the part that was hit could work again; None where
    nothing tells. `ended` is `began` for what is over at once."""

    fault: Fault
    whom: str
    began: float
    ended: float
    ready: float | None = None


@dataclass(frozen=True, slots=True)
class Recovery:
    """Seconds after one fault's end. `ready`: until the part could work again. `first`: until the next outcome.
    `backlog`: until no more uploads waited than when the fault began, or than are under way anyhow.
    None: not within the run."""

    kind: Kind
    lasted: float
    ready: float | None
    first: float | None
    backlog: float | None


def recoveries(
    happened: Iterable[Happened], published: Mapping[str, float], answered: Mapping[str, float]
) -> tuple[Recovery, ...]:
    """Of each fault. `published`, `answered`: media id → the first time."""
    outcomes = sorted(answered.values())
    steps = _backlog(published, answered)
    return tuple(
        Recovery(
            each.fault.kind,
            round(each.ended - each.began, 1),
            None if each.ready is None else _after(each.ready, each.ended),
            _after(_next(outcomes, each.ended), each.ended),
            _after(_gone(steps, each), each.ended),
        )
        for each in happened
    )


def _backlog(published: Mapping[str, float], answered: Mapping[str, float]) -> list[tuple[float, int]]:
    """(moment, how many wait from then on), in order."""
    changes = sorted([(at, 1) for at in published.values()] + [(at, -1) for at in answered.values()])
    steps, waiting = [(float("-inf"), 0)], 0
    for at, change in changes:
        waiting += change
        steps.append((at, waiting))
    return steps


def _gone(steps: Sequence[tuple[float, int]], happened: Happened) -> float | None:
    moments = [at for at, _ in steps]
    enough = max(UNDER_WAY, steps[bisect_right(moments, happened.began) - 1][1])
    at_end = bisect_right(moments, happened.ended) - 1
    if steps[at_end][1] <= enough:
        return happened.ended
    return next((at for at, waiting in steps[at_end:] if waiting <= enough), None)


def _next(moments: Sequence[float], at: float) -> float | None:
    place = bisect_left(moments, at)
    return moments[place] if place < len(moments) else None


def _after(moment: float | None, end: float) -> float | None:
    return None if moment is None else round(max(0.0, moment - end), 1)


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and longest of some seconds."""

    median: float
    longest: float


@dataclass(frozen=True, slots=True)
class OfKind:
    """The recoveries of a kind."""

    kind: Kind
    count: int
    lasted: Spread | None
    ready: Spread | None
    first: Spread | None
    backlog: Spread | None
    never: int
    """How many were not recovered from within the run."""


def by_kind(recovered: Iterable[Recovery]) -> tuple[OfKind, ...]:
    """In the order of `Kind`."""
    every = tuple(recovered)
    found = []
    for kind in Kind:
        some = [each for each in every if each.kind is kind]
        if some:
            found.append(
                OfKind(
                    kind,
                    len(some),
                    _spread(each.lasted for each in some),
                    _spread(each.ready for each in some),
                    _spread(each.first for each in some),
                    _spread(each.backlog for each in some),
                    sum(each.backlog is None for each in some),
                )
            )
    return tuple(found)


def _spread(seconds: Iterable[float | None]) -> Spread | None:
    known = sorted(each for each in seconds if each is not None)
    if not known:
        return None
    middle = len(known) // 2
    median = known[middle] if len(known) % 2 else (known[middle - 1] + known[middle]) / 2
    return Spread(round(median, 1), known[-1])
