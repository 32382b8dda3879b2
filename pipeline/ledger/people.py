"""Accounts, sessions, preferences and exposure of the people who use the console."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import datetime
from hashlib import sha256
from uuid import UUID

from sqlalchemy import bindparam, delete, func, insert, select, update

from pipeline.errors import Stage
from pipeline.ledger.entries import Note, append
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.work_tables import accounts, exposures, preferences, sessions
from pipeline.review.people import Person, Role


class People:
    """Who may use the console, on one ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    # --- accounts: the local mode -----------------------------------------------------------------------------------

    def put_account(self, person: Person, password_hash: str, one_time: bool, now: datetime) -> None:
        """Add a local account, or replace it; sessions of the one that was there end."""
        row = {"person_id": person.id, "password": password_hash, "one_time": int(one_time), "disabled_at": None}
        row |= {"created_at": now, **_person_row(person)}
        with self._ledger.writing(Stage.SETTLE) as connection:
            connection.execute(delete(accounts).where(accounts.c.person_id == person.id))
            connection.execute(delete(sessions).where(sessions.c.person_id == person.id))
            connection.execute(insert(accounts), row)

    def account(self, person_id: str) -> tuple[Person, str, bool] | None:
        """(person, password hash, whether it works once) of an account that may sign in."""
        a = accounts.c
        query = select(accounts).where(a.person_id == person_id, a.disabled_at.is_(None))
        with self._ledger.reading(Stage.SETTLE) as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else (person_of(row), row["password"], bool(row["one_time"]))

    def set_password(self, person_id: str, password_hash: str) -> None:
        """From now on this one, as often as wanted; every session ends."""
        with self._ledger.writing(Stage.SETTLE) as connection:
            values = {"password": password_hash, "one_time": 0}
            connection.execute(update(accounts).where(accounts.c.person_id == person_id).values(values))
            connection.execute(delete(sessions).where(sessions.c.person_id == person_id))

    def change_account(
        self,
        person_id: str,
        roles: frozenset[Role],
        queues: frozenset[str],
        *,
        disabled_at: datetime | None,
        note: Note,
    ) -> int | None:
        """What somebody may from now on, and since when they cannot sign in (None: they can). Their sessions end: one
        that a one-time password opened must not gain a role. How many did; None where there is no such account.
        `note`: for the audit log."""
        said = {"roles": _joined(roles), "queues": _joined(queues), "disabled_at": disabled_at}
        with self._ledger.writing(Stage.SETTLE) as connection:
            if not connection.execute(update(accounts).where(accounts.c.person_id == person_id).values(said)).rowcount:
                return None
            ended = connection.execute(delete(sessions).where(sessions.c.person_id == person_id)).rowcount
            append(connection, note)
            return ended

    # --- sessions -----------------------------------------------------------------------------------------------------

    def open_session(self, person: Person, now: datetime, until: datetime) -> str:
        """A new session's secret, for the cookie. Sessions that have ended are removed on the way."""
        secret = secrets.token_urlsafe(32)
        row = {"session": _digest(secret), "person_id": person.id, "created_at": now, "expires_at": until}
        with self._ledger.writing(Stage.SETTLE) as connection:
            connection.execute(delete(sessions).where(sessions.c.expires_at <= now))
            connection.execute(insert(sessions), row | _person_row(person))
        return secret

    def session(self, secret: str, now: datetime) -> Person | None:
        """Whose session it is; None when it has ended or never was."""
        with self._ledger.reading(Stage.SETTLE) as connection:
            row = connection.execute(_SESSION, {"digest": _digest(secret), "now": now}).mappings().first()
        return None if row is None else person_of(row)

    def session_until(self, secret: str) -> datetime | None:
        """When it ends."""
        query = select(sessions.c.expires_at).where(sessions.c.session == _digest(secret))
        with self._ledger.reading(Stage.SETTLE) as connection:
            return connection.execute(query).scalar()

    def close_session(self, secret: str) -> None:
        """Sign out."""
        with self._ledger.writing(Stage.SETTLE) as connection:
            connection.execute(delete(sessions).where(sessions.c.session == _digest(secret)))

    def end_sessions(self, person_id: str, note: Note | None = None) -> int:
        """Sign a person out everywhere, or take a tool's tokens away; how many ended. `note`: for the audit log."""
        with self._ledger.writing(Stage.SETTLE) as connection:
            ended = connection.execute(delete(sessions).where(sessions.c.person_id == person_id)).rowcount
            if note is not None:
                append(connection, note)
            return ended

    # --- how things are shown, and what was seen --------------------------------------------------------------------

    def preferences(self, person_id: str) -> str | None:
        """What was stored, as JSON."""
        query = select(preferences.c.words).where(preferences.c.person_id == person_id)
        with self._ledger.reading(Stage.SETTLE) as connection:
            return connection.execute(query).scalar()

    def put_preferences(self, person_id: str, words: str) -> None:
        """Store them, as JSON."""
        new = self._ledger.inserting(preferences).values(person_id=person_id, words=words)
        with self._ledger.writing(Stage.SETTLE) as connection:
            connection.execute(new.on_conflict_do_update(index_elements=["person_id"], set_={"words": words}))

    def expose(
        self, person_id: str, task_id: UUID, at: datetime, *, harm: str, severity: int, seconds: float, filters: str
    ) -> None:
        """Somebody looked at something for so long, with these filters on."""
        row = {"person_id": person_id, "task_id": task_id, "at": at, "harm": harm, "severity": severity}
        row |= {"seconds": seconds, "filters": filters}
        with self._ledger.writing(Stage.SETTLE) as connection:
            connection.execute(self._ledger.insert_new(exposures), row)

    def exposure(self, person_id: str, since: datetime) -> tuple[tuple[str, int, float], ...]:
        """(harm, severity, seconds) since then, the hardest first."""
        e = exposures.c
        query = (
            select(e.harm, e.severity, func.sum(e.seconds))
            .where(e.person_id == person_id, e.at >= since)
            .group_by(e.harm, e.severity)
            .order_by(e.severity.desc(), e.harm)
        )
        with self._ledger.reading(Stage.SETTLE) as connection:
            return tuple((row[0], row[1], float(row[2])) for row in connection.execute(query))


_SESSION = select(sessions).where(sessions.c.session == bindparam("digest"), sessions.c.expires_at > bindparam("now"))
"""Made once, as it is asked with each request."""


def _digest(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


def _person_row(person: Person) -> dict[str, object]:
    return {"name": person.name, "roles": _joined(person.roles), "queues": _joined(person.queues)}


def _joined(names: Iterable[str]) -> str:
    return ",".join(sorted(names))


def person_of(row: object) -> Person:
    """Whose account or session this row is."""
    fields = dict(row)  # type: ignore[call-overload]
    return Person(
        id=fields["person_id"],
        name=fields["name"],
        roles=frozenset(Role(role) for role in fields["roles"].split(",") if role),
        queues=frozenset(queue for queue in fields["queues"].split(",") if queue),
    )
