"""Reviewers' reads and writes. Synchronous, like the ledger; each public method is one transaction.

A lease is what keeps two people from the same task: it is taken with the rows locked, names a case, and ends by itself.
What a person answers and the record that tells the flow of it are written together; the record waits in the outbox
until the answer can no longer be taken back, and a relay publishes it.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
from sqlalchemy import (
    ARRAY,
    Connection,
    Text,
    and_,
    bindparam,
    cast,
    delete,
    func,
    insert,
    or_,
    select,
    text,
    true,
    update,
)

from pipeline.errors import Stage
from pipeline.events import MediaDecided, MediaEnforced, ReviewDecided, ReviewRequested
from pipeline.events.codec import encode
from pipeline.events.ids import review_id
from pipeline.events.values import Action, FrameHash, RequestKind
from pipeline.ledger.entries import Note, append
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.port import TaskState
from pipeline.ledger.tables import decisions, hashes, outcomes, reviews, tasks, uploads
from pipeline.ledger.work_tables import audit_log, audit_words, looks, outbox, skips, work
from pipeline.review.chain import Entry
from pipeline.review.gather import Waiting
from pipeline.review.port import Answer, Answered, Background, Given, Held, Looked, QueueState, Refused, Stands, stands
from pipeline.topology import REVIEW_DECIDED

_CLOCKS = timedelta(seconds=2)
"""By how much the clocks of console and relay may differ: an answer is never taken back while it is being published."""
_MOST_URGENT = 500
"""Tasks whose slack a queue's picture shows."""

_requested = msgspec.json.Decoder(ReviewRequested)
_frames = msgspec.json.Decoder(tuple[FrameHash, ...])
_decided = msgspec.json.Decoder(MediaDecided)
_reviewed = msgspec.json.Decoder(ReviewDecided)
_enforced = msgspec.json.Decoder(MediaEnforced)
_t, _w, _u = tasks.c, work.c, uploads.c

_Asks = dict[str, Any]
"""Who asks for work, and when: `who`, `now`."""


