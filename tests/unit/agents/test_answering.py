"""A request through the agents, over a ledger on SQLite and a list in place of Kafka, wherever the worker dies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.agents.answer import answer_record, closing
from pipeline.agents.delivery import Record
from pipeline.agents.route import route_record
from pipeline.agents.settle import settle_record
from pipeline.errors import Permanent, Reason
from pipeline.events import (
    Event,
    MediaDecided,
    MediaEnforced,
    OutcomeStatus,
    ReviewDecided,
    ReviewRequested,
    SubjectAnswered,
    SubjectRequested,
)
from pipeline.events.codec import encode
from pipeline.events.subject import AnswerStatus, SubjectMatch
from pipeline.events.values import Action
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.port import Following, OpenedRequest, Standing
from pipeline.match.copies import concerned
from pipeline.policy.case import case_of
from pipeline.policy.decide import decide
from pipeline.reopen import heeded
from pipeline.topology import DECIDED, ENFORCED, REVIEW_DECIDED, SUBJECT_ANSWERED, SUBJECT_REQUESTED, review_topic
from tests.asked import asking, concerning, policy, record, reopening
from tests.records import NOON, decided, reviewed, routed
from tests.unit.match.made import code, frames, turned

TWO_DAYS = NOON + timedelta(days=2)
LOOKS = frames(code(1))


class Died(Exception):
    """The worker, in the middle of it."""


@dataclass
class Worker:
    """The three agents that a request meets. `lives`: so many records are published before it dies."""

    ledger: Ledger
    sent: list[tuple[str, Event]] = field(default_factory=list)
    lives: float = float("inf")
    told: list[tuple[AnswerStatus, bool]] = field(default_factory=list)

    async def publish(self, topic: str, key: bytes | None, event: Event, traceparent: str | None) -> None:
        if self.lives <= 0:
            raise Died
        self.lives -= 1
        named = event.request_id if isinstance(event, SubjectAnswered) else event.media_id
        assert key == (named or "").encode()
        self.sent.append((topic, event))

    def close(self):
        async def finished(outcome: MediaEnforced) -> tuple[SubjectAnswered, ...]:
            return self.ledger.finish_requests(outcome.media_id, outcome.round)

        return closing(finished, self.publish, self.hear)

    def hear(self, said: SubjectAnswered, new: bool) -> None:
        self.told.append((said.status, new))

    async def request(self, request: SubjectRequested) -> None:
        async def open_(asked: SubjectRequested) -> OpenedRequest:
            return record(self.ledger, asked, concerned(asked, self.ledger, since=NOON, most=9))

        value = encode(request)
        handle = answer_record(open_, self.publish, self.hear)
        await handle(Record(SUBJECT_REQUESTED, 0, 1, request.request_id.encode(), value, (), 0.0))

    async def route(self, event: MediaDecided) -> None:
        async def record_decision(event, routed, asked):
            return self.ledger.record_decision(event, routed.task, routed.outcome, asked)

        async def heed(event: MediaDecided) -> MediaDecided:
            before = self.ledger.standing(event.media_id)
            return event if before is None else heeded(event, before, policy())

        handle = route_record(record_decision, self.publish, lambda *_: None, heed, self.close())
        await handle(Record(DECIDED, 0, 1, event.media_id.encode(), encode(event), (), 0.0))

    async def settle(self, review: ReviewDecided) -> None:
        async def record_review(review):
            return self.ledger.record_review(review)

        async def record_final(outcome):
            return self.ledger.record_final(outcome)

        handle = settle_record(record_review, record_final, self.publish, self.close())
        await handle(Record(REVIEW_DECIDED, 0, 1, review.media_id.encode(), encode(review), (), 0.0))

    def of(self, topic: str) -> list[Event]:
        return [event for there, event in self.sent if there == topic]

    def answers(self) -> list[SubjectAnswered]:
        return [event for event in self.of(SUBJECT_ANSWERED) if isinstance(event, SubjectAnswered)]

    async def flow(self) -> None:
        """Route everything that was decided, as Kafka would deliver it."""
        for event in self.of(DECIDED):
            assert isinstance(event, MediaDecided)
            await self.route(event)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    ledger.migrate()
    for event in (
        decided("m1", hashes=LOOKS),
        decided("same", hashes=LOOKS),
        decided("near", hashes=frames(turned(code(1), 5)), sha256="cd" * 32),
        decided("other", hashes=frames(code(2)), sha256="ef" * 32),
    ):
        ledger.record_decision(event, *routed(event))
    yield ledger
    ledger.close()


def tasks(worker: Worker) -> dict[str, ReviewRequested]:
    return {
        event.media_id: event for event in worker.of(review_topic("requests")) if isinstance(event, ReviewRequested)
    }


async def test_a_request_opens_all_asks_once_each_and_is_answered(ledger: Ledger) -> None:
    """The upload, its bytes and its near-copy are held with a task each, until 48 h after the request; then it is
    done."""
    worker = Worker(ledger)
    await worker.request(asking())
    await worker.flow()
    received, *none = worker.answers()
    assert (received.status, received.deadline, none) == (AnswerStatus.RECEIVED, TWO_DAYS, [])
    assert {each.media_id: (each.round, each.match) for each in received.uploads} == {
        "m1": (2, SubjectMatch.NAMED),
        "same": (2, SubjectMatch.SAME_BYTES),
        "near": (2, SubjectMatch.NEAR_COPY),
    }
    asked = tasks(worker)
    assert {task.deadline for task in asked.values()} == {TWO_DAYS}
    assert {name: task.request and task.request.near_copy for name, task in asked.items()} == {
        "m1": False,
        "same": True,
        "near": True,
    }
    outcomes = [event for event in worker.of(ENFORCED) if isinstance(event, MediaEnforced)]
    assert {(each.action, each.status) for each in outcomes} == {(Action.HOLD, OutcomeStatus.PROVISIONAL)}

    for task in asked.values():
        assert len(worker.answers()) == 1
        await worker.settle(reviewed(task))
    done = worker.answers()[-1]
    assert (done.status, done.in_time) == (AnswerStatus.DONE, True)
    assert {each.action for each in done.uploads} == {Action.REMOVE}
    assert worker.told == [(AnswerStatus.RECEIVED, True), (AnswerStatus.DONE, True)]


async def test_the_same_request_again_publishes_the_same_records(ledger: Ledger) -> None:
    """Byte for byte; also when all of it is over."""
    worker = Worker(ledger)
    await worker.request(asking())
    first = [encode(event) for _, event in worker.sent]
    await worker.flow()
    for task in tasks(worker).values():
        await worker.settle(reviewed(task))
    again = Worker(ledger)
    await again.request(asking())
    assert [encode(event) for _, event in again.sent] == first
    assert again.told == [(AnswerStatus.RECEIVED, False)]


@pytest.mark.parametrize("published", range(4))
async def test_a_worker_that_dies_anywhere_loses_nothing(ledger: Ledger, published: int) -> None:
    """After each record that it publishes: the next one publishes all of them, the same, and opens no round again."""
    dying = Worker(ledger, lives=published)
    with pytest.raises(Died):
        await dying.request(asking())
    worker = Worker(ledger)
    await worker.request(asking())
    assert [encode(e) for _, e in worker.sent[:published]] == [encode(e) for _, e in dying.sent]
    assert len(worker.sent) == 4
    assert {row.round for row in ledger.all_reopened()} == {2}


def test_a_worker_that_dies_in_the_transaction_did_nothing(ledger: Ledger) -> None:
    """Neither the request nor the rounds before the one that it died at are on record."""

    def dying(before: Standing, match: SubjectMatch) -> Following:
        if before.decided.media_id == "same":
            raise Died
        return reopening(asking(), before, match)

    with pytest.raises(Died):
        ledger.record_request(asking(), concerning("m1", "same"), dying, NOON)
    assert list(ledger.all_requests()) == list(ledger.all_reopened()) == list(ledger.all_answers()) == []
    assert ledger.decision("m1", 2) is None


@pytest.mark.parametrize("published", range(2))
async def test_a_worker_that_dies_at_the_last_outcome_still_says_done(ledger: Ledger, published: int) -> None:
    """Before or after the outcome is published: delivered again, the review is settled again and the answer follows."""
    worker = Worker(ledger)
    await worker.request(asking())
    await worker.flow()
    *others, last = tasks(worker).values()
    for task in others:
        await worker.settle(reviewed(task))
    worker.lives = published
    with pytest.raises(Died):
        await worker.settle(reviewed(last))
    assert len(worker.answers()) == 1
    worker.lives = 9
    await worker.settle(reviewed(last))
    await worker.settle(reviewed(last))
    done = worker.answers()[1:]
    assert [said.status for said in done] == [AnswerStatus.DONE] * 2
    assert encode(done[0]) == encode(done[1])


async def test_a_request_of_which_nothing_follows_is_done_by_the_policy(ledger: Ledger) -> None:
    """Final at once: received first, then done when the last upload was routed."""
    worker = Worker(ledger)
    await worker.request(asking(harm="other"))
    assert [said.status for said in worker.answers()] == [AnswerStatus.RECEIVED]
    await worker.flow()
    done = worker.answers()[-1]
    assert (done.status, done.in_time, done.deadline) == (AnswerStatus.DONE, None, None)


async def test_what_nobody_knows_is_answered_so(ledger: Ledger) -> None:
    """At once, and the same however often it comes."""
    worker = Worker(ledger)
    for _ in range(2):
        await worker.request(asking("nobody"))
    (first, second) = worker.answers()
    assert first.status is AnswerStatus.UNKNOWN_CONTENT
    assert encode(first) == encode(second)
    assert worker.of(DECIDED) == []


async def test_what_is_no_request_is_buried(ledger: Ledger) -> None:
    """Both ways of saying what is meant, or neither, say nothing."""
    handle = answer_record(None, Worker(ledger).publish, lambda *_: None)  # type: ignore[arg-type]
    start = b'{"schema":"subject.requested/1","request_id":"r1","kind":"removal","received_at":"2026-01-15T08:00:00Z"'
    for value in (start + b"}", start + b',"media_id":"m1","consent_reference":"c"}', b"\xff"):
        with pytest.raises(Permanent) as caught:
            await handle(Record(SUBJECT_REQUESTED, 0, 1, b"r1", value, (), 0.0))
        assert caught.value.reason is Reason.MALFORMED_EVENT


async def test_a_rescan_while_a_request_is_open_does_not_close_it(ledger: Ledger) -> None:
    """The later round is decided with the request: still held, with its deadline, and its outcome makes it done."""
    worker = Worker(ledger)
    await worker.request(asking())
    await worker.flow()
    rescan = decided("m1", 3, hashes=LOOKS)
    await worker.route(rescan)
    task = tasks(worker)["m1"]
    assert (task.round, task.deadline, task.provisional) == (3, TWO_DAYS, Action.HOLD)
    stored = ledger.decision("m1", 3)
    assert stored is not None
    assert decide(case_of(stored), policy()) == stored.decision
    for each in tasks(worker).values():
        await worker.settle(reviewed(each))
    assert worker.answers()[-1].status is AnswerStatus.DONE
