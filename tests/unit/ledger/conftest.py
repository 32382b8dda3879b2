"""A ledger in an SQLite file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.ledger.ledger import Ledger


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A file whose folder is not there yet."""
    return f"sqlite:///{tmp_path / 'deep' / 'ledger.sqlite'}"


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    """An empty ledger."""
    ledger = Ledger(url)
    ledger.migrate()
    yield ledger
    ledger.close()
