"""Every read and write of the ledger. Synchronous: agents call it through `asyncio.to_thread`.

For one upload and round the first decision that is recorded stands, and for one task the first review. That is settled
here, in one transaction each, because nothing earlier can: an upload may be screened twice (a worker dies between
publishing and committing), and the two decisions may differ (a model was down once). What is published downstream is
derived from what these methods return, so a repeat publishes the same bytes again.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import (
    URL,
    Connection,
    Engine,
    bindparam,
    create_engine,
    distinct,
    event,
    func,
    insert,
    inspect,
    make_url,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError
from sqlalchemy.pool import ConnectionPoolEntry

from pipeline import answer
from pipeline.answer import Opened
from pipeline.errors import ConfigError, Permanent, Reason, Stage, Transient
from pipeline.events import (
    Event,
    MediaDecided,
    MediaEnforced,
    OutcomeStatus,
    ReviewDecided,
    ReviewRequested,
    SubjectAnswered,
    SubjectRequested,
)
from pipeline.events.codec import encode
from pipeline.events.subject import AnswerStatus, SubjectMatch
from pipeline.events.values import FrameHash
from pipeline.ledger import requests as asked
from pipeline.ledger import statements as reported
from pipeline.ledger.port import (
    DecisionRow,
    KnownContent,
    LedgerCounts,
    OpenedRequest,
    RecentUpload,
    ReopenedRow,
    ReviewRow,
    SettledReview,
    Standing,
    TaskRow,
    TaskState,
    known_from,
)
from pipeline.ledger.tables import (
    SCHEMA,
    answers,
    contents,
    decisions,
    hashes,
    matches,
    outcomes,
    quarantines,
    requests,
    reviews,
    tasks,
    uploads,
)
from pipeline.match.banks import OnFlood
from pipeline.match.copies import Concerned, Content
from pipeline.match.flood import Counted, Quarantine
from pipeline.statements.rows import Compile

BUSY_SECONDS = 30
"""How long a writer waits for another one's transaction, which lasts milliseconds."""
CONNECTIONS = 10
"""Kept open to PostgreSQL once they were needed; as many again are opened for a moment, which costs each a round."""

_MIGRATION_LOCK = 0x756E6D61736B  # "unmask"

_QUARANTINE_LOCK = _MIGRATION_LOCK + 1

_MIGRATIONS = Path(__file__).parent / "migrations"
_OUTBOX_SINCE = "0006"
"""The step that made the table in which answers wait to be published."""

_decided = msgspec.json.Decoder(MediaDecided)
_enforced = msgspec.json.Decoder(MediaEnforced)
_requested = msgspec.json.Decoder(ReviewRequested)
_reviewed = msgspec.json.Decoder(ReviewDecided)
_content = msgspec.json.Decoder(KnownContent)
_frames = msgspec.json.Decoder(tuple[FrameHash, ...])


