"""Decoding as the worker sees it: a path goes in, a `Clip` or a typed cause comes out, within the budget's wall time.

Hostile media costs one child process, never the worker. Children are forked from a warm template process (`zygote`),
wait enclosed for their one job and are replaced as they are used. The worker opens the file and hands the child a
descriptor.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog

from pipeline.decode import handover
from pipeline.decode.handover import Refusal
from pipeline.decode.port import Clip, DecodeBudget, Span, Window
from pipeline.decode.sandbox import SandboxReport
from pipeline.decode.zygote import DONE, MAX_SPANS, Ended, Job, Order, Ready
from pipeline.errors import Permanent, Reason, Stage, Transient
from pipeline.one_thread import ONE_THREAD

T = TypeVar("T")

log = structlog.get_logger(__name__)

_START_SECONDS = 60.0
_OBITUARY_SECONDS = 5.0
_MESSAGE = msgspec.json.Decoder(Ready | Ended)


@dataclass(frozen=True, slots=True)
class DecodeUsage:
    """What one item cost. `reason` is None when it was decoded; `signal` is what killed the child before it
    answered, 0 if nothing did.

    `seconds`: wall time from the hand-over to the answer. `cpu_seconds` and `peak_rss` (bytes) are the child's own.
    """

    reason: Reason | None
    signal: int
    seconds: float
    cpu_seconds: float
    peak_rss: int


@dataclass(eq=False, slots=True)
class _Child:
    """The worker's hold on one child."""

    serial: int
    link: socket.socket
    ended: asyncio.Future[Ended]
    reason: Reason | None = None
    seconds: float = 0.0
    used: bool = False
    answered: bool = False
    dismissed: bool = False


@dataclass(eq=False, slots=True)
class _Template:
    """The running zygote and the children that it has."""

    process: subprocess.Popen[bytes]
    control: socket.socket
    sandbox: SandboxReport
    children: dict[int, _Child] = field(default_factory=dict)
    spares: deque[_Child] = field(default_factory=deque)
    alive: bool = True


