"""Entries of the audit log, appended within the transaction that they speak of: what was done is in the log, and
what is in the log was done, wherever the process dies."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, insert, select, text

from pipeline.ledger.work_tables import audit_log
from pipeline.review.chain import GENESIS, Entry, digest

_CHAIN_LOCK = text("SELECT pg_advisory_xact_lock(:key)").bindparams(key=0x756E6D61736B + 7)
_LAST_ENTRY = select(audit_log.c.seq, audit_log.c.digest).order_by(audit_log.c.seq.desc()).limit(1)


class Note(NamedTuple):
    """What an entry is to say."""

    at: datetime
    actor: str
    verb: str
    subject: str
    detail: Mapping[str, object]


def append(connection: Connection, note: Note) -> Entry:
    """Append to the chain. To be the last thing that a transaction does: from here on nobody else can append until it
    ends, and who waits for it may hold rows. On SQLite BEGIN IMMEDIATE has locked already."""
    if connection.dialect.name == "postgresql":
        connection.execute(_CHAIN_LOCK)
    last = connection.execute(_LAST_ENTRY).first()
    seq, previous = (last.seq + 1, last.digest) if last else (1, GENESIS)
    words = msgspec.json.encode(note.detail, order="deterministic").decode()
    said = {"seq": seq, "at": note.at, "actor": note.actor, "verb": note.verb, "subject": note.subject, "detail": words}
    entry = Entry(**said, previous=previous, digest=digest(**said, previous=previous))  # type: ignore[arg-type]
    connection.execute(insert(audit_log), msgspec.structs.asdict(entry))
    return entry