class Work:
    """What reviewers do, on one ledger. Methods raise as the ledger's do, and `Refused` for what cannot be."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        new = ledger.inserting(work)
        # A new lease begins without what somebody whose lease ran out said first.
        lease = {name: new.excluded[name] for name in ("lease_id", "leased_by", "leased_at", "leased_until")}
        lease |= {"first_action": None, "answered_at": None}
        self._taking = new.on_conflict_do_update(index_elements=["task_id"], set_=lease)

    # --- taking work ----------------------------------------------------------------------------------------------

    def claim(
        self,
        reviewer: str,
        queues: Sequence[str],
        now: datetime,
        lease: timedelta,
        *,
        lead: bool = False,
        note: Callable[[Held], Note] | None = None,
    ) -> Held | None:
        """The most urgent case that this person may have, or the one that they hold already; None when there is none.

        Nobody gets a task twice in a row that they skipped, answered or decided before, nor one that is held back or
        assigned to somebody else; what two people disagree on goes to leads alone. `note`: for the audit log.
        """
        asks = {"who": reviewer, "now": now}
        with self._ledger.writing(Stage.SETTLE) as connection:
            self._one_desk(connection, reviewer)
            mine = connection.execute(_HELD_BY, asks).scalar()
            held = self._held(connection, mine) if mine else self._lease_best(connection, asks, queues, lease, lead)
            if held is not None and note is not None:
                append(connection, note(held))
            return held

    def _lease_best(
        self, connection: Connection, asks: _Asks, queues: Sequence[str], lease: timedelta, lead: bool
    ) -> Held | None:
        while (task_id := self._first(connection, asks, queues, lead)) is not None:
            this = self._still(connection, asks, task_id, lead)
            if this is not None and self._own_decision(connection, asks, this.event):
                reason = "an appeal against one's own decision"
                self._bar(connection, task_id, asks["who"], asks["now"], None, reason)
            elif this is not None:
                return self._lease(connection, asks, this, lease, lead)
        return None

    def claim_task(
        self,
        reviewer: str,
        task_id: UUID,
        now: datetime,
        lease: timedelta,
        *,
        lead: bool = False,
        note: Callable[[Held], Note] | None = None,
    ) -> Held:
        """This very task, with its near copies. Raises Refused when somebody else has it or it is decided. `note`: for
        the audit log."""
        asks = {"who": reviewer, "now": now}
        with self._ledger.writing(Stage.SETTLE) as connection:
            self._one_desk(connection, reviewer)
            mine = connection.execute(_HELD_BY, asks).scalar()
            if mine:
                self._let_go(connection, mine)
            event = connection.execute(select(_t.event).where(_t.task_id == task_id)).scalar()
            if event is not None and self._own_decision(connection, asks, event):
                raise Refused("This is an appeal against your own decision: somebody else has to look.")
            there = connection.execute(_LOCK_THIS[lead], asks | {"task_id": task_id}).first()
            this = self._still(connection, asks, task_id, lead) if there else None
            if this is None:
                raise Refused("Somebody else has this task, or it is decided.")
            held = self._lease(connection, asks, this, lease, lead)
            if note is not None:
                append(connection, note(held))
            return held

    def keep(self, reviewer: str, lease_id: UUID, now: datetime, lease: timedelta) -> datetime:
        """The heartbeat: the lease lasts from now. Raises Refused when it has ended."""
        until = now + lease
        with self._ledger.writing(Stage.SETTLE) as connection:
            still = _w.task_id.in_(select(_t.task_id).where(_t.state == TaskState.OPEN.value))
            mine = (_w.lease_id == lease_id, _w.leased_by == reviewer, _w.leased_until > now, still)
            if not connection.execute(update(work).where(*mine).values(leased_until=until)).rowcount:
                raise Refused("Your lease has ended; the task went back to the queue.")
        return until

    def release(self, reviewer: str, lease_id: UUID) -> None:
        """Give a case back. Nothing happens when the lease has ended."""
        with self._ledger.writing(Stage.SETTLE) as connection:
            connection.execute(update(work).where(_w.lease_id == lease_id, _w.leased_by == reviewer).values(_NO_LEASE))

    def skip(self, reviewer: str, lease_id: UUID, reason: str, now: datetime, away: timedelta) -> None:
        """Give a case back with the reason; it does not come to this person again for a while."""
        with self._ledger.writing(Stage.SETTLE) as connection:
            ids = self._mine(connection, reviewer, lease_id, now)
            for task_id in ids:
                self._bar(connection, task_id, reviewer, now, now + away, reason)
            self._let_go(connection, lease_id)
            append(connection, Note(now, reviewer, "skipped", str(lease_id), {}, reason, tuple(ids)))

    def bar(self, task_id: UUID, reviewer: str, now: datetime, reason: str) -> None:
        """Never give this task to this person: an appeal does not go to who decided."""
        with self._ledger.writing(Stage.SETTLE) as connection:
            self._bar(connection, task_id, reviewer, now, None, reason)

    # --- moving work ----------------------------------------------------------------------------------------------

    def assign(self, task_ids: Iterable[UUID], to: str | None, note: Note | None = None) -> int:
        """Only this person gets them from now on (None: anybody). How many could be. `note`: for the audit log."""
        return self._change(task_ids, {"assigned_to": to}, note)

    def hold(self, task_ids: Iterable[UUID], until: datetime | None, note: Note | None = None) -> int:
        """Nobody gets them before that time (None: at once). How many could be. `note`: for the audit log."""
        return self._change(task_ids, {"held_until": until}, note)

    def escalate(
        self,
        task_ids: Iterable[UUID],
        queue: str,
        note: Note | None = None,
        *,
        held_by: str | None = None,
        now: datetime | None = None,
    ) -> int:
        """Move open tasks to another queue. How many could be.

        Args:
            task_ids: the tasks.
            queue: where to.
            note: for the audit log.
            held_by: only what this person holds `now`; None: whoever holds it.
            now: the time.
        """
        with self._ledger.writing(Stage.SETTLE) as connection:
            chosen = [_t.task_id.in_(tuple(task_ids)), _t.state == TaskState.OPEN.value]
            if held_by is not None:
                mine = select(_w.task_id).where(_w.leased_by == held_by, _w.leased_until > now)
                chosen.append(_t.task_id.in_(mine))
            ids = list(connection.execute(self._in_turn(select(_t.task_id).where(*chosen))).scalars())
            connection.execute(update(tasks).where(_t.task_id.in_(ids)).values(queue=queue))
            connection.execute(update(work).where(_w.task_id.in_(ids)).values(_NO_LEASE | {"assigned_to": None}))
            if ids and note is not None:
                append(connection, note)
        return len(ids)

    def gather(self, cases: Iterable[tuple[UUID, UUID]]) -> None:
        """(task, case): put tasks into cases, where nobody has taken them meanwhile."""
        with self._ledger.writing(Stage.SETTLE) as connection:
            for task_id, case_id in cases:
                self._ensure(connection, task_id)
                free = (_w.task_id == task_id, _w.lease_id.is_(None), _w.answered_at.is_(None))
                connection.execute(update(work).where(*free).values(case_id=case_id))

    def ungathered(self, since: datetime | None = None, limit: int = 200) -> tuple[Waiting, ...]:
        """Open tasks that belong to no case yet, the oldest first. `since`: only those that were requested since then;
        without it every open task is looked at, which of 100,000 takes a quarter of a second."""
        query = self._waiting().where(_w.task_id.is_(None)).order_by(_t.requested_at, _t.task_id).limit(limit)
        if since is not None:
            query = query.where(_t.requested_at >= since)
        with self._ledger.reading(Stage.SETTLE) as connection:
            return tuple(_as_waiting(row) for row in connection.execute(query))

    def gathered(self) -> Iterator[tuple[Waiting, UUID]]:
        """Open tasks that belong to a case nobody holds or has answered, with its id."""
        query = self._waiting().add_columns(_w.case_id).where(_w.task_id.is_not(None), _w.answered_at.is_(None))
        with self._ledger.streaming(Stage.SETTLE) as connection:
            for row in connection.execute(query):
                yield _as_waiting(row), row.case_id

    def _waiting(self) -> Any:
        return (
            select(_t.task_id, _t.queue, _t.harm, _u.sha256, hashes.c.frames)
            .select_from(
                tasks.join(uploads, and_(_u.media_id == _t.media_id, _u.round == _t.round))
                .outerjoin(hashes, hashes.c.sha256 == _u.sha256)
                .outerjoin(work, _w.task_id == _t.task_id)
            )
            .where(_t.state == TaskState.OPEN.value)
        )

    # --- answering ------------------------------------------------------------------------------------------------

    def first(self, reviewer: str, lease_id: UUID, action: Action, now: datetime) -> None:
        """What a person says before they see the scores. Said once; raises Refused when the lease has ended."""
        with self._ledger.writing(Stage.SETTLE) as connection:
            self._mine(connection, reviewer, lease_id, now)
            mine = (_w.lease_id == lease_id, _w.first_action.is_(None))
            connection.execute(update(work).where(*mine).values(first_action=action.value))

    def answer(
        self, reviewer: str, lease_id: UUID, answer: Answer, now: datetime, grace: timedelta, people: Mapping[str, int]
    ) -> Answered:
        """What a person says of the case that they hold; it speaks for all its tasks.

        Args:
            reviewer: who holds the lease.
            lease_id: of the case.
            answer: what they say.
            now: the time of the answer.
            grace: how long it can be taken back; only then it is published.
            people: queue → how many have to agree; one where a queue is not named.

        Raises:
            Refused: the lease has ended.
        """
        with self._ledger.writing(Stage.SETTLE) as connection:
            ids = self._mine(connection, reviewer, lease_id, now)
            return self._answer(connection, reviewer, ids, answer, now, grace, people, "answered")

    def decide(
        self, reviewer: str, task_ids: Iterable[UUID], answer: Answer, now: datetime, grace: timedelta
    ) -> Answered:
        """One answer to many open tasks at once, by a lead: nobody has to agree. What somebody holds is left out, and
        what this person must not decide. Raises Refused when nothing is left."""
        with self._ledger.writing(Stage.SETTLE) as connection:
            asks = {"who": reviewer, "now": now}
            free = _locked(_CLAIMABLE[True].where(_t.task_id.in_(tuple(task_ids))))
            found = list(connection.execute(free, asks).scalars())
            ids = [this.task_id for this in self._still_free(connection, asks, found, lead=True)]
            if not ids:
                raise Refused("None of them can be decided now: somebody holds them, or they are decided.")
            self._take(connection, reviewer, ids, now, timedelta(minutes=1))
            return self._answer(connection, reviewer, ids, answer, now, grace, {}, "decided at once")

    def _answer(
        self,
        connection: Connection,
        reviewer: str,
        ids: Sequence[UUID],
        answer: Answer,
        now: datetime,
        grace: timedelta,
        people: Mapping[str, int],
        verb: str,
    ) -> Answered:
        answer_id = uuid4()
        lease = connection.execute(_LEASE_OF, {"task_id": ids[0]}).one()
        rows = connection.execute(_EVENTS_OF, {"ids": list(ids)}).all()
        seconds = max(0, round((now - lease.leased_at).total_seconds() / len(rows)))
        outcome = Stands.SETTLED
        swept = []
        for event, queue in rows:
            task = _requested.decode(event)
            review = _review(task, reviewer, answer, now)
            row = {"answer_id": answer_id, "task_id": task.task_id, "reviewer_id": reviewer, "at": now}
            row |= {
                "queue": queue,
                "action": answer.action.value,
                "first_action": lease.first_action,
                "seconds": seconds,
            }
            connection.execute(insert(looks), row | {"event": encode(review).decode(), "undone_at": None})
            result = stands(self._given(connection, task.task_id), people.get(queue, 1))
            outcome = max(outcome, result, key=list(Stands).index)
            if result is Stands.SETTLED:
                self._post(connection, answer_id, review, now, now + grace)
            waiting = {"answered_at": now if result is Stands.SETTLED else None}
            lead = {"needs_lead": int(result is Stands.DISPUTED)}
            connection.execute(update(work).where(_w.task_id == task.task_id).values(_NO_LEASE | waiting | lead))
            swept.append(task.task_id)
        done = Answered(answer_id, outcome, tuple(swept), now + grace)
        append(connection, answered_note(_requested.decode(rows[0].event).media_id, reviewer, answer, done, now, verb))
        return done

    def undo(self, reviewer: str, answer_id: UUID, now: datetime, lease: timedelta) -> Held:
        """Take an answer back and hold its case again. Raises Refused when it is published or somebody has answered."""
        with self._ledger.writing(Stage.SETTLE) as connection:
            self._one_desk(connection, reviewer)
            a, o = looks.c, outbox.c
            mine = (a.answer_id == answer_id, a.reviewer_id == reviewer, a.undone_at.is_(None))
            rows = connection.execute(select(a.task_id, a.at).where(*mine).with_for_update()).all()
            # Locked: a relay that is taking them off has done so, or finds nothing any more.
            records = select(o.not_before).where(o.answer_id == answer_id).order_by(o.outbox_id).with_for_update()
            posted = connection.execute(records).scalars().all()
            if not rows or any(not_before <= now + _CLOCKS for not_before in posted):
                raise Refused("It is too late to take this back.")
            ids = [row.task_id for row in rows]
            others = (a.task_id.in_(ids), a.answer_id != answer_id, a.undone_at.is_(None), a.at >= rows[0].at)
            if connection.execute(select(a.task_id).where(*others)).first() is not None:
                raise Refused("Somebody has answered since; a lead can reopen the case.")
            states = connection.execute(self._in_turn(select(_t.task_id, _t.state).where(_t.task_id.in_(ids)))).all()
            if any(row.state != TaskState.OPEN for row in states):
                raise Refused("It is too late to take this back: it has been decided anew.")
            taken = (_w.task_id.in_(ids), _w.leased_until > now, _w.leased_by != reviewer)
            if connection.execute(select(_w.task_id).where(*taken)).first() is not None:
                raise Refused("Somebody else looks at it now.")
            connection.execute(delete(outbox).where(o.answer_id == answer_id))
            connection.execute(update(looks).where(*mine).values(undone_at=now))
            held = connection.execute(_HELD_BY, {"who": reviewer, "now": now}).scalars().all()
            if held:
                self._let_go(connection, held[0])
            taken_back = self._held(connection, self._take(connection, reviewer, ids, now, lease))
            for task_id in ids:
                # What the others said stands again: whether they agree decides who may take it up.
                said = {given.action for given in self._given(connection, task_id)}
                connection.execute(update(work).where(_w.task_id == task_id).values(needs_lead=int(len(said) > 1)))
            append(connection, taken_back_note(taken_back.tasks[0].media_id, reviewer, answer_id, now))
            return taken_back

    # --- the way out ----------------------------------------------------------------------------------------------

    def due(self, now: datetime, limit: int = 100) -> tuple[tuple[UUID, str, str, bytes], ...]:
        """Records to publish: (id, topic, key, value), the oldest first. From now on none of them can be taken back,
        whatever the clocks say."""
        o = outbox.c
        waiting = (o.sent_at.is_(None), o.not_before <= now)
        query = select(o.outbox_id).where(*waiting).order_by(o.not_before, o.outbox_id).limit(limit)
        with self._ledger.reading(Stage.SETTLE) as connection:
            ids = list(connection.execute(query).scalars())
        if not ids:
            return ()
        with self._ledger.writing(Stage.SETTLE) as connection:
            chosen = (o.outbox_id.in_(ids), o.sent_at.is_(None))
            there = select(o.outbox_id, o.topic, o.key, o.value).where(*chosen).order_by(o.outbox_id)
            rows = {row.outbox_id: row for row in connection.execute(there.with_for_update())}
            connection.execute(update(outbox).where(o.outbox_id.in_(list(rows))).values(not_before=o.created_at))
        return tuple((i, rows[i].topic, rows[i].key, bytes(rows[i].value)) for i in ids if i in rows)

    def traces(self, task_ids: Iterable[UUID]) -> dict[UUID, str]:
        """The traceparent of the records that asked for these tasks, where it is known."""
        query = select(_t.task_id, _t.traceparent).where(_t.task_id.in_(tuple(task_ids)), _t.traceparent.is_not(None))
        with self._ledger.reading(Stage.SETTLE) as connection:
            return {row.task_id: row.traceparent for row in connection.execute(query)}

    def sent(self, ids: Iterable[UUID], now: datetime) -> None:
        """The broker has them."""
        with self._ledger.writing(Stage.SETTLE) as connection:
            chosen = (outbox.c.outbox_id.in_(tuple(ids)), outbox.c.sent_at.is_(None))
            connection.execute(update(outbox).where(*chosen).values(sent_at=now))

    def post(self, topic: str, key: str, value: bytes, now: datetime) -> UUID:
        """Have a record published, as soon as can be."""
        outbox_id = uuid4()
        row = {"outbox_id": outbox_id, "answer_id": outbox_id, "topic": topic, "key": key, "value": value}
        with self._ledger.writing(Stage.SETTLE) as connection:
            connection.execute(insert(outbox), row | {"created_at": now, "not_before": now, "sent_at": None})
        return outbox_id

    # --- looking --------------------------------------------------------------------------------------------------

    def queue_states(self, queues: Iterable[str], now: datetime) -> dict[str, QueueState]:
        """Depth, oldest, overdue, leased, held back, and the slack of the most urgent. Each queue is counted once: of
        100,000 tasks an index is read, and no task."""
        names = tuple(queues)
        is_open = _t.state == TaskState.OPEN.value
        counts = select(
            _t.queue, func.count(), func.min(_t.requested_at), func.count().filter(_t.deadline < now)
        ).where(is_open, _t.queue.in_(names))
        busy = (
            select(_t.queue, func.count().filter(_w.leased_until > now), func.count().filter(_w.held_until > now))
            .select_from(work.join(tasks, _w.task_id == _t.task_id))
            .where(is_open, _t.queue.in_(names), or_(_w.leased_until > now, _w.held_until > now))
        )
        with self._ledger.reading(Stage.SETTLE) as connection:
            counted = {row[0]: row[1:] for row in connection.execute(counts.group_by(_t.queue))}
            taken = {row[0]: row[1:] for row in connection.execute(busy.group_by(_t.queue))}
            found = {}
            for queue in names:
                depth, oldest, overdue = counted.get(queue, (0, None, 0))
                slack: tuple[float, ...] = ()
                if depth:
                    starts = connection.execute(_STARTS, {"queue": queue}).scalars()
                    slack = tuple((start - now).total_seconds() for start in starts)
                leased, held = taken.get(queue, (0, 0))
                found[queue] = QueueState(queue, depth, oldest, overdue, leased, held, slack)
        return found

    def handling_seconds(self, queue: str, since: datetime) -> tuple[int, float, float] | None:
        """How many answers, of the latest 200, and the median and 90th percentile of their seconds; None with fewer
        than two."""
        with self._ledger.reading(Stage.SETTLE) as connection:
            seconds = sorted(connection.execute(_HANDLING, {"queue": queue, "since": since}).scalars())
        if len(seconds) < 2:
            return None
        return len(seconds), statistics.median(seconds), statistics.quantiles(seconds, n=10)[-1]

    def holding(self, reviewer: str, now: datetime) -> Held | None:
        """The case that this person holds."""
        with self._ledger.reading(Stage.SETTLE) as connection:
            mine = connection.execute(_HELD_BY, {"who": reviewer, "now": now}).scalars().first()
            return None if mine is None else self._held(connection, mine)

    def task(self, task_id: UUID) -> tuple[ReviewRequested, str, TaskState] | None:
        """(the task, the queue that it is in now, its state)."""
        query = select(_t.event, _t.queue, _t.state).where(_t.task_id == task_id)
        with self._ledger.reading(Stage.SETTLE) as connection:
            row = connection.execute(query).first()
        return None if row is None else (_as_it_is(row), row.queue, TaskState(row.state))

    def listed(self, queue: str, after: UUID | None, limit: int) -> tuple[ReviewRequested, ...]:
        """Open tasks of a queue, the most urgent first, from after one of them on."""
        query = select(_t.event, _t.queue).where(_t.queue == queue, _t.state == TaskState.OPEN.value)
        with self._ledger.reading(Stage.SETTLE) as connection:
            if after is not None:
                last = connection.execute(select(_t.start_by, _t.priority).where(_t.task_id == after)).first()
                if last is None:
                    return ()
                later = and_(_t.priority == last.priority, _t.task_id > after)
                same = and_(_t.start_by == last.start_by, or_(_t.priority < last.priority, later))
                query = query.where(or_(_t.start_by > last.start_by, same))
            return tuple(_as_it_is(row) for row in connection.execute(query.order_by(*_ORDER).limit(limit)))

    def background(self, task: ReviewRequested, notes_up_to: int) -> Background:
        """What is on record around a task: at most 100 outcomes each, the latest first, and the notes on this upload in
        rounds up to one, the oldest first."""
        asks = {"media_id": task.media_id, "sha256": task.sha256, "uploader_id": task.upload.uploader_id}
        with self._ledger.reading(Stage.SETTLE) as connection:
            past = connection.execute(_PAST, asks).scalars().all()
            elsewhere = connection.execute(_ELSEWHERE, asks).scalars().all() if asks["uploader_id"] else ()
            said = connection.execute(_SAID, {"media_id": task.media_id, "up_to": notes_up_to}).scalars().all()
        return Background(
            tuple(map(_enforced.decode, past)),
            tuple(map(_enforced.decode, elsewhere)),
            tuple(each for each in map(_reviewed.decode, said) if each.notes),
        )

    def reviewed(self, since: datetime) -> Iterator[tuple[MediaDecided, ReviewDecided, str]]:
        """(decision, the review that stands, the queue) of everything that was reviewed since then, streamed."""
        r, d = reviews.c, decisions.c
        query = (
            select(d.event.label("decided"), r.event, _t.queue)
            .select_from(
                reviews.join(tasks, _t.task_id == r.task_id).join(
                    decisions, and_(d.media_id == r.media_id, d.round == r.round)
                )
            )
            .where(r.decided_at >= since)
            .order_by(r.decided_at, r.task_id)
        )
        with self._ledger.streaming(Stage.SETTLE) as connection:
            for row in connection.execute(query):
                yield _decided.decode(row.decided), _reviewed.decode(row.event), row.queue

    def overturned(self, since: datetime, counts: Callable[[str], bool] = lambda _: True) -> tuple[int, int]:
        """(milder than before, all) of the appeals that people decided since then, in queues that count."""
        milder = every = 0
        with self._ledger.reading(Stage.SETTLE) as connection:
            for row in connection.execute(_APPEALED, {"since": since}):
                task = _requested.decode(row.event)
                if task.request is not None and task.request.kind is RequestKind.APPEAL and counts(row.queue):
                    every += 1
                    milder += Action(row.action).strength < task.provisional.strength
        return milder, every

    def blind(self, since: datetime) -> tuple[Looked, ...]:
        """Answers that were asked for before the scores were shown."""
        a = looks.c
        query = (
            select(_t.queue, a.first_action, a.action)
            .select_from(looks.join(tasks, a.task_id == _t.task_id))
            .where(a.at >= since, a.first_action.is_not(None), a.undone_at.is_(None))
        )
        with self._ledger.reading(Stage.SETTLE) as connection:
            return tuple(Looked(row[0], Action(row[1]), Action(row[2])) for row in connection.execute(query))

    # --- the audit log --------------------------------------------------------------------------------------------

    def log(self, at: datetime, actor: str, verb: str, subject: str, detail: Mapping[str, object]) -> Entry:
        """Append one entry to the chain."""
        return self.write(Note(at, actor, verb, subject, detail))

    def write(self, note: Note) -> Entry:
        """Append this to the chain."""
        with self._ledger.writing(Stage.SETTLE) as connection:
            return append(connection, note)

    def log_entries(self, since: int = 0) -> Iterator[Entry]:
        """The chain from its beginning (or after an entry), streamed in pages."""
        while True:
            query = _ENTRIES.where(audit_log.c.seq > since).limit(1_000)
            with self._ledger.reading(Stage.SETTLE) as connection:
                rows = connection.execute(query).mappings().all()
            for row in rows:
                yield Entry(**{**row, "salt": row["salt"] or ""})
            if not rows:
                return
            since = rows[-1]["seq"]

    # --- how ------------------------------------------------------------------------------------------------------

    def _first(self, connection: Connection, asks: _Asks, queues: Sequence[str], lead: bool) -> UUID | None:
        """The most urgent of all queues; its row is locked. Where others take work at the same time, the most urgent
        that is left in the queue that is the most urgent."""
        if not self._ledger.postgres:
            found = (connection.execute(_NEXT[lead], asks | {"queue": queue}).first() for queue in queues)
            best = min(filter(None, found), key=_urgency, default=None)
            return None if best is None else best.task_id
        for queue, best in connection.execute(_RANKED[lead], asks | {"queues": list(queues)}).all():
            # The one that was seen, if nobody takes it just now: to look for the first that is free takes far longer.
            for query, chosen in ((_LOCK_THIS, {"task_id": best}), (_NEXT, {"queue": queue})):
                task_id: UUID | None = connection.execute(query[lead], asks | chosen).scalar()
                if task_id is not None:
                    return task_id
        return None

    def _own_decision(self, connection: Connection, asks: _Asks, event: str) -> bool:
        """Whether this task is an appeal, and this person has decided on the upload before."""
        task = _requested.decode(event)
        if task.request is None or task.request.kind is not RequestKind.APPEAL:
            return False
        r, a = reviews.c, looks.c
        who = asks["who"]
        mine = select(r.task_id).where(r.media_id == task.media_id, r.reviewer_id == who, r.round < task.round)
        # Where two had to agree, the review on record is the second one's alone.
        said = (
            select(a.task_id)
            .select_from(looks.join(tasks, a.task_id == _t.task_id))
            .where(_t.media_id == task.media_id, _t.round < task.round)
            .where(a.reviewer_id == who, a.undone_at.is_(None))
        )
        return any(connection.execute(query.limit(1)).first() is not None for query in (mine, said))

    def _still(self, connection: Connection, asks: _Asks, task_id: UUID, lead: bool) -> Any:
        """A task whose row is locked now, if it may be taken. The query that found it may have read its lease before
        another transaction, which held the lock until now, wrote it."""
        return connection.execute(_THIS[lead], asks | {"task_id": task_id}).first()

    def _still_free(self, connection: Connection, asks: _Asks, ids: Iterable[UUID], lead: bool) -> list[Any]:
        """Those of these tasks, whose rows are locked, that may be taken by this person."""
        found = (self._still(connection, asks, task_id, lead) for task_id in ids)
        return [this for this in found if this and not self._own_decision(connection, asks, this.event)]

    def _lease(self, connection: Connection, asks: _Asks, this: Any, lease: timedelta, lead: bool) -> Held:
        """Take a task, with what is left of its case in its queue: one that was moved to another queue since, which may
        not be this person's, is not of this case any more."""
        rows = [this]
        if this.case_id is not None:
            case = asks | {"case_id": this.case_id, "queue": this.queue, "task_id": this.task_id}
            near = connection.execute(_NEAR[lead], case).scalars().all()
            rows += self._still_free(connection, asks, near, lead)
        rows.sort(key=_urgency)
        lease_id = self._take(connection, asks["who"], [row.task_id for row in rows], asks["now"], lease)
        return Held(lease_id, asks["now"] + lease, tuple(map(_as_it_is, rows)), rows[0].looks)

    def _take(
        self, connection: Connection, reviewer: str, ids: Sequence[UUID], now: datetime, lease: timedelta
    ) -> UUID:
        lease_id = uuid4()
        taken = {"lease_id": lease_id, "leased_by": reviewer, "leased_at": now, "leased_until": now + lease}
        for task_id in ids:
            connection.execute(self._taking, taken | {"task_id": task_id, "case_id": task_id, "needs_lead": 0})
        return lease_id

    def _held(self, connection: Connection, lease_id: UUID) -> Held:
        rows = connection.execute(_HELD, {"lease_id": lease_id}).all()
        if not rows:
            raise Refused("Somebody took it away just now.")
        first = Action(rows[0].first_action) if rows[0].first_action else None
        return Held(lease_id, rows[0].leased_until, tuple(_as_it_is(row) for row in rows), rows[0].looks, first)

    def _mine(self, connection: Connection, reviewer: str, lease_id: UUID, now: datetime) -> list[UUID]:
        """The tasks of this lease that are still to be decided: a later round may have taken some away."""
        asks = {"lease_id": lease_id, "who": reviewer, "now": now}
        ids = list(connection.execute(_MINE, asks).scalars())
        if not ids:
            raise Refused("Your lease has ended; the task went back to the queue.")
        found = list(connection.execute(_OPEN_OF, {"ids": ids}).scalars())
        if not found:
            raise Refused("It has been decided anew meanwhile; there is nothing left to answer.")
        return found

    def _given(self, connection: Connection, task_id: UUID) -> tuple[Given, ...]:
        return tuple(
            Given(row.answer_id, row.reviewer_id, Action(row.action), row.at)
            for row in connection.execute(_GIVEN, {"task_id": task_id})
        )

    def _post(
        self, connection: Connection, answer_id: UUID, review: ReviewDecided, now: datetime, not_before: datetime
    ) -> None:
        row = {"outbox_id": uuid4(), "answer_id": answer_id, "topic": REVIEW_DECIDED, "key": review.media_id}
        row |= {"value": encode(review), "created_at": now, "not_before": not_before, "sent_at": None}
        connection.execute(insert(outbox), row)

    def _change(self, task_ids: Iterable[UUID], values: Mapping[str, object], note: Note | None) -> int:
        with self._ledger.writing(Stage.SETTLE) as connection:
            chosen = (_t.task_id.in_(tuple(task_ids)), _t.state == TaskState.OPEN.value)
            there = list(connection.execute(self._in_turn(select(_t.task_id).where(*chosen))).scalars())
            for task_id in there:
                self._ensure(connection, task_id)
            connection.execute(update(work).where(_w.task_id.in_(there)).values(_NO_LEASE | dict(values)))
            if there and note is not None:
                append(connection, note)
        return len(there)

    def _bar(
        self, connection: Connection, task_id: UUID, who: str, now: datetime, until: datetime | None, reason: str
    ) -> None:
        row = {"task_id": task_id, "reviewer_id": who, "at": now, "until": until, "reason": reason}
        new = self._ledger.inserting(skips).values(row)
        again = {"at": now, "until": until, "reason": reason}
        connection.execute(new.on_conflict_do_update(index_elements=["task_id", "reviewer_id"], set_=again))

    def _ensure(self, connection: Connection, task_id: UUID) -> None:
        row = {"task_id": task_id, "case_id": task_id, "needs_lead": 0}
        connection.execute(self._ledger.insert_new(work), row)

    def _let_go(self, connection: Connection, lease_id: UUID) -> None:
        connection.execute(update(work).where(_w.lease_id == lease_id).values(_NO_LEASE))

    def _one_desk(self, connection: Connection, reviewer: str) -> None:
        """One after the other, what a person asks for in two windows: else each could give them a case."""
        if self._ledger.postgres:
            connection.execute(_DESK_LOCK, {"who": f"desk {reviewer}"})

    def _in_turn(self, query: Any) -> Any:
        """With the rows of `tasks` locked, in one order, so that two who want the same cannot wait in a circle."""
        query = query.order_by(_t.task_id)
        return query.with_for_update(of=tasks, key_share=True) if self._ledger.postgres else query


