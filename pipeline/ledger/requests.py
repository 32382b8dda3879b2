"""Requests of the person shown in the database: what is read and written, on a connection that `Ledger` opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, insert, select

from pipeline import answer
from pipeline.answer import Opened
from pipeline.events import MediaDecided, MediaEnforced, OutcomeStatus, SubjectAnswered, SubjectRequested
from pipeline.events.codec import encode
from pipeline.events.subject import AnswerStatus, SubjectMatch
from pipeline.ledger.port import Following, Standing
from pipeline.ledger.tables import answers, decisions, hashes, outcomes, reopened, requests, tasks, uploads

Reopen = Callable[[Standing, SubjectMatch], Following]
"""How an upload stands, and why it is concerned → the decision of its next round, and what follows."""

_asked = msgspec.json.Decoder(SubjectRequested)
_answered = msgspec.json.Decoder(SubjectAnswered)
_decided = msgspec.json.Decoder(MediaDecided)
_enforced = msgspec.json.Decoder(MediaEnforced)

_MOST_AT_ONCE = 500
"""Names in one query: databases bound the parameters of a statement."""


def request_row(request: SubjectRequested, now: datetime) -> Mapping[str, object]:
    """The row of `requests`."""
    return {
        "request_id": request.request_id,
        "kind": request.kind.value,
        "media_id": request.media_id,
        "consent_reference": request.consent_reference,
        "received_at": request.received_at,
        "recorded_at": now,
        "event": encode(request).decode(),
    }


def answer_row(each: SubjectAnswered) -> Mapping[str, object]:
    """The row of `answers`."""
    return {
        "request_id": each.request_id,
        "status": each.status.value,
        "answer_id": each.answer_id,
        "answered_at": each.answered_at,
        "event": encode(each).decode(),
    }


def said(event: str) -> SubjectAnswered:
    """The answer that a row holds."""
    return _answered.decode(event)


def standing(media_id: str, connection: Connection) -> Standing | None:
    """How an upload stands; None when it was never decided on."""
    row = connection.execute(_STANDING, {"media_id": media_id}).first()
    return None if row is None else Standing(_decided.decode(row.event), _enforced.decode(row.outcome))


def answer_of(request_id: str, status: AnswerStatus, connection: Connection) -> SubjectAnswered | None:
    """What was said already."""
    found = connection.execute(_ANSWER, {"request_id": request_id, "status": status.value}).scalar()
    return None if found is None else said(found)


def opened_by(request_id: str, connection: Connection) -> tuple[MediaDecided, ...]:
    """The decisions of the rounds that a request opened."""
    return tuple(map(_decided.decode, connection.execute(_OPENED, {"request_id": request_id}).scalars()))


def opened_before(media_id: str, request_id: str, connection: Connection) -> MediaDecided | None:
    """The round that this request opened, told from the decisions alone: a ledger that is built again from the topics
    has them before it reads the request."""
    for event in connection.execute(_LATER_ROUNDS, {"media_id": media_id}).scalars():
        decided = _decided.decode(event)
        if decided.request is not None and decided.request.request_id == request_id:
            return decided
    return None


def open_round(request_id: str, decided: MediaDecided, match: SubjectMatch, connection: Connection) -> None:
    """Note that a request opened this round."""
    row = {"request_id": request_id, "media_id": decided.media_id, "round": decided.round, "match": match.value}
    connection.execute(insert(reopened), row)


def finished(media_id: str, round_: int, connection: Connection) -> tuple[SubjectAnswered, ...]:
    """What is to be said to the requests that this upload's final outcome in this round settled, as the last one."""
    found = []
    for row in connection.execute(_WAITING_FOR, {"media_id": media_id, "round": round_}):
        request = _asked.decode(row.event)
        first = answer_of(request.request_id, AnswerStatus.RECEIVED, connection)
        settled = answer.done(request, _state_of(request.request_id, connection), first.left_out if first else 0)
        if settled is not None:
            found.append(settled)
    return tuple(found)


def _state_of(request_id: str, connection: Connection) -> tuple[Opened, ...]:
    rows = connection.execute(_STATE, {"request_id": request_id}).all()
    opened: dict[str, Opened] = {}
    for row in rows:  # the first final outcome of each upload comes first
        final = None if row.outcome is None else _enforced.decode(row.outcome)
        opened.setdefault(row.media_id, Opened(row.media_id, row.round, SubjectMatch(row.match), row.deadline, final))
    return tuple(opened.values())


def in_parts(names: Sequence[str]) -> list[list[str]]:
    """Names in the numbers that one query takes."""
    unique = list(dict.fromkeys(names))
    return [unique[at : at + _MOST_AT_ONCE] for at in range(0, len(unique), _MOST_AT_ONCE)]


