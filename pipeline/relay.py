"""The relay as a process: settings become parts, and what people decided is published until a signal.

The console does the same in a task of its own, unless `UNMASK_CONSOLE_RELAY` is off.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from prometheus_client import CollectorRegistry, ProcessCollector

from pipeline import log
from pipeline.agents.probes import checking, probes, serving
from pipeline.agents.watch import Progress
from pipeline.errors import Reason, Stage, Transient
from pipeline.kafka import client_config
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.open_work import OpenWork
from pipeline.ledger.turns import Turns
from pipeline.ledger.work import Work
from pipeline.metrics import OutboxMetrics, count_spans
from pipeline.moments import age
from pipeline.pause import pause
from pipeline.review.relay import DELIVERY_SECONDS, Turn, relay
from pipeline.settings import Settings
from pipeline.trace import LAST_SPANS_SECONDS, OFF, Tracing, tracing

logger = log.get(__name__)

EVERY_SECONDS = 5.0
"""How often the outbox is counted."""
_KAFKA_SECONDS = 5.0


class Relay:
    """What publishes the outbox of one ledger to one cluster."""

    def __init__(self, settings: Settings, ledger: Ledger, metrics: OutboxMetrics, traced: Tracing = OFF) -> None:
        self._traced = traced
        self._work, self._turn, self._metrics = Work(ledger), Turn(Turns(ledger)), metrics
        self._producer = Producer(
            {
                **client_config(settings),
                "acks": "all",
                "enable.idempotence": str(settings.kafka_idempotence).lower(),
                "message.timeout.ms": round(DELIVERY_SECONDS * 1000),
            }
        )
        metrics.turn.set_function(lambda: float(self._turn.lasts()))

    async def run(
        self, clock: Callable[[], datetime], stop: asyncio.Event, moved: Callable[[], None] = lambda: None
    ) -> None:
        """Publish until told to stop."""
        await relay(self._work, self._turn, self._send, clock, stop, moved, traced=self._traced)

    async def kafka_trouble(self) -> str | None:
        """Why nothing could be published now."""
        try:
            await asyncio.to_thread(self._producer.list_topics, timeout=_KAFKA_SECONDS)
        except KafkaException as error:
            return str(error.args[0])
        return None

    async def _send(self, topic: str, key: bytes, value: bytes, headers: tuple[tuple[str, bytes], ...]) -> None:
        await asyncio.to_thread(_deliver, self._producer, topic, key, value, headers)
        self._metrics.published.labels(topic).inc()


def _deliver(producer: Producer, topic: str, key: bytes, value: bytes, headers: tuple[tuple[str, bytes], ...]) -> None:
    refused: list[KafkaError] = []
    delivered: list[Message] = []

    def done(error: KafkaError | None, message: Message) -> None:
        (refused.append(error) if error else delivered.append(message))

    try:
        producer.produce(topic, key=key, value=value, headers=list(headers), on_delivery=done)
        producer.flush(DELIVERY_SECONDS)
    except (KafkaException, BufferError) as error:
        raise Transient(Stage.SETTLE, Reason.BROKER_UNAVAILABLE, f"{topic}: {error!r}") from error
    if not delivered:
        detail = str(refused[0]) if refused else "no answer"
        raise Transient(Stage.SETTLE, Reason.BROKER_UNAVAILABLE, f"{topic}: {detail}")


def stopped_by_signals() -> asyncio.Event:
    """An event that SIGINT and SIGTERM set."""
    stop = asyncio.Event()
    for ending in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(ending, stop.set)
    return stop


async def run(settings: Settings) -> None:
    """Publish until a signal; `/metrics`, `/livez` and `/readyz` are where a worker has them."""
    stop = stopped_by_signals()
    registry, progress = CollectorRegistry(), Progress()
    ProcessCollector(registry=registry)
    metrics = OutboxMetrics(registry)
    with closing(Ledger(settings.ledger_url)) as ledger:
        await asyncio.to_thread(ledger.migrate)
        traced = tracing(settings.otlp_endpoint)
        count_spans(registry, traced)
        relaying = Relay(settings, ledger, metrics, traced)

        checks = {"kafka": relaying.kafka_trouble, "ledger": checking(ledger.check)}
        application = probes(registry, progress, settings.stall_seconds, checks)
        progress.move(+1)  # a relay always has something under way: its next round
        async with serving(application, settings.http_host, settings.http_port), asyncio.TaskGroup() as running:
            running.create_task(relaying.run(_now, stop, progress.move))
            running.create_task(_count(metrics, OpenWork(ledger), stop))
        await asyncio.to_thread(traced.close, LAST_SPANS_SECONDS)


def _now() -> datetime:
    return datetime.now(UTC)


async def _count(metrics: OutboxMetrics, work: OpenWork, stop: asyncio.Event) -> None:
    while not stop.is_set():
        now = _now()
        try:
            found = await asyncio.to_thread(work.outbox, now)
            metrics.show(found.waiting, found.due, age(found.oldest, now))
        except Transient as trouble:
            logger.warning("the outbox cannot be counted", detail=trouble.detail)
        await pause(stop, EVERY_SECONDS)
