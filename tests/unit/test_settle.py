"""Settling: what a person decided is final."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest
from hypothesis import given

from pipeline.errors import Permanent, Reason
from pipeline.events import DecidedBy, OutcomeStatus, ReviewDecided, ReviewRequested
from pipeline.events.ids import outcome_id
from pipeline.events.uploaded import MediaUploaded
from pipeline.events.values import Action
from pipeline.settle import settle
from tests import strategies

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TASK = ReviewRequested(
    task_id=UUID(int=1),
    media_id="m-1",
    round=2,
    queue="faces",
    harm="fraud",
    priority=1,
    requested_at=NOW,
    deadline=NOW,
    provisional=Action.HOLD,
    reasons=("Possible face swap.",),
    decision_id=UUID(int=2),
    upload=MediaUploaded(media_id="m-1", uri="s3://b/k", uploaded_at=NOW),
    label="AI-generated",
)


def review(action: Action, **changes: object) -> ReviewDecided:
    plain = ReviewDecided(
        review_id=UUID(int=3),
        task_id=TASK.task_id,
        media_id="m-1",
        action=action,
        decided_at=NOW + timedelta(hours=1),
        reviewer_id="r-1",
        notes="not for the platform",
    )
    return msgspec.structs.replace(plain, **changes)


@given(strategies.reviews, strategies.tasks)
def test_total_and_final(answer: ReviewDecided, task: ReviewRequested) -> None:
    """Every answer to a task is one final outcome by a person, in the task's round."""
    answer = msgspec.structs.replace(answer, task_id=task.task_id, media_id=task.media_id)
    outcome = settle(answer, task)
    assert (outcome.status, outcome.decided_by) == (OutcomeStatus.FINAL, DecidedBy.PERSON)
    assert outcome.outcome_id == outcome_id(task.media_id, task.round, "final")
    assert (outcome.action, outcome.round) == (answer.action, task.round)
    assert outcome.action is not Action.HOLD


def test_reasons() -> None:
    """The person's words come first and the machine's stand; neither reviewer nor notes are shown."""
    outcome = settle(review(Action.REMOVE, reason="The person shown has complained."), TASK)
    assert outcome.reasons == (
        "A person looked at it: to be removed.",
        "The person shown has complained.",
        "Possible face swap.",
    )
    assert outcome.enforced_at == NOW + timedelta(hours=1)


def test_cleared() -> None:
    """An upload that was cleared keeps neither the suspicion nor the label."""
    outcome = settle(review(Action.ALLOW), TASK)
    assert outcome.reasons == ("A person looked at it: nothing against showing it.",)
    assert outcome.label is None


@pytest.mark.parametrize(
    ("action", "own", "label"),
    [
        (Action.LABEL, None, "AI-generated"),
        (Action.LABEL, "Parody", "Parody"),
        (Action.LIMIT, None, "AI-generated"),
        (Action.REMOVE, "Parody", None),
    ],
)
def test_label(action: Action, own: str | None, label: str | None) -> None:
    """The reviewer's text, else the one that was on already, where viewers see the upload."""
    assert settle(review(action, label=own), TASK).label == label


@pytest.mark.parametrize("changes", [{"task_id": UUID(int=9)}, {"media_id": "m-2"}])
def test_an_answer_to_another_task(changes: dict[str, object]) -> None:
    """A mix-up is refused, never published."""
    with pytest.raises(Permanent) as caught:
        settle(review(Action.ALLOW, **changes), TASK)
    assert caught.value.reason is Reason.UNKNOWN_TASK
