"""Write to a topic and read it back whole, with confluent-kafka."""

import logging
import time
import uuid
from collections.abc import Sequence

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from pipeline.topology import TopicSpec

_silent = logging.getLogger("tests.librdkafka")  # it reports brokers that a test has killed
_silent.propagate = False
_silent.addHandler(logging.NullHandler())


def unique_topic(partitions: int = 1) -> TopicSpec:
    return TopicSpec(f"test.{uuid.uuid4().hex}", partitions, "delete", 3_600_000, "a test's own")


def produce(bootstrap_servers: str, topic: str, values: Sequence[bytes], timeout_s: float = 60.0) -> None:
    """Write with acks=all; raises AssertionError unless every value was acknowledged in time."""
    failures: list[str] = []
    producer = Producer(
        {"bootstrap.servers": bootstrap_servers, "acks": "all", "message.timeout.ms": int(timeout_s * 1000)},
        logger=_silent,
    )
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _message: error and failures.append(str(error)))
    assert producer.flush(timeout_s) == 0
    assert failures == []


def consume(bootstrap_servers: str, topic: str, count: int, timeout_s: float = 60.0) -> list[bytes]:
    """Read every partition from the beginning, without a group, until `count` values are there."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap_servers, "group.id": "unused", "enable.auto.commit": False}, logger=_silent
    )
    partitions = consumer.list_topics(topic, timeout=timeout_s).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
    values: list[bytes] = []
    deadline = time.monotonic() + timeout_s
    try:
        while len(values) < count:
            assert time.monotonic() < deadline, f"{len(values)} of {count} values came"
            if (message := consumer.poll(0.2)) is not None and message.error() is None:
                values.append(message.value())
    finally:
        consumer.close()
    return values
