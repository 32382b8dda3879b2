"""Send dead letters again, once each, byte for byte, to the topic that they came from.

An upload's new judgement is a new, numbered round, so that it never contradicts what was published before. A dead
letter that was sent again is known by its id in a header of the record that was sent: the topic is the only memory
that cannot disagree with what happened. When that record has expired (uploads are kept for less long than dead
letters) a letter could be sent again; its round is then decided already and the first decision stands.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pipeline.errors import Reason, Stage
from pipeline.events import DeadLetter
from pipeline.events.cloudevents import ROUND
from pipeline.events.codec import MalformedEvent, decode
from pipeline.scan import IDLE_SECONDS, Scan
from pipeline.topics import TopicsFailed
from pipeline.topology import DEAD_LETTER, DECIDED, REVIEW_DECIDED, SUBJECT_REQUESTED, UPLOADED

REPLAYED_FROM = "unmask-replayed-from"
"""The header that names the dead letter from which a record was sent again."""

_SOURCES = frozenset({UPLOADED, DECIDED, REVIEW_DECIDED, SUBJECT_REQUESTED})
"""The topics that dead letters come from."""

_FLUSH_SECONDS = 60.0

_silent = logging.getLogger("pipeline.replay.librdkafka")  # it repeats what the exceptions say
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


@dataclass(frozen=True, slots=True)
class Selection:
    """Which dead letters: all that match everything that is given. `since` ≤ buried_at < `until`."""

    stage: Stage | None = None
    reason: Reason | None = None
    since: datetime | None = None
    until: datetime | None = None
    media_id: str | None = None

    def takes(self, letter: DeadLetter) -> bool:
        """Whether this one is meant."""
        return (
            (self.stage is None or letter.failure.stage == self.stage)
            and (self.reason is None or letter.failure.reason == self.reason)
            and (self.since is None or letter.buried_at >= self.since)
            and (self.until is None or letter.buried_at < self.until)
            and (self.media_id is None or letter.media_id == self.media_id)
        )


EVERYTHING = Selection()


@dataclass(frozen=True, slots=True)
class Resend:
    """One record to send. `round` is the round that it opens; None for a record that opens none."""

    letter: DeadLetter
    headers: tuple[tuple[str, bytes], ...]
    round: int | None


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """What is sent, or would be. `already`: chosen, but sent again before. `sent` is False for a dry run."""

    resends: tuple[Resend, ...]
    already: int = 0
    sent: bool = False


def replay(
    client_config: Mapping[str, str],
    selection: Selection = EVERYTHING,
    *,
    dry_run: bool = True,
    idle_seconds: float = IDLE_SECONDS,
) -> ReplayPlan:
    """Find the dead letters that are meant and, unless it is a dry run, send them again.

    Raises:
        ConfigError: a topic does not exist.
        TopicsFailed: the cluster does not answer, or refused a record. Run it again: what was sent is skipped.
    """
    letters = [letter for letter in _letters(client_config, idle_seconds) if selection.takes(letter)]
    if not letters:
        return ReplayPlan(())
    found = plan(letters, _replayed(client_config, frozenset(letter.topic for letter in letters), idle_seconds))
    if dry_run or not found.resends:
        return found
    _send(client_config, found.resends)
    return replace(found, sent=True)


def plan(letters: Iterable[DeadLetter], replayed: frozenset[UUID], selection: Selection = EVERYTHING) -> ReplayPlan:
    """What to send. Pure.

    Args:
        letters: dead letters in the order in which they were buried, repeats allowed.
        replayed: ids of those that were sent again before.
        selection: which are meant.
    """
    chosen = {letter.dead_letter_id: letter for letter in letters if selection.takes(letter)}
    return ReplayPlan(
        resends=tuple(_resend(letter) for id_, letter in chosen.items() if id_ not in replayed),
        already=sum(id_ in replayed for id_ in chosen),
    )


def _resend(letter: DeadLetter) -> Resend:
    opens = letter.round + 1 if letter.topic == UPLOADED else None
    ours = {REPLAYED_FROM} | ({ROUND} if opens else set())
    headers = [(name, value) for name, value in letter.headers if name.lower() not in ours]
    if opens:
        headers.append((ROUND, str(opens).encode()))
    headers.append((REPLAYED_FROM, str(letter.dead_letter_id).encode()))
    return Resend(letter, tuple(headers), opens)


def _letters(client_config: Mapping[str, str], idle_seconds: float) -> Iterable[DeadLetter]:
    for record in Scan(client_config, frozenset({DEAD_LETTER}), idle_seconds):
        letter = decode(record.value, DeadLetter)
        # What is no dead letter cannot be sent again; the audit reports it.
        if not isinstance(letter, MalformedEvent) and letter.topic in _SOURCES:
            yield letter


def _replayed(client_config: Mapping[str, str], topics: frozenset[str], idle_seconds: float) -> frozenset[UUID]:
    return frozenset(
        id_
        for record in Scan(client_config, topics, idle_seconds)
        for name, value in record.headers
        if name == REPLAYED_FROM and (id_ := _uuid(value)) is not None
    )


def _uuid(value: bytes) -> UUID | None:
    try:
        return UUID(value.decode("ascii"))
    except ValueError:
        return None  # not a header of ours, whatever its name


def _send(client_config: Mapping[str, str], resends: Iterable[Resend]) -> None:
    producer = Producer({**client_config, "enable.idempotence": True, "acks": "all"}, logger=_silent)
    refused: list[str] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            refused.append(str(error))

    try:
        for resend in resends:
            letter = resend.letter
            while True:
                try:
                    producer.produce(
                        letter.topic,
                        key=letter.key,
                        value=letter.value,
                        headers=list(resend.headers),
                        on_delivery=delivered,
                    )
                    break
                except BufferError:  # the queue is full: wait until some are delivered
                    producer.poll(0.5)
            producer.poll(0)
        unsent = producer.flush(_FLUSH_SECONDS)
    except KafkaException as error:
        raise TopicsFailed(str(error.args[0])) from error
    if unsent or refused:
        raise TopicsFailed(f"{unsent + len(refused)} records were not taken: {refused[0] if refused else 'no answer'}")