_BESIDE = [
    select(func.min(column)).where(audit_words.c.seq == audit_log.c.seq).scalar_subquery().label(column.name)
    for column in (audit_words.c.words, audit_words.c.salt)  # the same for each task of an entry
]
_ENTRIES = select(audit_log, *_BESIDE).order_by(audit_log.c.seq)
_NO_LEASE: dict[str, object] = dict.fromkeys(("lease_id", "leased_by", "leased_at", "leased_until", "first_action"))
_STARTS = (
    select(_t.start_by)
    .where(_t.state == TaskState.OPEN.value, _t.queue == bindparam("queue"), _t.start_by.is_not(None))
    .order_by(_t.start_by)
    .limit(_MOST_URGENT)
)
_HANDLING = (
    select(looks.c.seconds)
    .where(looks.c.queue == bindparam("queue"), looks.c.at >= bindparam("since"), looks.c.undone_at.is_(None))
    .order_by(looks.c.at.desc())
    .limit(200)
)
_ORDER = (_t.start_by, _t.priority.desc(), _t.task_id)
_DESK_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:who, 0))")
_HELD_BY = (
    select(_w.lease_id)
    .select_from(work.join(tasks, _w.task_id == _t.task_id))
    .where(_w.leased_by == bindparam("who"), _w.leased_until > bindparam("now"), _t.state == TaskState.OPEN.value)
    .limit(1)
)

