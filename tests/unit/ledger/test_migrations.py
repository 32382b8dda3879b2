"""The steps of the schema on SQLite. What must hold on PostgreSQL too lies in `tests/migration_promises.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.ledger.ledger import Ledger
from tests.migration_promises import Make, MigrationPromises, upgraded


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return lambda revision: upgraded(f"sqlite:///{tmp_path / revision}.sqlite", revision)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    ledger.migrate()
    yield ledger
    ledger.close()


class TestMigrationsOnSqlite(MigrationPromises):
    """All that the steps promise."""