class Ledger:
    """One database, PostgreSQL or an SQLite file; opened at the first use. Safe to share between threads, not across
    a fork.

    Methods raise `Transient` (reason `ledger_unavailable`) when the database cannot be reached or is busy for too
    long, and `Permanent` for a value that it cannot hold.
    """

    def __init__(self, url: str, report: Compile | None = None) -> None:
        """Raises ConfigError for a URL of another kind.

        Args:
            url: SQLAlchemy's.
            report: what statements of reasons an outcome asks for; they go into the outbox together with it.
        """
        self._report = report
        self._engine = _engine(_url(url))
        self._postgres = self._engine.dialect.name == "postgresql"
        self._writes = self._engine.execution_options(writes=True)
        # A single SELECT needs no transaction of its own; on PostgreSQL that saves two round trips.
        self._reads = self._engine.execution_options(isolation_level="AUTOCOMMIT") if self._postgres else self._engine

    def close(self) -> None:
        """Close every connection that is not in use."""
        self._engine.dispose()

    @property
    def postgres(self) -> bool:
        """Whether it is PostgreSQL, and not SQLite."""
        return self._postgres

    # --- the schema -----------------------------------------------------------------------------------------------

    def migrate(self) -> None:
        """Bring the schema up to date. Any number of workers may do so at once; a newer schema is left alone."""
        with _trouble(Stage.RECEIVE):
            if not self._postgres:
                _prepare_file(self._engine)
            if self._schema() >= SCHEMA:
                return
            with self._writes.begin() as connection:
                if self._postgres:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
                if _schema_of(connection) < SCHEMA:
                    _upgrade(connection)

    def go_back(self, revision: str) -> None:
        """Take the schema back to that of an older release. What later steps added is lost; docs/ledger.md says what.

        Raises:
            ConfigError: there is no such step, or answers of people wait to be published and would be lost.
        """
        with _trouble(Stage.RECEIVE), self._writes.begin() as connection:
            if self._postgres:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            found = _schema_of(connection)
            if not (revision.isdigit() and revision < found):
                raise ConfigError(f"the schema is {found or 'missing'}: {revision!r} is no step before it")
            if found > SCHEMA:
                raise ConfigError(f"the schema is {found}, and only a release that knows it can take it back")
            if revision < _OUTBOX_SINCE <= found:
                waiting = connection.execute(text("SELECT count(*) FROM outbox WHERE sent_at IS NULL")).scalar_one()
                if waiting:
                    raise ConfigError(f"{waiting} answers wait to be published; let a console or relay send them first")
            _downgrade(connection, revision)

    def check(self) -> None:
        """For /readyz: the database answers and its schema is at least the one that this code needs."""
        with _trouble(Stage.RECEIVE):
            found = self._schema()
        if found < SCHEMA:
            detail = f"the schema is {found or 'missing'}, {SCHEMA} is needed"
            raise Transient(Stage.RECEIVE, Reason.LEDGER_UNAVAILABLE, detail)

    def _schema(self) -> str:
        with self._reads.connect() as connection:
            return _schema_of(connection)

    @contextmanager
    def reading(self, stage: Stage) -> Iterator[Connection]:
        """A connection for queries, with the database's errors as those of `stage`."""
        with _trouble(stage), self._reads.connect() as connection:
            yield connection

    @contextmanager
    def streaming(self, stage: Stage) -> Iterator[Connection]:
        """A connection for one query of many rows. They come in parts, which PostgreSQL has in transactions only."""
        with _trouble(stage), self._engine.connect() as connection:
            yield connection.execution_options(yield_per=1_000)

    @contextmanager
    def writing(self, stage: Stage, lock: int | None = None) -> Iterator[Connection]:
        """One transaction; `lock`: among those with the same number, one after the other."""
        with _trouble(stage), self._writes.begin() as connection:
            if self._postgres and lock is not None:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": lock})
            yield connection

    # --- decisions ------------------------------------------------------------------------------------------------

    def record_decision(
        self,
        decided: MediaDecided,
        task: ReviewRequested | None,
        outcome: MediaEnforced,
        traceparent: str | None = None,
    ) -> MediaDecided:
        """The decision that stands for this upload and round: this one if it is the first, else the one on record.

        With the first one its task, its outcome and what was found in the bytes are recorded, and open tasks of the
        upload's earlier rounds are superseded. `task` and `outcome` must follow from `decided` alone.
        `traceparent`: of the record that asks for the task, kept for who publishes the answer; the first that is known
        stands.

        Raises:
            Transient: also when the first one would close a request of the person shown without having looked at it;
                see `standing`.
        """
        with _trouble(Stage.ROUTE), self._writes.begin() as connection:
            self._one_writer_for(decided.media_id, connection)
            before = asked.standing(decided.media_id, connection) if decided.round > 1 else None
            if before is not None and before.requested and decided.request is None:
                key = {"media_id": decided.media_id, "round": decided.round}
                if (first := connection.execute(_DECISION, key).scalar()) is not None:
                    return _decided.decode(first)
                if before.decided.round < decided.round:
                    detail = f"{decided.media_id} is under a request that this decision does not know of"
                    raise Transient(Stage.ROUTE, Reason.LEDGER_UNAVAILABLE, detail)
            first = self._record(decided, task, outcome, connection)
            if task is not None and traceparent is not None:
                mine = (tasks.c.task_id == task.task_id, tasks.c.traceparent.is_(None))
                connection.execute(update(tasks).where(*mine).values(traceparent=traceparent))
            return first

    def _record(
        self, decided: MediaDecided, task: ReviewRequested | None, outcome: MediaEnforced, connection: Connection
    ) -> MediaDecided:
        """The first decision on this upload and round, and with it all that follows. The upload is locked."""
        key = {"media_id": decided.media_id, "round": decided.round}
        connection.execute(self.insert_new(uploads), _upload_row(decided))
        if connection.execute(self.insert_new(decisions), _decision_row(decided)).rowcount == 0:
            return _decided.decode(connection.execute(_DECISION, key).scalar_one())
        known = known_from(decided)
        if known is not None:
            connection.execute(self.insert_new(contents), _content_row(known))
        if decided.sha256 is not None and decided.hashes:
            connection.execute(self.insert_new(hashes), _hashes_row(decided.sha256, decided.hashes))
        if decided.sha256 is not None and decided.matches:
            connection.execute(self.insert_new(matches), _match_rows(decided, decided.sha256))
        if task is not None:
            late = connection.execute(_LATER_DECISION, key).first() is not None
            state = TaskState.SUPERSEDED if late else TaskState.OPEN
            connection.execute(insert(tasks), _task_row(task, state))
        connection.execute(insert(outcomes), _outcome_row(outcome))
        if self._report is not None:
            reported.queue(decided, outcome, self._report, connection)
        if decided.round > 1:
            connection.execute(_SUPERSEDE, {"of": decided.media_id, "before": decided.round})
        return decided

    def standing(self, media_id: str) -> Standing | None:
        """The decision of an upload's latest round and what applies; None when it was never decided on."""
        with _trouble(Stage.ROUTE), self._reads.connect() as connection:
            return asked.standing(media_id, connection)

    def known_content(self, sha256: str, detectors: tuple[str, ...]) -> KnownContent | None:
        """What these detectors (`name@version`) found in these bytes before."""
        with _trouble(Stage.DECIDE), self._reads.connect() as connection:
            row = connection.execute(_CONTENT, {"sha256": sha256, "key": _detectors_key(detectors)}).first()
        if row is None:
            return None
        known = _content.decode(row.findings)
        return known if row.embedding is None else msgspec.structs.replace(known, embedding=bytes(row.embedding))

    # --- reviews --------------------------------------------------------------------------------------------------

    def record_review(self, review: ReviewDecided) -> SettledReview | None:
        """The review that stands for this task, with the task. None when the upload has no such task."""
        with _trouble(Stage.SETTLE), self._writes.begin() as connection:
            self._one_writer_for(review.media_id, connection)
            row = connection.execute(_TASK, {"task_id": review.task_id}).first()
            if row is None or row.media_id != review.media_id:
                return None
            if connection.execute(self.insert_new(reviews), _review_row(review, row.round)).rowcount == 0:
                review = _reviewed.decode(connection.execute(_REVIEW, {"task_id": review.task_id}).scalar_one())
            else:
                connection.execute(_CLOSE_TASK, {"id": review.task_id})
        return SettledReview(review, _requested.decode(row.event), superseded=row.state == TaskState.SUPERSEDED)

    def record_final(self, outcome: MediaEnforced) -> MediaEnforced:
        """The final outcome that stands for this upload and round: this one if it is the first."""
        key = {"media_id": outcome.media_id, "round": outcome.round, "status": outcome.status.value}
        with _trouble(Stage.SETTLE), self._writes.begin() as connection:
            if connection.execute(self.insert_new(outcomes), _outcome_row(outcome)).rowcount == 0:
                return _enforced.decode(connection.execute(_OUTCOME, key).scalar_one())
            if self._report is not None:
                of = {"media_id": outcome.media_id, "round": outcome.round}
                decided = _decided.decode(connection.execute(_DECISION, of).scalar_one())
                reported.queue(decided, outcome, self._report, connection)
        return outcome

    def open_tasks(self, queue: str | None = None, limit: int | None = None) -> tuple[ReviewRequested, ...]:
        """Tasks that wait for a person, those with the least slack first (see `ReviewRequested.start_by`), then the
        highest priority."""
        query = (
            select(tasks.c.event)
            .where(tasks.c.state == TaskState.OPEN.value)
            .order_by(func.coalesce(tasks.c.start_by, tasks.c.deadline), tasks.c.priority.desc(), tasks.c.task_id)
            .limit(limit)
        )
        if queue is not None:
            query = query.where(tasks.c.queue == queue)
        with _trouble(Stage.SETTLE), self._reads.connect() as connection:
            return tuple(_requested.decode(row) for row in connection.execute(query).scalars())

    # --- requests of the person shown -------------------------------------------------------------------------------

    def record_request(
        self, request: SubjectRequested, concerned: Concerned, reopen: asked.Reopen, now: datetime
    ) -> OpenedRequest:
        """Open the next round of every upload that is concerned, once: a repeat gets what was opened first.

        The request, the decisions with what follows from them, and what is said to it are recorded in one transaction.
        A request that meant nothing the first time may mean something the next.
        """
        with _trouble(Stage.ANSWER), self._writes.begin() as connection:
            self._one_writer_for(f"request {request.request_id}", connection)
            connection.execute(self.insert_new(requests), asked.request_row(request, now))
            said = asked.answer_of(request.request_id, AnswerStatus.RECEIVED, connection)
            if said is not None:
                return OpenedRequest(asked.opened_by(request.request_id, connection), said, new=False)
            opened = [
                self._reopen(request.request_id, media_id, concerned.uploads[media_id], reopen, connection)
                for media_id in sorted(concerned.uploads)  # in one order, so that two requests cannot wait in a circle
            ]
            if opened:
                states = [
                    Opened(decided.media_id, decided.round, concerned.uploads[decided.media_id], _deadline(decided))
                    for decided in opened
                ]
                said = answer.received(request, states, now, concerned.left_out)
            else:
                said = answer.unknown_content(request, now)
            new = connection.execute(self.insert_new(answers), asked.answer_row(said)).rowcount > 0
            if not new:
                said = asked.answer_of(request.request_id, said.status, connection) or said
            return OpenedRequest(tuple(opened), said, new)

    def _reopen(
        self, request_id: str, media_id: str, match: SubjectMatch, reopen: asked.Reopen, connection: Connection
    ) -> MediaDecided:
        self._one_writer_for(media_id, connection)
        decided = asked.opened_before(media_id, request_id, connection)
        if decided is None:
            before = asked.standing(media_id, connection)
            if before is None:
                raise Permanent(Stage.ANSWER, Reason.INTERNAL, f"{media_id} was never decided on")
            decided = self._record(*reopen(before, match), connection)
        asked.open_round(request_id, decided, match, connection)
        return decided

    def finish_requests(self, media_id: str, round_: int) -> tuple[SubjectAnswered, ...]:
        """What is to be said to the requests that the final outcome of this upload and round settled, as the last of
        their uploads. Asked again, it says the same."""
        with _trouble(Stage.SETTLE), self._reads.connect() as connection:
            found = asked.finished(media_id, round_, connection)
        if not found:
            return ()
        with _trouble(Stage.SETTLE), self._writes.begin() as connection:
            for said in found:
                connection.execute(self.insert_new(answers), asked.answer_row(said))
            first = (asked.answer_of(said.request_id, AnswerStatus.DONE, connection) for said in found)
            return tuple(said for said in first if said is not None)

    def uploads_meant(self, request: SubjectRequested) -> tuple[str, ...]:
        """The media ids that were decided on and are named by the request, or carried its consent reference."""
        with _trouble(Stage.ANSWER), self._reads.connect() as connection:
            return tuple(connection.execute(asked.meant(request)).scalars())

    def contents_of(self, media_ids: Sequence[str]) -> tuple[Content, ...]:
        """The bytes of these uploads, all rounds."""
        with _trouble(Stage.ANSWER), self._reads.connect() as connection:
            rows = [row for part in asked.in_parts(media_ids) for row in connection.execute(asked.contents_of(part))]
        return tuple(Content(row.sha256, _frames.decode(row.frames) if row.frames else ()) for row in rows)

    def contents_since(self, since: datetime) -> Iterator[Content]:
        """What was decided since then and has hashes, once each, streamed."""
        for row in self._stream(asked.contents_since(since)):
            yield Content(row.sha256, _frames.decode(row.frames))

    def uploads_of(self, sha256s: Sequence[str]) -> tuple[tuple[str, str], ...]:
        """(digest, media id) of every upload of these bytes, the latest first."""
        with _trouble(Stage.ANSWER), self._reads.connect() as connection:
            rows = [row for part in asked.in_parts(sha256s) for row in connection.execute(asked.uploads_of(part))]
        return tuple((row.sha256, row.media_id) for row in rows)

    def answered(self, request_id: str) -> tuple[SubjectAnswered, ...]:
        """What was said to a request so far."""
        with _trouble(Stage.ANSWER), self._reads.connect() as connection:
            said = (asked.answer_of(request_id, status, connection) for status in AnswerStatus)
            return tuple(each for each in said if each is not None)

    def all_requests(self) -> Iterator[tuple[str, datetime]]:
        """Every request and when it was recorded, streamed, in no order."""
        for row in self._stream(select(requests.c.request_id, requests.c.recorded_at)):
            yield row.request_id, row.recorded_at

    def all_answers(self) -> Iterator[SubjectAnswered]:
        """Everything that was said to requests, streamed, in no order."""
        for row in self._stream(select(answers.c.event)):
            yield asked.said(row.event)

    def all_reopened(self) -> Iterator[ReopenedRow]:
        """Every round that a request opened, streamed."""
        for row in self._stream(asked.all_reopened()):
            match = SubjectMatch(row.match)
            yield ReopenedRow(row.request_id, row.media_id, row.round, match, row.recorded_at, bool(row.final))

    # --- known content ----------------------------------------------------------------------------------------------

    def matched_contents(self, bank: str, since: datetime) -> tuple[Counted, ...]:
        """How many different contents each hash of a bank matched since then, and the bank as a whole (empty id).

        What was matched before a hash was released does not count any more.
        """
        c = matches.c
        chosen = (c.bank == bank, c.matched_at >= since, c.counted.is_(True))
        different = func.count(distinct(c.sha256))
        with _trouble(Stage.ROUTE), self._reads.connect() as connection:
            each = connection.execute(select(c.hash_id, different).where(*chosen).group_by(c.hash_id)).all()
            total = connection.execute(select(different).where(*chosen)).scalar_one()
        return tuple(Counted(bank, hash_id, count) for hash_id, count in [*sorted(map(tuple, each)), ("", total)])

    def decided_contents(self, since: datetime) -> int:
        """How many different contents were decided since then."""
        query = (
            select(func.count(distinct(uploads.c.sha256)))
            .select_from(decisions.join(uploads))
            .where(decisions.c.decided_at >= since)
        )
        with _trouble(Stage.ROUTE), self._reads.connect() as connection:
            return connection.execute(query).scalar_one()

    def quarantine(self, found: Iterable[Quarantine]) -> tuple[Quarantine, ...]:
        """Put into quarantine (or on report) what is not there yet; those that are new."""
        new = []
        with self.writing(Stage.ROUTE, _QUARANTINE_LOCK) as connection:
            there = set(map(tuple, connection.execute(_QUARANTINED)))
            for each in found:
                if (each.bank, each.hash_id) not in there:
                    connection.execute(insert(quarantines), _quarantine_row(each))
                    new.append(each)
        return tuple(new)

    def quarantines(self) -> tuple[Quarantine, ...]:
        """All that ever were, the latest first."""
        query = select(quarantines).order_by(quarantines.c.since.desc(), quarantines.c.bank, quarantines.c.hash_id)
        with _trouble(Stage.DECIDE), self._reads.connect() as connection:
            return tuple(
                Quarantine(
                    bank=row.bank,
                    hash_id=row.hash_id,
                    since=row.since,
                    contents=row.contents,
                    reason=row.reason,
                    action=OnFlood(row.action),
                    released_at=row.released_at,
                )
                for row in connection.execute(query)
            )

    def release(self, bank: str, hash_id: str | None, now: datetime) -> int:
        """End a quarantine (with None: all of a bank): how many were ended. What was matched so far counts no more."""
        q, m = quarantines.c, matches.c
        ended = [q.bank == bank, q.released_at.is_(None)] + ([] if hash_id is None else [q.hash_id == hash_id])
        with _trouble(Stage.ROUTE), self._writes.begin() as connection:
            count: int = connection.execute(update(quarantines).where(*ended).values(released_at=now)).rowcount
            if count:
                past = [m.bank == bank, m.counted.is_(True)] + ([m.hash_id == hash_id] if hash_id else [])
                connection.execute(update(matches).where(*past).values(counted=False))
        return count

    def recent_uploads(self, since: datetime) -> Iterator[RecentUpload]:
        """Uploads that were decided since then and whose bytes are known, each in its latest round, streamed."""
        d, u, later = decisions.c, uploads.c, decisions.alias()
        query = (
            select(d.event, u.sha256, hashes.c.frames)
            .select_from(decisions.join(uploads).outerjoin(hashes, hashes.c.sha256 == u.sha256))
            .where(d.decided_at >= since, u.sha256.is_not(None))
            .where(~select(later.c.round).where(later.c.media_id == d.media_id, later.c.round > d.round).exists())
            .order_by(d.decided_at, d.media_id)
        )
        for row in self._stream(query):
            decided = _decided.decode(row.event)
            yield RecentUpload(
                upload=decided.upload,
                round=decided.round,
                sha256=row.sha256,
                decided_at=decided.decided_at,
                hashes=_frames.decode(row.frames) if row.frames else (),
                known=frozenset((match.bank, match.hash_id) for match in decided.matches if match.live),
            )

    def judged(self, since: datetime) -> Iterator[tuple[MediaDecided, ReviewDecided | None]]:
        """Every decision since then, with the review that stands for it, if any; streamed, oldest first."""
        d, r = decisions.c, reviews.c
        same = (r.media_id == d.media_id) & (r.round == d.round)
        query = (
            select(d.event, r.event.label("review"))
            .select_from(decisions.outerjoin(reviews, same))
            .where(d.decided_at >= since)
            .order_by(d.decided_at, d.media_id, d.round)
        )
        for row in self._stream(query):
            yield _decided.decode(row.event), None if row.review is None else _reviewed.decode(row.review)

    # --- what is on record ----------------------------------------------------------------------------------------

    def outcome(self, media_id: str) -> MediaEnforced | None:
        """What applies to an upload now: that of its latest round, the final one if there is one."""
        with _trouble(Stage.ROUTE), self._reads.connect() as connection:
            row = connection.execute(_LATEST_OUTCOME, {"media_id": media_id}).scalar()
        return None if row is None else _enforced.decode(row)

    def decision(self, media_id: str, round_: int) -> MediaDecided | None:
        """The decision that stands."""
        with _trouble(Stage.ROUTE), self._reads.connect() as connection:
            row = connection.execute(_DECISION, {"media_id": media_id, "round": round_}).scalar()
        return None if row is None else _decided.decode(row)

    def counts(self) -> LedgerCounts:
        """How much there is of everything. Reads whole tables: for summaries, not for every request."""
        with _trouble(Stage.ROUTE), self._engine.connect() as connection:

            def total(table: Any, *where: Any) -> int:
                return connection.execute(select(func.count()).select_from(table).where(*where)).scalar_one()

            def by(column: Any, *where: Any) -> dict[str, int]:
                query = select(column, func.count()).where(*where).group_by(column).order_by(column)
                return {name: count for name, count in connection.execute(query)}  # noqa: C416 (rows are no tuples)

            return LedgerCounts(
                uploads=total(uploads),
                contents=total(contents),
                decisions=total(decisions),
                reviews=total(reviews),
                reused=total(decisions, decisions.c.reused_from.is_not(None)),
                failures=by(decisions.c.failure_reason, decisions.c.failure_reason.is_not(None)),
                tasks=by(tasks.c.state),
                open_by_queue=by(tasks.c.queue, tasks.c.state == TaskState.OPEN.value),
                provisional=by(outcomes.c.action, outcomes.c.status == OutcomeStatus.PROVISIONAL.value),
                final=by(outcomes.c.action, outcomes.c.status == OutcomeStatus.FINAL.value),
            )

    def all_decisions(self) -> Iterator[DecisionRow]:
        """Every decision, streamed, in no order."""
        for row in self._stream(select(decisions.c.media_id, decisions.c.round, decisions.c.decided_at)):
            yield DecisionRow(*row)

    def all_tasks(self) -> Iterator[TaskRow]:
        """Every task, streamed, in no order."""
        c = tasks.c
        for row in self._stream(select(c.task_id, c.media_id, c.round, c.queue, c.state, c.requested_at)):
            yield TaskRow(row.task_id, row.media_id, row.round, row.queue, TaskState(row.state), row.requested_at)

    def all_reviews(self) -> Iterator[ReviewRow]:
        """Every review, streamed, in no order."""
        c = reviews.c
        for row in self._stream(select(c.task_id, c.media_id, c.round, c.decided_at)):
            yield ReviewRow(*row)

    def all_outcomes(self) -> Iterator[MediaEnforced]:
        """Every outcome, streamed, in no order."""
        for row in self._stream(select(outcomes.c.event)):
            yield _enforced.decode(row.event)

    def _stream(self, query: Any) -> Iterator[Any]:
        with _trouble(Stage.ROUTE), self._engine.connect() as connection:
            yield from connection.execution_options(yield_per=1_000).execute(query)

    # --- how ------------------------------------------------------------------------------------------------------

    def inserting(self, table: Any) -> Any:
        """An insert that can be told what to do where a row is there already (`on_conflict_…`)."""
        return (postgresql if self._postgres else sqlite).insert(table)

    def insert_new(self, table: Any) -> Any:
        """Insert a row unless its key is there; `rowcount` says which."""
        new = self.inserting(table).on_conflict_do_nothing(index_elements=list(table.primary_key.columns))
        return new.execution_options(preserve_rowcount=True)

    def _one_writer_for(self, media_id: str, connection: Connection) -> None:
        """Decisions and reviews of one upload exclude each other, so that none misses what another has not committed.
        On SQLite BEGIN IMMEDIATE has done so already."""
        if self._postgres:
            connection.execute(_LOCK_UPLOAD, {"media_id": media_id})


