"""Reviewers' work on PostgreSQL: the same promises as on SQLite."""

from __future__ import annotations

from tests.purge_promises import PurgePromises
from tests.work_promises import WorkPromises


class TestWorkOnPostgres(WorkPromises):
    """All that reviewers' work promises."""


class TestPurgeOnPostgres(PurgePromises):
    """All that forgetting promises."""
