"""Bounds on shares."""

from __future__ import annotations

import math

import pytest
from scipy.stats import beta

from pipeline.policy.binomial import at_least, at_most, interval


@pytest.mark.parametrize(("hits", "of"), [(0, 10), (10, 10), (59, 59), (3, 7), (180, 200), (12.5, 40.25), (4990, 5000)])
@pytest.mark.parametrize("error", [0.05, 0.017, 0.0005])
def test_bounds_are_those_of_the_beta_distribution(hits: float, of: float, error: float) -> None:
    """Clopper and Pearson's limits are its quantiles."""
    low = beta.ppf(error, hits, of - hits + 1) if hits else 0.0
    high = beta.ppf(1 - error, hits + 1, of - hits) if hits < of else 1.0
    assert at_least(hits, of, error) == pytest.approx(low, abs=1e-9)
    assert at_most(hits, of, error) == pytest.approx(high, abs=1e-9)


def test_nothing_seen_says_nothing() -> None:
    """Any share is possible."""
    nothing = interval(0, 0)
    assert math.isnan(nothing.value)
    assert (nothing.low, nothing.high) == (0.0, 1.0)