_LOCK_UPLOAD = text("SELECT pg_advisory_xact_lock(hashtextextended(:media_id, 0))")

_QUARANTINED = select(quarantines.c.bank, quarantines.c.hash_id).where(quarantines.c.released_at.is_(None))
_DECISION = select(decisions.c.event).where(
    decisions.c.media_id == bindparam("media_id"), decisions.c.round == bindparam("round")
)
_LATER_DECISION = select(decisions.c.round).where(
    decisions.c.media_id == bindparam("media_id"), decisions.c.round > bindparam("round")
)
_SUPERSEDE = (
    update(tasks)
    .where(
        tasks.c.media_id == bindparam("of"),
        tasks.c.round < bindparam("before"),
        tasks.c.state == TaskState.OPEN.value,
    )
    .values(state=TaskState.SUPERSEDED.value)
)
_CONTENT = select(contents.c.findings, contents.c.embedding).where(
    contents.c.sha256 == bindparam("sha256"), contents.c.detectors_key == bindparam("key")
)
_TASK = select(tasks.c.media_id, tasks.c.round, tasks.c.state, tasks.c.event).where(
    tasks.c.task_id == bindparam("task_id")
)
_CLOSE_TASK = (
    update(tasks)
    .where(tasks.c.task_id == bindparam("id"), tasks.c.state == TaskState.OPEN.value)
    .values(state=TaskState.DECIDED.value)
)
_REVIEW = select(reviews.c.event).where(reviews.c.task_id == bindparam("task_id"))
_OUTCOME = select(outcomes.c.event).where(
    outcomes.c.media_id == bindparam("media_id"),
    outcomes.c.round == bindparam("round"),
    outcomes.c.status == bindparam("status"),
)
_LATEST_OUTCOME = (
    select(outcomes.c.event)
    .where(outcomes.c.media_id == bindparam("media_id"))
    .order_by(outcomes.c.round.desc(), outcomes.c.status)  # "final" sorts before "provisional"
    .limit(1)
)

