"""The platform's side of a run: who publishes, who acts on outcomes, who reviews, and who asks for removal.

It keeps its own account of what came out, apart from the audit, so that each checks the other.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from uuid import NAMESPACE_OID, UUID, uuid5

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from pipeline import topology
from pipeline.errors import Reason
from pipeline.events import (
    DeadLetter,
    MediaEnforced,
    OutcomeStatus,
    ReviewDecided,
    ReviewRequested,
    SubjectAnswered,
    SubjectRequested,
)
from pipeline.events.cloudevents import headers
from pipeline.events.codec import MalformedEvent, decode, encode
from pipeline.events.subject import AnswerStatus
from pipeline.events.values import Action, RequestKind
from pipeline.kafka import ClientConfig
from pipeline.topology import (
    DEAD_LETTER,
    DECIDED,
    ENFORCED,
    REVIEW_DECIDED,
    SUBJECT_ANSWERED,
    SUBJECT_REQUESTED,
    UPLOADED,
)
from tests.chaos.reviewers import ANSWERS
from tests.chaos.uploads import Publication

_silent = logging.getLogger("tests.chaos.librdkafka")  # a broker that is down is what is wanted here
_silent.addHandler(logging.NullHandler())
_silent.propagate = False

REQUESTED, REQUESTS = 0.05, 12
"""The share of uploads of which somebody asks the removal, and how many at most: each opens all copies too."""

_Read = MediaEnforced | DeadLetter | ReviewDecided | ReviewRequested | SubjectAnswered


class Sender:
    """Writes records and keeps count of what the brokers have and of what they refused."""

    def __init__(self, config: ClientConfig) -> None:
        self._producer = Producer(
            {**config, "enable.idempotence": True, "linger.ms": 20, "message.timeout.ms": 120_000}, logger=_silent
        )
        self.taken = 0
        self.refused: list[str] = []

    def send(self, topic: str, key: bytes | None, value: bytes | None, pairs: Iterable[tuple[str, bytes]] = ()) -> None:
        self._producer.produce(topic, key=key, value=value, headers=list(pairs), on_delivery=self._delivered)
        self._producer.poll(0)

    def poll(self) -> None:
        self._producer.poll(0)

    def finish(self) -> None:
        """Wait until the brokers have everything."""
        left = self._producer.flush(150)
        if left or self.refused:
            raise AssertionError(f"{left + len(self.refused)} records could not be published: {self.refused[:3]}")

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        if error is None:
            self.taken += 1
        else:
            self.refused.append(str(error))


def publish(
    sender: Sender,
    publications: tuple[Publication, ...],
    seconds: float,
    published: dict[str, float],
    stop: threading.Event,
) -> None:
    """At an even pace over `seconds`. `published` gets the moment (monotonic) at which each upload was first sent."""
    started = time.monotonic()
    for number, each in enumerate(publications):
        while (wait := started + seconds * number / len(publications) - time.monotonic()) > 0:
            if stop.wait(min(wait, 0.2)):
                return
            sender.poll()
        if each.media_id is not None:
            published.setdefault(each.media_id, time.monotonic())
        sender.send(UPLOADED, each.key, each.value)


@dataclass(slots=True)
class Account:
    """What the platform saw, from the topics alone."""

    outcomes: dict[tuple[str, int, str], set[int]] = field(default_factory=dict)
    """(media id, round, status) → digests of what was said, without the time."""
    latest: dict[str, int] = field(default_factory=dict)
    """media id → the highest round with an outcome."""
    answered_at: dict[str, float] = field(default_factory=dict)
    """media id → when (monotonic) the first outcome was read."""
    final_actions: dict[tuple[str, int], Action] = field(default_factory=dict)
    requested: dict[str, dict[AnswerStatus, set[bytes]]] = field(default_factory=dict)
    """request id → what it was answered, byte for byte."""
    buried_events: set[tuple[int, int]] = field(default_factory=set)
    """(partition, offset) of records of `media.uploaded` that were no event."""
    buried: dict[str, set[Reason]] = field(default_factory=dict)
    """media id → why it could not be judged."""
    tasks: set[UUID] = field(default_factory=set)
    reviews: dict[UUID, dict[str, set[str]]] = field(default_factory=dict)
    """task → reviewer → what they answered, as published."""
    first_answers: dict[tuple[str, int], Action] = field(default_factory=dict)
    """(media id, round) → the first answer in the topic: the one that has to stand."""
    answered_twice: int = 0

    def answered(self, media_id: str) -> bool:
        """There is an outcome: final, or provisional (then a task follows or came before)."""
        return media_id in self.latest

    def settled(self, media_id: str, round_: int) -> bool:
        """It is final, or a later round took the question over."""
        return (media_id, round_) in self.final_actions or self.latest.get(media_id, 0) > round_

    @property
    def unheard(self) -> list[str]:
        """Requests that nobody answered."""
        return sorted(request for request, said in self.requested.items() if not said)

    @property
    def answered_in_two_ways(self) -> list[str]:
        """Requests with two different answers of the same status."""
        return sorted(r for r, said in self.requested.items() if any(len(each) > 1 for each in said.values()))

    @property
    def two_minded(self) -> list[str]:
        """Uploads of which two different outcomes of the same status were published."""
        return sorted({media_id for (media_id, *_), said in self.outcomes.items() if len(said) > 1})

    @property
    def overruled(self) -> list[str]:
        """Uploads whose final outcome is not the first answer of a person."""
        answers = self.first_answers.items()
        return sorted(media_id for (media_id, r), a in answers if self.final_actions.get((media_id, r), a) is not a)


class Watcher:
    """Reads outcomes and dead letters, and answers a share of the review tasks, some of them twice, differently.

    Of some uploads that have an outcome it asks the removal, of every other one twice, and reads the answers.
    """

    def __init__(self, config: ClientConfig, queues: Iterable[str], seed: int, share: float, twice: float) -> None:
        self.account = Account()
        self._drawn = random.Random(seed)
        self._share = share
        self._twice = twice
        self._sender = Sender(config)
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._consumer = Consumer({**config, "group.id": "chaos-watcher", "enable.auto.commit": False}, logger=_silent)
        wanted = {ENFORCED, DEAD_LETTER, REVIEW_DECIDED, SUBJECT_ANSWERED, *queues}
        known = self._consumer.list_topics(timeout=30).topics
        # Assigned by hand: a group would have to live through the broker's restarts itself.
        self._consumer.assign(
            [
                TopicPartition(name, number, OFFSET_BEGINNING)
                for name in sorted(wanted)
                for number in known[name].partitions
            ]
        )
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises what went wrong so far."""
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Raises what went wrong meanwhile."""
        self._stop.set()
        self._thread.join()
        self._consumer.close()
        self.check()
        self._sender.finish()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                for message in self._consumer.consume(500, timeout=0.2):
                    if message.error() is None:
                        self._take(message)
                self._sender.poll()
        except BaseException as error:  # noqa: BLE001 (handed to whoever stops the thread)
            self._error = error

    def _take(self, message: Message) -> None:
        match message.topic():
            case topology.ENFORCED:
                event: _Read | MalformedEvent = decode(message.value(), MediaEnforced)
            case topology.REVIEW_DECIDED:
                event = decode(message.value(), ReviewDecided)
            case topology.SUBJECT_ANSWERED:
                event = decode(message.value(), SubjectAnswered)
            case topology.DEAD_LETTER:
                event = decode(message.value(), DeadLetter)
            case _:
                event = decode(message.value(), ReviewRequested)
        account = self.account
        match event:
            case MediaEnforced():
                said = (
                    event.outcome_id,
                    event.action,
                    event.decided_by,
                    event.reasons,
                    event.decision_id,
                    event.task_id,
                    event.label,
                )
                digest = int.from_bytes(blake2b(repr(said).encode(), digest_size=8).digest())
                account.outcomes.setdefault((event.media_id, event.round, event.status.value), set()).add(digest)
                account.answered_at.setdefault(event.media_id, time.monotonic())
                account.latest[event.media_id] = max(event.round, account.latest.get(event.media_id, 0))
                if event.status is OutcomeStatus.FINAL:
                    account.final_actions[event.media_id, event.round] = event.action
                if event.round == 1 and len(account.requested) < REQUESTS and self._drawn.random() < REQUESTED:
                    self._request(event.media_id)
            case SubjectAnswered():
                account.requested[event.request_id].setdefault(event.status, set()).add(message.value())
            case DeadLetter():
                if event.topic == UPLOADED and event.media_id is None:
                    account.buried_events.add((event.partition, event.offset))
                elif event.topic == UPLOADED and event.media_id is not None:
                    account.buried.setdefault(event.media_id, set()).add(event.failure.reason)
            case ReviewDecided():
                said_by = account.reviews.setdefault(event.task_id, {})
                said_by.setdefault(event.reviewer_id, set()).add(event.action.value)
                account.first_answers.setdefault((event.media_id, event.round), event.action)
            case ReviewRequested():
                if event.task_id not in account.tasks:
                    account.tasks.add(event.task_id)
                    if self._drawn.random() < self._share:
                        self._review(event)
            case MalformedEvent():
                raise AssertionError(f"{message.topic()} holds what is no event: {event.where}: {event.why}")

    def _request(self, media_id: str) -> None:
        now = datetime.now(UTC)
        request = SubjectRequested(
            request_id=f"request-{media_id}", kind=RequestKind.REMOVAL, received_at=now, media_id=media_id
        )
        if request.request_id in self.account.requested:
            return  # an outcome is read more than once
        self.account.requested[request.request_id] = {}
        for _ in range(1 + len(self.account.requested) % 2):
            pairs = headers(request, source="urn:unmask:chaos", time=now)
            self._sender.send(SUBJECT_REQUESTED, request.request_id.encode(), encode(request), pairs)

    def _review(self, task: ReviewRequested) -> None:
        first = self._drawn.choice(ANSWERS)
        self._answer(task, first, 1)
        if self._drawn.random() < self._twice:
            self.account.answered_twice += 1
            self._answer(task, self._drawn.choice([a for a in ANSWERS if a is not first]), 2)

    def _answer(self, task: ReviewRequested, action: Action, number: int) -> None:
        now = datetime.now(UTC)
        review = ReviewDecided(
            review_id=uuid5(NAMESPACE_OID, f"{task.task_id}/{number}"),
            task_id=task.task_id,
            media_id=task.media_id,
            round=task.round,
            action=action,
            decided_at=now,
            reviewer_id=f"reviewer-{number}",
            reason=f"answer {number}",
        )
        pairs = headers(review, source="urn:unmask:chaos", time=now)
        self._sender.send(REVIEW_DECIDED, task.media_id.encode(), encode(review), pairs)


def group_lag(config: ClientConfig, group: str) -> int:
    """Records that the workers' group has not committed, over the topics that it reads."""
    admin = AdminClient(dict(config), logger=_silent)
    topics = admin.list_topics(timeout=30).topics
    partitions = [
        TopicPartition(name, n)
        for name in (UPLOADED, DECIDED, REVIEW_DECIDED, SUBJECT_REQUESTED)
        for n in topics[name].partitions
    ]
    ends = admin.list_offsets({partition: OffsetSpec.latest() for partition in partitions})
    wanted = ConsumerGroupTopicPartitions(group, partitions)
    (committed,) = admin.list_consumer_group_offsets([wanted]).values()
    done = {(p.topic, p.partition): max(0, p.offset) for p in committed.result(30).topic_partitions}
    return sum(max(0, end.result(30).offset - done.get((p.topic, p.partition), 0)) for p, end in ends.items())
