"""A request opens the next round from stored signals, starts its clock, and loosens nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.events import MediaDecided, MediaEnforced, OutcomeStatus
from pipeline.events.ids import decision_id
from pipeline.events.subject import SubjectMatch
from pipeline.events.values import (
    Action,
    Consent,
    Decision,
    Failure,
    Match,
    RegionalDecision,
    RequestKind,
    ReviewNeed,
)
from pipeline.ledger.port import Standing
from pipeline.reopen import facts_of, floored, heeded, reopened
from tests import strategies
from tests.asked import asking, policy
from tests.records import NOON, decided, routed, upload

LATER = NOON + timedelta(hours=3)


def standing(event: MediaDecided, **outcome: object) -> Standing:
    """How an upload stands after `event`, with these changes to what is in force."""
    return Standing(event, msgspec.structs.replace(routed(event).outcome, **outcome))


def again(event: MediaDecided, match: SubjectMatch = SubjectMatch.NAMED, **request: object) -> MediaDecided:
    return reopened(standing(event), facts_of(asking(**request), match, LATER), policy(), LATER)


def test_the_next_round_is_decided_from_what_is_stored() -> None:
    """No media is read: signals, hashes and matches are those of the round before, and what they are worth is said."""
    known = (Match(bank="b", hash_id="h", kind="pdq"),)
    event = decided("m1", 3, matches=known)
    found = again(event)
    assert (found.round, found.decision_id) == (4, decision_id("m1", 4))
    assert (found.signals, found.matches, found.sha256) == (event.signals, known, event.sha256)
    assert (found.versions.policy, found.versions.detectors) == (policy().version, event.versions.detectors)
    assert (found.reused_from, found.decided_at) == ("m1", LATER)


def test_the_clock_starts_when_the_request_came() -> None:
    """48 h after the platform received it, whenever it is read; the queue's order leaves time for the work."""
    need = again(decided("m1")).decision.review
    assert need is not None
    assert (need.deadline, need.clock) == (NOON + timedelta(hours=48), "us-48h")
    assert need.start_by == need.deadline - timedelta(minutes=30)


def test_a_clock_does_not_start_in_the_future() -> None:
    """A date that has not come yet gives nobody more time."""
    need = again(decided("m1"), received_at=datetime(2099, 1, 1, tzinfo=UTC)).decision.review
    assert need is not None
    assert need.deadline == LATER + timedelta(hours=48)


@pytest.mark.parametrize("match", SubjectMatch)
def test_copies_are_marked(match: SubjectMatch) -> None:
    """Rules and reviewers see that another upload was named."""
    request = again(decided("m1"), match).request
    assert request is not None
    assert request.near_copy is match.copied


def test_a_revoked_consent_is_revoked_in_the_upload() -> None:
    """The rules see it, and so does whoever decides again from the record."""
    event = decided("m1", upload=upload("m1", consent=Consent(reference="c-1")))
    found = again(event, kind=RequestKind.CONSENT_REVOKED, media_id=None, consent_reference="c-1")
    assert found.upload.consent is not None
    assert found.upload.consent.revoked
    assert found.decision.action is Action.LIMIT


def test_an_upload_that_could_not_be_judged_stays_so() -> None:
    """The fail mode applies beside the request, and no signals are claimed to be used again."""
    failure = Failure(stage="decode", reason="media_corrupt", detail="no frame")
    found = again(decided("m1", failure=failure, signals=(), sha256=None, review="faces"))
    assert (found.failure, found.reused_from) == (failure, None)
    assert found.decision.action is Action.HOLD


def test_nothing_milder_than_what_is_in_force() -> None:
    """Where the policy has nothing to say of a request, a restriction stays, with its reasons and its label."""
    event = decided("m1", action=Action.LIMIT)
    before = standing(event, label="Manipulated")
    found = reopened(before, facts_of(asking(harm="other"), SubjectMatch.NAMED, LATER), policy(), LATER)
    assert (found.decision.action, found.decision.label, found.decision.review) == (Action.LIMIT, "Manipulated", None)
    kept, *old = found.decision.reasons
    assert kept == "What was decided before stays in force."
    assert tuple(old) == before.in_force.reasons


def test_a_person_who_was_asked_is_still_asked_and_not_later() -> None:
    """The review of the round before is superseded, so its queue and deadline go on."""
    event = decided("m1", review="faces")
    need = again(event, harm="other").decision.review
    assert need == event.decision.review
    sooner = again(event).decision.review
    assert sooner is not None
    assert (sooner.queue, sooner.deadline, sooner.clock) == ("requests", NOON + timedelta(hours=4), None)
    assert sooner.start_by == NOON + timedelta(hours=4)


