"""A stand-in decoder that does what hostile media might bring a real one to do. The file's text names the deed."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline.decode import handover
from pipeline.decode.handover import Look, Outbox, Report, WindowAt
from pipeline.decode.port import DecodeBudget, Span
from pipeline.decode.zygote import MAX_SPANS
from pipeline.errors import Permanent, Reason, Stage
from pipeline.events.values import MediaFacts, MediaKind, Sampling

MANY = MAX_SPANS + 1
"""One span too many."""

_kept: list[Any] = []


def decode(fd: int, budget: DecodeBudget, out: Outbox) -> Report:
    """Do the deed; say in the detail of a refusal what came of it."""
    deed, _, argument = os.pread(fd, 4096, 0).decode().partition(" ")
    if deed == "behave":
        return _report()
    if deed == "scribble":  # keeps a writable mapping of the frames while it claims to be done
        _kept.append(mmap.mmap(out._fd, handover.capacity(budget)))
        return _report()
    try:
        result = _DEEDS[deed](argument)
    except OSError as error:
        result = error.strerror
    raise Permanent(Stage.DECODE, Reason.MEDIA_UNSUPPORTED, f"{deed}: {result}")


def closer(fd: int, spans: Sequence[Span], budget: DecodeBudget, out: Outbox) -> Look:
    """Do the deed instead of looking closely."""
    deed, _, argument = os.pread(fd, 4096, 0).decode().partition(" ")
    match deed:
        case "behave":
            return Look(tuple(WindowAt(note="stand-in") for _ in spans))
        case "few":
            return Look(())
        case "report":
            return _report()  # type: ignore[return-value]
    return Look((WindowAt(note=str(_DEEDS[deed](argument))),))


def _report() -> Report:
    return Report(MediaFacts(kind=MediaKind.IMAGE, container=str(os.getpid())), Sampling(decoder="stand-in"))


def _hang(_: str) -> None:
    while True:
        pass


def _eat(_: str) -> None:
    while True:
        _kept.append(bytearray(50_000_000))


def _open(path: str) -> str:
    os.close(os.open(path, os.O_RDONLY))
    return "opened"


def _write(path: str) -> str:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT))
    return "written"


def _connect(port: str) -> str:
    with socket.socket() as link:
        link.connect(("127.0.0.1", int(port)))
    return "connected"


def _run(_: str) -> str:
    subprocess.run([sys.executable, "-c", ""], check=True)
    return "ran"


def _fork(_: str) -> str:
    if os.fork() == 0:
        os._exit(0)
    return "forked"


def _kill(pid: str) -> str:
    os.kill(int(pid), signal.SIGKILL)
    return "killed"


def _thread(_: str) -> str:
    thread = threading.Thread(target=lambda: _kept.append(1))
    thread.start()
    thread.join()
    return "threaded"


def _execute_memory(_: str) -> str:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()
    return "mapped"


_DEEDS: dict[str, Callable[[str], str | None]] = {
    "hang": _hang,
    "sleep": lambda _: time.sleep(1000),
    "eat": _eat,
    "crash": lambda _: ctypes.string_at(0) and None,
    "abort": lambda _: os.abort(),
    "exit": lambda code: os._exit(int(code)),
    "raise": lambda _: str({}["missing"]),
    "open": _open,
    "write": _write,
    "list": lambda path: str(list(Path(path).iterdir())),
    "connect": _connect,
    "run": _run,
    "fork": _fork,
    "kill": _kill,
    "thread": _thread,
    "execute": _execute_memory,
    "descriptors": lambda _: ",".join(str(fd) for fd in range(64) if _is_open(fd)),
}


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
