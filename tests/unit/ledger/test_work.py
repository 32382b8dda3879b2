"""Reviewers' work on an SQLite file. What must hold on PostgreSQL too lies in `tests/work_promises.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.ledger.ledger import Ledger
from tests.purge_promises import PurgePromises
from tests.work_promises import WorkPromises


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    ledger.migrate()
    yield ledger
    ledger.close()


class TestWorkOnSqlite(WorkPromises):
    """All that reviewers' work promises."""


class TestPurgeOnSqlite(PurgePromises):
    """All that forgetting promises."""
