"""A real broker: the first records of a partition, of which nothing is committed yet, outlive a rebalance."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import Producer
from prometheus_client import CollectorRegistry

from pipeline.agents import worker
from pipeline.agents.delivery import DeliveryPolicy, Drain, Record
from pipeline.agents.watch import AgentWatch, Progress
from pipeline.agents.worker import WorkerApp, attach, worker_app
from pipeline.errors import Permanent
from pipeline.metrics import Metrics
from pipeline.settings import Settings
from pipeline.stack.kafka import Kafka
from pipeline.topics import apply
from pipeline.topology import TopicSpec

RECORDS = 3


@asynccontextmanager
async def reader(kafka: Kafka, topic: str, home: Path, arrived: Callable[[int], None]) -> AsyncIterator[WorkerApp]:
    """A worker that reads `topic` and gets nothing done; `arrived` hears the offset of each record."""
    settings = Settings(home=home, kafka_bootstrap_servers=kafka.bootstrap_servers, kafka_group=f"group-{uuid4()}")
    app = worker_app(settings, Drain())
    app.drain_seconds = 0.0

    async def no_parts() -> None:
        """Nothing to open or to close."""

    async def handle(record: Record) -> None:
        arrived(record.offset)
        await asyncio.Event().wait()

    async def bury(_record: Record, cause: Permanent, _attempts: int) -> None:
        raise AssertionError(cause)

    app.open_parts = app.close_parts = no_parts
    policy = DeliveryPolicy(concurrency=100, deadline=None)
    watch = AgentWatch("reader", Metrics(CollectorRegistry()), Progress())
    attach(app, "reader", topic, handle=handle, bury=bury, policy=policy, watch=watch)
    await app.start()
    try:
        yield app
    finally:
        await app.stop()


@pytest.fixture(autouse=True)
def outlives_its_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that stops ends its process, however its last steps hang; here that is the one that tests it."""
    monkeypatch.setattr(worker, "_exit_anyway", lambda _seconds, _status: None)


@pytest.fixture
def topic(kafka: Kafka) -> str:
    """A new topic of one partition."""
    name = f"first-{uuid4()}"
    spec = TopicSpec(name, 1, "delete", -1, "records that nobody acknowledges")
    apply((spec,), {"bootstrap.servers": kafka.bootstrap_servers})
    return name


@pytest.fixture
def producer(kafka: Kafka, topic: str) -> Producer:
    """One that knows the topic already, so that what it sends arrives at once."""
    made = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    made.list_topics(topic, timeout=30)
    return made


def send(producer: Producer, topic: str) -> None:
    """Without keys: of one key each would wait for the one before it."""
    for _ in range(RECORDS):
        producer.produce(topic, value=b"")
    assert producer.flush(30) == 0


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.05)


async def test_going_back_to_what_is_committed_begins_anew_where_nothing_is(
    kafka: Kafka, topic: str, producer: Producer, tmp_path: Path
) -> None:
    offsets: list[int] = []
    async with reader(kafka, topic, tmp_path, offsets.append) as app:
        send(producer, topic)
        await until(lambda: len(offsets) == RECORDS)
        await app.consumer.perform_seek()
        await until(lambda: len(offsets) == 2 * RECORDS)
    assert offsets == [*range(RECORDS), *range(RECORDS)]


async def test_what_arrives_while_the_flow_stands_still_is_delivered_when_it_goes_on(
    kafka: Kafka, topic: str, producer: Producer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a rebalance: when a fetch brings the records, the flow has been stopped, and Faust drops them."""
    offsets: list[int] = []
    stopped = asyncio.Event()
    async with reader(kafka, topic, tmp_path, offsets.append) as app:
        consumer = app.consumer
        fetch = consumer._getmany

        async def fetch_and_stop(**how: object) -> object:
            found = await fetch(**how)
            if found and not stopped.is_set():
                consumer.stop_flow()
                stopped.set()
            return found

        monkeypatch.setattr(consumer, "_getmany", fetch_and_stop)
        send(producer, topic)
        await until(stopped.is_set)
        consumer.resume_flow()
        await until(lambda: len(offsets) == RECORDS)
    assert offsets == list(range(RECORDS))
