"""The highest rate that still holds: bisection over probes. Pure but for the probe that is passed in."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from pipeline.load.report import LoadReport

Probe = Callable[[float], LoadReport]
"""Offers a rate, warmed up, and reports; `holds` says whether the objective was kept."""

_LOWEST = 1 / 64
"""Of the first rate: where that little fails too, nothing is said to hold."""


class Tried(msgspec.Struct, frozen=True):
    """One probe."""

    rate: float
    report: LoadReport


class Found(msgspec.Struct, frozen=True):
    """`rate`: the highest that was seen to hold, 0 where none did. `fails`: the lowest above it that was seen to fail;
    None where even the highest that may be tried held. The truth lies between, as far as one probe each tells."""

    rate: float
    fails: float | None
    tried: tuple[Tried, ...]


def find_rate(probe: Probe, *, low: float, high: float, precision: float) -> Found:
    """Double from `low` until a rate fails (or `high` is reached), then halve what is between.

    Args:
        precision: stop when the two rates differ by so small a share of the upper.
    """
    if not 0 < low <= high or not 0 < precision < 1:
        raise ValueError("0 < low ≤ high and 0 < precision < 1")
    tried: list[Tried] = []

    def holds(rate: float) -> bool:
        tried.append(Tried(rate, probe(rate)))
        return tried[-1].report.holds

    good, bad, rate = 0.0, None, low
    while bad is None and good < high:
        if holds(rate):
            good, rate = rate, min(high, rate * 2)
        else:
            bad = rate
    while bad is not None and (bad - good) / bad > precision and bad > low * _LOWEST:
        middle = (good + bad) / 2
        if holds(middle):
            good = middle
        else:
            bad = middle
    return Found(good, bad, tuple(tried))
