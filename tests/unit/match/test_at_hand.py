"""The banks as a worker has them at hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pipeline.errors import ConfigError, Reason, Stage, Transient
from pipeline.match.at_hand import BanksAtHand
from pipeline.match.flood import Counted, Quarantine
from pipeline.match.match import NOTHING
from tests.unit.match.made import code, frames

A, B = code(1), code(2)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SHA = "ab" * 32


class FakeLedger:
    """Counts what it is told to count."""

    def __init__(self):
        self.counts = {}
        self.contents = 10_000
        self.kept = []
        self.away = False
        self.asked = []

    def matched_contents(self, bank, since):
        if self.away:
            raise Transient(Stage.ROUTE, Reason.LEDGER_UNAVAILABLE, "away")
        self.asked.append((bank, since))
        return tuple(Counted(bank, *each) for each in self.counts.get(bank, ()))

    def decided_contents(self, since):
        return self.contents

    def quarantine(self, found):
        there = {(each.bank, each.hash_id) for each in self.kept if each.released_at is None}
        new = tuple(each for each in found if (each.bank, each.hash_id) not in there)
        self.kept += new
        return new

    def quarantines(self):
        return tuple(self.kept)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "banks.yaml").write_text(
        "banks: [{name: pictures, kind: pdq, files: [a.txt], mode: live, flood: {contents: 50, window: 2h}}]"
    )
    (tmp_path / "a.txt").write_text(f"{A.hex()},picture-a\n")
    return tmp_path


def _no_space(*_):
    raise OSError(28, "No space left on device")


async def live(banks, value=A):
    return [one.live for one in (await banks.recognise(SHA, frames(value), "m")).matches]


async def test_without_a_folder_nothing_is_known_and_nothing_asked():
    """No banks, no signal, no cost."""
    banks = BanksAtHand(None, None)
    banks.open()
    banks.refresh(NOW)
    assert await banks.recognise(SHA, frames(A), "m") is NOTHING


async def test_a_bank_that_changes_is_loaded_again(folder):
    """Within one refresh; what did not change is left alone."""
    banks = BanksAtHand(folder, folder / "kept")
    banks.open()
    assert (await live(banks), await live(banks, B)) == ([True], [])
    before = banks.banks
    banks.refresh(NOW)
    assert banks.banks is before
    (folder / "a.txt").write_text(f"{A.hex()},picture-a\n{B.hex()},picture-b\n")
    banks.refresh(NOW)
    assert await live(banks, B) == [True]


async def test_a_slip_of_the_operator_leaves_the_banks_as_they_were(folder):
    """Also when the file is gone; and what is put right counts again."""
    banks = BanksAtHand(folder, folder / "kept")
    banks.open()
    good = (folder / "banks.yaml").read_text()
    (folder / "banks.yaml").write_text("banks: [")
    banks.refresh(NOW)
    (folder / "banks.yaml").unlink()
    banks.refresh(NOW)
    assert await live(banks) == [True]
    (folder / "banks.yaml").write_text(good.replace("live", "shadow"))
    banks.refresh(NOW)
    assert await live(banks) == [False]


async def test_a_full_disk_leaves_the_banks_as_they_were(folder, monkeypatch):
    """What was compiled cannot be kept; the next refresh tries again."""
    banks = BanksAtHand(folder, folder / "kept")
    banks.open()
    (folder / "a.txt").write_text(f"{B.hex()}\n")
    with monkeypatch.context() as full:
        full.setattr("pipeline.match.load._keep", _no_space)
        banks.refresh(NOW)
    assert await live(banks) == [True]
    banks.refresh(NOW)
    assert await live(banks) == []


def test_at_the_start_a_slip_is_an_error(folder):
    """A worker must not begin without the banks that it was given."""
    (folder / "a.txt").unlink()
    with pytest.raises(ConfigError, match=r"a\.txt"):
        BanksAtHand(folder, folder / "kept").open()


async def test_a_flood_is_quarantined_until_it_is_released(folder):
    """By the bank's own limits and window; what is told of it names the number."""
    ledger, told = FakeLedger(), []
    banks = BanksAtHand(
        folder, folder / "kept", ledger=ledger, told=lambda found, held: told.append((len(found), len(held)))
    )
    banks.open()
    ledger.counts["pictures"] = [("picture-a", 49), ("", 49)]
    banks.refresh(NOW)
    assert await live(banks) == [True]
    assert ledger.asked[-1] == ("pictures", NOW - timedelta(hours=2))
    ledger.counts["pictures"] = [("picture-a", 50), ("", 50)]
    banks.refresh(NOW)
    banks.refresh(NOW)
    assert await live(banks) == [False]
    assert [each.hash_id for each in ledger.kept] == ["picture-a"]
    assert told[-1] == (1, 1)
    ledger.counts.clear()
    ledger.kept = [Quarantine("pictures", "picture-a", NOW, 50, "flood", released_at=NOW)]
    banks.refresh(NOW)
    assert await live(banks) == [True]
    assert told[-1] == (1, 0)


async def test_a_ledger_that_is_away_leaves_the_quarantine_as_it_was(folder):
    """Neither forgotten nor an error."""
    ledger = FakeLedger()
    ledger.kept = [Quarantine("pictures", "picture-a", NOW, 50, "flood")]
    banks = BanksAtHand(folder, folder / "kept", ledger=ledger)
    banks.open()
    assert await live(banks) == [False]
    ledger.away = True
    banks.refresh(NOW)
    assert await live(banks) == [False]
