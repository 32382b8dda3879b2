"""How far behind a worker is."""

from __future__ import annotations

from faust.types import TP

from pipeline.agents.lag import Lag, LagWatch

PART = TP("media.uploaded", 0)


def look(watch: LagWatch, end: int, done: int | None, now: float, begin: int = 0) -> Lag:
    return watch.look({PART: end}, {PART: begin}, {PART: done}, now)[PART]


def test_a_partition_that_is_done_has_no_lag():
    """Everything is committed."""
    assert look(LagWatch(), 5, 5, 100.0) == Lag(0, 0.0)


def test_what_was_never_committed_counts_from_the_first_record_that_is_there():
    """A new group begins at the earliest offset; what retention removed is no lag."""
    assert look(LagWatch(), 50, None, 100.0, begin=40).records == 10


def test_a_record_under_way_says_how_long_it_has_waited():
    """The oldest one under way counts, not the one that was taken up last."""
    watch = LagWatch()
    watch.started("media.uploaded", 0, 5, 70.0)
    watch.started("media.uploaded", 0, 6, 90.0)
    assert look(watch, 7, 5, 100.0) == Lag(2, 30.0)
    watch.ended("media.uploaded", 0, 5)
    assert look(watch, 7, 5, 100.0) == Lag(2, 10.0)


def test_what_waits_is_younger_than_the_moment_at_which_nothing_waited():
    """After an hour of silence a new record has waited for seconds, not for an hour."""
    watch = LagWatch()
    watch.started("media.uploaded", 0, 5, 70.0)
    watch.ended("media.uploaded", 0, 5)
    assert look(watch, 6, 6, 3_600.0) == Lag(0, 0.0)
    assert look(watch, 7, 6, 3_605.0) == Lag(1, 5.0)


def test_what_waits_behind_a_record_is_younger_than_that_one():
    """Where the partition has not been empty, the last record that was taken up bounds the age."""
    watch = LagWatch()
    watch.started("media.uploaded", 0, 5, 70.0)
    watch.ended("media.uploaded", 0, 5)
    assert look(watch, 9, 6, 100.0) == Lag(3, 30.0)


def test_of_a_partition_that_nothing_was_seen_of_the_seconds_are_not_known():
    """No number is made up."""
    assert look(LagWatch(), 9, 6, 100.0) == Lag(3, None)


def test_what_left_is_forgotten():
    """A partition that comes back an hour later does not count that hour."""
    watch = LagWatch()
    assert look(watch, 6, 6, 100.0).records == 0
    watch.forget(frozenset())
    assert look(watch, 7, 6, 3_700.0) == Lag(1, None)
