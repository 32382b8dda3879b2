"""When uploads are due."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.load.arrivals import Ramp, by_chance, even

RATES = st.floats(0.1, 50)


@given(RATES, RATES, st.floats(1, 100))
def test_even_arrivals_follow_the_ramp(start: float, end: float, seconds: float) -> None:
    """As many as the area under the rate, in order, within the time; by the middle as many as by then are expected."""
    ramp = Ramp(start, end, seconds)
    times = even(ramp)
    assert len(times) == math.floor(ramp.uploads + 1e-9)
    assert list(times) == sorted(times)
    assert all(0 <= at <= seconds for at in times)
    expected = (start + (start + end) / 2) / 2 * seconds / 2
    assert abs(sum(at <= seconds / 2 for at in times) - expected) <= 1


def test_a_ramp_may_begin_at_nothing() -> None:
    """From 0 to 2 a second in 10 s: 10 uploads, most of them late."""
    times = even(Ramp(0, 2, 10))
    assert len(times) == 10
    assert sum(at < 5 for at in times) in (2, 3)


def test_arrivals_by_chance_are_a_poisson_process() -> None:
    """The number has the mean of its rate and, like a Poisson count, a variance of the same size; the seed decides."""
    ramp = Ramp(1, 3, 50)
    counts = [len(by_chance(ramp, seed)) for seed in range(400)]
    mean = sum(counts) / len(counts)
    variance = sum((count - mean) ** 2 for count in counts) / len(counts)
    assert abs(mean - 100) < 2
    assert 75 < variance < 130
    assert by_chance(ramp, 1) == by_chance(ramp, 1)


@pytest.mark.parametrize("rates", [(-1, 1, 1), (0, 0, 1), (1, 1, 0)])
def test_rates_that_offer_nothing_are_refused(rates: tuple[float, float, float]) -> None:
    """The operator is told."""
    with pytest.raises(ConfigError):
        Ramp(*rates)
