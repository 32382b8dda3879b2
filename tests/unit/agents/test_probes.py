"""What a worker tells of itself over HTTP."""

from __future__ import annotations

from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from pipeline.agents.probes import probes
from pipeline.agents.watch import Progress
from pipeline.metrics import Metrics


def application(progress: Progress, stall: float = 60.0, **troubles: str | None):
    def check(trouble: str | None):
        async def ask() -> str | None:
            return trouble

        return ask

    registry = CollectorRegistry()
    Metrics(registry).policy("default@1", "fusion@1", ("faces",), since=0.0)
    return probes(registry, progress, stall, {name: check(trouble) for name, trouble in troubles.items()})


async def test_readiness_names_what_is_missing():
    """503 with the sentence of each dependency that is away, 200 when all are there."""
    async with TestClient(TestServer(application(Progress(), triton="no answer", ledger=None))) as client:
        answer = await client.get("/readyz")
        assert answer.status == 503
        assert (await answer.json())["checks"] == {"triton": "no answer", "ledger": "ok"}
    async with TestClient(TestServer(application(Progress(), triton=None))) as client:
        assert (await client.get("/readyz")).status == 200


async def test_liveness_is_about_progress():
    """Idle is alive; something under way without a move is not."""
    idle = Progress()
    async with TestClient(TestServer(application(idle, stall=0.001))) as client:
        assert (await client.get("/livez")).status == 200
        idle.move(+1)
        while idle.stalled_for() < 0.002:
            pass
        assert (await client.get("/livez")).status == 503
        idle.move(-1)
        assert (await client.get("/livez")).status == 200


async def test_metrics_are_there_before_anything_happened():
    """Closed sets start at 0, so that an alert can tell `none` from `never heard of`."""
    async with TestClient(TestServer(application(Progress()))) as client:
        text = await (await client.get("/metrics")).text()
    assert 'unmask_dead_letters_total{agent="screen",reason="media_bomb"} 0.0' in text
    assert 'unmask_review_tasks_total{queue="faces"} 0.0' in text
    assert 'unmask_breaker_state{dependency="triton"} 0.0' in text