class DecodePool:
    """The `Decode` port over sandboxed children. At most `workers` items at once; others wait their turn.

    `observe` is called once for each item, after its child has ended. Use as `async with DecodePool(…) as decode:`, or
    call `start` and `close`.
    """

    def __init__(
        self,
        workers: int,
        budget: DecodeBudget,
        *,
        observe: Callable[[DecodeUsage], None] = lambda _: None,
        decoder: str = "pipeline.decode.decoder",
    ) -> None:
        """`decoder`: the module whose `decode` the children run; the worker itself never loads it."""
        self._workers = workers
        self._budget = budget
        self._observe = observe
        self._decoder = decoder
        self._slots = asyncio.Semaphore(workers)
        self._starting = asyncio.Lock()
        self._serial = 0
        self._template: _Template | None = None
        self._closed = False

    async def __aenter__(self) -> DecodePool:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Warm up: load the decoders, try the sandbox, fork the first children."""
        await self._ready()

    async def close(self) -> None:
        """End every child and the template. Items under way end as `Transient`."""
        self._closed = True
        async with self._starting:
            template, self._template = self._template, None
            if template:
                self._bury(template)
                await asyncio.to_thread(_end, template.process)

    @property
    def sandbox(self) -> SandboxReport:
        """Which protections hold, as seen by trying them at the start."""
        if self._template is None:
            raise RuntimeError("the pool has not been started")
        return self._template.sandbox

    @property
    def pid(self) -> int:
        """The template's process id, for whoever accounts for its CPU time."""
        if self._template is None:
            raise RuntimeError("the pool has not been started")
        return self._template.process.pid

    async def __call__(self, path: Path) -> Clip:
        """Decode the file. Raises `Permanent` with a typed cause, or `Transient` when the pool itself failed."""
        return await self._run(path, Job(), handover.capacity(self._budget), handover.collect)

    async def closer(self, path: Path, spans: Sequence[Span], first_index: int) -> tuple[Window, ...]:
        """Look closely at at most `MAX_SPANS` stretches. Raises as `__call__` does."""
        if not spans:
            return ()
        if len(spans) > MAX_SPANS:
            raise ValueError(f"{len(spans)} spans, at most {MAX_SPANS}")

        def collect(spool: int, size: int) -> tuple[Window, ...] | Refusal:
            return handover.collect_windows(spool, size, spans, first_index)

        return await self._run(path, Job(tuple(spans)), handover.closer_capacity(self._budget), collect)

    # One item

    async def _run(self, path: Path, job: Job, size: int, collect: Callable[[int, int], T | Refusal]) -> T:
        """Have a child do one job on the file."""
        async with self._slots:
            template = await self._ready()
            with _opened(path) as media, _spool(size) as spool:
                child = self._take(template)
                started = time.monotonic()
                try:
                    await self._ask(template, child, job, media, spool)
                    return _read(spool, size, collect)
                except (Permanent, Transient) as error:
                    child.reason = error.reason
                    raise
                finally:
                    child.seconds = time.monotonic() - started
                    self._dismiss(template, child)

    async def _ask(self, template: _Template, child: _Child, job: Job, media: int, spool: int) -> None:
        """Hand over the job and wait for the answer."""
        try:
            socket.send_fds(child.link, [msgspec.json.encode(job)], [media, spool])
            async with asyncio.timeout(self._budget.wall_seconds):
                answer = await asyncio.get_running_loop().sock_recv(child.link, 1)
        except TimeoutError:
            wall = self._budget.wall_seconds
            raise Permanent(Stage.DECODE, Reason.DECODER_TIMEOUT, f"not decoded within {wall:g} s") from None
        except OSError:
            answer = b""
        child.answered = answer == DONE
        if not child.answered:
            raise await self._cause_of_death(template, child)

    async def _cause_of_death(self, template: _Template, child: _Child) -> Permanent | Transient:
        """Why a child closed its socket without an answer."""
        try:
            async with asyncio.timeout(_OBITUARY_SECONDS):
                end = await asyncio.shield(child.ended)
        except (TimeoutError, asyncio.CancelledError):
            if _cancelled():
                raise
            if not template.alive:
                return Transient(Stage.DECODE, Reason.DECODER_CRASHED, "the decoder pool went away")
            return Permanent(Stage.DECODE, Reason.DECODER_CRASHED, "the child closed its socket and lived on")
        if end.status == 255 and not end.signal:
            return Transient(Stage.DECODE, Reason.DECODER_CRASHED, "no child could be started")
        out_of_time = end.signal == signal.SIGKILL and end.cpu_seconds >= self._budget.cpu_seconds
        if end.signal == signal.SIGXCPU or out_of_time:
            detail = f"not decoded within {self._budget.cpu_seconds} s of CPU"
            return Permanent(Stage.DECODE, Reason.DECODER_TIMEOUT, detail)
        how = f"killed by {signal.Signals(end.signal).name}" if end.signal else f"ended with status {end.status}"
        return Permanent(Stage.DECODE, Reason.DECODER_CRASHED, f"the decoder was {how}")

    # Children

    def _take(self, template: _Template) -> _Child:
        """A waiting child."""
        child = template.spares.popleft() if template.spares else self._order(template)
        child.used = True
        return child

    def _order(self, template: _Template) -> _Child:
        """Have a child forked. Its job can be sent at once: it waits in the socket."""
        self._serial += 1
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        child = _Child(self._serial, ours, asyncio.get_running_loop().create_future())
        template.children[child.serial] = child
        with theirs, suppress(OSError):  # a template that is gone is noticed on its control socket
            socket.send_fds(template.control, [msgspec.json.encode(Order("fork", child.serial))], [theirs.fileno()])
        return child

    def _dismiss(self, template: _Template, child: _Child) -> None:
        """Whatever became of the item, its child ends here and now. Another is forked, while its frames are judged."""
        child.link.close()
        child.dismissed = True
        self._report(child)
        if not template.alive:
            return
        if not child.ended.done():
            with suppress(OSError):
                template.control.send(msgspec.json.encode(Order("kill", child.serial)))
        template.spares.append(self._order(template))

    # The template

    async def _ready(self) -> _Template:
        """The running template; a new one when there is none or it died."""
        if self._closed:
            raise Transient(Stage.DECODE, Reason.DECODER_CRASHED, "the decoder pool is closed")
        async with self._starting:
            if self._template is None or not self._template.alive:
                self._template = await self._launch()
            return self._template

    async def _launch(self) -> _Template:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        with theirs:
            process = await asyncio.to_thread(_spawn, theirs.fileno(), self._budget, self._decoder)
        try:
            async with asyncio.timeout(_START_SECONDS):
                message = await loop.sock_recv(ours, 4096)
            ready = _MESSAGE.decode(message)
            if not isinstance(ready, Ready):
                raise ValueError("unexpected greeting")
        except (TimeoutError, msgspec.DecodeError, ValueError, OSError) as error:
            ours.close()
            await asyncio.to_thread(_end, process)
            raise Transient(Stage.DECODE, Reason.DECODER_CRASHED, f"the decoders do not start: {error}") from error
        except asyncio.CancelledError:
            ours.close()
            process.kill()
            raise
        if ready.sandbox.missing:
            log.warning("decode_sandbox_weak", missing=ready.sandbox.missing)
        template = _Template(process, ours, ready.sandbox)
        loop.add_reader(ours, self._hear, template)
        template.spares.extend(self._order(template) for _ in range(self._workers + 1))
        return template

    def _hear(self, template: _Template) -> None:
        """News of children that ended; nothing at all when the template is gone."""
        try:
            message = template.control.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        if not message:
            log.error("decode_template_died")
            self._bury(template)
            return
        end = _MESSAGE.decode(message)
        child = template.children.pop(end.serial, None) if isinstance(end, Ended) else None
        if child is None or not isinstance(end, Ended):
            return
        if not child.ended.done():
            child.ended.set_result(end)
        self._report(child)
        if child in template.spares:
            template.spares.remove(child)
            child.link.close()

    def _report(self, child: _Child) -> None:
        """Tell the observer once an item is over and its child is gone, whichever comes last."""
        if child.dismissed and child.ended.done() and not child.ended.cancelled():
            end = child.ended.result()
            died_of = 0 if child.answered else end.signal
            self._observe(DecodeUsage(child.reason, died_of, child.seconds, end.cpu_seconds, end.peak_rss))

    def _bury(self, template: _Template) -> None:
        """Let go of a template. Its children are killed by the kernel as it dies."""
        if not template.alive:
            return
        template.alive = False
        asyncio.get_running_loop().remove_reader(template.control)
        template.control.close()
        for child in template.children.values():
            child.ended.cancel()
            if not child.used:
                child.link.close()
        template.children.clear()
        template.spares.clear()


