"""The pool: one child per item, typed ends, nothing left behind, no way out of the sandbox."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import pytest
import pytest_asyncio

from pipeline.decode.pool import DecodePool, DecodeUsage
from pipeline.decode.port import DecodeBudget
from pipeline.errors import Permanent, Reason, Transient

BUDGET = DecodeBudget(frames=2, max_side=64, audio_seconds=1, memory_bytes=1024**3, cpu_seconds=2, wall_seconds=8.0)
Deed: TypeAlias = Callable[[str], Path]
DECODER = "tests.integration.decode.misbehaving"

pytestmark = pytest.mark.asyncio(loop_scope="function")


@pytest.fixture
def usage() -> list[DecodeUsage]:
    """What the pool reported."""
    return []


@pytest_asyncio.fixture
async def pool(usage: list[DecodeUsage]) -> AsyncIterator[DecodePool]:
    """A pool whose children run the stand-in decoder."""
    async with DecodePool(2, BUDGET, observe=usage.append, decoder=DECODER) as pool:
        yield pool


@pytest.fixture
def deed(tmp_path: Path) -> Deed:
    """A file that names a deed."""

    def deed(text: str) -> Path:
        path = tmp_path / text.replace("/", "_")[:40]
        path.write_text(text)
        return path

    return deed


def children_of(pid: int) -> set[int]:
    """Process ids of the living children of a process."""
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def descriptors_of(pid: int | str) -> int:
    """How many files a process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to hold"
        await asyncio.sleep(0.01)


async def ends(pool: DecodePool, path: Path) -> Permanent:
    """The permanent error that an item ends with."""
    with pytest.raises(Permanent) as caught:
        await pool(path)
    return caught.value


async def test_the_sandbox_was_tried(pool: DecodePool) -> None:
    """What matters holds on every kernel with seccomp; Landlock and namespaces come on top where they are allowed."""
    assert set(pool.sandbox.missing) <= {"landlock", "namespaces"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("crash", Reason.DECODER_CRASHED),
        ("abort", Reason.DECODER_CRASHED),
        ("exit 0", Reason.DECODER_CRASHED),
        ("exit 3", Reason.DECODER_CRASHED),
        ("raise", Reason.DECODER_CRASHED),
        ("eat", Reason.MEDIA_BOMB),
        ("hang", Reason.DECODER_TIMEOUT),
    ],
)
async def test_bad_ends_are_typed_and_cost_one_child(pool: DecodePool, deed: Deed, text: str, reason: Reason) -> None:
    """A crash, an exit, a bug, a memory bomb and a busy loop each end one item; the next one is decoded."""
    assert (await ends(pool, deed(text))).reason is reason
    assert (await pool(deed("behave"))).sampling.decoder == "stand-in"


async def test_frames_that_could_still_be_changed_are_refused(pool: DecodePool, deed: Deed) -> None:
    """A child that keeps a writable mapping is found out, unless it has ended, and the mapping with it, by then."""
    refused = None
    for _ in range(50):
        try:
            await pool(deed("scribble"))
        except Permanent as error:
            refused = error
            break
    assert refused is not None
    assert refused.reason is Reason.DECODER_CRASHED


async def test_sleeping_children_are_killed_on_wall_time(usage: list[DecodeUsage], deed: Deed) -> None:
    """A child that uses no CPU and never answers is killed at the deadline."""
    budget = DecodeBudget(frames=1, max_side=64, wall_seconds=0.5)
    async with DecodePool(1, budget, observe=usage.append, decoder=DECODER) as pool:
        error = await ends(pool, deed("sleep"))
        assert error.reason is Reason.DECODER_TIMEOUT
        await until(lambda: len(usage) == 1)
    assert usage[0].signal == signal.SIGKILL


async def test_each_item_has_a_child_of_its_own(pool: DecodePool, deed: Deed) -> None:
    """One upload can leave nothing behind for the next: no child sees two."""
    pids = {(await pool(deed("behave"))).facts.container for _ in range(5)}
    assert len(pids) == 5


async def test_usage_is_reported_from_outside(pool: DecodePool, usage: list[DecodeUsage], deed: Deed) -> None:
    """Every item's CPU, memory, time and end are reported once, as the kernel saw them."""
    await pool(deed("behave"))
    await ends(pool, deed("hang"))
    await ends(pool, deed("crash"))
    await until(lambda: len(usage) == 3)
    good, hung, crashed = sorted(usage, key=lambda u: (u.reason is not None, u.signal != signal.SIGXCPU))
    assert (good.reason, good.signal) == (None, 0)
    assert good.peak_rss > 1_000_000
    assert hung.reason is Reason.DECODER_TIMEOUT
    assert hung.cpu_seconds >= 1  # the kernel's accounts are coarse
    assert (crashed.reason, crashed.signal) == (Reason.DECODER_CRASHED, signal.SIGSEGV)


