"""Events of made-up uploads, as the agents would publish them, for tests of what comes after."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import NAMESPACE_OID, uuid5

from pipeline.events import (
    DecidedBy,
    MediaDecided,
    MediaEnforced,
    MediaUploaded,
    OutcomeStatus,
    ReviewDecided,
    ReviewRequested,
    Versions,
    ids,
)
from pipeline.events.values import (
    Action,
    Box,
    Decision,
    Evidence,
    Failure,
    Family,
    ReviewNeed,
    Signal,
    SignalStatus,
)

NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)
DETECTORS = ("faces@1", "nudity@1")


def upload(media_id: str, **changes: object) -> MediaUploaded:
    """An upload event."""
    fields = {"uri": f"s3://uploads/{media_id}", "uploaded_at": NOON, **changes}
    return MediaUploaded(media_id=media_id, **fields)  # type: ignore[arg-type]


def signal(status: SignalStatus = SignalStatus.SCORED, probability: float | None = 0.7) -> Signal:
    """A signal with one piece of evidence."""
    return Signal(
        family=Family.FACE_SWAP,
        status=status,
        probability=probability,
        evidence=(Evidence(detector="faces@1", score=0.7, at=1.5, box=Box(x0=0.1, y0=0.1, x1=0.4, y1=0.5)),),
        detectors=("faces@1",),
    )


def decided(
    media_id: str,
    round_: int = 1,
    *,
    review: str | None = None,
    action: Action | None = None,
    failure: Failure | None = None,
    signals: tuple[Signal, ...] = (signal(),),
    sha256: str | None = "ab" * 32,
    **changes: object,
) -> MediaDecided:
    """A decision; with a `review` queue one that waits for a person."""
    need = ReviewNeed(queue=review, harm="deception", priority=50, deadline=NOON + timedelta(hours=4))
    fields = {
        "upload": upload(media_id),
        "decided_at": NOON,
        "embedding": bytes(range(256)) * 4,
        "size": 1234,
        **changes,
    }
    return MediaDecided(
        decision_id=ids.decision_id(media_id, round_),
        media_id=media_id,
        round=round_,
        decision=Decision(
            action=action or (Action.HOLD if review else Action.ALLOW),
            reasons=("a face looks swapped (0.70)",),
            policy_version="p1",
            review=need if review else None,
        ),
        versions=Versions(unmask="0.1.0", policy="p1", detectors=DETECTORS),
        sha256=sha256,
        signals=signals,
        failure=failure,
        **fields,  # type: ignore[arg-type]
    )


class Routed(NamedTuple):
    """What follows from a decision."""

    task: ReviewRequested | None
    outcome: MediaEnforced


def routed(event: MediaDecided) -> Routed:
    """The task and the outcome of a decision."""
    need = event.decision.review
    task = need and ReviewRequested(
        task_id=ids.task_id(event.media_id, event.round),
        media_id=event.media_id,
        round=event.round,
        queue=need.queue,
        harm=need.harm,
        priority=need.priority,
        requested_at=event.decided_at,
        deadline=need.deadline,
        provisional=event.decision.action,
        reasons=event.decision.reasons,
        decision_id=event.decision_id,
        upload=event.upload,
        signals=event.signals,
    )
    status = OutcomeStatus.PROVISIONAL if need else OutcomeStatus.FINAL
    return Routed(
        task,
        MediaEnforced(
            outcome_id=ids.outcome_id(event.media_id, event.round, status),
            media_id=event.media_id,
            round=event.round,
            status=status,
            action=event.decision.action,
            decided_by=DecidedBy.FAIL_MODE if event.failure else DecidedBy.POLICY,
            reasons=event.decision.reasons,
            enforced_at=event.decided_at,
            decision_id=event.decision_id,
            task_id=task.task_id if task else None,
            policy_version=event.decision.policy_version,
        ),
    )


def reviewed(task: ReviewRequested, action: Action = Action.REMOVE, reviewer: str = "r1") -> ReviewDecided:
    """A person's answer."""
    return ReviewDecided(
        review_id=uuid5(NAMESPACE_OID, f"{task.task_id}/{reviewer}/{action}"),
        task_id=task.task_id,
        media_id=task.media_id,
        action=action,
        decided_at=NOON + timedelta(hours=1),
        reviewer_id=reviewer,
        round=task.round,
    )


def settled(review: ReviewDecided, task: ReviewRequested) -> MediaEnforced:
    """The final outcome of a review."""
    return MediaEnforced(
        outcome_id=ids.outcome_id(task.media_id, task.round, OutcomeStatus.FINAL),
        media_id=task.media_id,
        round=task.round,
        status=OutcomeStatus.FINAL,
        action=review.action,
        decided_by=DecidedBy.PERSON,
        reasons=("a person decided",),
        enforced_at=review.decided_at,
        decision_id=task.decision_id,
        task_id=task.task_id,
    )
