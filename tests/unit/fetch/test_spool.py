"""What is spooled, what it is called and that nothing is left."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Permanent, Reason, Stage, Transient
from pipeline.fetch import spool as spool_module
from pipeline.fetch.port import FetchLimits, Opened
from pipeline.fetch.spool import Spool, sweep

LIMITS = FetchLimits(max_bytes=10 * 1024**2, max_seconds=30, idle_seconds=30)


class FakeSource:
    """Sends the given chunks, then does `after`; remembers whether it was left and closed."""

    schemes = frozenset({"fake"})

    def __init__(self, *chunks: bytes, size: int | None = None, content_type: str | None = None) -> None:
        self.chunks = chunks
        self.size = size
        self.content_type = content_type
        self.error: Exception | None = None
        self.hang = False
        self.sent = 0
        self.left = False
        self.closed = False

    @asynccontextmanager
    async def open(self, uri: str, limits: FetchLimits) -> AsyncIterator[Opened]:
        async def chunks() -> AsyncIterator[bytes | memoryview]:
            for chunk in self.chunks:
                self.sent += 1
                yield chunk
                await asyncio.sleep(0)
            if self.error is not None:
                raise self.error
            if self.hang:
                await asyncio.Event().wait()

        try:
            yield Opened(chunks(), self.size, self.content_type)
        finally:
            self.left = True

    async def close(self) -> None:
        self.closed = True


def left_over(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


async def test_yields_the_bytes_with_size_and_digest(tmp_path: Path) -> None:
    """What arrived, as a file for this process' user alone, gone afterwards."""
    fetch = Spool([FakeSource(b"ab", b"c", content_type="image/png")], LIMITS, tmp_path)
    async with fetch("fake://x", sha256=hashlib.sha256(b"abc").hexdigest().upper(), size=3) as media:
        assert media.path.read_bytes() == b"abc"
        assert media.path.stat().st_mode & 0o777 == 0o600
        assert (media.size, media.uri, media.content_type) == (3, "fake://x", "image/png")
        assert media.sha256 == hashlib.sha256(b"abc").hexdigest()
    assert left_over(tmp_path) == []


@given(st.lists(st.integers(0, 400_000), max_size=12))
def test_any_chunking_gives_the_same_file(tmp_path_factory: pytest.TempPathFactory, sizes: list[int]) -> None:
    """However the bytes come, small or large, empty chunks included, the file holds them in order."""
    chunks = [bytes([number]) * size for number, size in enumerate(sizes)]

    async def run() -> None:
        async with Spool([FakeSource(*chunks)], LIMITS, tmp_path_factory.getbasetemp())("fake://x") as media:
            data = b"".join(chunks)
            assert media.path.read_bytes() == data
            assert (media.size, media.sha256) == (len(data), hashlib.sha256(data).hexdigest())

    asyncio.run(run())


async def test_a_wrong_digest_is_for_good(tmp_path: Path) -> None:
    """The bytes are not those which the event speaks of."""
    with pytest.raises(Permanent) as caught:
        async with Spool([FakeSource(b"abc")], LIMITS, tmp_path)("fake://x?token=s", sha256="0" * 64):
            pass
    assert (caught.value.stage, caught.value.reason) == (Stage.FETCH, Reason.DIGEST_MISMATCH)
    assert left_over(tmp_path) == []


async def test_a_wrong_size_claim_is_no_error(tmp_path: Path) -> None:
    """The size is a claim; the true one is reported."""
    async with Spool([FakeSource(b"abc")], LIMITS, tmp_path)("fake://x", size=99) as media:
        assert media.size == 3


async def test_a_claim_over_the_limit_is_refused_unread(tmp_path: Path) -> None:
    """Nothing is asked when the event itself says that it is too much."""
    source = FakeSource(b"abc")
    with pytest.raises(Permanent) as caught:
        async with Spool([source], LIMITS, tmp_path)("fake://x", size=LIMITS.max_bytes + 1):
            pass
    assert caught.value.reason is Reason.SOURCE_TOO_LARGE
    assert not source.left


