"""The steps of the schema on SQLite. What must hold on PostgreSQL too lies in `tests/migration_promises.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.migration_promises import Make, MigrationPromises, upgraded


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return lambda revision: upgraded(f"sqlite:///{tmp_path / revision}.sqlite", revision)


class TestMigrationsOnSqlite(MigrationPromises):
    """All that the steps promise."""
