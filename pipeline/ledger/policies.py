"""Which policy is in force from when: on record, so that all workers agree and a decision can be explained later.

A switch is a row that says from when a policy decides. Numbers grow by one and moments never go back, so at every
moment the policy in force is that of the highest number whose moment has come. Moments are the database's: the clocks
of workers need not agree.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, func, insert, select, update

from pipeline.errors import Stage
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.tables import policies, policy_activations, policy_switches, policy_workers
from pipeline.policy.activations import Key, PolicyWords, Switch, WorkerPolicy

ALIVE = timedelta(minutes=2)
"""A worker that was not heard of for so long is taken for gone."""
FORGOTTEN = timedelta(days=1)
"""After so long its row goes; what it had in force stays on record."""

_SWITCH_LOCK = 0x756E6D61736B + 3
"""Beside the ledger's other locks: none is used twice."""


class PolicyRecord:
    """The ledger's tables of policies. Methods raise `Transient` while the database is away."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def propose(self, words: PolicyWords, worker_id: str, lead: timedelta) -> Switch:
        """Put a policy in force `lead` from now, or at once when there was none before.

        What is the last switch already is not switched to again. The words are kept under the key, those that came
        first when others mean the same.
        """
        with self._ledger.writing(Stage.DECIDE, _SWITCH_LOCK) as connection:
            last = _first(connection, select(policy_switches).order_by(policy_switches.c.number.desc()))
            if last is not None and last.key == words.key:
                return last
            now = _now(connection)
            if connection.execute(_policy(words.key)).first() is None:
                connection.execute(insert(policies), _policy_row(words, now))
            wanted = now if last is None else max(now + lead, last.active_from)
            switch = Switch(last.number + 1 if last else 1, words.key, wanted, now, worker_id)
            connection.execute(insert(policy_switches), _switch_row(switch))
        return switch

    def now(self) -> datetime:
        """By the clock of the database."""
        with self._ledger.reading(Stage.DECIDE) as connection:
            return _now(connection)

    def at(self, moment: datetime | None = None) -> Switch | None:
        """What is in force at a moment (now when not given); None before the first switch."""
        c = policy_switches.c
        with self._ledger.reading(Stage.DECIDE) as connection:
            query = select(policy_switches).where(c.active_from <= (moment or _now(connection)))
            return _first(connection, query.order_by(c.number.desc()))

    def after(self, number: int) -> tuple[Switch, ...]:
        """The switches with a higher number, in order."""
        c = policy_switches.c
        with self._ledger.reading(Stage.DECIDE) as connection:
            rows = connection.execute(select(policy_switches).where(c.number > number).order_by(c.number)).all()
        return tuple(map(_switch, rows))

    def words(self, key: Key) -> PolicyWords | None:
        """The words of a policy."""
        with self._ledger.reading(Stage.DECIDE) as connection:
            row = connection.execute(_policy(key)).first()
        return None if row is None else PolicyWords(key, row.policy, row.calibration)

    def known(self, version: str) -> tuple[Key, ...]:
        """The policies of this version, with each calibration that they were in force with, the latest first."""
        p = policies.c
        query = select(p.version, p.fusion_version).where(p.version == version).order_by(p.recorded_at.desc())
        with self._ledger.reading(Stage.DECIDE) as connection:
            return tuple(Key(*row) for row in connection.execute(query))

    # --- what workers make of it --------------------------------------------------------------------------------------

    def activated(self, worker_id: str, number: int, at: datetime, digest: str) -> None:
        """A worker decides by this switch from `at` on; `digest`: of the words that it read."""
        row = {"worker_id": worker_id, "activated_at": at, "number": number, "digest": digest}
        with self._ledger.writing(Stage.DECIDE, _SWITCH_LOCK) as connection:
            c = policy_activations.c
            there = select(c.number).where(c.worker_id == worker_id, c.activated_at == at)
            if connection.execute(there).first() is None:
                connection.execute(insert(policy_activations), row)

    def seen(self, worker_id: str, number: int, file: Key | None, refused: str | None) -> None:
        """A worker lives, and this is how it stands."""
        said = {
            "number": number,
            "file_version": file.version if file else None,
            "file_fusion": file.fusion_version if file else None,
            "refused": refused,
        }
        c = policy_workers.c
        with self._ledger.writing(Stage.DECIDE, _SWITCH_LOCK) as connection:
            now = _now(connection)
            change = update(policy_workers).where(c.worker_id == worker_id).values(**said, seen_at=now)
            if connection.execute(change).rowcount == 0:
                connection.execute(insert(policy_workers), {"worker_id": worker_id, "seen_at": now, **said})
                connection.execute(delete(policy_workers).where(c.seen_at < now - FORGOTTEN))

    def gone(self, worker_id: str) -> None:
        """A worker has ended as it should."""
        with self._ledger.writing(Stage.DECIDE, _SWITCH_LOCK) as connection:
            connection.execute(delete(policy_workers).where(policy_workers.c.worker_id == worker_id))

    def workers(self) -> tuple[WorkerPolicy, ...]:
        """Those that were heard of lately, by name."""
        w, s, a = policy_workers.c, policy_switches.c, policy_activations.c
        since = (
            select(a.worker_id, a.number, func.max(a.activated_at).label("since"))
            .group_by(a.worker_id, a.number)
            .subquery()
        )
        same = and_(since.c.worker_id == w.worker_id, since.c.number == w.number)
        query = (
            select(policy_workers, s.version, s.fusion_version, since.c.since)
            .select_from(policy_workers.join(policy_switches, s.number == w.number).outerjoin(since, same))
            .order_by(w.worker_id)
        )
        with self._ledger.reading(Stage.DECIDE) as connection:
            rows = connection.execute(query.where(w.seen_at > _now(connection) - ALIVE)).all()
        return tuple(
            WorkerPolicy(
                worker_id=row.worker_id,
                number=row.number,
                key=Key(row.version, row.fusion_version),
                since=row.since,
                file=Key(row.file_version, row.file_fusion) if row.file_version else None,
                refused=row.refused,
                seen_at=row.seen_at,
            )
            for row in rows
        )

    def was_switched_to(self, key: Key) -> bool:
        """Whether it was ever in force, or is going to be."""
        c = policy_switches.c
        query = select(c.number).where(c.version == key.version, c.fusion_version == key.fusion_version).limit(1)
        with self._ledger.reading(Stage.DECIDE) as connection:
            return connection.execute(query).first() is not None


def _now(connection: Connection) -> datetime:
    """An SQLite file has no server; whoever opens it is on its machine."""
    if connection.dialect.name == "postgresql":
        now: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
        return now.astimezone(UTC)
    return datetime.now(UTC)


def _first(connection: Connection, query: Any) -> Switch | None:
    row = connection.execute(query.limit(1)).first()
    return None if row is None else _switch(row)


def _switch(row: Row[Any]) -> Switch:
    return Switch(
        number=row.number,
        key=Key(row.version, row.fusion_version),
        active_from=row.active_from,
        proposed_at=row.proposed_at,
        proposed_by=row.proposed_by,
    )


def _policy(key: Key) -> Any:
    return select(policies).where(policies.c.version == key.version, policies.c.fusion_version == key.fusion_version)


def _policy_row(words: PolicyWords, now: datetime) -> dict[str, object]:
    return {
        "version": words.key.version,
        "fusion_version": words.key.fusion_version,
        "policy": words.policy,
        "calibration": words.calibration,
        "recorded_at": now,
    }


def _switch_row(switch: Switch) -> dict[str, object]:
    return {
        "number": switch.number,
        "version": switch.key.version,
        "fusion_version": switch.key.fusion_version,
        "active_from": switch.active_from,
        "proposed_at": switch.proposed_at,
        "proposed_by": switch.proposed_by,
    }
