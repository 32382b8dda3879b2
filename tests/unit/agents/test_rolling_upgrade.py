"""A roll-out: events of older and of newer releases meet the agents together, over one ledger."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import msgspec
import pytest

import pipeline.events
from pipeline.agents.answer import answer_record
from pipeline.agents.delivery import DeliveryPolicy, Drain, Handle, Record, deliver
from pipeline.agents.route import route_record
from pipeline.agents.screen import screen_record
from pipeline.agents.settle import settle_record
from pipeline.errors import Permanent, Transient
from pipeline.events import (
    Event,
    MediaDecided,
    MediaEnforced,
    MediaUploaded,
    OutcomeStatus,
    ReviewDecided,
    ReviewRequested,
    SubjectAnswered,
    SubjectRequested,
    ids,
)
from pipeline.events.codec import decode, encode
from pipeline.events.schema import EVENTS
from pipeline.events.values import Failure
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.port import OpenedRequest
from pipeline.match.copies import concerned
from pipeline.policy.file import load
from pipeline.screen import unscreenable
from pipeline.topology import DECIDED, ENFORCED, REVIEW_DECIDED, SUBJECT_ANSWERED, SUBJECT_REQUESTED, UPLOADED
from tests.asked import record as recorded
from tests.records import NOON

EXAMPLES = Path(pipeline.events.__file__).with_name("examples")
MAPS = {"attributes"}
"""Texts of the platform's own under names of its own: there are no fields in them."""


def newer(value: Any) -> Any:
    """The same as a newer release might write it: fields that nobody knows yet, in every object."""
    if isinstance(value, list):
        return [newer(entry) for entry in value]
    if isinstance(value, dict):
        known = {key: entry if key in MAPS else newer(entry) for key, entry in value.items()}
        return {"a_later_field": {"deep": [1, None, {"er": 0.5}]}, **known, "zz_later": "x"}
    return value


def examples(topic: str) -> Iterator[tuple[str, Any]]:
    """Every stored example of every version of a topic's event."""
    for path in sorted((EXAMPLES / topic).glob("v*/*.json")):
        yield f"{path.parent.name}-{path.stem}", json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("topic", EVENTS)
def test_what_a_newer_release_adds_is_passed_over(topic: str) -> None:
    """An event with unknown fields everywhere is the event without them."""
    for name, example in examples(topic):
        plain, later = (decode(json.dumps(each).encode(), EVENTS[topic]) for each in (example, newer(example)))
        assert isinstance(plain, EVENTS[topic]), (name, plain)
        assert plain == later, name


@dataclass
class Flow:
    """The agents, a ledger, and topics in memory."""

    ledger: Ledger
    waiting: list[Record] = field(default_factory=list)
    published: list[tuple[str, Event]] = field(default_factory=list)
    buried: list[tuple[Record, Permanent]] = field(default_factory=list)

    def put(self, topic: str, media_id: str, value: Any, *, later: bool) -> None:
        """A record, written by this release or by a later one."""
        written = json.dumps(newer(value) if later else value).encode()
        self.waiting.append(Record(topic, 0, len(self.waiting), media_id.encode(), written, (), 0.0))

    async def publish(self, topic: str, key: bytes | None, event: Event, _traceparent: str | None) -> None:
        self.published.append((topic, event))
        if topic == DECIDED:
            # Whoever screened it: half of the workers are newer.
            self.put(topic, (key or b"").decode(), json.loads(encode(event)), later=len(self.published) % 2 == 0)

    async def bury(self, record: Record, failure: Permanent, _attempts: int) -> None:
        self.buried.append((record, failure))

    def started(self, record: Record) -> None: ...

    def retried(self, record: Record, error: Transient) -> None: ...

    def ended(self, record: Record, result: str, seconds: float, failure: Permanent | None) -> None: ...

    def handlers(self) -> dict[str, Handle]:
        """As `app.py` wires them, without detectors: nothing can be judged, so the fail modes decide."""
        policy, why = load(None), Failure(stage="fetch", reason="source_not_found", detail="404")

        async def screened(upload: MediaUploaded, round_: int) -> MediaDecided:
            return unscreenable(upload, round_, why, now=NOON, policy=policy)

        async def decision(event: MediaDecided, routed: Any, asked: str | None) -> MediaDecided:
            return self.ledger.record_decision(event, routed.task, routed.outcome, asked)

        async def review(event: ReviewDecided) -> Any:
            return self.ledger.record_review(event)

        async def final(outcome: MediaEnforced) -> MediaEnforced:
            return self.ledger.record_final(outcome)

        async def opened(asked: SubjectRequested) -> OpenedRequest:
            return recorded(self.ledger, asked, concerned(asked, self.ledger, since=NOON, most=9))

        return {
            UPLOADED: screen_record(screened, self.publish),
            DECIDED: route_record(decision, self.publish, lambda *_: None),
            REVIEW_DECIDED: settle_record(review, final, self.publish),
            SUBJECT_REQUESTED: answer_record(opened, self.publish, lambda *_: None),
        }

    async def run(self) -> None:
        """Until nothing waits."""
        handlers = self.handlers()
        while self.waiting:
            arrived, self.waiting = self.waiting, []

            async def handle(record: Record) -> None:
                await handlers[record.topic](record)

            async def arrivals(records: list[Record] = arrived) -> AsyncIterator[tuple[Record, Record]]:
                for record in records:
                    yield record, record

            await deliver(
                arrivals(),
                handle=handle,
                bury=self.bury,
                ack=lambda _: None,
                policy=DeliveryPolicy(4, None),
                drain=Drain(),
                watch=self,
            )

    def of(self, topic: str, kind: type[Any]) -> list[Any]:
        """What was published to a topic."""
        return [event for name, event in self.published if name.startswith(topic) and isinstance(event, kind)]


