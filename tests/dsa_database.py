"""A database of statements that answers as the DSA Transparency Database's documentation says, and fails on demand.

A call creates all of its statements or none.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from aiohttp import web

TOKEN = "1|secret"

Mood = Callable[["Database", web.Request, list[dict[str, Any]]], Awaitable[web.StreamResponse | None]]
"""What happens to the next call instead of, or before, what should; None: go on as always."""


class Database:
    """`created`: puid → statement. `calls`: how many statements each call had. `wrong`: puids that are not taken."""

    def __init__(self) -> None:
        self.created: dict[str, dict[str, Any]] = {}
        self.calls: list[int] = []
        self.moods: list[Mood] = []
        self.wrong: set[str] = set()
        self.url = ""

    async def store(self, request: web.Request) -> web.StreamResponse:
        """`POST /api/v1/statements`."""
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response({"message": "Unauthenticated."}, status=401)
        statements = (await request.json())["statements"]
        self.calls.append(len(statements))
        if self.moods:
            answer = await self.moods.pop(0)(self, request, statements)
            if answer is not None:
                return answer
        return self.take(statements)

    def take(self, statements: list[dict[str, Any]]) -> web.Response:
        """Create all or none."""
        if not 1 <= len(statements) <= 100:
            errors: dict[str, Any] = {"statements": ["must have between 1 and 100 items."]}
            return web.json_response({"message": "…", "errors": errors}, status=422)
        errors = {
            f"statement_{place}": {"category": ["The selected category is invalid."]}
            for place, statement in enumerate(statements)
            if statement["puid"] in self.wrong
        }
        if errors:
            return web.json_response({"errors": errors}, status=422)
        there = [statement["puid"] for statement in statements if statement["puid"] in self.created]
        if there:
            words = "The platform identifier(s) are not all unique within this call."
            errors = {"puid": [words], "existing_puids": there}
            return web.json_response({"message": words, "errors": errors}, status=422)
        for statement in statements:
            self.created[statement["puid"]] = statement
        made = [{**each, "uuid": str(uuid5(NAMESPACE_OID, each["puid"]))} for each in statements]
        return web.json_response({"statements": made}, status=201)


def answers(status: int, **headers: str) -> Mood:
    """The call is not taken."""

    async def mood(_: Database, _request: web.Request, _statements: object) -> web.StreamResponse:
        return web.Response(status=status, headers=headers)

    return mood


async def hangs(_: Database, _request: web.Request, _statements: object) -> None:
    """No answer comes, for longer than anybody waits here."""
    await asyncio.sleep(30)


async def takes_and_drops(database: Database, request: web.Request, statements: list[dict[str, Any]]) -> None:
    """The statements are created, and the connection breaks before the answer."""
    database.take(statements)
    assert request.transport is not None
    request.transport.abort()


@asynccontextmanager
async def running() -> AsyncIterator[Database]:
    """The database, listening on a free port."""
    database = Database()
    app = web.Application(client_max_size=64 * 1024**2)
    app.router.add_post("/api/v1/statements", database.store)
    app.router.add_post("/moved", _redirect)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    database.url = f"http://127.0.0.1:{runner.addresses[0][1]}/api/v1/statements"
    try:
        yield database
    finally:
        await runner.cleanup()


async def _redirect(_: web.Request) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": "/api/v1/statements"})
