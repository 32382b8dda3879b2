"""Uploads over HTTP, from settings to the spooled file."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from pipeline.errors import Permanent, Reason, Transient
from pipeline.fetch.factory import rules_from_settings
from pipeline.fetch.http import HttpSource
from pipeline.fetch.port import FetchLimits
from pipeline.fetch.spool import Spool
from pipeline.settings import Settings

DATA = os.urandom(1000) * 3000
LIMIT = 4_000_000


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A server with an upload, a body without end, one that drips and one that sends half."""

    async def upload(_: web.Request) -> web.Response:
        return web.Response(body=DATA, content_type="video/mp4")

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x")
            await asyncio.sleep(0.02)

    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"x" * 50)
        assert request.transport is not None
        request.transport.close()
        return response

    async def redirect(request: web.Request) -> web.Response:
        raise web.HTTPFound(request.query["to"])

    app = web.Application()
    app.router.add_get("/upload", upload)
    app.router.add_get("/endless", endless)
    app.router.add_get("/drip", drip)
    app.router.add_get("/half", half)
    app.router.add_get("/redirect", redirect)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield int(runner.addresses[0][1])
    await runner.cleanup()


def spool(port: int, folder: Path, *, private: bool = True, max_seconds: float = 20) -> Spool:
    settings = Settings(fetch_schemes=("http",), fetch_hosts=(f"127.0.0.1:{port}",), fetch_private_addresses=private)
    limits = FetchLimits(max_bytes=LIMIT, max_seconds=max_seconds)
    return Spool([HttpSource(rules_from_settings(settings))], limits, folder)


async def test_an_upload_comes_whole(port: int, tmp_path: Path) -> None:
    """Also over a redirect, and several at once."""
    digest = hashlib.sha256(DATA).hexdigest()

    async def one(uri: str) -> None:
        async with fetch(uri, sha256=digest, size=len(DATA)) as media:
            assert media.path.read_bytes() == DATA
            assert (media.uri, media.size, media.sha256, media.content_type) == (uri, len(DATA), digest, "video/mp4")

    async with spool(port, tmp_path) as fetch:
        here = f"http://127.0.0.1:{port}"
        await asyncio.gather(*[one(f"{here}/upload"), one(f"{here}/redirect?to=/upload")] * 4)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "kind", "reason"),
    [
        ("endless", Permanent, Reason.SOURCE_TOO_LARGE),
        ("drip", Transient, Reason.SOURCE_TOO_SLOW),
        ("half", Transient, Reason.SOURCE_UNAVAILABLE),
        ("missing", Permanent, Reason.SOURCE_NOT_FOUND),
        ("redirect?to=http://127.0.0.2/", Permanent, Reason.SOURCE_FORBIDDEN),
    ],
)
async def test_hostile_servers_end_typed(
    port: int, tmp_path: Path, path: str, kind: type[Permanent | Transient], reason: Reason
) -> None:
    """Bodies without end, drips, halves and redirects elsewhere each have their reason and leave nothing."""
    async with spool(port, tmp_path, max_seconds=0.5 if path == "drip" else 20) as fetch:
        with pytest.raises(kind) as caught:
            async with fetch(f"http://127.0.0.1:{port}/{path}"):
                pass
    assert caught.value.reason is reason
    assert list(tmp_path.iterdir()) == []


async def test_private_addresses_are_refused_by_default(port: int, tmp_path: Path) -> None:
    """The same server, without the settings' leave."""
    async with spool(port, tmp_path, private=False) as fetch:
        with pytest.raises(Permanent, match="loopback"):
            async with fetch(f"http://127.0.0.1:{port}/upload"):
                pass