@pytest.fixture
def flow(tmp_path: Path) -> Iterator[Flow]:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    ledger.migrate()
    yield Flow(ledger)
    ledger.close()


async def test_old_and_new_uploads_decisions_and_reviews_pass_together(flow: Flow) -> None:
    """Nothing is buried, every upload has its outcome, and what differs in release alone is recorded as the same."""
    put = []
    for twin, later in (("one", False), ("two", True)):
        for name, example in examples("media.uploaded"):
            media_id = f"upload-{name}-{twin}"
            flow.put(UPLOADED, media_id, {**example, "media_id": media_id}, later=later)
            put.append(media_id)
        for name, example in examples("media.decided"):
            media_id = f"decision-{name}-{twin}"
            round_ = example.get("round", 1)
            upload = {**example["upload"], "media_id": media_id}
            about = {"decision_id": str(ids.decision_id(media_id, round_)), "media_id": media_id, "upload": upload}
            flow.put(DECIDED, media_id, {**example, **about}, later=later)
            put.append(media_id)
    flow.waiting.sort(key=lambda record: record.key or b"")  # one of the older, one of the newer, and so on
    await flow.run()
    assert flow.buried == []
    assert {outcome.media_id for outcome in flow.of(ENFORCED, MediaEnforced)} == set(put)

    asked = {task.task_id: task for task in flow.of("review.requested", ReviewRequested)}
    answers = cycle([example for _, example in examples("review.decided")])
    assert asked
    for number, task in enumerate(asked.values()):
        about = {"task_id": str(task.task_id), "media_id": task.media_id, "round": task.round}
        flow.put(REVIEW_DECIDED, task.media_id, {**next(answers), **about}, later=number % 2 == 1)
    await flow.run()
    assert flow.buried == []
    finals = [o for o in flow.of(ENFORCED, MediaEnforced) if o.status is OutcomeStatus.FINAL]
    assert {outcome.media_id for outcome in finals} == set(put)
    assert len(finals) == len(put)
    for media_id in put:
        if media_id.endswith("-one"):
            mine, other = (flow.ledger.decision(name, _round(flow, name)) for name in (media_id, media_id[:-3] + "two"))
            assert _without_ids(mine) == _without_ids(other)


async def test_old_and_new_requests_pass_together(flow: Flow) -> None:
    """Each is answered, whichever release the platform's side has."""
    names = []
    for twin, later in (("one", False), ("two", True)):
        for name, example in examples("subject.requested"):
            request_id = f"{name}-{twin}"
            flow.put(SUBJECT_REQUESTED, request_id, {**example, "request_id": request_id}, later=later)
            names.append(request_id)
    await flow.run()
    assert flow.buried == []
    assert {said.request_id for said in flow.of(SUBJECT_ANSWERED, SubjectAnswered)} == set(names)


def _round(flow: Flow, media_id: str) -> int:
    return next(row.round for row in flow.ledger.all_decisions() if row.media_id == media_id)


def _without_ids(decided: MediaDecided | None) -> MediaDecided:
    assert decided is not None
    upload = msgspec.structs.replace(decided.upload, media_id="m")
    return msgspec.structs.replace(decided, media_id="m", upload=upload, decision_id=ids.decision_id("m", 1))
