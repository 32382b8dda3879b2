"""`unmask load` as an operator runs it: towards a stack on the embedded broker, with one worker and the real models."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.models.build import build
from pipeline.policy.file import load as load_policy
from pipeline.stack.up import Stack, StackOptions
from pipeline.topology import topics
from tests.integration.conftest import REPOSITORY

MODELS = REPOSITORY / "models"
MIX = "image=4,audio=2,reupload=2,broken=2"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("load")


@pytest.fixture(scope="module")
def stack(home: Path, place: Path) -> Iterator[Stack]:
    build(MODELS, home)
    options = StackOptions(
        home=home,
        models_dir=MODELS,
        topics=topics(load_policy(None).queues, 2),
        media_roots=(place,),
        database_url=f"sqlite:///{place / 'ledger.sqlite'}",
    )
    with Stack(options) as running:
        yield running


def unmask(*arguments: str, home: Path, servers: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "UNMASK_HOME": str(home), "UNMASK_KAFKA_BOOTSTRAP_SERVERS": servers}
    return subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "load", *arguments],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_every_upload_is_followed_to_its_outcome_and_a_bound_decides_the_exit(
    stack: Stack, place: Path, home: Path
) -> None:
    """Ten uploads of four kinds are all answered; a bound that is kept and one that cannot be differ in the status."""
    offered = ("--media", str(place), "--mix", MIX, "--rate", "2", "--seconds", "5", "--steady", "--patience", "120")
    done = unmask(*offered, "--max-drop", "0", "--json", home=home, servers=stack.bootstrap_servers)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert (report["sent"], report["answered"], report["drop"]) == (10, 10, 0)
    assert {kind: of["sent"] for kind, of in report["by_kind"].items()} == {
        "image": 4,
        "audio": 2,
        "reupload": 2,
        "broken": 2,
    }
    assert report["answers"]["final"] == 8
    assert not list(place.glob("load-*")), "the files of the run are left"

    late = unmask(*offered, "--max-p95", "0.0001", home=home, servers=stack.bootstrap_servers)
    assert late.returncode == 1, late.stdout + late.stderr
    assert "not kept" in late.stderr


def test_the_finder_ends_at_a_rate_that_holds(stack: Stack, place: Path, home: Path) -> None:
    """Where everything holds, the highest rate that may be tried is the answer."""
    done = unmask(
        *("find", "--media", str(place), "--mix", "audio=1", "--low", "1", "--high", "1", "--seconds", "4"),
        *("--warm-up", "1", "--max-p95", "100", "--patience", "100", "--steady", "--json"),
        home=home,
        servers=stack.bootstrap_servers,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["rate"], found["fails"]) == (1.0, None)
    assert [each["rate"] for each in found["tried"]] == [1.0, 1.0]  # what was found is tried once more


def test_another_machine_is_not_loaded_by_mistake(place: Path, home: Path) -> None:
    """Status 2 before anything is made or sent."""
    done = unmask("--media", str(place / "elsewhere"), home=home, servers="kafka.example:9092")
    assert done.returncode == 2
    assert "--yes-this-cluster" in done.stderr.replace("\n", " ")
    assert not (place / "elsewhere").exists()
