"""Reviewers' work on PostgreSQL: the same promises as on SQLite."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.ledger.ledger import Ledger
from tests.purge_promises import PurgePromises
from tests.work_promises import WorkPromises


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    ledger = Ledger(url)
    ledger.migrate()
    yield ledger
    ledger.close()


class TestWorkOnPostgres(WorkPromises):
    """All that reviewers' work promises."""


class TestPurgeOnPostgres(PurgePromises):
    """All that forgetting promises."""
