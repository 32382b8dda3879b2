"""`unmask ledger …`."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.ledger.ledger import Ledger


def test_forward_and_back_by_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Back only when it is said twice."""
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    monkeypatch.setenv("UNMASK_DATABASE_URL", url)
    run = CliRunner()
    assert run.invoke(app, ["ledger", "migrate"]).exit_code == 0
    ledger = Ledger(url)
    newest = ledger._schema()
    assert run.invoke(app, ["ledger", "back", "0005"]).exit_code == 0
    assert ledger._schema() == newest
    assert run.invoke(app, ["ledger", "back", "0005", "--yes"]).exit_code == 0
    assert ledger._schema() == "0005"
    ledger.close()
