"""The search for the highest rate."""

from __future__ import annotations

import random
from collections import Counter

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
    found = find_rate(lambda rate, _: answer(holds=rate <= edge), low=0.1, high=1000, precision=precision)
    assert found.rate <= edge
    assert found.fails is not None
    assert found.fails > edge
    if found.rate > 0:
        assert (found.fails - found.rate) / found.fails <= precision


def test_what_never_fails_ends_at_the_highest_rate() -> None:
    """Nothing above it is tried, and nothing is said to fail."""
    found = find_rate(lambda *_: answer(holds=True), low=1, high=10, precision=0.1)
    assert (found.rate, found.fails) == (10, None)
    assert [each.rate for each in found.tried] == [1, 2, 4, 8, 10, 10]
    assert (found.always, found.never) == (10, None)


def test_what_never_holds_ends_with_nothing() -> None:
    """And after few probes."""
    found = find_rate(lambda *_: answer(holds=False), low=1, high=10, precision=0.1)
    assert found.rate == 0
    assert len(found.tried) <= 20


@given(st.floats(0.3, 30), st.floats(0.0, 0.4), st.randoms(use_true_random=False))
def test_chance_near_the_edge_neither_stops_the_search_nor_moves_it_far(
    edge: float, blur: float, chance: random.Random
) -> None:
    """Where probes within `blur` of the edge answer by chance, both ends were asked until most agreed, no rate more
    than three times, and what is said to be beyond doubt is."""

    def probe(rate: float, _: int) -> LoadReport:
        doubtful = abs(rate - edge) <= blur * edge
        return answer(holds=chance.random() < 0.5 if doubtful else rate <= edge)

    found = find_rate(probe, low=0.1, high=1000, precision=0.05)
    assert found.fails is not None
    assert found.always <= found.rate < found.fails
    assert found.rate <= edge * (1 + blur)
    assert found.fails >= edge * (1 - blur)
    votes = {
        rate: [each.report.holds for each in found.tried if each.rate == rate] for rate in (found.rate, found.fails)
    }
    assert sum(votes[found.rate]) >= 2
    assert votes[found.fails].count(False) >= 2
    assert max(Counter(each.rate for each in found.tried).values()) <= 3
    assert all(each.report.holds for each in found.tried if each.rate <= found.always)
    assert not any(each.report.holds for each in found.tried if found.never is not None and each.rate >= found.never)


def test_an_end_that_is_outvoted_moves() -> None:
    """A lucky first probe of 4/s does not make 4/s hold: the search goes on below, and says where probes disagreed."""

    def probe(rate: float, times: int) -> LoadReport:
        return answer(holds=rate <= 2.9 or (rate == 4 and times == 0))

    found = find_rate(probe, low=1, high=8, precision=0.2)
    assert 2.3 < found.rate <= 2.9 < found.fails <= 3.5
    assert found.always == found.rate
    assert found.never is not None
    assert found.never > 4


def test_each_probe_of_a_rate_is_told_which_it_is() -> None:
    """So that it draws arrivals that no probe of this rate has drawn."""
    seen: list[tuple[float, int]] = []

    def probe(rate: float, times: int) -> LoadReport:
        seen.append((rate, times))
        return answer(holds=rate <= 3 and (rate, times) != (2, 1))

    find_rate(probe, low=1, high=4, precision=0.5)
    assert len(seen) == len(set(seen))
    assert (2, 2) in seen


@pytest.mark.parametrize(("low", "high", "repeats"), [(2, 1, 3), (0, 1, 3), (1, 2, 2), (1, 2, 0)])
def test_bounds_that_make_no_sense_are_refused(low: float, high: float, repeats: int) -> None:
    """The lowest rate lies below the highest, and a vote has a majority."""
    with pytest.raises(ValueError, match=r"low|odd"):
        find_rate(lambda *_: answer(holds=True), low=low, high=high, precision=0.1, repeats=repeats)
