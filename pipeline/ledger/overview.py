"""What leads and administrators look at: who holds what, tasks whose answer is known, and who may come in.

Reads only; what they change goes by `Work`, `Golden` and `People`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, and_, func, or_, select

from pipeline.errors import Stage
from pipeline.events.values import Action
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.people import person_of
from pipeline.ledger.port import TaskState
from pipeline.ledger.tables import reviews, tasks
from pipeline.ledger.work_tables import accounts, golden, golden_looks, sessions, work
from pipeline.review.people import Person

_t, _w, _g, _l, _r, _a, _s = tasks.c, work.c, golden.c, golden_looks.c, reviews.c, accounts.c, sessions.c


@dataclass(frozen=True, slots=True)
class AtWork:
    """A case that somebody holds. `task_id`, `media_id`, `harm`: of its most urgent task; `tasks`: how many it has."""

    who: str
    name: str
    queue: str
    task_id: UUID
    media_id: str
    harm: str
    since: datetime
    until: datetime
    tasks: int


@dataclass(frozen=True, slots=True)
class GoldenTask:
    """A task whose answer is known. `answers`: what people said, how often."""

    task_id: UUID
    media_id: str
    queue: str
    harm: str
    action: Action
    added_by: str
    added_at: datetime
    answers: Mapping[Action, int]


@dataclass(frozen=True, slots=True)
class Settled:
    """A task that people decided, and how."""

    task_id: UUID
    media_id: str
    queue: str
    harm: str
    action: Action
    decided_by: str
    decided_at: datetime


@dataclass(frozen=True, slots=True)
class Known:
    """Somebody who may come in, or is in. `account`: since when they have a local one. `fresh`: its password works
    once. `sessions`: how many have not ended; `latest`: when the last of them began."""

    person: Person
    account: datetime | None = None
    fresh: bool = False
    disabled: bool = False
    sessions: int = 0
    latest: datetime | None = None


class Overview:
    """One ledger, as leads and administrators see it. Methods raise as the ledger's do."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def at_work(self, now: datetime) -> tuple[AtWork, ...]:
        """Every case that is held, by person; golden ones among them, which nobody can tell from the others."""
        with self._ledger.reading(Stage.SETTLE) as connection:
            rows = [*connection.execute(_HELD.where(_w.leased_until > now)), *connection.execute(_golden_held(now))]
            names = _names(connection, {row.who for row in rows})
        cases: dict[UUID, list[Any]] = defaultdict(list)
        for row in rows:
            cases[row.lease_id].append(row)
        found = (
            AtWork(
                who=first.who,
                name=names.get(first.who, first.who),
                queue=first.queue,
                task_id=first.task_id,
                media_id=first.media_id,
                harm=first.harm,
                since=first.leased_at,
                until=first.leased_until,
                tasks=len(case),
            )
            for case in cases.values()
            for first in case[:1]
        )
        return tuple(sorted(found, key=lambda each: (each.name, each.who, each.task_id)))

    def golden(self, queue: str, after: UUID | None, limit: int) -> tuple[GoldenTask, ...]:
        """Golden tasks of a queue that are in use, the latest first, from after one of them on."""
        query = (
            select(_t.task_id, _t.media_id, _g.queue, _t.harm, _g.action, _g.added_by, _g.added_at)
            .select_from(golden.join(tasks, _g.task_id == _t.task_id))
            .where(_g.queue == queue, _g.retired_at.is_(None))
            .order_by(_g.added_at.desc(), _g.task_id)
            .limit(limit)
        )
        with self._ledger.reading(Stage.SETTLE) as connection:
            if after is not None:
                last = connection.execute(select(_g.added_at).where(_g.task_id == after)).scalar()
                if last is None:
                    return ()
                query = query.where(or_(_g.added_at < last, and_(_g.added_at == last, _g.task_id > after)))
            rows = connection.execute(query).mappings().all()
            said = _answers(connection, [row["task_id"] for row in rows])
        return tuple(
            GoldenTask(**{**row, "action": Action(row["action"]), "answers": said[row["task_id"]]}) for row in rows
        )

    def settled(self, queues: Sequence[str], media_id: str | None, limit: int) -> tuple[Settled, ...]:
        """Tasks of these queues that people decided and that are not golden, the latest first; of one upload, or of
        all."""
        known = select(_g.task_id).where(_g.task_id == _t.task_id, _g.retired_at.is_(None))
        query = (
            select(
                _t.task_id,
                _t.media_id,
                _t.queue,
                _t.harm,
                _r.action,
                _r.reviewer_id.label("decided_by"),
                _r.decided_at,
            )
            .select_from(reviews.join(tasks, _r.task_id == _t.task_id))
            .where(_t.queue.in_(tuple(queues)), _t.state != TaskState.OPEN.value, ~known.exists())
            .order_by(_r.decided_at.desc(), _r.task_id)
            .limit(limit)
        )
        if media_id is not None:
            query = query.where(_r.media_id == media_id)
        with self._ledger.reading(Stage.SETTLE) as connection:
            rows = connection.execute(query).mappings().all()
        return tuple(Settled(**{**row, "action": Action(row["action"])}) for row in rows)

    def people(self, now: datetime) -> tuple[Known, ...]:
        """Everybody who has a local account or a session that has not ended, tools with a token among them."""
        with self._ledger.reading(Stage.SETTLE) as connection:
            local = connection.execute(select(accounts)).mappings().all()
            open_now = connection.execute(
                select(sessions).where(_s.expires_at > now).order_by(_s.created_at.desc())
            ).mappings()
            inside: dict[str, list[Any]] = defaultdict(list)
            for row in open_now:
                inside[row["person_id"]].append(row)
        found = {
            row["person_id"]: Known(person_of(row), row["created_at"], bool(row["one_time"]), bool(row["disabled_at"]))
            for row in local
        }
        for person_id, mine in inside.items():
            known = found.get(person_id) or Known(person_of(mine[0]))
            found[person_id] = Known(
                known.person, known.account, known.fresh, known.disabled, len(mine), mine[0]["created_at"]
            )
        return tuple(sorted(found.values(), key=lambda each: (each.person.name, each.person.id)))


