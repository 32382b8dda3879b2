"""One breaker per origin."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pipeline.breaker import Breaker, BreakerPolicy, State
from pipeline.errors import Permanent, Reason, Stage, Transient, Unavailable
from pipeline.fetch.origins import PerOrigin, origin
from pipeline.fetch.port import Media


class Source:
    """Fetches from good hosts, fails on others."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.open = 0

    @asynccontextmanager
    async def __call__(self, uri: str, *, sha256: str | None = None, size: int | None = None) -> AsyncIterator[Media]:
        self.asked.append(uri)
        if "down" in uri:
            raise Transient(Stage.FETCH, Reason.SOURCE_UNAVAILABLE, "503")
        if "missing" in uri:
            raise Permanent(Stage.FETCH, Reason.SOURCE_NOT_FOUND, "404")
        self.open += 1
        try:
            yield Media(Path("spooled"), 1, "0" * 64, uri)
        finally:
            self.open -= 1


def guarded(source: Source) -> PerOrigin:
    def make(name: str) -> Breaker:
        policy = BreakerPolicy(failures=2, open_seconds=60)
        return Breaker(name, policy, stage=Stage.FETCH, reason=Reason.SOURCE_UNAVAILABLE)

    return PerOrigin(source, make)


async def fetch(port: PerOrigin, uri: str) -> Media:
    async with port(uri) as media:
        return media


async def test_a_host_that_is_down_is_left_alone_and_others_are_not():
    """After two failures the host is not asked again; another host is."""
    source = Source()
    port = guarded(source)
    for _ in range(2):
        with pytest.raises(Transient):
            await fetch(port, "https://down.example/a")
    with pytest.raises(Unavailable):
        await fetch(port, "https://DOWN.example/b")
    assert len(source.asked) == 2
    assert port.worst is State.OPEN
    assert (await fetch(port, "https://up.example/c")).uri.endswith("/c")


async def test_an_upload_that_is_not_there_says_nothing_against_its_host():
    """404 is about the upload: the breaker stays closed."""
    port = guarded(Source())
    for _ in range(5):
        with pytest.raises(Permanent):
            await fetch(port, "https://up.example/missing")
    assert port.worst is State.CLOSED


async def test_the_spooled_file_lives_as_long_as_the_block():
    """The breaker holds the opening only; the file is released at the end, also after an error inside the block."""
    source = Source()
    port = guarded(source)

    async def judge() -> None:
        async with port("https://up.example/a"):
            assert source.open == 1
            raise RuntimeError("while judging")

    with pytest.raises(RuntimeError):
        await judge()
    assert source.open == 0


async def test_the_number_of_breakers_is_bounded():
    """Events may name any number of hosts; memory does not grow with them."""
    port = guarded(Source())
    for n in range(1200):
        await fetch(port, f"https://h{n}.example/a")
    assert len(port._breakers) == 1000


def test_origins():
    """Host or bucket, without case, port or path; nonsense has one of its own."""
    assert origin("HTTPS://A.example:8443/x?y") == "https://a.example"
    assert origin("s3://bucket/key") == "s3://bucket"
    assert origin("file:///x") == "file://"
    assert origin("http://[::bad") == "://"
