"""The shorter chaos run: real brokers, Triton, workers and media, and everything is killed once. Then the
counter-proof: on the same topics, the audit has to find what is lost."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.audit import Violation
from pipeline.events import MediaUploaded
from pipeline.events.codec import encode
from pipeline.settings import Settings
from pipeline.topology import UPLOADED
from tests.chaos.platform_side import Sender, group_lag
from tests.chaos.result import Options
from tests.chaos.run import GROUP, Scene, chaos
from tests.chaos.schedule import Kind

REPOSITORY = Path(__file__).parents[2]

KINDS = (
    Kind.WORKER_KILLED,
    Kind.WORKER_TERMINATED,
    Kind.WORKER_FROZEN,
    Kind.PEER_JOINS,
    Kind.PEER_LEAVES,
    Kind.BROKER_KILLED,
    Kind.TRITON_KILLED,
    Kind.STUB_KILLED,
    Kind.DATABASE_CUT,
    Kind.CONSOLE_KILLED,
    Kind.SPOOL_FULL,
    Kind.POISON,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A run that is over."""
    home = Path(os.environ.get("UNMASK_HOME") or REPOSITORY / ".unmask").absolute()
    settings = Settings(home=home, models_dir=REPOSITORY / "models")
    options = Options(uploads=240, faults=3, kinds=KINDS, seed=11, seconds=80.0, poison=2, alerts=False)
    with chaos(options, settings, Console(), tmp_path_factory.mktemp("chaos")) as over:
        yield over


def test_nothing_is_lost_and_nothing_is_answered_in_two_ways(scene: Scene) -> None:
    """The audit holds, and what the platform itself read from the topics says the same."""
    result = scene.result
    assert result.violations == ()
    assert result.disagreements == ()
    assert (result.lost, result.two_outcomes) == (0, 0)
    stand = result.stand
    assert stand["uploads"] == result.uploads == 242
    assert stand["final"] + stand["waiting"] + stand["superseded"] == stand["uploads"] + stand["reopened"]
    assert stand["requests"] > 0
    assert stand["reopened"] > stand["requests"]
    assert result.stand["dead_letters"] >= result.stand["malformed"] > 0
    assert result.reused > 0
    assert result.reviews_twice > 0
    assert result.at_console > 0
    assert set(result.faults) == set(KINDS)
    assert {recovery.kind for recovery in result.recoveries} == set(KINDS)
    assert all(recovery.backlog is not None for recovery in result.recoveries)


def test_plain_acknowledgement_loses_uploads_and_the_audit_names_each(scene: Scene) -> None:
    """A worker that acknowledges as Faust does by itself has told the broker that uploads are done which it has only
    begun; killed then, they never come again, and the audit finds exactly these unanswered."""
    parts = scene.parts
    photographs = sorted((scene.place / "media").glob("photo-*.jpg"))[:8]
    media_ids = {f"plain-{number}" for number in range(len(photographs))}
    first = parts.fleet(scene.place / "plain", print, "plain")
    second = parts.fleet(scene.place / "after", print, "ordered")
    try:
        first.join().wait_ready()
        parts.triton.kill()  # so that screening waits, with the uploads under way
        sender = Sender(parts.config)
        for media_id, path in zip(sorted(media_ids), photographs, strict=True):
            now = datetime.now(UTC)
            # Bytes that were judged before would be decided at once.
            path.write_bytes(path.read_bytes() + media_id.encode())
            event = MediaUploaded(media_id=media_id, uri=path.as_uri(), uploaded_at=now)
            sender.send(UPLOADED, media_id.encode(), encode(event))
        sender.finish()
        _until(lambda: group_lag(parts.config, GROUP) < len(media_ids), "an upload was acknowledged")
        first.kill(0.0)
        first.stop()
        lost = len(media_ids) - group_lag(parts.config, GROUP)
        parts.triton.start()
        second.join().wait_ready()
        _until(lambda: group_lag(parts.config, GROUP) == 0, "the rest was answered")
    finally:
        first.stop()
        second.stop()
    violations = parts.audit().violations
    assert {finding.kind for finding in violations} == {Violation.UNANSWERED}
    assert {finding.media_id for finding in violations} < media_ids
    assert len(violations) == lost > 0


def _until(holds: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < until, f"waited in vain until {what}"
        time.sleep(0.2)
