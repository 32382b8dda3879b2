"""The search for the highest rate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.load.find import find_rate
from pipeline.load.report import Latency, LoadReport


def answer(*, holds: bool) -> LoadReport:
    latency = Latency(1, 1, 1.0, 1.0, 1.0)
    return LoadReport(1, 1, 1.0, 1.0, 0.0, 0.0, 1.0, {}, latency, {}, () if holds else ("too slow",))


@given(st.floats(0.05, 900), st.floats(0.01, 0.5))
def test_the_edge_is_found_as_closely_as_asked(edge: float, precision: float) -> None:
    """The rate holds, the one above fails, and they lie no further apart than the precision, whatever the edge."""
    found = find_rate(lambda rate: answer(holds=rate <= edge), low=0.1, high=1000, precision=precision)
    assert found.rate <= edge
    assert found.fails is not None
    assert found.fails > edge
    if found.rate > 0:
        assert (found.fails - found.rate) / found.fails <= precision


def test_what_never_fails_ends_at_the_highest_rate() -> None:
    """Nothing above it is tried, and nothing is said to fail."""
    found = find_rate(lambda _: answer(holds=True), low=1, high=10, precision=0.1)
    assert (found.rate, found.fails) == (10, None)
    assert [each.rate for each in found.tried] == [1, 2, 4, 8, 10]


def test_what_never_holds_ends_with_nothing() -> None:
    """And after few probes."""
    found = find_rate(lambda _: answer(holds=False), low=1, high=10, precision=0.1)
    assert found.rate == 0
    assert len(found.tried) <= 20


def test_bounds_that_make_no_sense_are_refused() -> None:
    """The lowest rate lies below the highest."""
    with pytest.raises(ValueError, match="low"):
        find_rate(lambda _: answer(holds=True), low=2, high=1, precision=0.1)