async def test_a_source_that_says_too_much_is_refused_unread(tmp_path: Path) -> None:
    """Content-Length is believed when it is over the limit."""
    source = FakeSource(b"abc", size=LIMITS.max_bytes + 1)
    with pytest.raises(Permanent) as caught:
        async with Spool([source], LIMITS, tmp_path)("fake://x"):
            pass
    assert caught.value.reason is Reason.SOURCE_TOO_LARGE
    assert (source.sent, source.left) == (0, True)
    assert left_over(tmp_path) == []


@pytest.mark.parametrize(("chunk", "count"), [(10, 1000), (300_000, 1000), (1000, 101)])
async def test_too_many_bytes_end_the_fetch(tmp_path: Path, chunk: int, count: int) -> None:
    """The limit holds for what arrives, whatever was said, and is noticed with the first byte too many."""
    limits = FetchLimits(max_bytes=100 * chunk, max_seconds=30)
    source = FakeSource(*[b"x" * chunk] * count, size=5)
    with pytest.raises(Permanent) as caught:
        async with Spool([source], limits, tmp_path)("fake://x"):
            pass
    assert caught.value.reason is Reason.SOURCE_TOO_LARGE
    assert source.sent == 101
    assert left_over(tmp_path) == []


async def test_exactly_the_limit_passes(tmp_path: Path) -> None:
    """The limit is the largest upload, not the smallest refused one."""
    limits = FetchLimits(max_bytes=3, max_seconds=30)
    async with Spool([FakeSource(b"abc", size=3)], limits, tmp_path)("fake://x", size=3) as media:
        assert media.size == 3


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        (FetchLimits(max_bytes=99, max_seconds=30, idle_seconds=0.05), "sent nothing for 0.05 s"),
        (FetchLimits(max_bytes=99, max_seconds=0.05, idle_seconds=30), "took too long"),
    ],
)
async def test_slow_sources_are_left(tmp_path: Path, limits: FetchLimits, why: str) -> None:
    """Neither silence nor dripping holds the fetch for longer than the limits."""
    source = FakeSource(b"a")
    source.hang = True
    with pytest.raises(Transient, match=why) as caught:
        async with Spool([source], limits, tmp_path)("fake://x"):
            pass
    assert caught.value.reason is Reason.SOURCE_TOO_SLOW
    assert source.left
    assert left_over(tmp_path) == []


async def test_the_limits_of_time_do_not_hold_for_what_is_done_with_the_media(tmp_path: Path) -> None:
    """The clock stops when the bytes are there."""
    limits = FetchLimits(max_bytes=99, max_seconds=0.2, idle_seconds=0.2)
    async with Spool([FakeSource(b"a")], limits, tmp_path)("fake://x"):
        await asyncio.sleep(0.3)


async def test_errors_of_the_source_pass_and_leave_nothing(tmp_path: Path) -> None:
    """Half a download is removed."""
    source = FakeSource(b"x" * 2_000_000)
    source.error = Transient(Stage.FETCH, Reason.SOURCE_UNAVAILABLE, "cut")
    with pytest.raises(Transient, match="cut"):
        async with Spool([source], LIMITS, tmp_path)("fake://x"):
            pass
    assert left_over(tmp_path) == []


async def test_errors_of_the_reader_pass_and_leave_nothing(tmp_path: Path) -> None:
    """Whatever happens inside the block, the file goes."""
    with pytest.raises(ZeroDivisionError):
        async with Spool([FakeSource(b"a")], LIMITS, tmp_path)("fake://x"):
            raise ZeroDivisionError
    assert left_over(tmp_path) == []


async def test_cancellation_while_fetching_leaves_nothing(tmp_path: Path) -> None:
    """A cancelled fetch leaves the source and removes its file."""
    source = FakeSource(b"a")
    source.hang = True

    async def run() -> None:
        async with Spool([source], LIMITS, tmp_path)("fake://x"):
            pass

    task = asyncio.create_task(run())
    while source.sent == 0:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert source.left
    assert left_over(tmp_path) == []


