"""A decision → what applies at once, and the task for a person when one is needed."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.events import DecidedBy, MediaDecided, MediaEnforced, OutcomeStatus, ReviewRequested
from pipeline.events.ids import outcome_id, task_id
from pipeline.events.values import ReviewNeed
from pipeline.statements.label import viewer_label
from pipeline.topology import review_topic


@dataclass(frozen=True, slots=True)
class Routed:
    """The outcome is provisional exactly when there is a task."""

    task: ReviewRequested | None
    outcome: MediaEnforced

    @property
    def topic(self) -> str | None:
        """Where the task goes."""
        return review_topic(self.task.queue) if self.task else None


def route(decided: MediaDecided) -> Routed:
    """What follows from a decision. All ids and times come from it, so that a repeat yields the same records."""
    review = decided.decision.review
    status = OutcomeStatus.PROVISIONAL if review else OutcomeStatus.FINAL
    task = _task(decided, review) if review else None
    return Routed(
        task=task,
        outcome=MediaEnforced(
            outcome_id=outcome_id(decided.media_id, decided.round, status),
            media_id=decided.media_id,
            round=decided.round,
            status=status,
            action=decided.decision.action,
            decided_by=decided_by(decided),
            reasons=decided.decision.reasons,
            enforced_at=decided.decided_at,
            decision_id=decided.decision_id,
            task_id=task.task_id if task else None,
            label=decided.decision.label,
            policy_version=decided.decision.policy_version,
            regional=decided.decision.regional,
            viewer_label=viewer_label(decided),
        ),
    )


def decided_by(decided: MediaDecided) -> DecidedBy:
    """The fail mode when nothing could be judged, or when only fail modes ask for an action this strong."""
    if decided.failure is not None:
        return DecidedBy.FAIL_MODE
    decisive = [hit.fail_mode for hit in decided.decision.trace if hit.acts and hit.action is decided.decision.action]
    return DecidedBy.FAIL_MODE if decisive and all(decisive) else DecidedBy.POLICY


def _task(decided: MediaDecided, review: ReviewNeed) -> ReviewRequested:
    return ReviewRequested(
        task_id=task_id(decided.media_id, decided.round),
        media_id=decided.media_id,
        round=decided.round,
        queue=review.queue,
        harm=review.harm,
        priority=review.priority,
        requested_at=decided.decided_at,
        deadline=review.deadline,
        provisional=decided.decision.action,
        reasons=decided.decision.reasons,
        decision_id=decided.decision_id,
        upload=decided.upload,
        sha256=decided.sha256,
        facts=decided.facts,
        sampling=decided.sampling,
        signals=decided.signals,
        label=decided.decision.label,
        start_by=review.start_by,
        clock=review.clock,
        request=decided.request,
    )