def meant(request: SubjectRequested) -> Any:
    """The query for the uploads that a request names."""
    wanted = (
        decisions.c.media_id == request.media_id
        if request.consent_reference is None
        else uploads.c.consent_reference == request.consent_reference
    )
    joined = decisions.join(uploads)
    return select(decisions.c.media_id).select_from(joined).where(wanted).distinct().order_by(decisions.c.media_id)


def contents_of(media_ids: Sequence[str]) -> Any:
    """The query for the bytes of uploads, with what they look like."""
    u = uploads.c
    joined = uploads.outerjoin(hashes, hashes.c.sha256 == u.sha256)
    return (
        select(u.sha256, hashes.c.frames)
        .select_from(joined)
        .where(u.media_id.in_(media_ids), u.sha256.is_not(None))
        .distinct()
    )


def contents_since(since: datetime) -> Any:
    """The query for what was decided since then, with what it looks like."""
    d, u = decisions.c, uploads.c
    recent = select(u.sha256).select_from(decisions.join(uploads)).where(d.decided_at >= since)
    return select(hashes.c.sha256, hashes.c.frames).where(hashes.c.sha256.in_(recent)).order_by(hashes.c.sha256)


def uploads_of(sha256s: Sequence[str]) -> Any:
    """The query for uploads of these bytes that were decided on, the latest first."""
    u = uploads.c
    return (
        select(u.sha256, u.media_id)
        .select_from(decisions.join(uploads))
        .where(u.sha256.in_(sha256s))
        .order_by(u.uploaded_at.desc(), u.media_id)
    )


def all_reopened() -> Any:
    """The query for every round that a request opened, with its moment and whether its question is settled."""
    return (
        select(
            reopened.c.request_id,
            reopened.c.media_id,
            reopened.c.round,
            reopened.c.match,
            requests.c.recorded_at,
            select(outcomes.c.outcome_id).where(_final_since(reopened)).exists().label("final"),
        )
        .select_from(reopened.join(requests))
        .order_by(reopened.c.request_id, reopened.c.media_id)
    )


def _final_since(row: Any) -> Any:
    """A final outcome of the round that a row of `reopened` names, or of a later one."""
    c = outcomes.c
    same = (c.media_id == row.c.media_id) & (c.round >= row.c.round)
    return same & (c.status == OutcomeStatus.FINAL.value)


_STANDING = (
    select(decisions.c.event, outcomes.c.event.label("outcome"))
    .select_from(
        decisions.join(
            outcomes, (outcomes.c.media_id == decisions.c.media_id) & (outcomes.c.round == decisions.c.round)
        )
    )
    .where(decisions.c.media_id == bindparam("media_id"))
    .order_by(decisions.c.round.desc(), outcomes.c.status)  # "final" sorts before "provisional"
    .limit(1)
)
_ANSWER = select(answers.c.event).where(
    answers.c.request_id == bindparam("request_id"), answers.c.status == bindparam("status")
)
_OPENED = (
    select(decisions.c.event)
    .select_from(reopened.join(decisions))
    .where(reopened.c.request_id == bindparam("request_id"))
    .order_by(decisions.c.media_id)
)
_LATER_ROUNDS = (
    select(decisions.c.event)
    .where(decisions.c.media_id == bindparam("media_id"), decisions.c.round > 1)
    .order_by(decisions.c.round)
)
_BEFORE = outcomes.alias()
_WAITING_FOR = (
    select(requests.c.event)
    .select_from(reopened.join(requests))
    .where(
        reopened.c.media_id == bindparam("media_id"),
        reopened.c.round <= bindparam("round"),
        ~select(_BEFORE.c.round)
        .where(
            _BEFORE.c.media_id == reopened.c.media_id,
            _BEFORE.c.round >= reopened.c.round,
            _BEFORE.c.round < bindparam("round"),
            _BEFORE.c.status == OutcomeStatus.FINAL.value,
        )
        .exists(),
    )
    .order_by(requests.c.request_id)
)
_STATE = (
    select(
        reopened.c.media_id,
        reopened.c.round,
        reopened.c.match,
        tasks.c.deadline,
        outcomes.c.event.label("outcome"),
    )
    .select_from(
        reopened.outerjoin(
            tasks, (tasks.c.media_id == reopened.c.media_id) & (tasks.c.round == reopened.c.round)
        ).outerjoin(outcomes, _final_since(reopened))
    )
    .where(reopened.c.request_id == bindparam("request_id"))
    .order_by(reopened.c.media_id, outcomes.c.round)
)
