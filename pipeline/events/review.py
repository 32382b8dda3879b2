"""`review.requested.<queue>` and `review.decided`: a task for a person, and what the person decided."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from msgspec import Meta

from pipeline.events.uploaded import MediaUploaded
from pipeline.events.values import Action, MediaFacts, MediaId, Round, Sampling, Sha256, Signal, Struct, Timestamp


class ReviewRequested(Struct, frozen=True, tag_field="schema", tag="review.requested/1"):
    """Published by `route` to the queue's topic. `task_id` is a function of the upload and its round: one task."""

    task_id: UUID
    media_id: MediaId
    round: Round
    queue: str
    harm: str
    priority: int
    requested_at: Timestamp
    deadline: Timestamp
    provisional: Action
    reasons: tuple[str, ...]
    decision_id: UUID
    upload: MediaUploaded
    sha256: Sha256 | None = None
    facts: MediaFacts | None = None
    sampling: Sampling | None = None
    signals: tuple[Signal, ...] = ()


class ReviewDecided(Struct, frozen=True, tag_field="schema", tag="review.decided/1"):
    """Published by the console or by the platform's own tool. For one task the first record stands."""

    review_id: UUID
    task_id: UUID
    media_id: MediaId
    action: Action
    decided_at: Timestamp
    reviewer_id: Annotated[str, Meta(min_length=1, max_length=256)]
    round: Round = 1
    reason: str = ""
    notes: str = ""