Row = Mapping[str, object]


def _upload_row(decided: MediaDecided) -> Row:
    upload = decided.upload
    return {
        "media_id": decided.media_id,
        "round": decided.round,
        "uri": upload.uri,
        "sha256": decided.sha256,
        "size": decided.size,
        "content_type": upload.content_type,
        "surface": upload.surface.value,
        "uploader_id": upload.uploader_id,
        "uploaded_at": upload.uploaded_at,
        "consent_reference": upload.consent and upload.consent.reference,
    }


def _decision_row(decided: MediaDecided) -> Row:
    return {
        "media_id": decided.media_id,
        "round": decided.round,
        "decision_id": decided.decision_id,
        "decided_at": decided.decided_at,
        "action": decided.decision.action.value,
        "policy_version": decided.decision.policy_version,
        "failure_stage": decided.failure and decided.failure.stage,
        "failure_reason": decided.failure and decided.failure.reason,
        "reused_from": decided.reused_from,
        "event": _json(decided),
    }


def _content_row(known: KnownContent) -> Row:
    return {
        "sha256": known.sha256,
        "detectors_key": _detectors_key(known.versions.detectors),
        "media_id": known.media_id,
        "judged_at": known.judged_at,
        "unmask_version": known.versions.unmask,
        "findings": msgspec.json.encode(msgspec.structs.replace(known, embedding=None)).decode(),
        "embedding": known.embedding,
    }


