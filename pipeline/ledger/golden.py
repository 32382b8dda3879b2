"""Tasks whose answer is known. They are shown like any other, and what people answer goes nowhere but into the measure
of how well people decide."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import msgspec
from msgspec.structs import replace
from sqlalchemy import bindparam, delete, func, select, update

from pipeline.errors import Stage
from pipeline.events import ReviewRequested
from pipeline.events.values import Action
from pipeline.ledger.entries import Note, append
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.port import TaskState
from pipeline.ledger.tables import tasks
from pipeline.ledger.work import answered_note, taken_back_note
from pipeline.ledger.work_tables import golden, golden_looks, looks
from pipeline.review.port import Answer, Answered, GoldenLook, Held, Refused, Stands

_requested = msgspec.json.Decoder(ReviewRequested)
_g, _l = golden.c, golden_looks.c


class Golden:
    """Golden tasks, on one ledger. Methods raise as the ledger's do, and `Refused` for what cannot be."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def add(self, task_id: UUID, action: Action, by: str, now: datetime, note: Note | None = None) -> None:
        """From now on this decided task is used to measure; one that is golden, or was, gets another right answer.
        Raises Refused for one that is not decided. `note`: for the audit log."""
        with self._ledger.writing(Stage.SETTLE) as connection:
            query = select(tasks.c.queue, tasks.c.state).where(tasks.c.task_id == task_id)
            row = connection.execute(query).first()
            if row is None or row.state == TaskState.OPEN:
                raise Refused("Only a decided task can be golden.")
            said = {"queue": row.queue, "action": action.value, "added_by": by, "added_at": now, "retired_at": None}
            new = self._ledger.inserting(golden).values(said | {"task_id": task_id})
            connection.execute(new.on_conflict_do_update(index_elements=["task_id"], set_=said))
            if note is not None:
                append(connection, note)

    def due(self, reviewer: str, shares: dict[str, float]) -> tuple[str, ...]:
        """The queues in which this person has seen fewer golden tasks than the share of their answers asks for."""
        late = []
        with self._ledger.reading(Stage.SETTLE) as connection:
            for queue, share in shares.items():
                if share <= 0:
                    continue
                mine = (looks.c.reviewer_id == reviewer, looks.c.undone_at.is_(None), tasks.c.queue == queue)
                real = connection.execute(
                    select(func.count()).select_from(looks.join(tasks, looks.c.task_id == tasks.c.task_id)).where(*mine)
                ).scalar_one()
                seen = connection.execute(
                    select(func.count())
                    .select_from(golden_looks.join(golden, _l.task_id == _g.task_id))
                    .where(_l.reviewer_id == reviewer, _g.queue == queue)
                ).scalar_one()
                if seen < share * (real + seen + 1):
                    late.append(queue)
        return tuple(late)

    def claim(self, reviewer: str, queues: Iterable[str], now: datetime, lease: timedelta) -> Held | None:
        """A golden task of these queues that this person has neither seen nor decided before."""
        with self._ledger.writing(Stage.SETTLE) as connection:
            ended = (_l.reviewer_id == reviewer, _l.action.is_(None), _l.leased_until <= now)
            connection.execute(delete(golden_looks).where(*ended))
            seen = select(_l.task_id).where(_l.task_id == _g.task_id, _l.reviewer_id == reviewer)
            decided = select(looks.c.task_id).where(looks.c.task_id == _g.task_id, looks.c.reviewer_id == reviewer)
            query = (
                select(_g.task_id)
                .where(_g.queue.in_(tuple(queues)), _g.retired_at.is_(None), ~seen.exists(), ~decided.exists())
                .order_by(_g.added_at, _g.task_id)
                .limit(1)
            )
            task_id = connection.execute(query).scalar()
            if task_id is None:
                return None
            lease_id = uuid4()
            row = {"lease_id": lease_id, "task_id": task_id, "reviewer_id": reviewer, "leased_at": now}
            new = self._ledger.inserting(golden_looks).values(row | {"leased_until": now + lease})
            # Another window of the same person may have been faster: then it is held already.
            connection.execute(new.on_conflict_do_nothing(index_elements=["task_id", "reviewer_id"]))
        return self.holding(reviewer, now)

    def holding(self, reviewer: str, now: datetime) -> Held | None:
        """The golden task that this person holds, as if it had come in just now: one that is long overdue is none."""
        with self._ledger.reading(Stage.SETTLE) as connection:
            row = connection.execute(_HOLDING, {"who": reviewer, "now": now}).first()
        if row is None:
            return None
        first = Action(row.first_action) if row.first_action else None
        return Held(row.lease_id, row.leased_until, (_as_new(_requested.decode(row.event), row.leased_at),), 0, first)

    def keep(self, reviewer: str, lease_id: UUID, until: datetime, now: datetime) -> bool:
        """Whether it was a golden lease that could be kept."""
        return self._set(reviewer, lease_id, now, {"leased_until": until})

    def first(self, reviewer: str, lease_id: UUID, action: Action, now: datetime) -> bool:
        """Whether it was a golden lease: what was said before the scores were seen."""
        return self._set(reviewer, lease_id, now, {"first_action": func.coalesce(_l.first_action, action.value)})

    def answer(self, reviewer: str, lease_id: UUID, answer: Answer, now: datetime, grace: timedelta) -> Answered | None:
        """What a settled answer leads to, when it was a golden lease; the audit log hears of it as of any other."""
        with self._ledger.writing(Stage.SETTLE) as connection:
            mine = (_l.lease_id == lease_id, _l.reviewer_id == reviewer, _l.leased_until > now, _l.action.is_(None))
            said = {"action": answer.action.value, "at": now}
            if not connection.execute(update(golden_looks).where(*mine).values(said)).rowcount:
                return None
            task = connection.execute(_TASK_OF.where(_l.lease_id == lease_id)).one()
            done = Answered(lease_id, Stands.SETTLED, (task.task_id,), now + grace)
            append(connection, answered_note(task.media_id, reviewer, answer, done, now))
            return done

    def undo(self, reviewer: str, lease_id: UUID, now: datetime, lease: timedelta, grace: timedelta) -> bool:
        """Whether it was a golden answer that could be taken back. Another golden task that is held is given back."""
        with self._ledger.writing(Stage.SETTLE) as connection:
            mine = (_l.lease_id == lease_id, _l.reviewer_id == reviewer, _l.at > now - grace)
            values = {"action": None, "at": None, "leased_until": now + lease}
            if not connection.execute(update(golden_looks).where(*mine).values(values)).rowcount:
                return False
            other = (_l.reviewer_id == reviewer, _l.action.is_(None), _l.lease_id != lease_id)
            connection.execute(delete(golden_looks).where(*other))
            task = connection.execute(_TASK_OF.where(_l.lease_id == lease_id)).one()
            append(connection, taken_back_note(task.media_id, reviewer, lease_id, now))
            return True

    def let_go(self, reviewer: str) -> None:
        """Give back whatever golden task this person holds."""
        with self._ledger.writing(Stage.SETTLE) as connection:
            connection.execute(delete(golden_looks).where(_l.reviewer_id == reviewer, _l.action.is_(None)))

    def release(self, reviewer: str, lease_id: UUID) -> bool:
        """Whether it was a golden lease; it may come again."""
        with self._ledger.writing(Stage.SETTLE) as connection:
            mine = (_l.lease_id == lease_id, _l.reviewer_id == reviewer, _l.action.is_(None))
            return bool(connection.execute(delete(golden_looks).where(*mine)).rowcount)

    def answered(self, since: datetime) -> tuple[GoldenLook, ...]:
        """Every answer to a golden task since then."""
        query = (
            select(_g.queue, _l.reviewer_id, _g.action.label("right"), _l.action)
            .select_from(golden_looks.join(golden, _l.task_id == _g.task_id))
            .where(_l.at >= since)
            .order_by(_l.at)
        )
        with self._ledger.reading(Stage.SETTLE) as connection:
            return tuple(
                GoldenLook(row.queue, row.reviewer_id, Action(row.right), Action(row.action))
                for row in connection.execute(query)
            )

    def retire(self, task_id: UUID, now: datetime, note: Note) -> bool:
        """Whether it was golden: nobody gets it any more, and what was answered still counts. `note`: for the audit
        log."""
        with self._ledger.writing(Stage.SETTLE) as connection:
            mine = (_g.task_id == task_id, _g.retired_at.is_(None))
            if not connection.execute(update(golden).where(*mine).values(retired_at=now)).rowcount:
                return False
            append(connection, note)
            return True

    def _set(self, reviewer: str, lease_id: UUID, now: datetime, values: dict[str, object]) -> bool:
        with self._ledger.writing(Stage.SETTLE) as connection:
            mine = (_l.lease_id == lease_id, _l.reviewer_id == reviewer, _l.leased_until > now, _l.action.is_(None))
            return bool(connection.execute(update(golden_looks).where(*mine).values(values)).rowcount)


_HOLDING = (
    select(_l.lease_id, _l.leased_at, _l.leased_until, _l.first_action, tasks.c.event)
    .select_from(golden_looks.join(tasks, _l.task_id == tasks.c.task_id))
    .where(_l.reviewer_id == bindparam("who"), _l.action.is_(None), _l.leased_until > bindparam("now"))
    .limit(1)
)
"""Made once, as it is asked before each case: to make it takes as long as to answer it."""
_TASK_OF = select(tasks.c.task_id, tasks.c.media_id).select_from(
    golden_looks.join(tasks, _l.task_id == tasks.c.task_id)
)


def _as_new(task: ReviewRequested, now: datetime) -> ReviewRequested:
    """All its times moved on by as much as it is old."""
    age = now - task.requested_at
    return replace(
        task,
        requested_at=now,
        deadline=task.deadline + age,
        start_by=task.start_by + age if task.start_by else None,
        upload=replace(task.upload, uploaded_at=task.upload.uploaded_at + age),
    )
