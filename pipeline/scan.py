"""Read whole topics, from the first record to the last, without a consumer group. For audit and replay."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from pipeline.errors import ConfigError
from pipeline.topics import TopicsFailed

IDLE_SECONDS = 1.0
"""How long nothing may come after the last known record before a topic counts as read. Not every broker tells where
its log ends (the embedded one names the first record of the last batch)."""

STALL_SECONDS = 30.0
"""How long a broker may be silent before the end is reached. A leader election takes seconds."""

_BATCH = 1_000

_silent = logging.getLogger("pipeline.scan.librdkafka")  # it repeats what the exceptions say
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


@dataclass(frozen=True, slots=True)
class Stored:
    """One record as the broker has it. `at`: seconds since the epoch, as the broker or the producer stamped it."""

    topic: str
    partition: int
    offset: int
    at: float
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


@dataclass(slots=True)
class Scan:
    """One pass over some topics. Iterate it once; then `incomplete` names those of which records are gone.

    Raises ConfigError for a topic that does not exist, TopicsFailed when the cluster does not answer.
    """

    client_config: Mapping[str, str]
    topics: frozenset[str]
    idle_seconds: float = IDLE_SECONDS
    stall_seconds: float = STALL_SECONDS
    incomplete: set[str] = field(default_factory=set)

    def __iter__(self) -> Iterator[Stored]:
        consumer = _consumer(self.client_config)
        with closing(consumer):
            try:
                yield from self._read(consumer)
            except KafkaException as error:
                raise TopicsFailed(str(error.args[0])) from error

    def _read(self, consumer: Consumer) -> Iterator[Stored]:
        positions = self._beginnings(consumer)
        consumer.assign([TopicPartition(topic, partition, start) for (topic, partition), start in positions.items()])
        open_ends = set(positions)
        heard = time.monotonic()
        while True:
            messages = consumer.consume(_BATCH, timeout=min(0.2, self.idle_seconds))
            for message in messages:
                if _is_end(message):
                    open_ends.discard((message.topic(), message.partition()))
                else:
                    yield self._stored(message, positions)
            now = time.monotonic()
            if messages:
                heard = now
            elif not open_ends and now - heard >= self.idle_seconds:
                return
            elif now - heard >= self.stall_seconds:
                missing = ", ".join(f"{topic}[{partition}]" for topic, partition in sorted(open_ends))
                raise TopicsFailed(f"nothing came for {self.stall_seconds:g} s, and the end was not reached: {missing}")

    def _beginnings(self, consumer: Consumer) -> dict[tuple[str, int], int]:
        metadata = consumer.list_topics(timeout=self.stall_seconds).topics
        if missing := sorted(self.topics - metadata.keys()):
            raise ConfigError(f"no such topic: {', '.join(missing)}; make them with `unmask topics apply`")
        beginnings = {}
        for topic in sorted(self.topics):
            for partition in metadata[topic].partitions:
                first, _ = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=self.stall_seconds)
                beginnings[topic, partition] = first
                if first > 0:
                    self.incomplete.add(topic)
        return beginnings

    def _stored(self, message: Message, positions: dict[tuple[str, int], int]) -> Stored:
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        if offset != positions[topic, partition]:
            self.incomplete.add(topic)  # a gap: compaction (or a transaction's marker) was there
        positions[topic, partition] = offset + 1
        return Stored(
            topic=topic,
            partition=partition,
            offset=offset,
            at=message.timestamp()[1] / 1000,
            key=message.key(),
            value=message.value(),
            headers=tuple((name, value or b"") for name, value in message.headers() or ()),
        )


def existing_topics(client_config: Mapping[str, str], prefix: str, timeout_s: float = STALL_SECONDS) -> frozenset[str]:
    """The topics whose name begins so. Raises TopicsFailed."""
    consumer = _consumer(client_config)
    with closing(consumer):
        try:
            return frozenset(name for name in consumer.list_topics(timeout=timeout_s).topics if name.startswith(prefix))
        except KafkaException as error:
            raise TopicsFailed(str(error.args[0])) from error


def _consumer(client_config: Mapping[str, str]) -> Consumer:
    return Consumer(
        {
            **client_config,
            "group.id": "unmask-scan",  # librdkafka wants one; nothing is ever committed to it
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
        },
        logger=_silent,
    )


def _is_end(message: Message) -> bool:
    error = message.error()
    if error is None:
        return False
    if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 (its only name)
        return True
    raise KafkaException(error)
