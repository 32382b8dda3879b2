"""What a person decided → the final outcome."""

from __future__ import annotations

from pipeline.errors import Permanent, Reason, Stage
from pipeline.events import DecidedBy, MediaEnforced, OutcomeStatus, ReviewDecided, ReviewRequested
from pipeline.events.ids import outcome_id
from pipeline.events.values import Action
from pipeline.statements.label import reviewed_label

_WORDS = {
    Action.ALLOW: "nothing against showing it",
    Action.LABEL: "to be labelled",
    Action.LIMIT: "to be shown to fewer people",
    Action.REMOVE: "to be removed",
}


def settle(review: ReviewDecided, task: ReviewRequested) -> MediaEnforced:
    """The final outcome of the upload that `task` is about; `hold` cannot be one (see `ReviewDecided`).

    The label is the reviewer's, else the one that was on the upload already, and only where viewers see the upload
    with a restriction: `allow` lifts it.

    Raises:
        Permanent: the review answers another task.
    """
    if review.task_id != task.task_id or review.media_id != task.media_id:
        detail = f"the review {review.review_id} answers {review.task_id} on {review.media_id}, not {task.task_id}"
        raise Permanent(Stage.SETTLE, Reason.UNKNOWN_TASK, detail)
    label = (review.label or task.label) if review.action in (Action.LABEL, Action.LIMIT) else None
    return MediaEnforced(
        outcome_id=outcome_id(task.media_id, task.round, OutcomeStatus.FINAL),
        media_id=task.media_id,
        round=task.round,
        status=OutcomeStatus.FINAL,
        action=review.action,
        decided_by=DecidedBy.PERSON,
        reasons=_reasons(review, task),
        enforced_at=review.decided_at,
        decision_id=task.decision_id,
        task_id=task.task_id,
        label=label,
        viewer_label=reviewed_label(review, task, label),
        harm=review.harm,
    )


def _reasons(review: ReviewDecided, task: ReviewRequested) -> tuple[str, ...]:
    """The person's own words first; what the machine said stands only where the person did not clear the upload."""
    verdict = f"A person looked at it: {_WORDS[review.action]}."
    said = (review.reason,) if review.reason else ()
    return (verdict, *said, *(() if review.action is Action.ALLOW else task.reasons))
