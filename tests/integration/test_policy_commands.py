"""Commands about the policy that read the ledger, as a lead runs them."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.ledger.ledger import Ledger
from pipeline.policy.file import DEFAULT
from tests.generate_week import generate


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A few uploads of a generated week, which no worker decided."""
    found = f"sqlite:///{tmp_path_factory.mktemp('week') / 'week.sqlite'}"
    ledger = Ledger(found)
    ledger.migrate()
    generate(ledger, 200)
    ledger.close()
    return found


def said(url: str, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["policy", *arguments], env={"UNMASK_DATABASE_URL": url, "COLUMNS": "200"})
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def test_thresholds_understand_the_times_that_backtests_do(url: str) -> None:
    """Dates, and an end."""
    span = ("--since", "2026-03-02", "--until", "2026-03-09")
    status, told = said(url, "thresholds", str(DEFAULT), *span, "--reviewer-hours", "6")
    assert status in (0, 1)
    assert "uploads a day" in told


def test_thresholds_understand_no_nonsense(url: str, tmp_path: Path) -> None:
    """What is understood is said."""
    done = CliRunner().invoke(
        app,
        ["policy", "thresholds", "--since", "last week"],
        env={"UNMASK_DATABASE_URL": url, "UNMASK_HOME": str(tmp_path)},
    )
    assert "--since last week: 12h, 7d, 2026-03-02" in str(done.exception)


def test_where_no_policy_was_ever_in_force_that_is_said(url: str) -> None:
    """Before the first worker starts; status 1, since nobody decides."""
    status, told = said(url, "status")
    assert status == 1
    assert "No policy was in force yet" in told
