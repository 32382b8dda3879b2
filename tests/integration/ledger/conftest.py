"""A real PostgreSQL for the ledger's tests."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest

from pipeline.ledger.ledger import Ledger
from tests.postgres import running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The libpq URL of a server on a Unix socket; its data are gone with the run."""
    with running_postgres() as server:
        yield server.url


@pytest.fixture
def url(postgres: str) -> Iterator[str]:
    """An empty database of the test's own, in SQLAlchemy's words."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield postgres.replace("/postgres?", f"/{name}?")
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    """An empty ledger."""
    ledger = Ledger(url)
    ledger.migrate()
    yield ledger
    ledger.close()
