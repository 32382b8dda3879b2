"""The audit log's hash chain."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pipeline.review.chain import GENESIS, WORDS, Entry, Verified, digest, verify, words_digest
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


TEXTS = st.lists(st.text(max_size=5), min_size=2, max_size=6)


@given(TEXTS)
def test_an_untouched_chain_holds(words: list[str]) -> None:
    """To its end, whose digest is its head."""
    entries = chain(words)
    found = verify(entries)
    assert (found.entries, found.head, found.broken_at) == (len(entries), entries[-1].digest, None)
    assert verify([]).head == GENESIS


@given(TEXTS, st.data())
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


def test_what_was_written_may_go_but_not_change() -> None:
    """An entry holds a digest of what lies beside it: without that the chain holds, with another text it does not; text
    beside an entry that knows of none is found too."""
    said = {"seq": 1, "at": NOON, "actor": "ann", "verb": "skipped", "subject": "m1", "previous": GENESIS}
    said |= {"detail": msgspec.json.encode({WORDS: words_digest("salt", "too much")}).decode()}
    bare = Entry(**said, digest=digest(**said))
    whole = msgspec.structs.replace(bare, words="too much", salt="salt")
    assert verify([whole]) == verify([bare]) == Verified(1, bare.digest)
    for changed in ({"words": "too little"}, {"salt": "pepper"}):
        found = verify([msgspec.structs.replace(whole, **changed)])
        assert (found.broken_at, found.why) == (1, "what was written in entry 1 was changed")
    (plain, *_) = chain(["a"])
    assert verify([msgspec.structs.replace(plain, words="added")]).broken_at == 1


def test_a_forged_entry_needs_all_that_follow() -> None:
    """Who changes an entry and its digest breaks the link of the next one."""
    entries = chain(["a", "b", "c"])
    said = {"seq": 2, "at": NOON, "actor": "eve", "verb": "saw", "subject": "b", "detail": "{}"}
    forged = Entry(**said, previous=entries[0].digest, digest=digest(**said, previous=entries[0].digest))
    found = verify([entries[0], forged, entries[2]])
    assert (found.broken_at, found.why) == (3, "entry 3 does not follow from the one before")
