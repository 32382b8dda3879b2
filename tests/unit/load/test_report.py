"""What is said of a load."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.load.mix import Kind
from pipeline.load.report import Answer, Answered, Bounds, LoadReport, Sent, quantile, summarise


def reported(seconds: list[float | None], bounds: Bounds | None = None, **more: float) -> LoadReport:
    """Uploads due one a second from 100 on; each answered after so long, or never."""
    sent = [Sent(str(n), Kind.IMAGE, 100.0 + n, 100.0 + n) for n in range(len(seconds))]
    answers = [Answered(str(n), Answer.FINAL, 100.0 + n + took) for n, took in enumerate(seconds) if took is not None]
    return summarise(sent, answers, offering_seconds=len(seconds), bounds=bounds or Bounds(), **more)


def test_rates_drop_and_quantiles() -> None:
    """Offered by the clock of the plan, achieved up to the last answer, nearest ranks."""
    report = reported([1.0] * 94 + [5.0] * 6)
    assert (report.offered, report.drop, report.all.p50, report.all.p95) == (1.0, 0.0, 1.0, 5.0)
    assert report.achieved == pytest.approx(100 / 104)


def test_the_unanswered_count_as_never_and_not_as_absent() -> None:
    """A system that answers nine of ten quickly has no p95, and breaks a bound on it."""
    report = reported([1.0] * 90 + [None] * 10, Bounds(max_drop=0.2, max_p95=60))
    assert (report.drop, report.all.p50, report.all.p95) == (pytest.approx(0.1), 1.0, None)
    assert [breach.split(";")[0] for breach in report.breaches] == ["more than 5 % were never answered"]


def test_latency_counts_from_when_an_upload_was_due() -> None:
    """A producer that falls behind does not make the system look faster."""
    report = summarise(
        [Sent("a", Kind.IMAGE, 10.0, 14.0)],
        [Answered("a", Answer.FINAL, 15.0)],
        offering_seconds=1,
        bounds=Bounds(),
    )
    assert (report.all.p50, report.late) == (5.0, 4.0)


def test_the_first_answer_counts_once_and_strangers_do_not() -> None:
    """A dead letter and its fail mode's outcome are one answer; uploads of others are none."""
    report = summarise(
        [Sent("a", Kind.BROKEN, 0.0, 0.0)],
        [
            Answered("a", Answer.PROVISIONAL, 3.0),
            Answered("a", Answer.DEAD_LETTER, 2.0),
            Answered("b", Answer.FINAL, 1.0),
        ],
        offering_seconds=1,
        bounds=Bounds(),
    )
    assert report.answers == {"final": 0, "provisional": 0, "dead-letter": 1}
    assert report.by_kind["broken"].p50 == 2.0


def test_a_warm_up_counts_for_nothing() -> None:
    """Only what was due after it."""
    report = reported([9.0] * 5 + [1.0] * 5, since=105.0)
    assert (report.sent, report.all.p99) == (5, 1.0)
    with pytest.raises(ValueError, match="warm-up"):
        reported([1.0], since=200.0)


def test_bounds_that_are_kept_say_nothing() -> None:
    """At the bound is within it."""
    assert reported([2.0] * 20, Bounds(max_drop=0.0, max_p95=2.0)).holds
    assert not reported([2.0] * 20, Bounds(max_p95=1.9)).holds


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.floats(0.01, 1))
def test_a_quantile_is_a_value_below_which_lies_its_share(values: list[float], share: float) -> None:
    """At least the share is not above it; less than the share is below it."""
    ordered = sorted(values)
    found = quantile(ordered, share, len(ordered))
    assert found in ordered
    assert sum(each <= found for each in ordered) >= share * len(ordered) - 1e-6
    assert sum(each < found for each in ordered) < share * len(ordered) + 1e-6
