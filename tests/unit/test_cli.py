"""The command line, as far as it needs no running part."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import UnmaskError
from pipeline.policy.fields import FIELDS
from pipeline.policy.schema import written
from tests.unit.policy.sample import TEXT

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
        "policy show",
        "policy fields",
        "policy schema",
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
    """`policy check` finds nothing in the default policy, warnings included."""
    result = CliRunner().invoke(app, ["policy", "check", "--strict"])
    assert result.exit_code == 0, result.output
    assert "0 errors, 0 warnings" in result.output


def test_a_policy_with_mistakes(tmp_path):
    """Every mistake is a line that editors can jump to; status 1 for errors, and for warnings when asked."""
    path = tmp_path / "p.yaml"
    path.write_text(TEXT.replace("queue: faces", "queue: fases").replace("threshold.nude", "threshold.nud"))
    result = CliRunner().invoke(app, ["policy", "check", str(path)])
    assert result.exit_code == 1
    place = re.escape(str(path))
    lines = [line for line in result.output.split("\n") if re.match(rf"{place}:\d+:\d+: error: ", line)]
    assert len(lines) == 3
    assert result.output.endswith("3 errors, 0 warnings\n")

    path.write_text(TEXT.replace("  nude: 0.80", "  nude: 0.80\n  spare: 0.5"))
    assert CliRunner().invoke(app, ["policy", "check", str(path)]).exit_code == 0
    result = CliRunner().invoke(app, ["policy", "check", str(path), "--strict", "--json"])
    assert result.exit_code == 1
    checked = json.loads(result.output)
    assert checked["version"].startswith("sample@")
    assert {"rule": "spare", "severity": "warning"}.items() <= next(
        each for each in checked["findings"] if each["rule"] == "spare"
    ).items()


def test_a_policy_in_words(tmp_path):
    """`policy show` prints rules, queues and the sources of clocks; as JSON all of the policy."""
    path = tmp_path / "p.yaml"
    path.write_text(TEXT)
    result = CliRunner().invoke(app, ["policy", "show", str(path)], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    for word in (
        "intimate-swap",
        "nudity.probability >= threshold.nude",
        "faces in 4h",
        "another law",
        "swap-in-doubt",
    ):
        assert word in result.output
    assert result.output.index("intimate-swap") < result.output.index("declared")
    shown = json.loads(CliRunner().invoke(app, ["policy", "show", str(path), "--json"]).output)
    assert [rule["name"] for rule in shown["policy"]["rules"]][-1] == "intimate-swap"


def test_what_conditions_may_use():
    """`policy fields` lists every field; `policy schema` prints what editors complete by."""
    result = CliRunner().invoke(app, ["policy", "fields"], env={"COLUMNS": "200"})
    assert "<family>.probability" in result.output
    assert "consent.given" in result.output
    listed = json.loads(CliRunner().invoke(app, ["policy", "fields", "--json"]).output)
    assert {each["name"] for each in listed} == set(FIELDS)
    assert CliRunner().invoke(app, ["policy", "schema"]).output == written()


def test_every_command_computes_on_one_thread_unless_told_otherwise() -> None:
    """NumPy's library has the number when it is loaded, which it asks for once; what the operator set stays."""
    script = (
        "import ctypes, os, pathlib, pipeline.cli, numpy\n"
        "(path,) = pathlib.Path(numpy.__file__).parents[1].glob('numpy.libs/libscipy_openblas64_*.so')\n"
        "print(ctypes.CDLL(str(path)).scipy_openblas_get_num_threads64_(), os.environ['OMP_NUM_THREADS'])"
    )
    bare = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", script], env={**bare, "OMP_NUM_THREADS": "3"}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1", "3"]