def _hashes_row(sha256: str, frames: tuple[FrameHash, ...]) -> Row:
    return {"sha256": sha256, "frames": msgspec.json.encode(frames).decode()}


def _match_rows(decided: MediaDecided, sha256: str) -> list[Row]:
    return [
        {
            "media_id": decided.media_id,
            "round": decided.round,
            "bank": match.bank,
            "hash_id": match.hash_id,
            "sha256": sha256,
            "distance": match.distance,
            "share": match.share,
            "live": match.live,
            "matched_at": decided.decided_at,
            "counted": True,
        }
        for match in decided.matches
    ]


def _quarantine_row(each: Quarantine) -> Row:
    return {
        "bank": each.bank,
        "hash_id": each.hash_id,
        "since": each.since,
        "contents": each.contents,
        "reason": each.reason,
        "action": each.action.value,
        "released_at": each.released_at,
    }


def _task_row(task: ReviewRequested, state: TaskState) -> Row:
    return {
        "task_id": task.task_id,
        "media_id": task.media_id,
        "round": task.round,
        "state": state.value,
        "queue": task.queue,
        "harm": task.harm,
        "priority": task.priority,
        "requested_at": task.requested_at,
        "deadline": task.deadline,
        "event": _json(task),
        "start_by": task.start_by or task.deadline,
    }


