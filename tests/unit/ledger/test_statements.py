"""The outbox on an SQLite file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.statement_promises import StatementPromises, reporting

__all__ = ["reporting"]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'ledger.sqlite'}"


class TestOnSqlite(StatementPromises):
    """All that an outbox promises."""
