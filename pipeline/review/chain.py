"""The audit log's hash chain: each entry holds the digest of the one before, so that nothing can be changed, taken out
or put in without breaking every link after it.

It shows tampering; it cannot prevent that somebody rewrites the whole chain, so its head belongs
somewhere else as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

import msgspec

GENESIS = "0" * 64
"""What stands before the first entry."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that somebody did or saw. `detail`: JSON."""

    seq: int
    at: datetime
    actor: str
    verb: str
    subject: str
    detail: str
    previous: str
    digest: str


def digest(*, seq: int, at: datetime, actor: str, verb: str, subject: str, detail: str, previous: str) -> str:
    """SHA-256 over everything that an entry says, in one fixed form."""
    words = [seq, at.astimezone(UTC).isoformat(), actor, verb, subject, detail, previous]
    return sha256(msgspec.json.encode(words)).hexdigest()


@dataclass(frozen=True, slots=True)
class Verified:
    """How far the chain holds. `broken_at`: the first entry that does not fit what is before it; `why`: in words."""

    entries: int
    head: str
    broken_at: int | None = None
    why: str = ""


def verify(entries: Iterable[Entry]) -> Verified:
    """Follow the chain from its beginning, in the order of its numbers."""
    head, count = GENESIS, 0
    for entry in entries:
        expected = count + 1
        if entry.seq != expected:
            return Verified(count, head, entry.seq, f"entry {expected} is missing")
        if entry.previous != head:
            return Verified(count, head, entry.seq, f"entry {entry.seq} does not follow from the one before")
        made = digest(
            seq=entry.seq,
            at=entry.at,
            actor=entry.actor,
            verb=entry.verb,
            subject=entry.subject,
            detail=entry.detail,
            previous=entry.previous,
        )
        if made != entry.digest:
            return Verified(count, head, entry.seq, f"entry {entry.seq} was changed")
        head, count = entry.digest, entry.seq
    return Verified(count, head)