def test_what_was_removed_stays_removed_without_another_look() -> None:
    """A request cannot bring it back, and nobody has to see it again."""
    found = again(decided("m1", action=Action.REMOVE)).decision
    assert (found.action, found.review) == (Action.REMOVE, None)


def test_regions_have_a_floor_each() -> None:
    """What was stricter in one region stays stricter there, and only there."""
    event = decided("m1", action=Action.ALLOW)
    there = RegionalDecision(regions=("DE", "FR"), action=Action.REMOVE, reasons=("A law.",))
    found = floored(
        Decision(action=Action.LIMIT, reasons=("New.",), policy_version="p"), standing(event, regional=(there,))
    )
    assert found.action is Action.LIMIT
    [regional] = found.regional
    assert (regional.regions, regional.action) == (("DE", "FR"), Action.REMOVE)
    assert regional.reasons[0] == "New."
    assert regional.reasons[-1] == "A law."


needs = st.builds(
    ReviewNeed,
    queue=st.sampled_from(["a", "b"]),
    harm=st.just("h"),
    priority=st.integers(0, 100),
    deadline=strategies.moments,
)
regional = st.lists(
    st.builds(
        RegionalDecision,
        regions=st.sampled_from([("DE",), ("FR", "IT")]),
        action=strategies.actions,
        reasons=strategies.tuples_of(strategies.texts),
    ),
    max_size=2,
    unique_by=lambda each: each.regions,
).map(tuple)
decisions = st.builds(
    Decision,
    action=strategies.actions,
    reasons=strategies.tuples_of(strategies.texts),
    policy_version=st.just("p"),
    review=st.none() | needs,
    regional=regional,
    label=st.none() | st.just("Label"),
)


def everywhere(said: Decision | MediaEnforced, region: str) -> int:
    there = (each.action for each in said.regional if region in each.regions)
    return next(there, said.action).strength


@given(decisions, decisions, st.booleans())
def test_no_request_loosens_anything(new: Decision, old: Decision, waits: bool) -> None:
    """In no region, and no deadline moves back; applying it again changes nothing."""
    event = msgspec.structs.replace(decided("m1"), decision=old)
    status = OutcomeStatus.PROVISIONAL if waits else OutcomeStatus.FINAL
    before = standing(event, status=status, action=old.action, regional=old.regional, label=old.label)
    found = floored(new, before)
    for region in ("DE", "FR", "IT", "US"):
        assert everywhere(found, region) == max(everywhere(new, region), everywhere(old, region))
    removed = all(everywhere(found, region) == Action.REMOVE.strength for region in ("DE", "FR", "IT", "US"))
    asked = [need.deadline for need in (new.review, old.review if waits else None) if need is not None]
    assert (found.review is None) == (removed or not asked)
    if found.review is not None:
        assert found.review.deadline == min(asked)
    twice = floored(found, before)
    assert (twice.action, twice.regional, twice.label) == (found.action, found.regional, found.label)
    assert (twice.review and twice.review.deadline) == (found.review and found.review.deadline)


def test_a_later_round_heeds_the_request_that_is_open() -> None:
    """A rescan or a replay, decided without it, is decided with it: its clock and its floor hold."""
    before = standing(again(decided("m1")))
    rescan = decided("m1", 3, decided_at=LATER)
    found = heeded(rescan, before, policy())
    assert found.request == before.decided.request
    assert found.decision.action is Action.HOLD
    assert found.decision.review is not None
    assert found.decision.review.deadline == NOON + timedelta(hours=48)
    assert heeded(found, before, policy()) is found


def test_what_is_heeded_is_decided_by_the_policy_that_it_names() -> None:
    """Another one may have come in force since it was screened."""
    before = standing(again(decided("m1")))
    found = heeded(decided("m1", 3, decided_at=LATER), before, policy())
    assert found.versions.policy == found.decision.policy_version == policy().version


def test_a_request_that_is_settled_is_not_heeded() -> None:
    """Its outcome was final; what comes later is a new question."""
    before = standing(again(decided("m1")), status=OutcomeStatus.FINAL)
    rescan = decided("m1", 3)
    assert heeded(rescan, before, policy()) is rescan
    assert heeded(decided("m1", 2), standing(again(decided("m1", 2))), policy()).request is None
