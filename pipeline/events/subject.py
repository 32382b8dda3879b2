"""`subject.requested` and `subject.answered`: what the person shown or an appealing uploader asks for, and what came of
it.

Who asks stays with the platform: neither record has room for it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from msgspec import Meta

from pipeline.events.values import (
    NO_CONTROLS,
    Action,
    Count,
    MediaId,
    Region,
    RequestId,
    RequestKind,
    Round,
    Struct,
    Timestamp,
    check_moment,
)

ConsentReference = Annotated[
    str, Meta(min_length=1, max_length=256, pattern=NO_CONTROLS, description="the platform's own record of a consent")
]


class SubjectRequested(Struct, frozen=True, tag_field="schema", tag="subject.requested/1"):
    """Published by the platform once it holds a request to be valid. Again is harmless: the same rounds are opened.

    Exactly one of `media_id` and `consent_reference` says what it is about: an upload with its copies, or every upload
    that carried that reference, with theirs. `received_at`: when the request reached the platform; legal clocks start
    there, or when Unmask reads it if that is earlier. `harm`: what the person calls it, in the policy's words.
    `jurisdiction`: whose law the person invokes. `statement`: why, for reviewers. An appeal names an upload.
    """

    request_id: RequestId
    kind: RequestKind
    received_at: Timestamp
    media_id: MediaId | None = None
    consent_reference: ConsentReference | None = None
    jurisdiction: Region | None = None
    harm: Annotated[str, Meta(max_length=40, pattern=NO_CONTROLS)] = ""
    statement: Annotated[str, Meta(max_length=5000)] = ""

    def __post_init__(self) -> None:
        check_moment("received_at", self.received_at)
        if (self.media_id is None) == (self.consent_reference is None):
            raise ValueError("exactly one of `media_id` and `consent_reference` is needed")
        if self.kind is RequestKind.APPEAL and self.media_id is None:
            raise ValueError("an appeal is about one upload: it needs `media_id`")


class AnswerStatus(StrEnum):
    """`received`: re-opened, a person or the policy decides. `done`: every upload has its final outcome.
    `unknown_content`: nothing that was decided so far is meant; the request may be sent again later."""

    RECEIVED = "received"
    DONE = "done"
    UNKNOWN_CONTENT = "unknown_content"


class SubjectMatch(StrEnum):
    """Why an upload is concerned: it was named, carried the consent, has the same bytes, or looks the same."""

    NAMED = "named"
    SAME_CONSENT = "same_consent"
    SAME_BYTES = "same_bytes"
    NEAR_COPY = "near_copy"

    @property
    def copied(self) -> bool:
        """The request means another upload, of which this one is a copy."""
        return self in (SubjectMatch.SAME_BYTES, SubjectMatch.NEAR_COPY)


class Reopened(Struct, frozen=True):
    """An upload that a request re-opened, and in which round. `action`: what is final, once it is."""

    media_id: MediaId
    round: Round
    match: SubjectMatch
    action: Action | None = None


class SubjectAnswered(Struct, frozen=True, tag_field="schema", tag="subject.answered/1"):
    """Published by Unmask: `received` or `unknown_content` at once, `done` when all is final. One of each at most; a
    repeat equals the first.

    `deadline`: the earliest of the re-opened uploads; None where nobody has to look. `in_time`: with `done`, whether
    each upload was final by its own deadline. `left_out`: copies beyond the bound, which were not re-opened.
    """

    answer_id: UUID
    request_id: RequestId
    kind: RequestKind
    status: AnswerStatus
    answered_at: Timestamp
    uploads: tuple[Reopened, ...] = ()
    deadline: Timestamp | None = None
    in_time: bool | None = None
    left_out: Count = 0
