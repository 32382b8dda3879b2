"""The audit log's hash chain: each entry holds the digest of the one before, so that nothing can be changed, taken out
or put in without breaking every link after it.

It shows tampering; it cannot prevent that somebody rewrites the whole chain, so its head belongs
somewhere else as well.

Free text is not in the chain but beside it: an entry holds its digest, salted so that a short text cannot be guessed
from it once text and salt are erased. While the text is there it has to fit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

import msgspec

GENESIS = "0" * 64
"""What stands before the first entry."""


WORDS = "words"
"""In an entry's detail: the digest of what was written."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that somebody did or saw. `detail`: JSON. `words` and `salt`: what was written, while it is kept."""

    seq: int
    at: datetime
    actor: str
    verb: str
    subject: str
    detail: str
    previous: str
    digest: str
    words: str | None = None
    salt: str = ""


def words_digest(salt: str, words: str) -> str:
    """What an entry holds of its free text."""
    return sha256(f"{salt}\n{words}".encode()).hexdigest()


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
        if entry.words is not None and _kept(entry) != words_digest(entry.salt, entry.words):
            return Verified(count, head, entry.seq, f"what was written in entry {entry.seq} was changed")
        head, count = entry.digest, entry.seq
    return Verified(count, head)


def _kept(entry: Entry) -> object:
    return msgspec.json.decode(entry.detail).get(WORDS)
