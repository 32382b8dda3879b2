"""Bounds on a share of which a sample was seen: those of Clopper and Pearson, which are never too narrow.

Source: C. Clopper, E. Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial",
Biometrika 26 (1934). The incomplete beta function is that of W. Press et al., Numerical Recipes, §6.4 (continued
fraction), so that a worker's installation needs no SciPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

_ROUNDS = 200
_TINY = 1e-300


class Interval(msgspec.Struct, frozen=True):
    """An estimate with the bounds between which the truth lies in 95 of 100 such samples."""

    value: float
    low: float
    high: float


def interval(hits: float, of: float, error: float = 0.05) -> Interval:
    """A share with its two-sided bounds; `of` need not be whole: weighted samples count for fewer than they are."""
    if of <= 0:
        return Interval(math.nan, 0.0, 1.0)
    return Interval(hits / of, at_least(hits, of, error / 2), at_most(hits, of, error / 2))


def at_least(hits: float, of: float, error: float) -> float:
    """The share is at least that, but for one sample in 1 / error."""
    if of <= 0 or hits <= 0:
        return 0.0
    return _solved(lambda share: _beta(hits, of - hits + 1, share), error)


def surely(hits: float, of: float, share: float, error: float) -> bool:
    """Whether `at_least` is no less than a share: the same, without looking for the bound."""
    return 0 < share < 1 and 0 < hits <= of and _beta(hits, of - hits + 1, share) <= error


def at_most(hits: float, of: float, error: float) -> float:
    """The share is at most that, but for one sample in 1 / error."""
    if of <= 0 or hits >= of:
        return 1.0
    return _solved(lambda share: _beta(hits + 1, of - hits, share), 1 - error)


def _solved(rising: Callable[[float], float], wanted: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(40):  # to 10⁻¹²
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < wanted else (low, middle)
    return (low + high) / 2


def _beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, 1 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    c, d = 1.0, 1 / _safe(1 - (a + b) * x / (a + 1))
    found = d
    for m in range(1, _ROUNDS):
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _safe(1 + step * d)
            c = _safe(1 + step / c)
            found *= c * d
        if abs(c * d - 1) < 1e-14:
            break
    return found


def _safe(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