_OF_THESE = _t.task_id.in_(bindparam("ids", expanding=True))
_MINE = (
    select(_w.task_id)
    .where(_w.lease_id == bindparam("lease_id"), _w.leased_by == bindparam("who"), _w.leased_until > bindparam("now"))
    .order_by(_w.task_id)
    .with_for_update()
)
_OPEN_OF = select(_t.task_id).where(_OF_THESE, _t.state == TaskState.OPEN.value)
_EVENTS_OF = select(_t.event, _t.queue).where(_OF_THESE).order_by(*_ORDER)
_LEASE_OF = select(_w.leased_at, _w.first_action).where(_w.task_id == bindparam("task_id"))
_GIVEN = (
    select(looks.c.answer_id, looks.c.reviewer_id, looks.c.action, looks.c.at)
    .where(looks.c.task_id == bindparam("task_id"), looks.c.undone_at.is_(None))
    .order_by(looks.c.at, looks.c.answer_id)
)


def _latest(where: Any) -> Any:
    """Outcomes of uploads, the latest first."""
    same_upload = and_(_u.media_id == outcomes.c.media_id, _u.round == outcomes.c.round)
    latest = (outcomes.c.enforced_at.desc(), outcomes.c.media_id)
    return select(outcomes.c.event).select_from(outcomes.join(uploads, same_upload)).where(where).order_by(*latest)


