"""Switches of policies on PostgreSQL: what only a server with several clients can do wrong."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise

import pytest

from pipeline.ledger.ledger import Ledger
from pipeline.ledger.policies import PolicyRecord
from pipeline.policy.activations import Key, PolicyWords


@pytest.fixture
def record(url: str) -> Iterator[PolicyRecord]:
    ledger = Ledger(url)
    ledger.migrate()
    yield PolicyRecord(ledger)
    ledger.close()


def words(number: int) -> PolicyWords:
    return PolicyWords(Key(f"p@{number}", "fusion@1"), f"name: p{number}", "{}")


def test_workers_that_propose_at_once_agree_on_one_order(record: PolicyRecord) -> None:
    """Each policy is switched to once in a row, numbers have no gap, and moments never go back."""
    asked = [words(number % 3) for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda each: record.propose(each, "w", timedelta(seconds=each.key.version == "p@1")), asked))
    switches = record.after(0)
    assert [switch.number for switch in switches] == list(range(1, len(switches) + 1))
    assert all(one.key != two.key for one, two in pairwise(switches))
    assert [switch.active_from for switch in switches] == sorted(switch.active_from for switch in switches)
    assert {switch.key for switch in switches} == {words(number).key for number in range(3)}
    assert record.words(words(1).key) == words(1)


def test_the_clock_is_the_databases(record: PolicyRecord) -> None:
    """The first policy is in force at once, the next one when its moment comes; workers are told by name."""
    first = record.propose(words(1), "a", timedelta(hours=1))
    assert record.at() == first
    second = record.propose(words(2), "a", timedelta(hours=1))
    assert second.active_from - second.proposed_at == timedelta(hours=1)
    assert record.at() == first
    assert record.at(second.active_from) == second
    record.activated("a", 1, first.active_from, "ab" * 32)
    record.activated("a", 1, first.active_from, "ab" * 32)
    record.seen("a", 1, words(2).key, None)
    record.seen("b", 1, None, "line 3: no")
    a, b = record.workers()
    assert (a.worker_id, a.key, a.since, a.file) == ("a", words(1).key, first.active_from, words(2).key)
    assert (b.since, b.file, b.refused) == (None, None, "line 3: no")
    record.gone("b")
    assert [worker.worker_id for worker in record.workers()] == ["a"]