def _deadline(decided: MediaDecided) -> datetime | None:
    review = decided.decision.review
    return None if review is None else review.deadline


def _outcome_row(outcome: MediaEnforced) -> Row:
    return {
        "media_id": outcome.media_id,
        "round": outcome.round,
        "status": outcome.status.value,
        "outcome_id": outcome.outcome_id,
        "action": outcome.action.value,
        "decided_by": outcome.decided_by.value,
        "enforced_at": outcome.enforced_at,
        "event": _json(outcome),
    }


def _review_row(review: ReviewDecided, round_: int) -> Row:
    return {
        "task_id": review.task_id,
        "review_id": review.review_id,
        "media_id": review.media_id,
        "round": round_,
        "action": review.action.value,
        "reviewer_id": review.reviewer_id,
        "decided_at": review.decided_at,
        "event": _json(review),
    }


def _json(event: Event) -> str:
    return encode(event).decode()


def _detectors_key(detectors: tuple[str, ...]) -> str:
    return blake2b("\n".join(sorted(detectors)).encode(), digest_size=16).hexdigest()


@contextmanager
def _trouble(stage: Stage) -> Iterator[None]:
    """The database's errors as what the flow does next."""
    try:
        yield
    except SQLAlchemyError as error:
        detail = str(getattr(error, "orig", None) or error)
        # A StatementError that is no DBAPIError comes from a value that could not even be sent.
        refused = isinstance(error, StatementError) and not isinstance(error, DBAPIError)
        if refused or isinstance(error, (DataError, IntegrityError)):
            raise Permanent(stage, Reason.INTERNAL, f"the ledger refused it: {detail}") from error
        raise Transient(stage, Reason.LEDGER_UNAVAILABLE, detail) from error


