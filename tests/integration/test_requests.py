"""Requests by persons shown on the whole stack: Apache Kafka, Triton, and one real worker that is killed on the way."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.ask import ask, ask_and_wait
from pipeline.audit_facts import run_audit
from pipeline.demo.media import rendered, write_jpeg
from pipeline.events import MediaUploaded, OutcomeStatus, SubjectAnswered, SubjectRequested
from pipeline.events.codec import decode
from pipeline.events.subject import AnswerStatus, SubjectMatch
from pipeline.events.values import Action, Consent, RequestKind
from pipeline.models.samples import sample_photographs
from pipeline.scan import Scan, Stored
from pipeline.topology import DECIDED, SUBJECT_ANSWERED
from tests.asked import POLICY
from tests.integration.conftest import REPOSITORY
from tests.stacks import PATIENCE, Platform, platform_on, stack_options


@pytest.fixture(scope="module")
def platform(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("requests")
    policy = folder / "policy.yaml"
    policy.write_text(POLICY)
    options = stack_options(home, folder, {"UNMASK_POLICY_FILE": str(policy)}, policy=policy, broker="kafka")
    with platform_on(options, policy) as platform:
        yield platform


@pytest.fixture(scope="module")
def copies(platform: Platform, home: Path) -> tuple[Path, Path]:
    """A photograph, and the same one smaller and saved again."""
    photo = next(p for p in sample_photographs(home, REPOSITORY / "models") if p.name == "astronaut")
    paths = platform.media / "photo.jpg", platform.media / "saved-again.jpg"
    with Image.open(photo.path) as image:
        picture = image.convert("RGB")
        write_jpeg(paths[0], np.asarray(picture, np.uint8))
        write_jpeg(paths[1], np.asarray(picture.resize((300, 300)), np.uint8), quality=40)
    return paths


def asking(media_id: str | None, request_id: str, **more: object) -> SubjectRequested:
    fields = {
        "request_id": request_id,
        "kind": RequestKind.REMOVAL,
        "received_at": datetime.now(UTC) - timedelta(hours=1),
        "media_id": media_id,
        "harm": "intimate-imagery",
        "jurisdiction": "US",
        **more,
    }
    return SubjectRequested(**fields)  # type: ignore[arg-type]


def answers(platform: Platform, request_id: str) -> list[SubjectAnswered]:
    records = Scan(platform.config, frozenset({SUBJECT_ANSWERED}))
    found = [decode(record.value, SubjectAnswered) for record in records if record.key == request_id.encode()]
    assert all(isinstance(each, SubjectAnswered) for each in found)
    return [each for each in found if isinstance(each, SubjectAnswered)]


def soon(done: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end
        time.sleep(0.5)


def counted(platform: Platform) -> str:
    """The lines of /metrics that are not 0."""
    return "\n".join(line for line in platform.metrics().splitlines() if not line.endswith(" 0.0"))


def records(platform: Platform, keys: set[str]) -> list[Stored]:
    """What was published about these uploads and requests in a second round."""
    both = Scan(platform.config, frozenset({DECIDED, SUBJECT_ANSWERED}))
    return [record for record in both if (record.key or b"").decode() in keys and b'"round":2' in (record.value or b"")]


def test_a_request_opens_the_upload_and_its_copies_and_is_answered_twice(
    platform: Platform, copies: tuple[Path, Path]
) -> None:
    """Named, same bytes and near-copy are held until 48 h after the request with a task each; then it is done. The same
    request again publishes the same bytes."""
    photo, again = copies
    other = platform.media / "other.jpg"
    write_jpeg(other, rendered(3))
    named, same, near, unlike = (platform.upload(path) for path in (photo, photo, again, other))
    for event in (named, same, near, unlike):
        assert platform.outcome(event).action is Action.ALLOW
    photo.unlink()  # nothing is read again

    request = asking(named.media_id, "r-copies")
    received, *none = ask_and_wait(platform.config, request, 20.0)
    assert (received.status, none) == (AnswerStatus.RECEIVED, [])
    assert {each.media_id: (each.round, each.match) for each in received.uploads} == {
        named.media_id: (2, SubjectMatch.NAMED),
        same.media_id: (2, SubjectMatch.SAME_BYTES),
        near.media_id: (2, SubjectMatch.NEAR_COPY),
    }
    assert received.deadline == request.received_at + timedelta(hours=48)
    for event in (named, same, near):
        outcome, task = platform.outcome(event, 2), platform.task(event, 2)
        assert (outcome.status, outcome.action) == (OutcomeStatus.PROVISIONAL, Action.HOLD)
        assert (task.queue, task.deadline, task.clock) == ("requests", received.deadline, "us-48h")
        assert task.request is not None
        assert task.request.near_copy is (event is not named)
    assert [task.media_id for task in platform.ledger.open_tasks("requests")].count(named.media_id) == 1

    first = {
        (record.topic, record.key, record.value) for record in records(platform, _keys(request, named, same, near))
    }
    assert len(first) == 4
    ask(platform.config, request)
    soon(lambda: 'unmask_repeated_records_total{agent="answer"}' in counted(platform))
    soon(lambda: len(records(platform, _keys(request, named, same, near))) == 8)
    both = records(platform, _keys(request, named, same, near))
    assert {(record.topic, record.key, record.value) for record in both} == first

    for event in (named, same, near):
        assert len(answers(platform, "r-copies")) == 2
        platform.review(platform.task(event, 2), Action.REMOVE)
        assert platform.outcome(event, 2, OutcomeStatus.FINAL).action is Action.REMOVE
    soon(lambda: len(answers(platform, "r-copies")) == 3)
    done = answers(platform, "r-copies")[-1]
    assert (done.status, done.in_time) == (AnswerStatus.DONE, True)
    assert {each.action for each in done.uploads} == {Action.REMOVE}
    # The worker counts after it published.
    soon(lambda: 'unmask_subject_answers_total{in_time="yes",status="done"}' in counted(platform))


def _keys(request: SubjectRequested, *uploads: MediaUploaded) -> set[str]:
    return {request.request_id, *(upload.media_id for upload in uploads)}


def test_a_revoked_consent_opens_every_upload_that_carried_it(platform: Platform) -> None:
    """What was allowed with the consent is limited without it, and the record says that it is revoked."""
    uploads = []
    for seed in (21, 22):
        path = platform.media / f"consented-{seed}.jpg"
        write_jpeg(path, rendered(seed))
        uploads.append(platform.upload(path, consent=Consent(reference="c-88")))
    for event in uploads:
        assert platform.outcome(event).action is Action.ALLOW
    request = asking(None, "r-revoked", kind=RequestKind.CONSENT_REVOKED, consent_reference="c-88")
    received = next(ask_and_wait(platform.config, request, PATIENCE))
    assert {each.match for each in received.uploads} == {SubjectMatch.SAME_CONSENT}
    for event in uploads:
        assert platform.outcome(event, 2).action is Action.LIMIT
        decided = platform.ledger.decision(event.media_id, 2)
        assert decided is not None
        assert decided.upload.consent is not None
        assert decided.upload.consent.revoked


def test_nobody_knows_the_upload(platform: Platform) -> None:
    """It is answered so, and at once."""
    (said,) = ask_and_wait(platform.config, asking("not-here", "r-unknown"), PATIENCE)
    assert said.status is AnswerStatus.UNKNOWN_CONTENT


def test_a_worker_that_is_killed_loses_no_request_and_the_audit_holds(platform: Platform) -> None:
    """Killed with requests under way: each is answered, each upload has one second round, and all can be settled."""
    uploads = []
    for seed in range(31, 37):
        path = platform.media / f"killed-{seed}.jpg"
        write_jpeg(path, rendered(seed))
        uploads.append(platform.upload(path))
    for event in uploads:
        platform.outcome(event)
    worker = platform.stack.workers[0]
    pid = worker.pid
    assert pid is not None
    for event in uploads:
        ask(platform.config, asking(event.media_id, f"r-{event.media_id}"))
    os.kill(pid, signal.SIGKILL)
    for event in uploads:
        task = platform.task(event, 2)
        assert platform.outcome(event, 2).action is Action.HOLD
        platform.review(task, Action.ALLOW)
        assert platform.outcome(event, 2, OutcomeStatus.FINAL).action is Action.ALLOW
    assert worker.pid != pid
    for event in uploads:
        soon(lambda name=event.media_id: {said.status for said in platform.ledger.answered(f"r-{name}")} >= _BOTH)
    soon(lambda: run_audit(platform.config, platform.ledger).violations == ())
    report = run_audit(platform.config, platform.ledger)
    assert report.counts.requests >= 6
    assert report.counts.reopened >= 6


_BOTH = {AnswerStatus.RECEIVED, AnswerStatus.DONE}
