"""What is said to a request of the person shown: at once, and when all is final. Pure; a repeat says the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from pipeline.events import MediaEnforced, SubjectAnswered, SubjectRequested
from pipeline.events.ids import answer_id
from pipeline.events.subject import AnswerStatus, Reopened, SubjectMatch


@dataclass(frozen=True, slots=True)
class Opened:
    """An upload that a request re-opened. `final`: the first final outcome of that round or a later one."""

    media_id: str
    round: int
    match: SubjectMatch
    deadline: datetime | None = None
    final: MediaEnforced | None = None


_ORDER = {match: i for i, match in enumerate(SubjectMatch)}


def unknown_content(request: SubjectRequested, now: datetime) -> SubjectAnswered:
    """Nothing that was decided so far is meant."""
    return SubjectAnswered(
        answer_id=answer_id(request.request_id, AnswerStatus.UNKNOWN_CONTENT),
        request_id=request.request_id,
        kind=request.kind,
        status=AnswerStatus.UNKNOWN_CONTENT,
        answered_at=now,
    )


def received(request: SubjectRequested, opened: Sequence[Opened], now: datetime, left_out: int = 0) -> SubjectAnswered:
    """What is re-opened, and until when."""
    return SubjectAnswered(
        answer_id=answer_id(request.request_id, AnswerStatus.RECEIVED),
        request_id=request.request_id,
        kind=request.kind,
        status=AnswerStatus.RECEIVED,
        answered_at=now,
        uploads=_uploads(opened),
        deadline=_earliest(opened),
        left_out=left_out,
    )


def done(request: SubjectRequested, opened: Sequence[Opened], left_out: int = 0) -> SubjectAnswered | None:
    """What became of each upload; None while one of them is not final. It is said at the moment of the last one."""
    finals = [each.final for each in opened if each.final is not None]
    if not opened or len(finals) < len(opened):
        return None
    due = [each.final.enforced_at <= each.deadline for each in opened if each.final and each.deadline]
    return SubjectAnswered(
        answer_id=answer_id(request.request_id, AnswerStatus.DONE),
        request_id=request.request_id,
        kind=request.kind,
        status=AnswerStatus.DONE,
        answered_at=max(final.enforced_at for final in finals),
        uploads=_uploads(opened),
        deadline=_earliest(opened),
        in_time=all(due) if due else None,
        left_out=left_out,
    )


def _uploads(opened: Iterable[Opened]) -> tuple[Reopened, ...]:
    return tuple(
        Reopened(
            media_id=each.media_id,
            round=each.round,
            match=each.match,
            action=None if each.final is None else each.final.action,
        )
        for each in sorted(opened, key=lambda each: (_ORDER[each.match], each.media_id))
    )


def _earliest(opened: Iterable[Opened]) -> datetime | None:
    return min((each.deadline for each in opened if each.deadline), default=None)
