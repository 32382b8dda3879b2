"""Entries of the audit log, appended within the transaction that they speak of: what was done is in the log, and
what is in the log was done, wherever the process dies.

What somebody wrote about an upload lies beside its entry, which holds a digest of it: erasing it breaks no chain."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import Connection, insert, select, text

from pipeline.ledger.work_tables import audit_log, audit_words
from pipeline.review.chain import GENESIS, WORDS, Entry, digest, words_digest

_CHAIN_LOCK = text("SELECT pg_advisory_xact_lock(:key)").bindparams(key=0x756E6D61736B + 7)
_LAST_ENTRY = select(audit_log.c.seq, audit_log.c.digest).order_by(audit_log.c.seq.desc()).limit(1)


class Note(NamedTuple):
    """What an entry is to say. `words`: free text, which goes when an upload of these tasks (`about`) is purged."""

    at: datetime
    actor: str
    verb: str
    subject: str
    detail: Mapping[str, object]
    words: str = ""
    about: tuple[UUID, ...] = ()


def append(connection: Connection, note: Note) -> Entry:
    """Append to the chain. To be the last thing that a transaction does: from here on nobody else can append until it
    ends, and who waits for it may hold rows. On SQLite BEGIN IMMEDIATE has locked already."""
    if connection.dialect.name == "postgresql":
        connection.execute(_CHAIN_LOCK)
    last = connection.execute(_LAST_ENTRY).first()
    seq, previous = (last.seq + 1, last.digest) if last else (1, GENESIS)
    salt = secrets.token_hex(16)
    detail = {**note.detail, WORDS: words_digest(salt, note.words)} if note.words else note.detail
    written = msgspec.json.encode(detail, order="deterministic").decode()
    said = {"seq": seq, "at": note.at, "actor": note.actor, "verb": note.verb, "subject": note.subject}
    said |= {"detail": written, "previous": previous}
    entry = Entry(**said, digest=digest(**said))  # type: ignore[arg-type]
    connection.execute(insert(audit_log), said | {"digest": entry.digest})
    if note.words:
        row = {"seq": seq, "salt": salt, "words": note.words}
        connection.execute(insert(audit_words), [row | {"task_id": task_id} for task_id in note.about])
    return entry
