"""The ledger on an SQLite file. What must hold on PostgreSQL too lies in `tests/ledger_promises.py`, which both run."""

from __future__ import annotations

import multiprocessing
import sqlite3
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from pipeline.errors import ConfigError, Reason, Transient
from pipeline.ledger.ledger import Ledger
from tests.ledger_promises import LedgerPromises
from tests.ledger_race import race_in_process
from tests.records import decided, routed


class TestOnSqlite(LedgerPromises):
    """All that a ledger promises."""


def test_other_databases_are_refused() -> None:
    """A URL that is neither PostgreSQL nor an SQLite file is the operator's mistake, and no password is shown."""
    for url in ("mysql://user:secret@host/db", "sqlite://", "sqlite:///:memory:", "no url at all"):
        with pytest.raises(ConfigError) as caught:
            Ledger(url)
        assert "secret" not in str(caught.value)


def test_a_ledger_that_was_never_migrated_is_not_ready(url: str, tmp_path: Path) -> None:
    """/readyz says what is missing, and a worker tries again."""
    (tmp_path / "deep").mkdir()
    with pytest.raises(Transient, match="schema is missing") as caught:
        Ledger(url).check()
    assert caught.value.reason is Reason.LEDGER_UNAVAILABLE


def test_a_ledger_that_cannot_be_opened_is_transient(tmp_path: Path) -> None:
    """A folder that is not there is trouble with a dependency, not with the item."""
    event = decided("m1")
    with pytest.raises(Transient) as caught:
        Ledger(f"sqlite:///{tmp_path / 'missing' / 'ledger.sqlite'}").record_decision(event, *routed(event))
    assert caught.value.reason is Reason.LEDGER_UNAVAILABLE


def test_the_file_is_in_wal_mode(ledger: Ledger, tmp_path: Path) -> None:
    """So that readers do not wait for the writer."""
    with sqlite3.connect(tmp_path / "deep" / "ledger.sqlite") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_processes_that_migrate_and_race_agree(url: str) -> None:
    """Three workers that start on an empty file at once, and decide the same uploads differently, all get the same
    decisions back."""
    with ProcessPoolExecutor(3, multiprocessing.get_context("spawn")) as pool:
        answers = list(pool.map(race_in_process, [url] * 3, range(3), [12] * 3))
    assert answers[0] == answers[1] == answers[2]
    assert Ledger(url).counts().decisions == 12
