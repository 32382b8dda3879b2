"""The outbox on an SQLite file."""

from __future__ import annotations

from tests.statement_promises import StatementPromises, reporting

__all__ = ["reporting"]


class TestOnSqlite(StatementPromises):
    """All that an outbox promises."""
