"""The record read in bulk."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from hypothesis import given

from pipeline.events import MediaDecided
from pipeline.events.codec import encode
from pipeline.events.values import Action
from pipeline.ledger.recorded import LeanDecided, Records, Span
from pipeline.ledger.work import Work
from pipeline.policy.case import case_of
from pipeline.review.port import Answer as Given
from tests import strategies
from tests.records import NOON, decided, reviewed, routed

HOUR = timedelta(hours=1)
DAY = Span(NOON, NOON + 24 * HOUR)


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    """An empty ledger."""
    ledger = Records(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    ledger.migrate()
    yield ledger
    ledger.close()


def put(records: Records, media_id: str, at: timedelta, round_: int = 1, review: str | None = None) -> None:
    """Record a decision, and what a person says of it."""
    event = decided(media_id, round_, decided_at=NOON + at, review=review)
    task, outcome = routed(event)
    records.record_decision(event, task, outcome)
    if task is not None:
        records.record_review(reviewed(task))


def read(records: Records, span: Span = DAY, latest: bool = True) -> list[tuple[str, int]]:
    """Who is in a span."""
    found = records.recorded(span, span.until if latest else None)
    return [(each.decided.media_id, each.decided.round) for each in found]


@given(strategies.decided)
def test_a_lean_record_is_the_record_without_weight(event: MediaDecided) -> None:
    """What rules may see is all there; evidence, words, hashes and embeddings are not."""
    lean = msgspec.json.decode(encode(event), type=LeanDecided)
    whole = msgspec.json.decode(encode(event), type=MediaDecided)
    one, other = case_of(lean), case_of(whole)
    assert (one.upload, one.now, one.matches, one.agreement) == (
        other.upload,
        other.now,
        other.matches,
        other.agreement,
    )
    assert (one.request, one.failure, lean.versions) == (other.request, other.failure, whole.versions)
    assert [(s.family, s.status, s.probability, s.low, s.high, s.coverage, s.pooled) for s in one.signals] == [
        (s.family, s.status, s.probability, s.low, s.high, s.coverage, s.pooled) for s in other.signals
    ]
    assert [(h.rule, h.action, h.effect, h.queue) for h in lean.decision.trace] == [
        (h.rule, h.action, h.effect, h.queue) for h in whole.decision.trace
    ]
    assert (lean.decision.action, lean.decision.review, lean.decision.regional) == (
        whole.decision.action,
        whole.decision.review,
        whole.decision.regional,
    )
    assert not any(signal.evidence for signal in lean.signals)
    assert (lean.embedding, lean.hashes, lean.face_features, lean.shadow) == (None, (), None, ())


def test_spans_cover_everything_once(records: Records) -> None:
    """Parts of the size asked for, oldest first, without a gap; what was decided at one moment is in one part."""
    for i in range(10):
        put(records, f"m{i}", HOUR * (i // 2))
    spans = list(records.spans(DAY, 3))
    assert [count for _, count in spans] == [2, 2, 2, 2, 2]
    assert [span.since for span, _ in spans][1:] == [span.until for span, _ in spans][:-1]
    assert (spans[0][0].since, spans[-1][0].until) == DAY
    assert [each for span, _ in spans for each in read(records, span)] == read(records)
    assert list(records.spans(Span(NOON - HOUR, NOON), 3)) == []


def test_the_latest_round_of_the_time(records: Records) -> None:
    """Of two rounds the later counts; a round after the end of the time is not known in it."""
    put(records, "m1", HOUR)
    put(records, "m1", 3 * HOUR, round_=2)
    put(records, "m2", 2 * HOUR)
    assert read(records) == [("m2", 1), ("m1", 2)]
    assert read(records, Span(NOON, NOON + 2 * HOUR)) == [("m1", 1)]
    assert read(records, latest=False) == [("m1", 1), ("m2", 1), ("m1", 2)]


def test_the_verdict_comes_with_the_record(records: Records) -> None:
    """The review of that round, where a person gave one."""
    put(records, "m1", HOUR, review="faces")
    put(records, "m2", HOUR)
    verdicts = {each.decided.media_id: each.verdict for each in records.recorded(DAY, DAY.until)}
    assert verdicts["m1"] is not None
    assert verdicts["m1"].action is Action.REMOVE
    assert verdicts["m2"] is None
    assert records.verdict("m1", 1) == verdicts["m1"]
    assert records.verdict("m1", 2) is None
    (answer,) = records.answers(DAY)
    assert (answer.reviewer_id, answer.queue, answer.decided_at) == ("r1", "faces", NOON + HOUR)


def test_answers_know_how_long_the_console_gave_the_case(records: Records) -> None:
    """What was taken back does not count; what was answered elsewhere has no such figure."""
    put(records, "m1", HOUR * 0, review="faces")
    event = decided("m2", review="faces")
    task, outcome = routed(event)
    assert task is not None
    records.record_decision(event, task, outcome)
    work = Work(records)

    def answered(begun: timedelta, took: timedelta) -> UUID:
        held = work.claim_task("r2", task.task_id, NOON + begun, HOUR)
        return work.answer("r2", held.lease_id, Given(Action.ALLOW), NOON + begun + took, 10 * HOUR, {}).answer_id

    first = answered(timedelta(0), timedelta(seconds=300))
    work.undo("r2", first, NOON + timedelta(seconds=301), HOUR)
    answered(timedelta(seconds=301), timedelta(seconds=40))
    records.record_review(reviewed(task))
    assert sorted((answer.seconds or 0) for answer in records.answers(DAY)) == [0, 40]
