"""Reviewers' work on an SQLite file. What must hold on PostgreSQL too lies in `tests/work_promises.py`."""

from __future__ import annotations

from tests.purge_promises import PurgePromises
from tests.work_promises import WorkPromises


class TestWorkOnSqlite(WorkPromises):
    """All that reviewers' work promises."""


class TestPurgeOnSqlite(PurgePromises):
    """All that forgetting promises."""
