"""Which hashes match suspiciously much."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pipeline.match.banks import Flood, OnFlood
from pipeline.match.flood import BANK_TIMES, Counted, floods

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LIMITS = Flood(contents=100, share=0.05, least=20, window="30m")


def test_a_hash_that_matches_too_many_contents_is_quarantined():
    """At the limit, from now on, with the reason in words."""
    (found,) = floods([Counted("b", "h", 100), Counted("b", "i", 99)], 1_000_000, LIMITS, NOW)
    assert (found.bank, found.hash_id, found.since, found.contents) == ("b", "h", NOW, 100)
    assert "100 different contents within 30m" in found.reason
    assert found.holds


def test_a_hash_that_matches_too_large_a_share_is_quarantined():
    """More than the share, once there are enough of them to speak of a share."""
    assert not floods([Counted("b", "h", 19)], 20, LIMITS, NOW)
    assert not floods([Counted("b", "h", 50)], 1000, LIMITS, NOW)
    (found,) = floods([Counted("b", "h", 51)], 1000, LIMITS, NOW)
    assert "5.1% of 1000 contents" in found.reason


def test_a_bank_as_a_whole_may_match_more_than_one_hash():
    """Ten times as many contents, and the same share."""
    assert not floods([Counted("b", "", 100 * BANK_TIMES - 1)], 10**6, LIMITS, NOW)
    assert [each.hash_id for each in floods([Counted("b", "", 100 * BANK_TIMES)], 10**6, LIMITS, NOW)] == [""]
    assert floods([Counted("b", "", 60)], 1000, LIMITS, NOW)


def test_counts_that_outrun_each_other_are_no_share_above_one():
    """Matches may be counted a moment after the contents."""
    (found,) = floods([Counted("b", "h", 30)], 10, LIMITS, NOW)
    assert found.reason.startswith("100.0%")


def test_a_bank_may_want_reports_only():
    """Then what floods is told and still counts."""
    (found,) = floods([Counted("b", "h", 100)], 10**6, Flood(contents=100, action=OnFlood.REPORT), NOW)
    assert not found.holds


@pytest.mark.parametrize(("text", "length"), [("30m", timedelta(minutes=30)), ("2d", timedelta(days=2))])
def test_windows_are_lengths_of_time(text, length):
    """In the words of the file."""
    assert Flood(window=text).within == length