_PAST = _latest(or_(_u.media_id == bindparam("media_id"), _u.sha256 == bindparam("sha256"))).limit(100)
_ELSEWHERE = _latest(and_(_u.uploader_id == bindparam("uploader_id"), _u.media_id != bindparam("media_id"))).limit(100)
_SAID = (
    select(looks.c.event)
    .select_from(looks.join(tasks, looks.c.task_id == _t.task_id))
    .where(_t.media_id == bindparam("media_id"), _t.round <= bindparam("up_to"), looks.c.undone_at.is_(None))
    .order_by(looks.c.at, looks.c.answer_id)
)
_APPEALED = (
    select(_t.event, _t.queue, reviews.c.action)
    .select_from(reviews.join(tasks, _t.task_id == reviews.c.task_id))
    .where(reviews.c.decided_at >= bindparam("since"), _t.round > 1)
)


_LOOKS = (
    select(func.count()).where(looks.c.task_id == _t.task_id, looks.c.undone_at.is_(None)).scalar_subquery()
).label("looks")
_HELD = (
    select(_t.event, _t.queue, _w.leased_until, _w.first_action, _LOOKS)
    .select_from(tasks.join(work, _w.task_id == _t.task_id))
    .where(_w.lease_id == bindparam("lease_id"), _t.state == TaskState.OPEN.value)
    .order_by(*_ORDER)
)


