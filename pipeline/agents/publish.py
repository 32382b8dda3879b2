"""Write an event to its topic and wait until the broker has it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Protocol

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