def _url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigError("the database URL cannot be read; sqlite:////path or postgresql://user@host/name") from error
    if parsed.drivername in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername == "postgresql+psycopg" or (
        parsed.drivername == "sqlite" and parsed.database and parsed.database != ":memory:"
    ):
        return parsed
    raise ConfigError(f"the ledger lives in PostgreSQL or in an SQLite file, not in {parsed.render_as_string()}")


def _engine(url: URL) -> Engine:
    if url.drivername == "sqlite":
        engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS}, pool_timeout=BUSY_SECONDS)
        event.listen(engine, "connect", _on_sqlite_connect)
        event.listen(engine, "begin", _on_sqlite_begin)
        return engine
    patience = {
        "connect_timeout": "5",
        "tcp_user_timeout": "10000",
        # One core for a query: whoever counts a hundred thousand tasks must not keep all of them from who claims one.
        "options": f"-c statement_timeout={BUSY_SECONDS}s -c max_parallel_workers_per_gather=0",
        "application_name": "unmask",
    }
    url = url.update_query_dict({**patience, **url.query})
    return create_engine(url, pool_size=CONNECTIONS, pool_timeout=BUSY_SECONDS)


def _on_sqlite_connect(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # else Python's driver chooses when to BEGIN, and does so too late
    connection.execute("PRAGMA foreign_keys = ON")


def _on_sqlite_begin(connection: Connection) -> None:
    """Writers take the lock at once: one that reads first and writes later cannot wait, it fails."""
    if connection.get_execution_options().get("writes"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _prepare_file(engine: Engine) -> None:
    """The file, in WAL mode (which stays with the file), so that readers and the writer do not wait for each other."""
    Path(str(engine.url.database)).parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        with engine.connect() as connection:
            try:
                # SQLite does not wait for the lock that this change needs, and two workers may want it at once.
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
                return
            except SQLAlchemyError:
                if time.monotonic() > deadline:
                    raise
        time.sleep(0.02)


def _schema_of(connection: Connection) -> str:
    """The revision on record; empty when there is none."""
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or ""


_alembic = threading.Lock()
"""Alembic keeps its context in a module: one upgrade at a time per process."""


def _upgrade(connection: Connection) -> None:
    from alembic import command  # only needed here, and slow to import

    with _alembic:
        command.upgrade(_steps(connection), "head")


def _downgrade(connection: Connection, revision: str) -> None:
    from alembic import command
    from alembic.util import CommandError

    with _alembic:
        try:
            command.downgrade(_steps(connection), revision)
        except CommandError as error:
            raise ConfigError(f"{revision}: {error}") from None


def _steps(connection: Connection) -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    return config
