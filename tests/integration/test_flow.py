"""The whole flow on Apache Kafka, a real Triton over the real models, and one real worker process."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from PIL import Image

from pipeline.audit_facts import run_audit
from pipeline.demo.media import rendered, write_jpeg
from pipeline.errors import Reason
from pipeline.events import DecidedBy, MediaUploaded, OutcomeStatus
from pipeline.events.codec import encode
from pipeline.events.values import Action, Surface
from pipeline.models.samples import sample_photographs
from pipeline.replay import Selection, replay
from pipeline.topology import ENFORCED, UPLOADED
from tests.integration.conftest import REPOSITORY
from tests.stacks import PATIENCE, Platform, platform_on, stack_options


@pytest.fixture(scope="module")
def platform(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("flow")
    with platform_on(stack_options(home, folder, {"UNMASK_ITEM_DEADLINE": "25"}, broker="kafka")) as platform:
        yield platform


@pytest.fixture(scope="module")
def portrait(platform: Platform, home: Path) -> Path:
    photo = next(p for p in sample_photographs(home, REPOSITORY / "models") if p.name == "astronaut")
    path = platform.media / "portrait.jpg"
    with Image.open(photo.path) as image:
        write_jpeg(path, np.asarray(image.convert("RGB"), np.uint8))
    return path


def test_a_photograph_comes_out_once_and_its_bytes_are_known_afterwards(platform: Platform, portrait: Path) -> None:
    """A first upload is judged; a second one of the same bytes is decided from the stored signals."""
    first = platform.upload(portrait)
    outcome = platform.outcome(first)
    assert outcome.status is OutcomeStatus.FINAL
    assert outcome.action is Action.ALLOW
    again = platform.upload(portrait, declared_synthetic=True)
    assert platform.outcome(again).action is Action.LABEL
    decided, before = (platform.ledger.decision(event.media_id, 1) for event in (again, first))
    assert decided is not None
    assert before is not None
    # Another test of this module may have been the first to upload these bytes.
    assert decided.reused_from == (before.reused_from or first.media_id)
    assert "unmask_reused_contents_total 0.0" not in platform.metrics()


def test_a_broken_file_is_held_asked_about_buried_and_replayed_as_a_new_round(
    platform: Platform, portrait: Path
) -> None:
    """The fail mode applies while a person decides; after a repair, the replay opens round 2 with its own outcome."""
    broken = platform.media / "repaired-later.jpg"
    broken.write_bytes(portrait.read_bytes()[:300])
    event = platform.upload(broken)
    outcome = platform.outcome(event)
    assert (outcome.status, outcome.action) == (OutcomeStatus.PROVISIONAL, Action.HOLD)
    assert outcome.decided_by is DecidedBy.FAIL_MODE
    assert platform.task(event).queue == "unreadable"

    chosen = Selection(media_id=event.media_id)
    dry = replay(platform.config, chosen)
    assert ([resend.round for resend in dry.resends], dry.sent) == ([2], False)
    broken.write_bytes(portrait.read_bytes())
    assert replay(platform.config, chosen, dry_run=False).sent
    second = platform.outcome(event, round_=2)
    assert (second.status, second.action) == (OutcomeStatus.FINAL, Action.ALLOW)
    assert replay(platform.config, chosen).already == 1


def test_a_person_settles_a_task_and_the_first_answer_counts(platform: Platform) -> None:
    """Hold for now, then final by the person; a second, different answer changes nothing."""
    bad = platform.media / "empty.jpg"
    bad.write_bytes(b"")
    event = platform.upload(bad)
    task = platform.task(event)
    for action in (Action.ALLOW, Action.REMOVE):
        platform.review(task, action)
    final = platform.outcome(event, status=OutcomeStatus.FINAL)
    assert (final.action, final.decided_by) == (Action.ALLOW, DecidedBy.PERSON)


def test_bytes_that_are_no_event_end_as_a_dead_letter(platform: Platform) -> None:
    """They are kept with the cause, and the partition goes on."""
    producer = Producer(platform.config)
    producer.produce(UPLOADED, key="x", value=b"\x00 not json")
    producer.flush(10)
    end = time.monotonic() + PATIENCE
    while not (plan := replay(platform.config, Selection(reason=Reason.MALFORMED_EVENT))).resends:
        assert time.monotonic() < end
    assert [resend.letter.value for resend in plan.resends] == [b"\x00 not json"]


def test_an_event_as_large_as_the_broker_takes_comes_through(platform: Platform, portrait: Path) -> None:
    """Decisions and dead letters repeat the event and are larger than it; their topics have room for that."""
    words = {f"note {n}": "x" * 1000 for n in range(900)}
    assert platform.outcome(platform.upload(portrait, attributes=words)).status is OutcomeStatus.FINAL
    broken = platform.upload(platform.media / "not-there.jpg", attributes=words)
    assert platform.outcome(broken).decided_by is DecidedBy.FAIL_MODE
    letters = replay(platform.config, Selection(media_id=broken.media_id)).resends
    assert len(letters[0].letter.value) > 900_000


def test_a_source_that_is_not_allowed_is_never_read(platform: Platform) -> None:
    """A file outside the roots is refused by the guard, held, and asked about."""
    event = platform.upload(Path("/etc/hostname"))
    assert platform.outcome(event).action is Action.HOLD
    decided = platform.ledger.decision(event.media_id, 1)
    assert decided is not None
    assert decided.failure is not None
    assert decided.failure.reason == Reason.SOURCE_FORBIDDEN


def test_with_triton_down_the_fail_mode_applies_and_afterwards_the_same_bytes_are_judged(platform: Platform) -> None:
    """Nothing is allowed unjudged, an advertisement is held, and what was not judged is not remembered as known."""
    triton = platform.stack.triton
    assert triton is not None
    path = platform.media / "while-down.jpg"
    write_jpeg(path, rendered(11))
    triton.kill()
    try:
        post, ad = platform.upload(path), platform.upload(path, surface=Surface.AD)
        limited, held = platform.outcome(post), platform.outcome(ad)
    finally:
        triton.start()
    assert (limited.action, limited.status) == (Action.LIMIT, OutcomeStatus.PROVISIONAL)
    assert (held.action, held.status) == (Action.HOLD, OutcomeStatus.PROVISIONAL)
    assert {limited.decided_by, held.decided_by} == {DecidedBy.FAIL_MODE}
    assert platform.task(post).queue == "triage"
    later = platform.upload(path)
    outcome = platform.outcome(later)
    assert (outcome.action, outcome.status) == (Action.ALLOW, OutcomeStatus.FINAL)
    decided = platform.ledger.decision(later.media_id, 1)
    assert decided is not None
    assert decided.reused_from is None


def test_headers_carry_cloudevents_and_the_producers_trace(platform: Platform, portrait: Path) -> None:
    """The trace id of the upload's record is on its outcome's record."""
    trace = "0af7651916cd43dd8448eb211c80319c"
    event = MediaUploaded(media_id=str(uuid4()), uri=portrait.as_uri(), uploaded_at=datetime.now(UTC))
    producer = Producer(platform.config)
    headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    producer.produce(UPLOADED, key=event.media_id, value=encode(event), headers=headers)
    producer.flush(10)
    platform.outcome(event)
    consumer = Consumer({**platform.config, "group.id": "headers", "enable.auto.commit": "false"})
    consumer.assign([TopicPartition(ENFORCED, part, OFFSET_BEGINNING) for part in range(4)])
    end = time.monotonic() + PATIENCE
    while True:
        assert time.monotonic() < end
        message = consumer.poll(0.2)
        if message is not None and not message.error() and message.key() == event.media_id.encode():
            break
    consumer.close()
    found = {name: value.decode() for name, value in message.headers()}
    assert found["ce_specversion"] == "1.0"
    assert found["ce_type"] == "org.unmask.media.enforced.v1"
    assert found["ce_subject"] == event.media_id
    assert found["traceparent"].split("-")[1] == trace


def test_the_worker_is_ready_alive_and_logs_json_with_the_upload(
    platform: Platform, portrait: Path, home: Path
) -> None:
    """Probes answer 200, and a line of the log names the upload that it is about."""
    fine, missing = platform.upload(portrait), platform.upload(platform.media / "nothing.jpg")
    platform.outcome(fine)
    platform.outcome(missing)
    for path in ("/livez", "/readyz"):
        with urllib.request.urlopen(f"http://{platform.stack.workers[0].http_address}{path}") as answer:
            assert answer.status == 200
    # An outcome may be read before the worker has written the line about its upload.
    expected = {("screened", fine.media_id, None), ("buried", missing.media_id, "source_not_found")}
    end = time.monotonic() + PATIENCE
    while not expected <= (told := _told(home / "log" / "worker-1.log")):
        assert time.monotonic() < end, expected - told
        time.sleep(0.2)


def _told(log: Path) -> set[tuple[str, str | None, str | None]]:
    """(event, upload, reason) of every complete line."""
    *lines, _ = log.read_text().split("\n")
    parsed = [json.loads(line) for line in lines if line[:1] == "{"]
    return {(line["event"], line.get("media_id"), line.get("reason")) for line in parsed}


def test_the_audit_holds(platform: Platform, portrait: Path) -> None:
    """Topics and ledger agree: every upload so far has one outcome, a task or a dead letter."""
    platform.outcome(platform.upload(portrait))
    report = run_audit(platform.config, platform.ledger)
    assert report.violations == ()
    assert report.counts.uploads >= len(platform.outcomes)