_HELD = (
    select(
        _w.lease_id,
        _w.leased_by.label("who"),
        _w.leased_at,
        _w.leased_until,
        _t.task_id,
        _t.media_id,
        _t.queue,
        _t.harm,
    )
    .select_from(work.join(tasks, _w.task_id == _t.task_id))
    .where(_t.state == TaskState.OPEN.value)
    .order_by(_t.start_by, _t.priority.desc(), _t.task_id)
)


def _golden_held(now: datetime) -> Any:
    return (
        select(
            _l.lease_id,
            _l.reviewer_id.label("who"),
            _l.leased_at,
            _l.leased_until,
            _t.task_id,
            _t.media_id,
            _g.queue,
            _t.harm,
        )
        .select_from(golden_looks.join(golden, _l.task_id == _g.task_id).join(tasks, _g.task_id == _t.task_id))
        .where(_l.action.is_(None), _l.leased_until > now)
    )


def _names(connection: Connection, people: Iterable[str]) -> dict[str, str]:
    """What these people are called, as they came in last."""
    query = select(_s.person_id, _s.name).where(_s.person_id.in_(tuple(people))).order_by(_s.created_at)
    return {row.person_id: row.name for row in connection.execute(query)}


def _answers(connection: Connection, task_ids: Sequence[UUID]) -> dict[UUID, dict[Action, int]]:
    query = (
        select(_l.task_id, _l.action, func.count())
        .where(_l.task_id.in_(task_ids), _l.action.is_not(None))
        .group_by(_l.task_id, _l.action)
    )
    found: dict[UUID, dict[Action, int]] = {task_id: {} for task_id in task_ids}
    for task_id, action, count in connection.execute(query):
        found[task_id][Action(action)] = count
    return found
