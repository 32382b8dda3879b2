"""Routing: a provisional outcome and one task, or a final outcome; the same records for the same decision."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given

from pipeline.events import DecidedBy, MediaDecided, MediaUploaded, OutcomeStatus, Versions
from pipeline.events.codec import decode, encode
from pipeline.events.ids import decision_id, outcome_id, task_id
from pipeline.events.values import Action, Decision, Failure, ReviewNeed, RuleHit, RuleMode
from pipeline.route import route
from pipeline.topology import review_topic
from tests import strategies

NOW = datetime(2026, 1, 1, tzinfo=UTC)
UPLOAD = MediaUploaded(media_id="m-1", uri="s3://b/k", uploaded_at=NOW)
DECIDED = MediaDecided(
    decision_id=decision_id("m-1", 2),
    media_id="m-1",
    round=2,
    upload=UPLOAD,
    decided_at=NOW,
    decision=Decision(action=Action.LIMIT, reasons=("Why.",), policy_version="p@1", label="AI-generated"),
    versions=Versions(unmask="0", policy="p@1"),
)
NEED = ReviewNeed(queue="faces", harm="fraud", priority=80, deadline=NOW)


def hit(action: Action, fail_mode: bool, mode: RuleMode = RuleMode.LIVE) -> RuleHit:
    return RuleHit(rule="r", harm="fraud", action=action, mode=mode, because="Why.", fail_mode=fail_mode)


def with_trace(*trace: RuleHit) -> MediaDecided:
    return msgspec.structs.replace(DECIDED, decision=msgspec.structs.replace(DECIDED.decision, trace=trace))


@given(strategies.decided)
def test_total_and_repeatable(decided: MediaDecided) -> None:
    """Every decision, also one that went over the wire, leads to the same records; a task exactly when asked for."""
    routed = route(decided)
    again = decode(encode(decided), MediaDecided)
    assert isinstance(again, MediaDecided)
    assert route(again) == routed
    assert (routed.task is not None) == (decided.decision.review is not None)
    assert (routed.outcome.status is OutcomeStatus.PROVISIONAL) == (routed.task is not None)
    assert routed.outcome.task_id == (routed.task.task_id if routed.task else None)
    assert routed.outcome.action is decided.decision.action
    if routed.task:
        assert routed.topic == review_topic(routed.task.queue)
        assert routed.task.provisional is routed.outcome.action


def test_final() -> None:
    """Without a review the outcome is final, at the time of the decision."""
    routed = route(DECIDED)
    assert (routed.task, routed.topic) == (None, None)
    assert routed.outcome.outcome_id == outcome_id("m-1", 2, "final")
    assert (routed.outcome.enforced_at, routed.outcome.reasons, routed.outcome.label) == (
        NOW,
        ("Why.",),
        "AI-generated",
    )


def test_provisional() -> None:
    """With a review the task goes to its queue's topic, and the action applies meanwhile."""
    decision = msgspec.structs.replace(DECIDED.decision, review=NEED)
    routed = route(msgspec.structs.replace(DECIDED, decision=decision))
    assert routed.topic == "review.requested.faces"
    assert routed.task is not None
    assert (routed.task.task_id, routed.task.priority) == (task_id("m-1", 2), 80)
    assert routed.outcome.outcome_id == outcome_id("m-1", 2, "provisional")


@pytest.mark.parametrize(
    ("trace", "who"),
    [
        ((), DecidedBy.POLICY),
        ((hit(Action.LIMIT, False),), DecidedBy.POLICY),
        ((hit(Action.LIMIT, True),), DecidedBy.FAIL_MODE),
        ((hit(Action.LIMIT, True), hit(Action.LIMIT, False)), DecidedBy.POLICY),
        ((hit(Action.LIMIT, True), hit(Action.LABEL, False)), DecidedBy.FAIL_MODE),
        ((hit(Action.LIMIT, True), hit(Action.LIMIT, False, RuleMode.SHADOW)), DecidedBy.FAIL_MODE),
    ],
)
def test_who_decided(trace: tuple[RuleHit, ...], who: DecidedBy) -> None:
    """The fail mode stands behind an outcome that no live rule asks for."""
    assert route(with_trace(*trace)).outcome.decided_by is who


def test_a_failure_is_the_fail_modes() -> None:
    """What could not be screened was not decided by a rule."""
    failure = Failure(stage="decode", reason="media_corrupt", detail="")
    decided = msgspec.structs.replace(with_trace(hit(Action.LIMIT, False)), failure=failure)
    assert route(decided).outcome.decided_by is DecidedBy.FAIL_MODE
