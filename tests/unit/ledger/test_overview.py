"""What leads and administrators are shown, on SQLite."""

from __future__ import annotations

from tests.overview_promises import OverviewPromises


class TestOverviewOnSqlite(OverviewPromises):
    """See OverviewPromises."""
