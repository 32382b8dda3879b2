"""The network between parts: TCP connections that pass through here, and can be made slow, silent, or be cut.

One thread with an event loop of its own carries all links; whoever runs the chaos says what is wrong with which.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

LATENCY = 0.1
"""Seconds that the first bytes after a pause take on a slow link, each way."""

RATE = 2_000_000.0
"""Bytes a second on a slow link, each connection and each way."""

_BLOCK = 64 * 1024


class Trouble(StrEnum):
    """What can be wrong with a link. `SILENT`: connections are taken and kept, and nothing comes through until it is
    over. `CUT`: those there are end with a reset, and new ones at once."""

    SLOW = "slow"
    SILENT = "silent"
    CUT = "cut"


class Link:
    """One address that leads to another."""

    def __init__(self, loop: asyncio.AbstractEventLoop, target: str) -> None:
        host, _, port = target.rpartition(":")
        self.address = ""
        self._target = (host, int(port))
        self._loop = loop
        self._troubles: list[Trouble] = []
        self._speaks = asyncio.Event()
        self._speaks.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    @contextmanager
    def trouble(self, what: Trouble) -> Iterator[None]:
        """Something is wrong while the block runs. Troubles of several threads add up."""
        _in(self._loop, self._begin(what))
        try:
            yield
        finally:
            _in(self._loop, self._end(what))

    async def open(self, port: int) -> None:
        """Listen on this port of 127.0.0.1; 0: on a free one."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port)
        host, port = self._server.sockets[0].getsockname()
        self.address = f"{host}:{port}"

    async def close(self) -> None:
        """End everything."""
        if self._server is not None:
            self._server.close()
        self._reset()

    async def _begin(self, what: Trouble) -> None:
        self._troubles.append(what)
        if what is Trouble.CUT:
            self._reset()
        if what is Trouble.SILENT:
            self._speaks.clear()

    async def _end(self, what: Trouble) -> None:
        self._troubles.remove(what)
        if Trouble.SILENT not in self._troubles:
            self._speaks.set()

    def _reset(self) -> None:
        for writer in self._writers:
            _reset(writer)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._speaks.wait()
            if Trouble.CUT in self._troubles:
                _reset(writer)
                return
            there, back = await asyncio.open_connection(*self._target)
            self._writers.add(back)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._carry(reader, back))
                    both.create_task(self._carry(there, writer))
            finally:
                self._writers.discard(back)
                back.transport.abort()
        except* OSError:
            pass  # the target is away, or one side ended: the other hears of it below
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One way, to its end. An end of the stream is passed on; the other way may go on."""
        last = 0.0
        while block := await reader.read(_BLOCK):
            if Trouble.SLOW in self._troubles:
                await asyncio.sleep((LATENCY if time.monotonic() - last > LATENCY else 0.0) + len(block) / RATE)
            await self._speaks.wait()
            writer.write(block)
            await writer.drain()
            last = time.monotonic()
        with suppress(OSError):
            writer.write_eof()


class Network:
    """All links. Context manager."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)
        self._links: list[Link] = []

    def link(self, target: str, port: int = 0) -> Link:
        """A way to `target` (host:port), which need not be there yet."""
        link = Link(self._loop, target)
        _in(self._loop, link.open(port))
        self._links.append(link)
        return link

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for link in self._links:
            _in(self._loop, link.close())
        _in(self._loop, _drain())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End it with a reset, not with the end of a stream."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _in(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]) -> None:
    asyncio.run_coroutine_threadsafe(work, loop).result(30)


async def _drain() -> None:
    """End the connections that are still carried, so that none is left behind by the loop."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
