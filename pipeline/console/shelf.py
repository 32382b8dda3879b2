"""Uploads that reviewers look at now, kept on local disk for a while.

Players ask for many small ranges of one file, and every picture of the evidence starts from the same bytes. A few
decoded clips are kept too.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pipeline.decode.port import Clip, Decode
from pipeline.fetch.port import Fetch, Media

T = TypeVar("T")


@dataclass
class _Slot(Generic[T]):
    made: asyncio.Task[T]
    parts: AsyncExitStack
    used: float
    readers: int = 0


@dataclass
class Kept(Generic[T]):
    """The last `most` things that were asked for; each is made once, however many ask at the same time.

    One that is being read is never put away. `idle` seconds without a reader end it.
    """

    most: int
    idle: float = 300.0
    clock: Callable[[], float] = time.monotonic
    _slots: OrderedDict[str, _Slot[T]] = field(default_factory=OrderedDict)

    @asynccontextmanager
    async def get(self, key: str, make: Callable[[AsyncExitStack], Awaitable[T]]) -> AsyncIterator[T]:
        """What is kept under this key; `make` opens it on the stack that closes it later. Raises as `make` does."""
        await self._tidy()
        slot = self._slots.get(key)
        if slot is None:
            parts = AsyncExitStack()
            slot = self._slots[key] = _Slot(asyncio.ensure_future(make(parts)), parts, self.clock())
        self._slots.move_to_end(key)
        slot.readers += 1
        try:
            yield await asyncio.shield(slot.made)
        except BaseException:
            if slot.made.done() and (slot.made.cancelled() or slot.made.exception()) and self._slots.get(key) is slot:
                del self._slots[key]
                await slot.parts.aclose()
            raise
        finally:
            slot.readers -= 1
            slot.used = self.clock()

    async def close(self) -> None:
        """Let go of everything."""
        while self._slots:
            _, slot = self._slots.popitem()
            await self._end(slot)

    async def _tidy(self) -> None:
        now = self.clock()
        for key, slot in list(self._slots.items()):
            if self._slots.get(key) is not slot:  # somebody else put it away while another was being ended
                continue
            over = len(self._slots) >= self.most
            if slot.readers == 0 and slot.made.done() and (over or now - slot.used > self.idle):
                del self._slots[key]
                await self._end(slot)

    async def _end(self, slot: _Slot[T]) -> None:
        slot.made.cancel()
        await asyncio.gather(slot.made, return_exceptions=True)
        await slot.parts.aclose()


class Shelf:
    """Media and clips of the uploads that are being reviewed."""

    def __init__(self, fetch: Fetch, decode: Decode, *, files: int = 32, clips: int = 4) -> None:
        self._fetch, self.decode = fetch, decode
        self._files: Kept[Media] = Kept(files)
        self._clips: Kept[Clip] = Kept(clips)

    @asynccontextmanager
    async def media(self, uri: str, sha256: str | None) -> AsyncIterator[Media]:
        """The bytes, which have to be those that were judged. Raises as fetching does."""

        async def make(parts: AsyncExitStack) -> Media:
            return await parts.enter_async_context(self._fetch(uri, sha256=sha256))

        async with self._files.get(f"{sha256} {uri}", make) as media:
            yield media

    @asynccontextmanager
    async def clip(self, uri: str, sha256: str | None) -> AsyncIterator[tuple[Media, Clip]]:
        """The frames and the sound, decoded in the sandbox. Raises as decoding does."""
        async with self.media(uri, sha256) as media:

            async def make(_: AsyncExitStack) -> Clip:
                return await self.decode(media.path)

            async with self._clips.get(f"{sha256} {uri}", make) as clip:
                yield media, clip

    async def close(self) -> None:
        """Let go of every file."""
        await self._clips.close()
        await self._files.close()
