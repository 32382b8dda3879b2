"""`/metrics`, `/livez` and `/readyz` of a worker or relay.

`/livez` speaks of progress and of nothing outside: a dead database or broker is no reason to restart a worker.
`/readyz` says which dependency is missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from pipeline.agents.watch import Progress
from pipeline.errors import UnmaskError

Check = Callable[[], Awaitable[str | None]]
"""None when the dependency is there, else a sentence that says what is wrong."""


def checking(check: Callable[[], None]) -> Check:
    """The same, of one that blocks, and raises UnmaskError when something is wrong."""

    async def trouble() -> str | None:
        try:
            await asyncio.to_thread(check)
        except UnmaskError as error:
            return str(error)
        return None

    return trouble


def probes(
    registry: CollectorRegistry, progress: Progress, stall_seconds: float, checks: Mapping[str, Check]
) -> web.Application:
    """The web application; JSON for machines, and readable as it is."""

    async def metrics(request: web.Request) -> web.Response:
        encoder, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encoder(registry), headers={"Content-Type": content_type})

    async def livez(_: web.Request) -> web.Response:
        stalled = progress.stalled_for()
        alive = stalled < stall_seconds
        return web.json_response({"alive": alive, "stalled_seconds": round(stalled, 1)}, status=200 if alive else 503)

    async def readyz(_: web.Request) -> web.Response:
        troubles = {name: await check() for name, check in checks.items()}
        ready = not any(troubles.values())
        body = {"ready": ready, "checks": {name: trouble or "ok" for name, trouble in troubles.items()}}
        return web.json_response(body, status=200 if ready else 503)

    application = web.Application()
    application.add_routes([web.get("/metrics", metrics), web.get("/livez", livez), web.get("/readyz", readyz)])
    return application


@asynccontextmanager
async def serving(application: web.Application, host: str, port: int) -> AsyncIterator[None]:
    """Listen there meanwhile. Raises OSError when the port is taken."""
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield
    finally:
        await runner.cleanup()
