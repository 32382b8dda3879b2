"""What is kept of the media that reviewers look at."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from pipeline.console.shelf import Kept


class Maker:
    """Counts what is opened and closed."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.closed: list[str] = []

    def make(self, name: str):  # type: ignore[no-untyped-def]
        async def open_(parts: AsyncExitStack) -> str:
            self.opened.append(name)
            parts.callback(self.closed.append, name)
            await asyncio.sleep(0)
            if name == "broken":
                raise ValueError(name)
            return name

        return open_


async def test_each_is_made_once() -> None:
    """However many ask at the same time."""
    kept: Kept[str] = Kept(4)
    maker = Maker()

    async def ask() -> str:
        async with kept.get("a", maker.make("a")) as found:
            await asyncio.sleep(0)
            return found

    assert await asyncio.gather(*(ask() for _ in range(5))) == ["a"] * 5
    assert maker.opened == ["a"]
    await kept.close()
    assert maker.closed == ["a"]


async def test_the_oldest_goes_and_nothing_that_is_read() -> None:
    """Room is made by what nobody reads."""
    kept: Kept[str] = Kept(2)
    maker = Maker()
    async with kept.get("a", maker.make("a")):
        for name in ("b", "c", "d"):
            async with kept.get(name, maker.make(name)):
                pass
        assert "a" not in maker.closed
        assert "b" in maker.closed
    await kept.close()
    assert sorted(maker.closed) == ["a", "b", "c", "d"]


async def test_idle_ones_go() -> None:
    """After a while without a reader."""
    now = [0.0]
    kept: Kept[str] = Kept(9, idle=10.0, clock=lambda: now[0])
    maker = Maker()
    async with kept.get("a", maker.make("a")):
        pass
    now[0] = 11.0
    async with kept.get("b", maker.make("b")):
        pass
    assert maker.closed == ["a"]
    await kept.close()


async def test_what_cannot_be_made_is_tried_again() -> None:
    """A failure is told to who asked and not kept."""
    kept: Kept[str] = Kept(2)
    maker = Maker()
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            async with kept.get("x", maker.make("broken")):
                pass
    assert maker.opened == ["broken", "broken"]
    assert maker.closed == ["broken", "broken"]


async def test_a_reader_who_leaves_does_not_take_it_away() -> None:
    """Who closes the page while a clip is decoded does not cancel it for the others."""
    kept: Kept[str] = Kept(2)
    go = asyncio.Event()

    async def slow(_: AsyncExitStack) -> str:
        await go.wait()
        return "a"

    async def ask() -> str:
        async with kept.get("a", slow) as found:
            return found

    first, second = asyncio.create_task(ask()), asyncio.create_task(ask())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    go.set()
    assert await second == "a"
    await kept.close()


async def test_two_tidy_at_the_same_time() -> None:
    """While one puts away what nobody reads, another does too."""
    kept: Kept[str] = Kept(3)

    async def slow(parts: AsyncExitStack) -> str:
        parts.push_async_callback(asyncio.sleep, 0.01)
        return "a"

    async def ask(name: str) -> str:
        async with kept.get(name, slow) as found:
            return found

    for name in ("a", "b", "c"):
        await ask(name)
    kept.most = 1
    assert await asyncio.gather(*(ask(name) for name in ("d", "e", "f"))) == ["a"] * 3
    await kept.close()
