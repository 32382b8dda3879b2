"""Erlang's queue."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.plan.staff import people_needed, waits_longer


def test_known_values() -> None:
    """One server: the share that waits is the load. Two at a load of one: a third (Gross et al., §2.3)."""
    assert waits_longer(1, 0.7, 1.0, 0.0) == pytest.approx(0.7)
    assert waits_longer(2, 1.0, 1.0, 0.0) == pytest.approx(1 / 3)
    assert waits_longer(2, 1.0, 1.0, 2.0) == pytest.approx(math.exp(-2) / 3)


@given(st.floats(1e-4, 5), st.floats(1, 600), st.floats(0, 3600), st.floats(0.5, 0.999))
def test_the_number_of_people_is_enough_and_one_fewer_is_not(
    rate: float, handling: float, within: float, kept: float
) -> None:
    """It is the least that keeps the promise."""
    people = people_needed(rate, handling, within, kept)
    assert waits_longer(people, rate, handling, within) <= 1 - kept + 1e-9
    if people > 1:
        assert waits_longer(people - 1, rate, handling, within) > 1 - kept - 1e-9


@given(st.integers(1, 200), st.floats(0.001, 1), st.floats(1, 200))
def test_more_people_never_make_tasks_wait_longer(people: int, rate: float, handling: float) -> None:
    """And whoever cannot keep up lets everyone wait."""
    assert waits_longer(people + 1, rate, handling, 60) <= waits_longer(people, rate, handling, 60)
    if people <= rate * handling:
        assert waits_longer(people, rate, handling, 60) == 1.0


def test_no_tasks_need_nobody_and_a_billion_uploads_do_not_overflow() -> None:
    """The recursion holds at tens of thousands of people."""
    assert people_needed(0, 120, 60, 0.95) == 0
    assert 24_000 < people_needed(200, 120, 60, 0.95) < 24_500
