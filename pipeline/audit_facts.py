"""What the topics and the ledger say, as the small facts that `audit.py` judges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import chain

import msgspec

from pipeline.audit import (
    Answer,
    Answered,
    Asked,
    AuditReport,
    Buried,
    Decided,
    Enforced,
    Fact,
    Incomplete,
    Malformed,
    Reopened,
    Requested,
    Reviewed,
    Uploaded,
    Where,
    audit,
)
from pipeline.events import (
    DeadLetter,
    DecidedBy,
    Event,
    MediaDecided,
    MediaEnforced,
    MediaUploaded,
    ReviewDecided,
    ReviewRequested,
    SubjectAnswered,
    SubjectRequested,
)
from pipeline.events.cloudevents import round_of
from pipeline.events.codec import MalformedEvent, decode
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.purge import ERASED
from pipeline.scan import IDLE_SECONDS, Scan, Stored, existing_topics
from pipeline.topology import (
    DEAD_LETTER,
    DECIDED,
    ENFORCED,
    REVIEW_DECIDED,
    REVIEW_REQUESTED,
    SUBJECT_ANSWERED,
    SUBJECT_REQUESTED,
    UPLOADED,
)

_TYPES: dict[str, type[Event]] = {
    UPLOADED: MediaUploaded,
    DECIDED: MediaDecided,
    REVIEW_DECIDED: ReviewDecided,
    ENFORCED: MediaEnforced,
    SUBJECT_REQUESTED: SubjectRequested,
    SUBJECT_ANSWERED: SubjectAnswered,
    DEAD_LETTER: DeadLetter,
}
_READ = frozenset({UPLOADED, DECIDED, REVIEW_DECIDED, SUBJECT_REQUESTED})
"""The topics that an agent reads, and whose malformed records it has to bury."""


_NEVER = datetime.min.replace(tzinfo=UTC)
"""In place of when something was said: a repeat may be later, it may not be different."""


def run_audit(
    client_config: Mapping[str, str],
    ledger: Ledger,
    *,
    until: datetime | None = None,
    idle_seconds: float = IDLE_SECONDS,
) -> AuditReport:
    """Read everything and judge it.

    Args:
        client_config: how to reach the cluster, in librdkafka's names.
        ledger: the database that the workers write to.
        until: uploads of which anything was written later are counted as pending, not judged; give it a moment ago
            when workers are running.
        idle_seconds: how long nothing may come before the topics count as read.

    Raises:
        ConfigError: a topic does not exist.
        TopicsFailed: the cluster does not answer.
        Transient: the ledger does not answer, or has no schema yet.
    """
    ledger.check()
    facts = chain(topic_facts(client_config, idle_seconds=idle_seconds), ledger_facts(ledger))
    return audit(facts, until=until.timestamp() if until else None)


def topic_facts(client_config: Mapping[str, str], *, idle_seconds: float = IDLE_SECONDS) -> Iterator[Fact]:
    """Every record of every topic of the flow."""
    queues = existing_topics(client_config, f"{REVIEW_REQUESTED}.")
    scan = Scan(client_config, frozenset(_TYPES) | queues, idle_seconds)
    for record in scan:
        yield fact(record)
    for topic in scan.incomplete:
        yield Incomplete(_kind(topic))


def ledger_facts(ledger: Ledger) -> Iterator[Fact]:
    """Every row that the check needs."""
    for decided in ledger.all_decisions():
        yield Decided(decided.media_id, decided.round, decided.decided_at.timestamp(), Where.LEDGER)
    for task in ledger.all_tasks():
        yield Asked(task.media_id, task.round, task.requested_at.timestamp(), task.state)
    for review in ledger.all_reviews():
        yield Reviewed(review.task_id, review.decided_at.timestamp(), Where.LEDGER)
    for outcome in ledger.all_outcomes():
        yield _enforced(outcome, outcome.enforced_at.timestamp(), Where.LEDGER)
    for request_id, recorded_at in ledger.all_requests():
        yield Requested(request_id, recorded_at.timestamp())
    for row in ledger.all_reopened():
        yield Reopened(row.request_id, row.media_id, row.round, row.recorded_at.timestamp(), row.final)
    for said in ledger.all_answers():
        yield _answered(said, said.answered_at.timestamp(), Where.LEDGER)


def fact(record: Stored) -> Fact:
    """What one record says, read as the agents read it."""
    kind = _kind(record.topic)
    event = decode(record.value, _TYPES.get(kind, ReviewRequested))
    at = record.at
    match event:
        case MalformedEvent():
            why = f"{event.where}: {event.why}"
            return Malformed(record.topic, record.partition, record.offset, at, why, kind in _READ)
        case MediaUploaded():
            return Uploaded(event.media_id, round_of(record.headers), at)
        case MediaDecided():
            request = None if event.request is None else event.request.request_id
            return Decided(event.media_id, event.round, at, Where.TOPIC, event.failure is not None, request)
        case ReviewRequested():
            return Asked(event.media_id, event.round, at)
        case ReviewDecided():
            return Reviewed(event.task_id, at, Where.TOPIC)
        case MediaEnforced():
            return _enforced(event, at, Where.TOPIC)
        case SubjectRequested():
            return Requested(event.request_id, at, (record.partition, record.offset))
        case SubjectAnswered():
            return _answered(event, at, Where.TOPIC)
        case DeadLetter():
            media_id, round_ = _subject(event)
            return Buried(event.topic, event.partition, event.offset, at, media_id, round_)


def _kind(topic: str) -> str:
    return REVIEW_REQUESTED if topic.startswith(f"{REVIEW_REQUESTED}.") else topic


def _subject(letter: DeadLetter) -> tuple[str | None, int]:
    """Whom a dead letter speaks of, told from the bytes that it holds."""
    match decode(letter.value, _TYPES.get(letter.topic, MediaUploaded)):
        case MediaUploaded(media_id=media_id):
            return media_id, round_of(letter.headers)
        case MediaDecided(media_id=media_id, round=round_):
            return media_id, round_
    return None, 1


def _enforced(outcome: MediaEnforced, at: float, where: Where) -> Enforced:
    answer = Answer(outcome.action, outcome.decided_by, *_digests(outcome))
    return Enforced(outcome.media_id, outcome.round, at, where, outcome.status, answer)


def _answered(said: SubjectAnswered, at: float, where: Where) -> Answered:
    content = msgspec.msgpack.encode(msgspec.structs.replace(said, answered_at=_NEVER))
    return Answered(said.request_id, said.status, at, where, int.from_bytes(blake2b(content, digest_size=8).digest()))


def _digests(outcome: MediaEnforced) -> tuple[int, int]:
    """Of all that an outcome says but when: a repeat may be later, it may not be different. A person's words are apart:
    they may have been erased on one side."""
    said = msgspec.structs.replace(outcome, enforced_at=_NEVER)
    if outcome.decided_by is not DecidedBy.PERSON:
        return _digest(said), 0
    words = 0 if ERASED in outcome.reasons else _digest((outcome.reasons, outcome.label, outcome.viewer_label))
    return _digest(msgspec.structs.replace(said, reasons=(), label=None, viewer_label=None)), words


def _digest(said: object) -> int:
    return int.from_bytes(blake2b(msgspec.msgpack.encode(said), digest_size=8).digest())
