"""The handlers of the three topics, over a ledger on SQLite and a list in place of Kafka."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import msgspec
import pytest

from pipeline.agents.burial import bury_record
from pipeline.agents.delivery import Record
from pipeline.agents.route import route_record
from pipeline.agents.screen import bury_upload, screen_record
from pipeline.agents.settle import settle_record
from pipeline.errors import Permanent, Reason, Stage
from pipeline.events import (
    DeadLetter,
    Event,
    MediaDecided,
    MediaEnforced,
    MediaUploaded,
    OutcomeStatus,
    ReviewDecided,
    ReviewRequested,
    Versions,
)
from pipeline.events.codec import encode
from pipeline.events.ids import decision_id
from pipeline.events.values import Action, Decision, ReviewNeed
from pipeline.ledger.ledger import Ledger
from pipeline.policy.file import load
from pipeline.screen import unscreenable
from pipeline.topology import DEAD_LETTER, DECIDED, ENFORCED, REVIEW_DECIDED, UPLOADED, review_topic

NOW = datetime(2026, 1, 1, tzinfo=UTC)
UPLOAD = MediaUploaded(media_id="m-1", uri="file:///a.jpg", uploaded_at=NOW)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def record(topic: str, value: bytes, **headers: str) -> Record:
    return Record(
        topic, 3, 41, b"m-1", value, tuple((k.replace("_", "-"), v.encode()) for k, v in headers.items()), 0.0
    )


def decided(action: Action, review: ReviewNeed | None = None, round_: int = 1) -> MediaDecided:
    return MediaDecided(
        decision_id=decision_id("m-1", round_),
        media_id="m-1",
        round=round_,
        upload=UPLOAD,
        decided_at=NOW,
        decision=Decision(action=action, reasons=(f"It is {action}.",), policy_version="p@1", review=review),
        versions=Versions(unmask="0", policy="p@1"),
    )


NEED = ReviewNeed(queue="faces", harm="fraud", priority=80, deadline=NOW)


class Outbox:
    """Stands where Kafka is."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes | None, Event, str | None]] = []

    async def __call__(self, topic: str, key: bytes | None, event: Event, traceparent: str | None) -> None:
        self.sent.append((topic, key, event, traceparent))


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    ledger.migrate()
    yield ledger
    ledger.close()


def routing(ledger: Ledger, outbox: Outbox, seen: list[bool] | None = None):
    async def record_decision(event, routed, asked):
        return ledger.record_decision(event, routed.task, routed.outcome, asked)

    return route_record(record_decision, outbox, lambda _e, _r, first: seen.append(first) if seen is not None else None)


def settling(ledger: Ledger, outbox: Outbox):
    async def record_review(review):
        return ledger.record_review(review)

    async def record_final(outcome):
        return ledger.record_final(outcome)

    return settle_record(record_review, record_final, outbox)


async def test_an_upload_is_screened_in_its_round_and_its_trace_goes_on():
    """The round comes from the header; the trace context reaches the decision."""
    outbox, asked = Outbox(), []

    async def screen(upload, round_):
        asked.append((upload, round_))
        return decided(Action.ALLOW, round_=round_)

    await screen_record(screen, outbox)(record(UPLOADED, encode(UPLOAD), traceparent=TRACE, unmask_round="2"))
    assert asked == [(UPLOAD, 2)]
    [(topic, key, event, traceparent)] = outbox.sent
    assert (topic, key, event.round, traceparent) == (DECIDED, b"m-1", 2, TRACE)


async def test_what_is_no_event_fails_for_good_and_says_where():
    """The delivery buries it; nothing is published."""
    outbox = Outbox()

    async def screen(upload, round_):
        raise AssertionError("never asked")

    with pytest.raises(Permanent) as caught:
        await screen_record(screen, outbox)(record(UPLOADED, b'{"schema": "media.uploaded/1", "media_id": 7}'))
    assert caught.value.reason is Reason.MALFORMED_EVENT
    assert "$.media_id" in caught.value.detail
    assert outbox.sent == []


async def test_a_buried_upload_leaves_its_bytes_and_a_fail_mode():
    """Dead letter first, byte for byte with key and headers; then the policy's decision for the upload."""
    outbox, policy = Outbox(), load(None)
    bury = bury_upload(lambda up, round_, why: unscreenable(up, round_, why, now=NOW, policy=policy), outbox)
    raw = record(UPLOADED, encode(UPLOAD), unmask_round="2")
    await bury(raw, Permanent(Stage.DECODE, Reason.MEDIA_CORRUPT, "no frame"), 1)
    (topic, key, letter, _), (second, _, decision, _) = outbox.sent
    assert (topic, key, second) == (DEAD_LETTER, b"m-1", DECIDED)
    assert isinstance(letter, DeadLetter)
    assert (letter.value, letter.key, letter.headers, letter.round) == (raw.value, raw.key, raw.headers, 2)
    assert letter.failure.reason == "media_corrupt"
    assert decision.round == 2
    assert decision.decision.review is not None