@pytest.mark.parametrize(
    "text",
    [
        "open /etc/hostname",
        "open /proc/self/environ",
        "list /",
        "write /tmp/unmask-escape",
        "connect 9",
        "run",
        "fork",
        "execute",
        "kill 1",
        f"kill {os.getpid()}",
    ],
)
async def test_the_sandbox_has_no_way_out(pool: DecodePool, deed: Deed, text: str) -> None:
    """A child cannot open, list, write, connect, run, fork, map code or signal others."""
    error = await ends(pool, deed(text))
    verb = text.split()[0]
    assert error.detail in (f"{verb}: Permission denied", f"{verb}: Operation not permitted"), error.detail


async def test_threads_are_allowed(pool: DecodePool, deed: Deed) -> None:
    """The HEVC decoder starts one; they share the process and its limits."""
    assert (await ends(pool, deed("thread"))).detail == "thread: threaded"


async def test_a_child_holds_few_descriptors(pool: DecodePool, deed: Deed) -> None:
    """Beside the null device a child has its socket, the media and the memory file: no log, no other upload."""
    detail = (await ends(pool, deed("descriptors"))).detail
    assert len(detail.removeprefix("descriptors: ").split(",")) == 6, detail


async def test_items_run_side_by_side_and_wait_their_turn(pool: DecodePool, deed: Deed) -> None:
    """More items than workers are all answered; a bad neighbour does no harm."""
    texts = ["behave", "crash", "behave", "exit 1", "behave", "raise", "behave", "behave"]
    outcomes = await asyncio.gather(*(pool(deed(text)) for text in texts), return_exceptions=True)
    assert [isinstance(outcome, Permanent) for outcome in outcomes] == [text != "behave" for text in texts]


async def test_cancelling_kills_the_child(pool: DecodePool, usage: list[DecodeUsage], deed: Deed) -> None:
    """When nobody waits any longer, the child ends at once and its slot is free."""
    task = asyncio.ensure_future(pool(deed("sleep")))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: len(usage) == 1)
    assert usage[0].signal == signal.SIGKILL
    await asyncio.gather(*(pool(deed("behave")) for _ in range(3)))


async def test_a_dead_template_is_replaced(pool: DecodePool, deed: Deed) -> None:
    """When the template itself is killed, what was under way may be tried again and the next item gets a new one."""
    first = pool.pid
    task = asyncio.ensure_future(pool(deed("sleep")))
    await asyncio.sleep(0.2)
    os.kill(first, signal.SIGKILL)
    with pytest.raises(Transient):
        await task
    await pool(deed("behave"))
    assert pool.pid != first


async def test_closing_ends_everything(deed: Deed) -> None:
    """Closing ends the template and its children; what is under way is transient, what comes later is refused."""
    pool = DecodePool(1, BUDGET, decoder=DECODER)
    await pool.start()
    pid = pool.pid
    family = {pid, *children_of(pid)}
    task = asyncio.ensure_future(pool(deed("sleep")))
    await asyncio.sleep(0.2)
    await pool.close()
    with pytest.raises(Transient):
        await task
    await until(lambda: not any(Path(f"/proc/{member}").exists() for member in family))
    with pytest.raises(Transient):
        await pool(deed("behave"))


async def test_nothing_is_left_open(pool: DecodePool, deed: Deed) -> None:
    """Good and bad ends alike leave no descriptor behind in the worker."""
    for text in ("behave", "crash"):
        with suppress(Permanent):
            await pool(deed(text))
    await asyncio.sleep(0.2)
    before = descriptors_of("self")
    for text in ("behave", "crash", "scribble", "raise") * 3:
        with suppress(Permanent):
            await pool(deed(text))
    await until(lambda: descriptors_of("self") <= before)


async def test_children_die_with_the_worker(tmp_path: Path) -> None:
    """A worker that is killed outright leaves no template and no child behind, not even a busy one."""
    upload = tmp_path / "sleep"
    upload.write_text("sleep")
    code = f"""
import asyncio, pathlib
from pipeline.decode.pool import DecodePool
from pipeline.decode.port import DecodeBudget
async def main():
    pool = DecodePool(1, DecodeBudget(frames=1, max_side=64), decoder={DECODER!r})
    await pool.start()
    task = asyncio.ensure_future(pool(pathlib.Path({str(upload)!r})))
    await asyncio.sleep(0.3)
    print(pool.pid, flush=True)
    await task
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        template = int(await asyncio.to_thread(worker.stdout.readline))
        family = {template, *children_of(template)}
        assert len(family) >= 2
        worker.kill()
    await until(lambda: not any(Path(f"/proc/{member}").exists() for member in family))


async def test_the_template_does_not_hold_the_workers_descriptors(pool: DecodePool) -> None:
    """What the worker has open (sockets, databases) is not inherited by the processes that read hostile files."""
    await until(lambda: descriptors_of(pool.pid) <= 4 + len(children_of(pool.pid)))
