"""The highest rate that still holds: bisection over probes, with a second opinion at the edge. Pure but for the probe
that is passed in.

One probe is one sample. Near the edge another draw of arrivals may answer otherwise, so both ends of what is found are
asked again until most of their probes agree; an end that is outvoted moves, and the search goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from pipeline.load.report import LoadReport

Probe = Callable[[float, int], LoadReport]
"""Offers a rate, warmed up, and reports; `holds` says whether the objective was kept. The second argument counts the
probes of that rate before this one: each should draw other arrivals."""

_LOWEST = 1 / 64
"""Of the first rate: where that little fails too, nothing is said to hold."""


class Tried(msgspec.Struct, frozen=True):
    """One probe."""

    rate: float
    report: LoadReport


class Found(msgspec.Struct, frozen=True):
    """`rate`: the highest that holds by most of its probes, 0 where none did. `fails`: the lowest above it that fails
    by most of its; None where even the highest that may be tried holds. The edge lies between, as far as so few probes
    tell. What no probe contradicts is wider: up to `always` every probe held, from `never` on every probe failed."""

    rate: float
    fails: float | None
    always: float
    never: float | None
    tried: tuple[Tried, ...]


def find_rate(probe: Probe, *, low: float, high: float, precision: float, repeats: int = 3) -> Found:
    """Double from `low` until a rate fails (or `high` is reached), halve what is between, then ask the two ends again.

    Args:
        precision: stop when the two rates differ by so small a share of the upper.
        repeats: probes of an end at most, odd; fewer where the rest could not change the vote.
    """
    if not 0 < low <= high or not 0 < precision < 1:
        raise ValueError("0 < low ≤ high and 0 < precision < 1")
    if repeats < 1 or repeats % 2 == 0:
        raise ValueError("repeats has to be odd: a vote needs a majority")
    tried: list[Tried] = []
    votes: dict[float, list[bool]] = {}

    def ask(rate: float) -> None:
        before = votes.setdefault(rate, [])
        tried.append(Tried(rate, probe(rate, len(before))))
        before.append(tried[-1].report.holds)

    while True:
        bad = min((rate for rate, each in votes.items() if not _most(each)), default=None)
        good = max((rate for rate, each in votes.items() if _most(each) and (bad is None or rate < bad)), default=0.0)
        if bad is None and good < high:
            ask(min(high, good * 2 or low))
        elif bad is not None and (bad - good) / bad > precision and bad > low * _LOWEST:
            ask((good + bad) / 2)
        else:
            open_ends = [end for end in (good, bad) if end and not _decided(votes[end], repeats)]
            if not open_ends:
                break
            while not _decided(votes[open_ends[0]], repeats):
                ask(open_ends[0])
    failed = [rate for rate, each in votes.items() if not all(each)]
    held = [rate for rate, each in votes.items() if any(each)]
    always = max((rate for rate in held if rate < min(failed, default=float("inf"))), default=0.0)
    never = min((rate for rate in failed if rate > max(held, default=0.0)), default=None)
    return Found(good, bad, always, never, tuple(tried))


def _most(votes: list[bool]) -> bool:
    return sum(votes) * 2 > len(votes)


def _decided(votes: list[bool], repeats: int) -> bool:
    """More votes cannot change the majority of `repeats`."""
    return max(sum(votes), len(votes) - sum(votes)) * 2 > repeats
