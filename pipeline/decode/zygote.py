"""The process that decoder children are forked from, and what a child does.

It imports every decoder once and then only waits, single-threaded and empty-handed: it never opens a media file. Each
child is forked from it in a few milliseconds, is enclosed before it sees anything, decodes one file and ends. One
upload can therefore leave nothing behind for the next, and CPU seconds and peak memory are those of one item.

It is started by the pool as `python -m pipeline.decode.zygote FD BUDGET MODULE`; MODULE has the `decode` and the
`closer` to run. On the socket FD the pool sends `Order`s; to `fork` it adds the child's end of a socket pair. The
zygote sends `Ready` once and `Ended` for each child. When the pool's process dies, the socket closes, the zygote ends,
and the kernel kills its children.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, NoReturn, Protocol, cast

import msgspec
from msgspec import Meta

from pipeline.decode import sandbox
from pipeline.decode.handover import Look, Outbox, Refusal, Reply, Report, capacity, closer_capacity
from pipeline.decode.port import DecodeBudget, Span
from pipeline.errors import Permanent, Reason

DONE = b"."
"""All that a child says on its socket: the report lies in the memory file."""


MAX_SPANS = 200
_JOB_BYTES = 64 * 1024


class Job(msgspec.Struct, frozen=True):
    """What a child is told with its two descriptors. `spans`: to look at closely; None: to decode the file."""

    spans: Annotated[tuple[Span, ...], Meta(max_length=MAX_SPANS)] | None = None


class Order(msgspec.Struct, frozen=True):
    """What the pool asks for."""

    verb: Literal["fork", "kill"]
    serial: int


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The zygote is warm; which protections hold."""

    sandbox: sandbox.SandboxReport


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """A child is gone. `signal`: what killed it, 0 when it ended itself. `peak_rss` in bytes."""

    serial: int
    signal: int
    status: int
    cpu_seconds: float
    peak_rss: int


class Decoder(Protocol):
    """What a child runs: a descriptor in, frames into the outbox, a report out."""

    def decode(self, fd: int, budget: DecodeBudget, out: Outbox) -> Report:
        """Decode the file."""
        ...

    def closer(self, fd: int, spans: Sequence[Span], budget: DecodeBudget, out: Outbox) -> Look:
        """Look closely at stretches of it."""
        ...


_JOB = msgspec.json.Decoder(Job)
_ORDER = msgspec.json.Decoder(Order)


def main() -> None:
    """Serve orders until the pool goes away."""
    control = socket.socket(fileno=int(sys.argv[1]))
    budget = msgspec.json.decode(sys.argv[2], type=DecodeBudget)
    # Children open no files: they are given what the files say.
    budget = replace(budget, trust_anchors=_said(budget.trust_anchors), identity_anchors=_said(budget.identity_anchors))
    decoder = cast("Decoder", importlib.import_module(sys.argv[3]))
    isolated = sandbox.isolate()
    gc.collect()
    gc.freeze()
    control.send(msgspec.json.encode(Ready(_try_out(budget, isolated))))
    with suppress(ConnectionError):  # the pool went away in the middle of an obituary
        _serve(control, budget, decoder)


def _said(path: str | None) -> str | None:
    return Path(path).read_text(encoding="ascii") if path else None


def _serve(control: socket.socket, budget: DecodeBudget, decoder: Decoder) -> None:
    children: dict[int, tuple[int, int]] = {}  # pidfd → serial, pid
    poll = select.poll()
    poll.register(control, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd != control.fileno():
                poll.unregister(fd)
                serial, pid = children.pop(fd)
                os.close(fd)
                control.send(msgspec.json.encode(_reap(serial, pid)))
                continue
            message, handed, _, _ = socket.recv_fds(control, 1024, 1)
            if not message:
                return
            order = _ORDER.decode(message)
            if order.verb == "kill":
                for serial, pid in children.values():
                    if serial == order.serial:
                        os.kill(pid, signal.SIGKILL)
                continue
            forked = _fork(handed[0], budget, decoder, (control.fileno(), *children))
            os.close(handed[0])
            if forked is None:  # no memory or no process left: the pool sees the child's socket close
                control.send(msgspec.json.encode(Ended(order.serial, 0, 255, 0.0, 0)))
                continue
            pidfd = os.pidfd_open(forked)
            children[pidfd] = (order.serial, forked)
            poll.register(pidfd, select.POLLIN)


def _fork(fd: int, budget: DecodeBudget, decoder: Decoder, foreign: tuple[int, ...]) -> int | None:
    try:
        pid = os.fork()
    except OSError:
        return None
    if pid == 0:
        _child(fd, budget, decoder, foreign)
    return pid


def _reap(serial: int, pid: int) -> Ended:
    _, status, usage = os.wait4(pid, 0)
    return Ended(
        serial,
        os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
        os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss * 1024,
    )


def _child(fd: int, budget: DecodeBudget, decoder: Decoder, foreign: tuple[int, ...]) -> NoReturn:
    """Be enclosed, take one job, do it, end. Never returns into the zygote's code."""
    status = 70
    try:
        sandbox.die_with_parent()
        for other in foreign:
            os.close(other)
        null = os.open(os.devnull, os.O_RDWR)  # what the libraries print is the uploader's text
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        os.close(null)
        link = socket.socket(fileno=fd)
        sandbox.limit(budget.memory_bytes, budget.cpu_seconds, max(capacity(budget), closer_capacity(budget)))
        sandbox.enclose()
        message, handed, _, _ = socket.recv_fds(link, _JOB_BYTES, 2)
        if message:
            _work(handed[0], handed[1], _JOB.decode(message), budget, decoder)
            link.send(DONE)
        status = 0
    finally:
        os._exit(status)


def _work(media: int, spool: int, job: Job, budget: DecodeBudget, decoder: Decoder) -> None:
    reply: Reply
    out = Outbox(spool, os.fstat(spool).st_size)
    try:
        if job.spans is None:
            reply = decoder.decode(media, budget, out)
        else:
            reply = decoder.closer(media, job.spans, budget, out)
    except Permanent as error:
        reply = Refusal(error.reason, error.detail)
    except MemoryError as error:
        reply = Refusal(Reason.MEDIA_BOMB, f"needs more memory than {budget.memory_bytes} bytes: {error}")
    except Exception as error:  # noqa: BLE001 - a decoder bug must end as a typed cause of one item
        reply = Refusal(Reason.DECODER_CRASHED, f"{type(error).__name__}: {error}"[:500])
    out.file(reply)


def _try_out(budget: DecodeBudget, isolated: bool) -> sandbox.SandboxReport:
    """Fork a child that tries what must not work."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            sandbox.limit(budget.memory_bytes, budget.cpu_seconds, capacity(budget))
            os.write(write, msgspec.json.encode(sandbox.probe(isolated)))
        finally:
            os._exit(0)
    os.close(write)
    report = msgspec.json.decode(os.read(read, 4096), type=sandbox.SandboxReport)
    os.close(read)
    os.waitpid(pid, 0)
    return report


if __name__ == "__main__":
    main()
