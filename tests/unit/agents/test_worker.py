"""How a worker stops, without a broker."""

from __future__ import annotations

import asyncio
from pathlib import Path

import faust
import pytest

from pipeline.agents import worker
from pipeline.agents.delivery import Drain
from pipeline.settings import Settings


class Consumer:
    """Its commit hangs, as it does when the consumer is closed and the coordinator is away."""

    def __init__(self) -> None:
        self.tried = False

    async def commit(self) -> None:
        self.tried = True
        await asyncio.Event().wait()


async def test_a_last_commit_that_hangs_does_not_keep_a_worker_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is given up; everything else is closed, and the process has a date at which it ends anyway."""
    steps: list[str] = []

    async def stop_of_faust(_: faust.App) -> None:
        steps.append("faust")

    async def close_parts() -> None:
        steps.append("parts")

    monkeypatch.setattr(faust.App, "on_stop", stop_of_faust)
    monkeypatch.setattr(worker, "_exit_anyway", lambda *_: steps.append("deadline"))
    monkeypatch.setattr(worker, "_COMMIT_SECONDS", 0.01)
    app = worker.worker_app(Settings(home=tmp_path, kafka_bootstrap_servers="127.0.0.1:1"), Drain())
    consumer = Consumer()
    app._consumer = consumer
    app.close_parts = close_parts
    await app.on_stop()
    assert consumer.tried
    assert steps == ["deadline", "parts", "faust"]
