"""`review.requested.<queue>` and `review.decided`: a task for a person, and what the person decided."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from msgspec import Meta

from pipeline.events.uploaded import MediaUploaded
from pipeline.events.values import (
    NO_CONTROLS,
    Action,
    Family,
    MediaFacts,
    MediaId,
    Priority,
    RequestFacts,
    Round,
    Sampling,
    Sha256,
    Signal,
    Struct,
    Timestamp,
    check_moment,
)


class ReviewRequested(Struct, frozen=True, tag_field="schema", tag="review.requested/1"):
    """Published by `route` to the queue's topic. `task_id` is a function of the upload and its round: one task.

    `provisional` applies until a person answers; `label` is the text that is shown to viewers meanwhile. `start_by` is
    what queues are sorted by: the deadline less the time that handling is expected to take. `clock`: the legal or
    promised deadline behind it. `request`: what the person shown asked for, where that opened the task.
    """

    task_id: UUID
    media_id: MediaId
    round: Round
    queue: str
    harm: str
    priority: Priority
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
    label: str | None = None
    start_by: Timestamp | None = None
    clock: str | None = None
    request: RequestFacts | None = None


class ReviewDecided(Struct, frozen=True, tag_field="schema", tag="review.decided/1"):
    """Published by the console or by the platform's own tool. For one task the first record stands.

    `action` is final, so it cannot be `hold`, which means "until a person decides": such a record is malformed, and
    the task stays open. `reason` is shown to the platform, `notes` are not. `label`: the text for viewers when
    `action` is `label` or `limit`; the text that was on the upload already when it is not given. `confirmed`, `denied`:
    the manipulations that the person saw, or ruled out: what the heads learn from. An action alone says little of that.
    `harm`: what the person calls it, in the policy's words.
    """

    review_id: UUID
    task_id: UUID
    media_id: MediaId
    action: Annotated[Action, Meta(extra_json_schema={"not": {"const": "hold"}})]
    decided_at: Timestamp
    reviewer_id: Annotated[str, Meta(min_length=1, max_length=256, pattern=NO_CONTROLS)]
    round: Round = 1
    reason: Annotated[str, Meta(max_length=2000)] = ""
    notes: Annotated[str, Meta(max_length=20_000)] = ""
    label: Annotated[str, Meta(max_length=200)] | None = None
    confirmed: tuple[Family, ...] = ()
    denied: tuple[Family, ...] = ()
    harm: Annotated[str, Meta(max_length=40, pattern=NO_CONTROLS)] = ""

    def __post_init__(self) -> None:
        check_moment("decided_at", self.decided_at)
        if self.action is Action.HOLD:
            raise ValueError("`hold` is no answer: it means until a person decides")
        if both := set(self.confirmed) & set(self.denied):
            raise ValueError(f"both confirmed and denied: {', '.join(sorted(both))}")
