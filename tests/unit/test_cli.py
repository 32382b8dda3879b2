"""The command line, as far as it needs no running part."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import UnmaskError

COMMANDS = [
    line.split()
    for line in (
        "",
        "screen",
        "worker",
        "stack up",
        "topics diff",
        "topics apply",
        "audit",
        "replay",
        "publish",
        "request",
        "models build",
        "models verify",
        "models train",
        "policy check",
        "banks check",
        "banks rescan",
        "report dsa",
        "report statements",
        "report release",
        "report notice",
        "settings",
        "demo",
    )
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(command):
    """`--help` works without settings, a broker or a server."""
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_a_missing_file_is_said_before_anything_starts(tmp_path):
    """`screen` refuses a path that does not exist, by name."""
    result = CliRunner().invoke(app, ["screen", str(tmp_path / "nothing.jpg")])
    assert isinstance(result.exception, UnmaskError)
    assert "nothing.jpg" in str(result.exception)


def test_without_a_cluster_the_error_says_which_setting(monkeypatch):
    """The operator reads what to set, not a stack trace."""
    monkeypatch.delenv("UNMASK_KAFKA_BOOTSTRAP_SERVERS", raising=False)
    result = CliRunner().invoke(app, ["topics", "diff"])
    assert isinstance(result.exception, UnmaskError)
    assert "UNMASK_KAFKA_BOOTSTRAP_SERVERS" in str(result.exception)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "a MEDIA_ID, or --consent"),
        (["m1", "--consent", "c1"], "a MEDIA_ID, or --consent"),
        (["m1", "--jurisdiction", "usa"], "$.jurisdiction"),
    ],
)
def test_a_request_must_say_what_it_is_about(monkeypatch, words, why):
    """An upload or a consent, in words that the wire takes; nothing is sent."""
    monkeypatch.delenv("UNMASK_KAFKA_BOOTSTRAP_SERVERS", raising=False)
    result = CliRunner().invoke(app, ["request", *words])
    assert isinstance(result.exception, UnmaskError)
    assert why in str(result.exception)


def test_the_policy_that_ships_is_sound():
    """`policy check` reads the default policy and names its queues."""
    result = CliRunner().invoke(app, ["policy", "check"])
    assert result.exit_code == 0
    assert "faces" in result.output