def _read(spool: int, size: int, collect: Callable[[int, int], T | Refusal]) -> T:
    """What a child left. Raises Permanent where it cannot be read, or says why nothing could be decoded."""
    try:
        reply = collect(spool, size)
    except (OSError, ValueError) as error:
        detail = f"the child's report cannot be read: {error}"
        raise Permanent(Stage.DECODE, Reason.DECODER_CRASHED, detail) from error
    if isinstance(reply, Refusal):
        raise Permanent(Stage.DECODE, reply.reason, reply.detail)
    return reply


def _cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _spawn(control: int, budget: DecodeBudget, decoder: str) -> subprocess.Popen[bytes]:
    """Start the template in a session of its own (a Ctrl-C is for the worker), with a bare environment."""
    keep = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "LANG") if name in os.environ}
    return subprocess.Popen(
        [
            sys.executable,
            "-P",
            "-m",
            "pipeline.decode.zygote",
            str(control),
            msgspec.json.encode(budget).decode(),
            decoder,
        ],
        pass_fds=(control,),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        env={**keep, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(str(Path(path).absolute()) for path in sys.path)},
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """The template ends when its socket closes; it is killed if it does not."""
    try:
        process.wait(_OBITUARY_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """A read-only descriptor of a regular file: never a device, a pipe or a link to one."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise Permanent(Stage.DECODE, Reason.MEDIA_UNSUPPORTED, f"cannot be opened: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise Permanent(Stage.DECODE, Reason.MEDIA_UNSUPPORTED, "not a regular file")
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _spool(size: int) -> Iterator[int]:
    fd = handover.create(size)
    try:
        yield fd
    finally:
        os.close(fd)
