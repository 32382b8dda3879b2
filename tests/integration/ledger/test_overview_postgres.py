"""What leads and administrators are shown, on PostgreSQL."""

from __future__ import annotations

from tests.overview_promises import OverviewPromises


class TestOverviewOnPostgres(OverviewPromises):
    """See OverviewPromises."""
