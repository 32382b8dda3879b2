"""The ledger on PostgreSQL: the same promises as on SQLite, and what only a server can do wrong."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import psycopg
import pytest
from sqlalchemy import make_url

from pipeline.errors import Reason, Transient
from pipeline.ledger.ledger import Ledger
from tests.ledger_promises import LedgerPromises
from tests.ledger_race import race_in_process
from tests.records import DETECTORS, decided, routed


class TestOnPostgres(LedgerPromises):
    """All that a ledger promises."""


def test_processes_that_migrate_and_race_agree(url: str) -> None:
    """Three workers that start on an empty database at once, and decide the same uploads differently, all get the same
    decisions back."""
    with ProcessPoolExecutor(3, multiprocessing.get_context("spawn")) as pool:
        answers = list(pool.map(race_in_process, [url] * 3, range(3), [12] * 3))
    assert answers[0] == answers[1] == answers[2]
    ledger = Ledger(url)
    assert ledger.counts().decisions == 12
    ledger.close()


def test_a_server_that_is_away_is_transient() -> None:
    """Nobody listens: trouble with a dependency, not with the item."""
    with pytest.raises(Transient) as caught:
        Ledger("postgresql://postgres@/postgres?host=/nonexistent").known_content("ab" * 32, DETECTORS)
    assert caught.value.reason is Reason.LEDGER_UNAVAILABLE


def test_a_ledger_that_was_cut_off_comes_back(ledger: Ledger, postgres: str, url: str) -> None:
    """Connections that the server dropped cost a retry, and no restart of the worker."""
    event = decided("m1")
    ledger.record_decision(event, *routed(event))
    with psycopg.connect(postgres, autocommit=True) as admin:
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
        assert admin.execute(query, [make_url(url).database]).fetchall() == [(True,)]
    with pytest.raises(Transient):
        ledger.decision("m1", 1)
    assert ledger.decision("m1", 1) == event


def test_more_rows_than_a_batch_are_streamed(ledger: Ledger, url: str) -> None:
    """The audit's readers fetch in batches from a cursor on the server, and miss none."""
    for number in range(3):
        event = decided(f"m{number}", review="faces")
        ledger.record_decision(event, *routed(event))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER TABLE outcomes DROP CONSTRAINT fk_outcomes_decisions")
        connection.execute(
            "INSERT INTO outcomes"
            " SELECT media_id || n, round, status, outcome_id, action, decided_by, enforced_at, event"
            " FROM outcomes, generate_series(1, 1000) n"
        )
    assert sum(1 for _ in ledger.all_outcomes()) == 3 * 1001
