"""Recent uploads against the banks as they are now."""

from __future__ import annotations

from pipeline.events.values import RuleMode
from pipeline.ledger.port import RecentUpload
from pipeline.match.rescan import hits
from tests.records import NOON, upload
from tests.unit.match.made import bank, code, frames

A, B = code(1), code(2)


def recent(media_id, value=A, round_=1, known=()):
    return RecentUpload(upload(media_id), round_, "ab" * 32, NOON, frames(value), frozenset(known))


def test_what_is_known_now_and_was_not_is_a_hit():
    """It opens the round after its latest; what was known already, or is not known, is none."""
    banks = [bank("pictures", {"a": A})]
    uploads = [recent("m1", round_=3), recent("m2", known=[("pictures", "a")]), recent("m3", value=B)]
    ((_, hit),) = hits(uploads, banks)
    assert (hit.media_id, hit.round, [one.hash_id for one in hit.matches]) == ("m1", 4, ["a"])


def test_another_bank_that_knows_it_is_a_hit_too():
    """The policy may make more of it."""
    banks = [bank("pictures", {"a": A}), bank("worse", {"w": A})]
    ((_, hit),) = hits([recent("m1", known=[("pictures", "a")])], banks)
    assert [one.bank for one in hit.matches] == ["worse"]


def test_what_would_decide_nothing_is_no_hit():
    """Shadow banks, and what is quarantined."""
    assert not list(hits([recent("m1")], [bank("pictures", {"a": A}, mode=RuleMode.SHADOW)]))
    assert not list(hits([recent("m1")], [bank("pictures", {"a": A})], {("pictures", "a")}))
