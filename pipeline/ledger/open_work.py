"""What waits for people and for the relay, as numbers for whoever watches. Each is one read, of open work alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import case, func, select

from pipeline.errors import Stage
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.port import TaskState
from pipeline.ledger.tables import statements, tasks
from pipeline.ledger.work_tables import audit_log, outbox, work
from pipeline.statements.rows import StatementState

_t, _w, _o, _s = tasks.c, work.c, outbox.c, statements.c
_OPEN = _t.state == TaskState.OPEN.value
_WAITS = _w.answered_at.is_(None)
"""Also true of tasks that belong to no case yet."""


@dataclass(frozen=True, slots=True)
class QueueNumbers:
    """One queue now. `overdue`: past the deadline. `urgent`: work has to start within the horizons that were asked for,
    or had to start already; each horizon includes the ones before. `slack`: seconds until work has to start on the most
    urgent task, below 0 when it had to start; None when nothing waits."""

    waiting: int
    leased: int
    held: int
    overdue: int
    oldest: datetime | None
    slack: float | None
    urgent: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Leases:
    """Every lease on open tasks: when it ends, or ended."""

    until: Mapping[UUID, tuple[str, datetime]]


@dataclass(frozen=True, slots=True)
class OutboxNumbers:
    """What is not published yet. `due`: of that, what may be published; `oldest`: since when the first of it may."""

    waiting: int
    due: int
    oldest: datetime | None


@dataclass(frozen=True, slots=True)
class Records:
    """`entries`: of the audit log. `statements`: of reasons, that are not sent yet; `oldest`: the first of them."""

    entries: int
    statements: int
    oldest: datetime | None


class OpenWork:
    """Reads of one ledger. Each raises as the ledger's do."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def queues(self, now: datetime, horizons: tuple[timedelta, ...]) -> dict[str, QueueNumbers]:
        """The queues that have open tasks nobody has answered."""
        start = func.coalesce(_t.start_by, _t.deadline)
        urgent = [func.count(case((start <= now + horizon, 1))) for horizon in horizons]
        query = (
            select(
                _t.queue,
                func.count(),
                func.count(case((_w.leased_until > now, 1))),
                func.count(case((_w.held_until > now, 1))),
                func.count(case((_t.deadline < now, 1))),
                func.min(_t.requested_at),
                func.min(start),
                *urgent,
            )
            .select_from(tasks.outerjoin(work, _w.task_id == _t.task_id))
            .where(_OPEN, _WAITS)
            .group_by(_t.queue)
        )
        with self._ledger.reading(Stage.SETTLE) as connection:
            return {
                queue: QueueNumbers(
                    waiting,
                    leased,
                    held,
                    overdue,
                    oldest,
                    (starts - now).total_seconds() if starts else None,
                    tuple(rest),
                )
                for queue, waiting, leased, held, overdue, oldest, starts, *rest in connection.execute(query)
            }

    def leases(self) -> Leases:
        """Those that people hold, and those that ran out and whose task nobody has taken since."""
        query = (
            select(_w.lease_id, _t.queue, _w.leased_until)
            .select_from(work.join(tasks, _w.task_id == _t.task_id))
            .where(_OPEN, _w.lease_id.is_not(None), _w.answered_at.is_(None))
        )
        with self._ledger.reading(Stage.SETTLE) as connection:
            return Leases({row[0]: (row[1], row[2]) for row in connection.execute(query)})

    def outbox(self, now: datetime) -> OutboxNumbers:
        """Answers on their way to Kafka."""
        query = select(
            func.count(),
            func.count(case((_o.not_before <= now, 1))),
            func.min(case((_o.not_before <= now, _o.not_before))),
        ).where(_o.sent_at.is_(None))
        with self._ledger.reading(Stage.SETTLE) as connection:
            waiting, due, oldest = connection.execute(query).one()
        return OutboxNumbers(waiting, due, oldest)

    def records(self) -> Records:
        """What has to be kept and sent for others."""
        queued = select(func.count(), func.min(_s.queued_at)).where(_s.state == StatementState.QUEUED.value)
        with self._ledger.reading(Stage.SETTLE) as connection:
            entries = connection.execute(select(func.max(audit_log.c.seq))).scalar() or 0
            waiting, oldest = connection.execute(queued).one()
        return Records(entries, waiting, oldest)
