"""How long records wait for the broker."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry, Gauge

from pipeline.agents.publish import waited_for
from pipeline.errors import Reason, Stage, Transient


async def test_the_first_record_under_way_says_how_long_it_has_waited() -> None:
    """One that is acknowledged, refused or given up waits no more; when none waits it is 0."""
    now = 100.0
    answers: dict[bytes, asyncio.Future[None]] = {}

    async def send(_topic: str, _key: bytes | None, value: bytes, _headers: object) -> None:
        answers[value] = asyncio.get_running_loop().create_future()
        await answers[value]

    registry = CollectorRegistry()
    gauge = Gauge("waits", "why", registry=registry)
    waiting = waited_for(send, gauge, lambda: now)

    def told() -> float | None:
        return registry.get_sample_value("waits")

    async def begin(value: bytes) -> asyncio.Task[None]:
        task = asyncio.create_task(waiting("topic", None, value, ()))
        await asyncio.sleep(0)
        return task

    assert told() == 0
    first, now = await begin(b"first"), 130.0
    second, now = await begin(b"second"), 140.0
    third, now = await begin(b"third"), 150.0
    assert told() == 50
    answers[b"first"].set_result(None)
    await first
    assert told() == 20
    answers[b"second"].set_exception(Transient(Stage.ROUTE, Reason.BROKER_UNAVAILABLE, "away"))
    with pytest.raises(Transient):
        await second
    assert told() == 10
    third.cancel()
    await asyncio.wait([third])
    assert told() == 0
