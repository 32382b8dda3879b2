"""Publish a request of a person shown as a platform would, and read what it is answered."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from confluent_kafka import Consumer, KafkaException, TopicPartition

from pipeline.errors import ConfigError, UnmaskError
from pipeline.events import SubjectAnswered, SubjectRequested
from pipeline.events.codec import decode
from pipeline.events.subject import AnswerStatus
from pipeline.kafka import ClientConfig
from pipeline.publish import send
from pipeline.topology import SUBJECT_ANSWERED, SUBJECT_REQUESTED

SOURCE = "urn:unmask:request"

_LAST = frozenset({AnswerStatus.DONE, AnswerStatus.UNKNOWN_CONTENT})


def ask(config: ClientConfig, request: SubjectRequested) -> None:
    """Publish it. Raises UnmaskError when the broker does not take it."""
    send(config, [(SUBJECT_REQUESTED, request.request_id, request)], source=SOURCE)


def ask_and_wait(config: ClientConfig, request: SubjectRequested, within: float) -> Iterator[SubjectAnswered]:
    """Publish it, and yield its answers as they come: until the last one that there will be, or so many seconds.

    Raises:
        UnmaskError: the cluster does not answer, or a topic is missing.
    """
    until = time.monotonic() + within
    with _from_now_on(config) as consumer:
        ask(config, request)
        heard = set()
        while (left := until - time.monotonic()) > 0:
            message = consumer.poll(min(left, 0.5))
            if message is None or message.error() or message.key() != request.request_id.encode():
                continue
            said = decode(message.value(), SubjectAnswered)
            if not isinstance(said, SubjectAnswered) or said.answer_id in heard:
                continue
            heard.add(said.answer_id)
            yield said
            if said.status in _LAST:
                return


@contextmanager
def _from_now_on(config: ClientConfig) -> Iterator[Consumer]:
    """Answers that are published from here on. The ends are fetched now: assigning alone fetches them later."""
    consumer = Consumer({**config, "group.id": "unmask-request", "enable.auto.commit": "false"})
    with closing(consumer):
        try:
            topic = consumer.list_topics(SUBJECT_ANSWERED, timeout=30).topics[SUBJECT_ANSWERED]
            if not topic.partitions:
                raise ConfigError(f"no such topic: {SUBJECT_ANSWERED}; make it with `unmask topics apply`")
            places = [TopicPartition(SUBJECT_ANSWERED, number) for number in topic.partitions]
            for place in places:
                place.offset = consumer.get_watermark_offsets(place, timeout=30)[1]
            consumer.assign(places)
        except KafkaException as error:
            raise UnmaskError(f"Kafka does not answer: {error.args[0]}") from error
        yield consumer