def _claimable(lead: bool) -> Any:
    """Open tasks that this person may have now; parameters: `who`, `now`. Made once: making one takes longer than it
    takes the database to answer it."""
    s, a = skips.c, looks.c
    who: Any = bindparam("who")
    now: Any = bindparam("now")
    free = and_(
        or_(_w.leased_until.is_(None), _w.leased_until <= now),
        or_(_w.held_until.is_(None), _w.held_until <= now),
        or_(_w.assigned_to.is_(None), _w.assigned_to == who),
        _w.answered_at.is_(None),
        true() if lead else or_(_w.needs_lead.is_(None), _w.needs_lead == 0),
    )
    barred = select(s.task_id).where(
        s.task_id == _t.task_id, s.reviewer_id == who, or_(s.until.is_(None), s.until > now)
    )
    answered = select(a.task_id).where(a.task_id == _t.task_id, a.reviewer_id == who, a.undone_at.is_(None))
    return (
        select(_t.task_id, _t.start_by, _t.deadline, _t.priority)
        .select_from(tasks.outerjoin(work, _w.task_id == _t.task_id))
        .where(_t.state == TaskState.OPEN.value, free, ~barred.exists(), ~answered.exists())
    )


def _locked(query: Any) -> Any:
    """Tasks that another transaction is taking are passed over. SQLite, which has one writer, is not asked for it.

    FOR NO KEY UPDATE: rows that point at a task may be written meanwhile."""
    return query.with_for_update(of=tasks, skip_locked=True, key_share=True)


