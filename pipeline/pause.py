"""Waiting between two looks at something, as long as nobody calls."""

from __future__ import annotations

import asyncio


async def pause(call: asyncio.Event, seconds: float | None) -> None:
    """Wait so long (None: without an end), or until `call` is set."""
    try:
        async with asyncio.timeout(seconds):
            await call.wait()
    except TimeoutError:
        return  # nobody called
