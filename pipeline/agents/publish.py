"""Write an event to its topic and wait until the broker has it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from itertools import count
from typing import Protocol

from prometheus_client import Gauge

from pipeline.events import Event
from pipeline.events.cloudevents import headers as cloudevents_headers
from pipeline.events.codec import encode

Send = Callable[[str, bytes | None, bytes, tuple[tuple[str, bytes], ...]], Awaitable[None]]
"""(topic, key, value, headers) → acknowledged by the broker; raises `Transient` when it is not."""


class Publish(Protocol):
    """What the agents need of Kafka's producing side."""

    async def __call__(self, topic: str, key: bytes | None, event: Event, traceparent: str | None) -> None:
        """Return once the record is acknowledged by all in-sync replicas."""


def publisher(send: Send, source: str) -> Publish:
    """Give events their CloudEvents headers and send them."""

    async def publish(topic: str, key: bytes | None, event: Event, traceparent: str | None) -> None:
        headers = cloudevents_headers(event, source=source, time=datetime.now(UTC), traceparent=traceparent)
        await send(topic, key, encode(event), headers)

    return publish


def waited_for(send: Send, longest: Gauge, clock: Callable[[], float] = time.monotonic) -> Send:
    """The same, and `longest` says how long the first of the records under way has waited for the broker, in seconds;
    0 when none does. A broker that is away, or a topic that is not there, answers with no error for many minutes."""
    under_way: dict[int, float] = {}
    numbers = count()
    longest.set_function(lambda: clock() - min(under_way.values()) if under_way else 0.0)

    async def waiting(topic: str, key: bytes | None, value: bytes, headers: tuple[tuple[str, bytes], ...]) -> None:
        number = next(numbers)
        under_way[number] = clock()
        try:
            await send(topic, key, value, headers)
        finally:
            del under_way[number]

    return waiting