def _ranked(claimable: Any) -> Any:
    """The queues among `queues` that have such a task, each with its most urgent one; the most urgent first. For
    PostgreSQL."""
    q = func.unnest(cast(bindparam("queues"), ARRAY(Text))).table_valued("queue", name="q").render_derived()
    top = claimable.where(_t.queue == q.c.queue).order_by(*_ORDER).limit(1).lateral("top")
    order = (func.coalesce(top.c.start_by, top.c.deadline), top.c.priority.desc(), top.c.task_id)
    return select(q.c.queue, top.c.task_id).select_from(q.join(top, true())).order_by(*order)


_CLAIMABLE = {lead: _claimable(lead) for lead in (False, True)}
"""By whether it is a lead who asks; so are the following."""
_OF_ONE = _t.task_id == bindparam("task_id")
_OF_QUEUE = _t.queue == bindparam("queue")
_OF_CASE = and_(_w.case_id == bindparam("case_id"), _t.task_id != bindparam("task_id"), _OF_QUEUE)
_RANKED = {lead: _ranked(query) for lead, query in _CLAIMABLE.items()}
_NEXT = {lead: _locked(query.where(_OF_QUEUE).order_by(*_ORDER).limit(1)) for lead, query in _CLAIMABLE.items()}
_LOCK_THIS = {lead: _locked(query.where(_OF_ONE)) for lead, query in _CLAIMABLE.items()}
_THIS = {
    lead: query.where(_OF_ONE).add_columns(_t.queue, _w.case_id, _t.event, _LOOKS) for lead, query in _CLAIMABLE.items()
}
_NEAR = {lead: _locked(query.where(_OF_CASE)) for lead, query in _CLAIMABLE.items()}


