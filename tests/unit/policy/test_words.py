"""Reasons are sentences that a platform can show."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.events.values import Evidence, Failure, Family, Signal, SignalStatus
from pipeline.policy import words


def signal(probability: float, at: float | None = 3.27, **bounds: float) -> Signal:
    return Signal(
        family=Family.FACE_SWAP,
        status=SignalStatus.SCORED,
        probability=probability,
        evidence=(Evidence(detector="d", score=probability, at=at),),
        **bounds,
    )


@pytest.mark.parametrize(
    ("at", "moment"),
    [(3.27, " at 00:03.2"), (61.0, " at 01:01.0"), (3723.5, " at 1:02:03.5"), (0.0, ""), (None, "")],
)
def test_moment(at: float | None, moment: str) -> None:
    """Minutes, seconds and tenths; hours where there are any; nothing for a still image."""
    assert words.crossed("Found", ((signal(0.91, at), 0.8),)) == f"Found{moment}: probability 0.91, at or above 0.80."


@pytest.mark.parametrize(
    ("probability", "threshold", "numbers"),
    [
        (0.999, 0.8, "0.99, at or above 0.80"),
        (0.8, 0.8, "0.80, at or above 0.80"),
        (0.29, 0.29, "0.29, at or above 0.29"),
        (0.8056, 0.805, "0.805, at or above 0.805"),
        (1.0, 1.0, "1.00, at or above 1.00"),
    ],
)
def test_numbers_are_cut(probability: float, threshold: float, numbers: str) -> None:
    """Cut to as many digits as the threshold has: no false certainty, no contradiction."""
    assert words.crossed("Found", ((signal(probability, None), threshold),)) == f"Found: probability {numbers}."


def test_bounds() -> None:
    """The bounds follow in brackets."""
    assert "0.91 (0.85–0.95)" in words.crossed("Found", ((signal(0.91, low=0.85, high=0.95), 0.8),))


def test_no_numbers_where_none_are_behind_it() -> None:
    """A rule on a declaration has no numbers."""
    assert words.crossed("The uploader declared it", ()) == "The uploader declared it."


def test_what_was_not_judged() -> None:
    """The family is named, and how much was looked at."""
    assert words.not_judged("Not judged", Family.FACE_SWAP, 0.0) == "Not judged: face swap."
    assert words.not_judged("Not judged", Family.FACE_SWAP, 0.255) == "Not judged: face swap (looked at 25 %)."


def test_the_detail_of_a_failure_is_not_shown() -> None:
    """Details name hosts and paths."""
    failure = Failure(stage="fetch", reason="source_not_found", detail="http://10.0.0.1/secret")
    assert words.failed("Not screened", failure) == "Not screened: source not found (fetch)."


def test_doubt_says_whether_it_is_inside_the_band() -> None:
    """An abstained signal is too uncertain to say; a surer one is above the edge where doubt begins."""
    sure = signal(0.7, None)
    doubtful = msgspec.structs.replace(sure, status=SignalStatus.ABSTAINED)
    assert words.doubtful("Open", doubtful, 0.6) == "Open: probability 0.70, too uncertain to say."
    assert words.doubtful("Open", sure, 0.6) == "Open: probability 0.70, at or above 0.60, where doubt begins."
