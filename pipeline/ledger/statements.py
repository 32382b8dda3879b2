"""The outbox of statements of reasons.

Rows are written in the transaction of the outcome that they are about, so none is lost and none is there twice.
Sending them is another process's work: it forms batches (which stay as they are, so that a repeat sends the same),
sends, and then marks. Between sending and marking a process may die; the endpoint then refuses the repeat by its puid,
which counts as sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import NAMESPACE_URL, uuid5

import msgspec
from sqlalchemy import Connection, func, insert, select, update

from pipeline.errors import Stage
from pipeline.events import DecidedBy, MediaDecided, MediaEnforced, OutcomeStatus, ReviewDecided
from pipeline.ledger.port import Standing
from pipeline.ledger.tables import decisions, outcomes, reviews, statements
from pipeline.statements.rows import Compile, Entry, StatementState

if TYPE_CHECKING:  # the ledger writes through this module
    from pipeline.ledger.ledger import Ledger

OUTBOX_LOCK: Final = 0x756E6D61736B + 2
"""One process at a time forms batches."""

_BATCHES = uuid5(NAMESPACE_URL, "urn:unmask:statement-batch")

_decided = msgspec.json.Decoder(MediaDecided)
_enforced = msgspec.json.Decoder(MediaEnforced)
_reviewed = msgspec.json.Decoder(ReviewDecided)


def queue(decided: MediaDecided, outcome: MediaEnforced, report: Compile, connection: Connection) -> None:
    """Put into the outbox what an outcome that was just recorded asks for.

    Nothing where a later round was decided before: this outcome never came to apply.
    """
    # The first outcome of a first round, which most are, has none before it.
    first = outcome.round == 1 and outcome.decided_by is not DecidedBy.PERSON
    before = None if first else _before(outcome, connection)
    found = report(decided, outcome, _review(outcome, connection), before)
    d = decisions.c
    later = select(d.round).where(d.media_id == outcome.media_id, d.round > outcome.round)
    if found and connection.execute(later).first() is None:
        rows = [
            {
                "puid": draft.puid,
                "media_id": draft.media_id,
                "round": draft.round,
                "status": draft.status,
                "state": draft.state.value,
                "queued_at": draft.queued_at,
                "body": draft.body,
                "findings": draft.findings,
            }
            for draft in found
        ]
        connection.execute(insert(statements), rows)


def _review(outcome: MediaEnforced, connection: Connection) -> ReviewDecided | None:
    if outcome.decided_by is not DecidedBy.PERSON:
        return None
    event = connection.execute(select(reviews.c.event).where(reviews.c.task_id == outcome.task_id)).scalar()
    return None if event is None else _reviewed.decode(event)


def _before(outcome: MediaEnforced, connection: Connection) -> Standing | None:
    """What applied until this outcome: the provisional one of its round, else the latest of earlier rounds."""
    o, d = outcomes.c, decisions.c
    earlier = o.round < outcome.round
    if outcome.status is OutcomeStatus.FINAL:
        earlier |= (o.round == outcome.round) & (o.status == OutcomeStatus.PROVISIONAL.value)
    query = (
        select(d.event, o.event.label("outcome"))
        .select_from(outcomes.join(decisions))
        .where(o.media_id == outcome.media_id, earlier)
        .order_by(o.round.desc(), o.status)  # "final" sorts before "provisional"
        .limit(1)
    )
    row = connection.execute(query).first()
    return None if row is None else Standing(_decided.decode(row.event), _enforced.decode(row.outcome))


class Outbox:
    """Reads and writes of the outbox, for who sends from it and who looks after it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def counts(self) -> dict[str, int]:
        """How many statements there are in each state."""
        with self._ledger.reading(Stage.ROUTE) as connection:
            found = {row.state: row.n for row in connection.execute(_COUNTS)}
        return {state.value: found.get(state.value, 0) for state in StatementState}

    def entries(
        self,
        states: Iterable[StatementState] = tuple(StatementState),
        *,
        since: datetime | None = None,
        media_id: str | None = None,
        limit: int | None = None,
    ) -> tuple[Entry, ...]:
        """Statements in these states, the oldest first."""
        c = statements.c
        query = select(*_ENTRY).where(c.state.in_([state.value for state in states]))
        if since is not None:
            query = query.where(c.queued_at >= since)
        if media_id is not None:
            query = query.where(c.media_id == media_id)
        query = query.order_by(c.queued_at, c.puid).limit(limit)
        with self._ledger.reading(Stage.ROUTE) as connection:
            return tuple(_entry(row) for row in connection.execute(query))

    def form_batches(self, most: int, since: datetime | None = None) -> tuple[str, ...]:
        """Put what is queued and in no batch into batches of at most `most`; all batches that have something to send.

        A batch's name follows from what is in it when it is formed.
        """
        c = statements.c
        waiting = (c.state == StatementState.QUEUED.value, c.batch.is_(None))
        query = select(c.puid).where(*waiting, *(() if since is None else (c.queued_at >= since,)))
        with self._ledger.writing(Stage.ROUTE, OUTBOX_LOCK) as connection:
            puids = connection.execute(query.order_by(c.queued_at, c.puid)).scalars().all()
            for at in range(0, len(puids), most):
                part = puids[at : at + most]
                name = str(uuid5(_BATCHES, "/".join(sorted(part))))
                connection.execute(update(statements).where(c.puid.in_(part)).values(batch=name))
            unsent = (
                select(c.batch)
                .where(c.state == StatementState.QUEUED.value, c.batch.is_not(None))
                .group_by(c.batch)
                .order_by(func.min(c.queued_at), c.batch)
            )
            return tuple(connection.execute(unsent).scalars())

    def batch(self, name: str) -> tuple[Entry, ...]:
        """What of a batch is still to be sent, in a fixed order."""
        c = statements.c
        query = select(*_ENTRY).where(c.batch == name, c.state == StatementState.QUEUED.value).order_by(c.puid)
        with self._ledger.reading(Stage.ROUTE) as connection:
            return tuple(_entry(row) for row in connection.execute(query))

    def mark_sent(self, receipts: Mapping[str, str], now: datetime) -> None:
        """puid → the endpoint's receipt, of what it has."""
        self._settle({puid: {"receipt": receipt} for puid, receipt in receipts.items()}, StatementState.SENT, now)

    def mark_refused(self, why: Mapping[str, str], now: datetime) -> None:
        """puid → why, of what it does not take."""
        self._settle({puid: {"why": reason} for puid, reason in why.items()}, StatementState.REFUSED, now)

    def release(self, puids: Sequence[str]) -> int:
        """Queue what was held back or refused, as it is: a person has looked. How many were released."""
        c = statements.c
        kept = c.state.in_([StatementState.HELD_BACK.value, StatementState.REFUSED.value])
        fresh = {"state": StatementState.QUEUED.value, "batch": None, "settled_at": None, "why": None}
        with self._ledger.writing(Stage.ROUTE) as connection:
            done = connection.execute(update(statements).where(c.puid.in_(puids), kept).values(**fresh))
            return int(done.rowcount)

    def review_of(self, outcome: MediaEnforced) -> ReviewDecided | None:
        """The answer of the person behind an outcome."""
        with self._ledger.reading(Stage.ROUTE) as connection:
            return _review(outcome, connection)

    def _settle(self, values: Mapping[str, Mapping[str, str]], state: StatementState, now: datetime) -> None:
        c = statements.c
        with self._ledger.writing(Stage.ROUTE) as connection:
            for puid, more in values.items():
                waiting = (c.puid == puid, c.state == StatementState.QUEUED.value)
                connection.execute(update(statements).where(*waiting).values(state=state.value, settled_at=now, **more))


_COUNTS = select(statements.c.state, func.count().label("n")).group_by(statements.c.state)

_ENTRY = (
    statements.c.puid,
    statements.c.media_id,
    statements.c.round,
    statements.c.state,
    statements.c.queued_at,
    statements.c.body,
    statements.c.findings,
    statements.c.batch,
    statements.c.settled_at,
    statements.c.receipt,
    statements.c.why,
)


def _entry(row: Any) -> Entry:
    return Entry(**{**row._mapping, "state": StatementState(row.state)})  # noqa: SLF001 (its public name for a mapping)