def _urgency(row: Any) -> tuple[datetime, int, UUID]:
    """Sorts tasks, the most urgent first: by when work has to start, then by priority."""
    return row.start_by or row.deadline, -row.priority, row.task_id


def _as_it_is(row: Any) -> ReviewRequested:
    """The task as it was asked for, in the queue that it is in now."""
    return msgspec.structs.replace(_requested.decode(row.event), queue=row.queue)


def answered_note(
    media_id: str, reviewer: str, answer: Answer, done: Answered, now: datetime, verb: str = "answered"
) -> Note:
    """What the audit log says of an answer, whether the task was golden or not."""
    swept = [str(task_id) for task_id in done.swept]
    detail = {"action": answer.action, "harm": answer.harm, "stands": done.stands, "swept": swept}
    return Note(now, reviewer, verb, media_id, detail | {"answer": str(done.answer_id)})


def opened_note(reviewer: str, now: datetime, held: Held) -> Note:
    """What the audit log says of a case that is shown to who holds it."""
    return Note(now, reviewer, "opened", held.tasks[0].media_id, {"lease": str(held.lease_id)})


def taken_back_note(media_id: str, reviewer: str, answer_id: UUID, now: datetime) -> Note:
    """What the audit log says of an answer that was taken back."""
    return Note(now, reviewer, "took back", media_id, {"answer": str(answer_id)})


def _as_waiting(row: Any) -> Waiting:
    frames = _frames.decode(row.frames) if row.frames else ()
    return Waiting(row.task_id, row.queue, row.harm, row.sha256, frames)


def _review(task: ReviewRequested, reviewer: str, answer: Answer, now: datetime) -> ReviewDecided:
    return ReviewDecided(
        review_id=review_id(task.task_id, reviewer),
        task_id=task.task_id,
        media_id=task.media_id,
        round=task.round,
        action=answer.action,
        decided_at=now,
        reviewer_id=reviewer,
        reason=answer.reason,
        notes=answer.notes,
        label=answer.label,
        confirmed=answer.confirmed,
        denied=answer.denied,
        harm=answer.harm or "",
    )