async def test_cancellation_while_a_block_is_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that still writes is neither disturbed nor able to bring the file back."""
    begun, go = threading.Event(), threading.Event()
    write = spool_module._SpoolFile._write

    def slow_write(self: spool_module._SpoolFile, chunks: list[bytes | memoryview]) -> None:
        begun.set()
        go.wait()
        write(self, chunks)

    monkeypatch.setattr(spool_module._SpoolFile, "_write", slow_write)

    async def run() -> None:
        async with Spool([FakeSource(b"a" * 2_000_000)], LIMITS, tmp_path)("fake://x"):
            pass

    task = asyncio.create_task(run())
    await asyncio.to_thread(begun.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go.set()
    await asyncio.get_running_loop().shutdown_default_executor()
    assert left_over(tmp_path) == []


async def test_large_files_are_removed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Removal in a thread is waited for."""
    monkeypatch.setattr(spool_module, "_LARGE", 2)
    async with Spool([FakeSource(b"abc")], LIMITS, tmp_path)("fake://x"):
        pass
    assert left_over(tmp_path) == []


async def test_fetches_at_once_do_not_meet(tmp_path: Path) -> None:
    """Each has a file of its own."""
    fetch = Spool([FakeSource(b"a")], LIMITS, tmp_path)
    async with fetch("fake://x") as one, fetch("fake://x") as other:
        assert one.path != other.path
        assert len(left_over(tmp_path)) == 2


async def test_unknown_schemes_are_forbidden(tmp_path: Path) -> None:
    """A URI that no source reads is refused, whatever it looks like."""
    for uri in ("gopher://x", "", "no uri", "FAK\ud800://x"):
        with pytest.raises(Permanent) as caught:
            async with Spool([FakeSource()], LIMITS, tmp_path)(uri):
                pass
        assert caught.value.reason is Reason.SOURCE_FORBIDDEN


async def test_a_spool_that_cannot_be_written_is_trouble_for_later(tmp_path: Path) -> None:
    """A missing or full disk is not the upload's fault."""
    with pytest.raises(Transient, match="spool cannot be written") as caught:
        async with Spool([FakeSource(b"a")], LIMITS, tmp_path / "missing")("fake://x"):
            pass
    assert caught.value.reason is Reason.INTERNAL


@pytest.mark.parametrize("size", [10, 3_000_000])
async def test_a_full_disk_is_trouble_for_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """A write that fails, at once or at closing, is Transient, and not blamed on the source."""
    real = os.open
    monkeypatch.setattr(spool_module.os, "open", lambda path, *_: real("/dev/full", os.O_WRONLY))
    with pytest.raises(Transient, match="spool cannot be written"):
        async with Spool([FakeSource(b"a" * size)], LIMITS, tmp_path)("fake://x"):
            pass


async def test_leaving_the_spool_closes_its_sources(tmp_path: Path) -> None:
    """Connections go with it."""
    source = FakeSource()
    async with Spool([source], LIMITS, tmp_path):
        assert not source.closed
    assert source.closed


def test_only_files_of_dead_processes_are_swept(tmp_path: Path) -> None:
    """What the living and strangers own stays; what the dead and this pid's former lives left goes."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    mine, run = os.getpid(), spool_module._RUN
    stay = [f"{mine}-{run}-0.spool", f"{os.getppid()}-00000000-0.spool", "notes.txt", "x.spool", f"{dead.pid}.spool"]
    go = [
        f"{dead.pid}-00000000-0.spool",
        f"{mine}-{'0' * 8 if run != '0' * 8 else '1' * 8}-3.spool",
        f"{10**30}-00000000-0.spool",
    ]
    for name in stay + go:
        (tmp_path / name).write_bytes(b"x")
    assert sweep(tmp_path) == len(go)
    assert left_over(tmp_path) == sorted(stay)


async def test_the_event_loop_runs_on_while_large_blocks_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks that take time are hashed and written in a thread, small ones on the spot."""
    threads: list[tuple[int, bool]] = []
    write = spool_module._SpoolFile._write

    def noted(self: spool_module._SpoolFile, chunks: list[bytes | memoryview]) -> None:
        threads.append((sum(map(len, chunks)), threading.current_thread() is threading.main_thread()))
        write(self, chunks)

    monkeypatch.setattr(spool_module._SpoolFile, "_write", noted)
    async with Spool([FakeSource(b"x" * 5_000_000, b"y" * 10)], LIMITS, tmp_path)("fake://x"):
        pass
    assert threads == [(5_000_000, False), (10, True)]
