"""The steps of the schema on PostgreSQL: the same promises as on SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from uuid import uuid4

import psycopg
import pytest

from pipeline.ledger.ledger import Ledger
from tests.migration_promises import Make, MigrationPromises, upgraded


@pytest.fixture
def make(postgres: str) -> Iterator[Make]:
    with psycopg.connect(postgres, autocommit=True) as connection, ExitStack() as gone:

        def made(revision: str) -> Ledger:
            name = f"test_{uuid4().hex}"
            connection.execute(f"CREATE DATABASE {name}")
            gone.callback(connection.execute, f"DROP DATABASE {name} WITH (FORCE)")
            return upgraded(postgres.replace("/postgres?", f"/{name}?"), revision)

        yield made


class TestMigrationsOnPostgres(MigrationPromises):
    """All that the steps promise."""
