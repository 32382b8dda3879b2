"""The audit log's hash chain."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pipeline.review.chain import GENESIS, Entry, digest, verify
from tests.records import NOON


def chain(words: list[str]) -> list[Entry]:
    """Entries that follow from each other."""
    entries: list[Entry] = []
    previous = GENESIS
    for seq, word in enumerate(words, 1):
        said = {"seq": seq, "at": NOON, "actor": "ann", "verb": "saw", "subject": word, "detail": "{}"}
        entries.append(Entry(**said, previous=previous, digest=digest(**said, previous=previous)))
        previous = entries[-1].digest
    return entries


WORDS = st.lists(st.text(max_size=5), min_size=2, max_size=6)


@given(WORDS)
def test_an_untouched_chain_holds(words: list[str]) -> None:
    """To its end, whose digest is its head."""
    entries = chain(words)
    found = verify(entries)
    assert (found.entries, found.head, found.broken_at) == (len(entries), entries[-1].digest, None)
    assert verify([]).head == GENESIS


@given(WORDS, st.data())
def test_whatever_is_touched_is_found(words: list[str], data: st.DataObject) -> None:
    """A changed word, an entry taken out of the middle, one put twice, two swapped."""
    entries = chain(words)
    i = data.draw(st.integers(0, len(entries) - 1))
    changed = entries.copy()
    changed[i] = msgspec.structs.replace(entries[i], subject=entries[i].subject + "x")
    assert verify(changed).broken_at == i + 1
    if i < len(entries) - 1:
        assert verify(entries[:i] + entries[i + 1 :]).broken_at == i + 2
        assert verify([*entries[:i], entries[i + 1], entries[i], *entries[i + 2 :]]).broken_at is not None
    assert verify([*entries[: i + 1], *entries[i:]]).broken_at is not None


def test_a_forged_entry_needs_all_that_follow() -> None:
    """Who changes an entry and its digest breaks the link of the next one."""
    entries = chain(["a", "b", "c"])
    said = {"seq": 2, "at": NOON, "actor": "eve", "verb": "saw", "subject": "b", "detail": "{}"}
    forged = Entry(**said, previous=entries[0].digest, digest=digest(**said, previous=entries[0].digest))
    found = verify([entries[0], forged, entries[2]])
    assert (found.broken_at, found.why) == (3, "entry 3 does not follow from the one before")