async def test_a_buried_non_event_leaves_only_its_bytes():
    """There is no upload that a fail mode could be about."""
    outbox = Outbox()
    bury = bury_upload(lambda *_: pytest.fail("no upload"), outbox)
    await bury(record(UPLOADED, b"\xff\x00"), Permanent(Stage.RECEIVE, Reason.MALFORMED_EVENT, "byte 0"), 1)
    [(topic, _, letter, _)] = outbox.sent
    assert topic == DEAD_LETTER
    assert letter.value == b"\xff\x00"
    assert letter.media_id is None


async def test_burying_twice_writes_the_same_id():
    """A record that dies between dead letter and acknowledgement is buried again under the same id."""
    outbox = Outbox()
    for _ in range(2):
        await bury_record(outbox)(record(DECIDED, b"x"), Permanent(Stage.ROUTE, Reason.MALFORMED_EVENT, "x"), 1)
    assert len({event.dead_letter_id for _, _, event, _ in outbox.sent}) == 1


async def test_the_first_decision_stands_however_often_another_comes(ledger):
    """An upload that was judged twice, differently, still has one outcome: what is published is the first."""
    outbox, first = Outbox(), []
    handle = routing(ledger, outbox, first)
    await handle(record(DECIDED, encode(decided(Action.ALLOW))))
    await handle(record(DECIDED, encode(decided(Action.HOLD, NEED))))
    outcomes = [event for topic, _, event, _ in outbox.sent if topic == ENFORCED]
    assert [outcome.action for outcome in outcomes] == [Action.ALLOW, Action.ALLOW]
    assert encode(outcomes[0]) == encode(outcomes[1])
    assert {topic for topic, *_ in outbox.sent} == {ENFORCED}
    assert first == [True, False]


async def test_a_review_makes_a_task_and_then_a_final_outcome_once(ledger):
    """Provisional with a task in its queue; the first answer is final, a second one changes nothing."""
    outbox = Outbox()
    await routing(ledger, outbox)(record(DECIDED, encode(decided(Action.LIMIT, NEED))))
    (queue, _, task, _), (_, _, provisional, _) = outbox.sent
    assert queue == review_topic("faces")
    assert isinstance(task, ReviewRequested)
    assert isinstance(provisional, MediaEnforced)
    assert provisional.status is OutcomeStatus.PROVISIONAL

    answers = Outbox()
    for action in (Action.ALLOW, Action.REMOVE):
        review = ReviewDecided(
            review_id=uuid4(), task_id=task.task_id, media_id="m-1", action=action, decided_at=NOW, reviewer_id="r"
        )
        await settling(ledger, answers)(record(REVIEW_DECIDED, encode(review)))
    finals = [event for _, _, event, _ in answers.sent]
    assert [final.action for final in finals] == [Action.ALLOW, Action.ALLOW]
    assert {final.status for final in finals} == {OutcomeStatus.FINAL}


async def test_an_answer_to_nobodys_question_is_buried(ledger):
    """A review of an unknown task is kept as a dead letter, with the cause."""
    review = ReviewDecided(
        review_id=uuid4(), task_id=uuid4(), media_id="m-9", action=Action.ALLOW, decided_at=NOW, reviewer_id="r"
    )
    with pytest.raises(Permanent) as caught:
        await settling(ledger, Outbox())(record(REVIEW_DECIDED, encode(review)))
    assert caught.value.reason is Reason.UNKNOWN_TASK


async def test_an_answer_about_another_upload_does_not_use_up_the_task(ledger):
    """A review whose media_id is not the task's is buried, and the right one still counts."""
    outbox = Outbox()
    await routing(ledger, outbox)(record(DECIDED, encode(decided(Action.LIMIT, NEED))))
    task = outbox.sent[0][2]
    wrong = ReviewDecided(
        review_id=uuid4(), task_id=task.task_id, media_id="m-9", action=Action.ALLOW, decided_at=NOW, reviewer_id="r"
    )
    with pytest.raises(Permanent):
        await settling(ledger, Outbox())(record(REVIEW_DECIDED, encode(wrong)))
    answers = Outbox()
    right = msgspec.structs.replace(wrong, media_id="m-1", action=Action.REMOVE)
    await settling(ledger, answers)(record(REVIEW_DECIDED, encode(right)))
    assert answers.sent[0][2].action is Action.REMOVE
