"""Shares of small counts, with how far they may be off, for who looks at them.

Where something is promised to hold, the bounds are those of `binomial`, which are never too narrow.
"""

from __future__ import annotations

import math

import msgspec

_Z = 1.959964
"""The normal distribution's 97.5th percentile: intervals of 95 %."""


class Share(msgspec.Struct, frozen=True):
    """`hits` of `of`, with a 95 % interval; `share` is None where there is nothing to count."""

    hits: int
    of: int
    share: float | None
    low: float
    high: float


def share(hits: int, of: int) -> Share:
    """Wilson's score interval, which stays inside 0–1 and holds for small counts.

    Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    if of == 0:
        return Share(0, 0, None, 0.0, 1.0)
    p = hits / of
    scale = 1 + _Z**2 / of
    middle = (p + _Z**2 / (2 * of)) / scale
    half = _Z * math.sqrt(p * (1 - p) / of + _Z**2 / (4 * of**2)) / scale
    low = 0.0 if hits == 0 else max(0.0, middle - half)
    high = 1.0 if hits == of else min(1.0, middle + half)
    return Share(hits, of, round(p, 6), round(low, 6), round(high, 6))
