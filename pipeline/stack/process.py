"""One supervised child process.

A thread per child starts it, waits for it and starts it again, and outlives it: the kernel ends a leashed child when
the thread that forked it ends (see leash.py). So whatever happens to this program, even SIGKILL, its children go too.
Only processes that were started here are ever signalled, and always before they are reaped, while their pid is theirs.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pipeline.errors import ConfigError, UnmaskError
from pipeline.stack import leash

TICK_S = 0.1  # how soon a death, a stop or readiness is noticed
STEADY_S = 30.0  # a child that lived this long starts again without back-off
LONGEST_BACKOFF_S = 10.0

_ERROR = re.compile(r"(?i)\b(error|fatal|exception)\b|Z E \d+ ")  # the last is Triton's


class PartMissing(ConfigError):
    """Something that the stack needs is not on this machine; the message says what to install."""


class StartFailed(UnmaskError):
    """A child ended, or was not ready in time; the message ends with the tail of its log."""


@dataclass(frozen=True)
class StackEvent:
    """What happened to a part of the stack, for whoever shows it."""

    part: str
    kind: Literal["fetching", "starting", "ready", "died", "stopped", "created", "differs", "failed"]
    detail: str = ""


OnEvent = Callable[[StackEvent], None]


def ignore(event: StackEvent) -> None:
    """The OnEvent of a caller that shows nothing."""


@dataclass(frozen=True)
class Launch:
    """How to run one child.

    `ready` and `ailing` are given its pid. `ready` is asked until it says yes; `ailing` is asked from then on and
    returns why the child must be replaced, or nothing. `cleanup` runs after every end of the child, however it came.
    """

    name: str
    argv: tuple[str, ...]
    log: Path
    ready: Callable[[int], bool]
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    cwd: Path | None = None
    ready_within_s: float = 60.0
    ailing: Callable[[int], str | None] | None = None
    ailing_every_s: float = 1.0
    cleanup: Callable[[], None] | None = None
    grace_s: float = 10.0
    first_attempts: int = 1  # how often the very first start is tried before it counts as failed
    restart: bool = True


class Child:
    """A child that runs from `start()` to `stop()`, with a new process whenever one dies."""

    def __init__(self, launch: Launch, on_event: OnEvent = ignore) -> None:
        self._launch = launch
        self._on_event = on_event
        self._thread: threading.Thread | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._patience_s = launch.grace_s
        self._up: Future[None] = Future()
        self._is_ready = threading.Event()
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        """The pid of the process of now; None between two of them and after the end."""
        return self._process.pid if self._process else None

    @property
    def is_ready(self) -> bool:
        return self._is_ready.is_set()

    def start(self) -> None:
        """Start and wait until ready. Raises StartFailed; nothing is left running then."""
        self.begin()
        self.wait_ready()

    def begin(self) -> None:
        """Start without waiting, for children that become ready only together."""
        if self._thread is not None:
            raise RuntimeError(f"{self._launch.name} is running already")
        self._launch.log.parent.mkdir(parents=True, exist_ok=True)
        self._launch.log.write_bytes(b"")
        self._stopping, self._up, self._patience_s = threading.Event(), Future(), self._launch.grace_s
        self._thread = threading.Thread(target=self._supervise, name=f"supervise {self._launch.name}", daemon=True)
        self._thread.start()

    def wait_ready(self) -> None:
        """Wait for the first readiness after `begin()`. Raises StartFailed; nothing is left running then."""
        try:
            self._up.result()
        except BaseException:  # also Ctrl-C: nobody has been handed this child yet, so nobody else can end it
            self.kill()
            raise

    def stop(self) -> None:
        """SIGTERM, and SIGKILL after the grace period. Returns when the process and its group are gone."""
        self._end(self._launch.grace_s)

    def kill(self) -> None:
        """SIGKILL, now, and no restart: what a power cut does."""
        self._end(0.0)

    def _end(self, patience_s: float) -> None:
        if self._thread is None:
            return
        self._patience_s = patience_s
        self._stopping.set()
        self._thread.join()
        self._thread = None

    def _supervise(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            self._on_event(StackEvent(self._launch.name, "starting"))
            born = time.monotonic()
            try:
                cause = self._live()
            except BaseException as error:  # a thread that dies in silence would leave start() waiting
                if self._up.done():
                    raise
                self._up.set_exception(error)
                return
            if self._stopping.is_set():
                break
            failures = 1 if time.monotonic() - born > STEADY_S else failures + 1
            self._on_event(StackEvent(self._launch.name, "died", cause))
            if not self._up.done() and failures >= self._launch.first_attempts:
                self._up.set_exception(StartFailed(f"{self._launch.name} {cause}\n{self._tail()}"))
                return
            if self._up.done() and not self._launch.restart:
                return
            self.restarts += 1
            self._stopping.wait(backoff_s(failures))
        if not self._up.done():
            self._up.set_exception(StartFailed(f"{self._launch.name} was stopped before it was ready"))
        self._on_event(StackEvent(self._launch.name, "stopped"))

    def _live(self) -> str:
        """One life of the child, from spawn to the last process of its group; returns what ended it."""
        process = self._spawn()
        self._process = process
        try:
            return self._until_ready(process.pid) or self._until_over(process.pid)
        finally:
            self._is_ready.clear()
            self._reap(process)
            self._process = None
            if self._launch.cleanup:
                self._launch.cleanup()

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self._launch.log.open("ab") as log:
            return subprocess.Popen(
                (sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), *self._launch.argv),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(self._launch.env),
                cwd=self._launch.cwd,
                start_new_session=True,
            )

    def _until_ready(self, pid: int) -> str | None:
        deadline = time.monotonic() + self._launch.ready_within_s
        while not self._stopping.wait(TICK_S):
            if ended := _how_it_ended(pid):
                return f"{ended} before it was ready"
            if self._launch.ready(pid):
                self._is_ready.set()
                if not self._up.done():
                    self._up.set_result(None)
                self._on_event(StackEvent(self._launch.name, "ready"))
                return None
            if time.monotonic() > deadline:
                return f"was not ready within {self._launch.ready_within_s:g} s"
        return "was stopped"

    def _until_over(self, pid: int) -> str:
        examine_at = time.monotonic() + self._launch.ailing_every_s
        while not self._stopping.wait(TICK_S):
            if ended := _how_it_ended(pid):
                return ended
            if self._launch.ailing and time.monotonic() >= examine_at:
                if ailment := self._launch.ailing(pid):
                    return ailment
                examine_at = time.monotonic() + self._launch.ailing_every_s
        return "was stopped"

    def _reap(self, process: subprocess.Popen[bytes]) -> None:
        """End the child, then whatever is left of its group, then free its pid."""
        patience_s = self._patience_s if self._stopping.is_set() else 0.0  # a sick child is not asked
        if patience_s and not _how_it_ended(process.pid):
            process.terminate()
            deadline = time.monotonic() + patience_s
            while time.monotonic() < deadline and not _how_it_ended(process.pid):
                time.sleep(TICK_S / 2)
        with suppress(ProcessLookupError, PermissionError):  # PermissionError: macOS, when only a zombie is left
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def _tail(self) -> str:
        return f"{telling_lines(self._launch.log.read_text(errors='replace'))}\n(log: {self._launch.log})"


def telling_lines(log: str, last: int = 10, errors: int = 10) -> str:
    """The last lines of a log, after the errors before them: servers go on to log their shutdown at length.

    Of a long line, which in a JSON log is a traceback, both ends are shown.
    """
    lines = [line if len(line) <= 800 else f"{line[:200]} … {line[-600:]}" for line in log.splitlines()]
    named = [line for line in lines[:-last] if _ERROR.search(line)][-errors:]
    return "\n".join((*named, *lines[-last:]))


def backoff_s(failures: int) -> float:
    """Seconds to wait before the next start, after so many failures in a row (at least 1)."""
    return float(min(LONGEST_BACKOFF_S, 0.2 * 2 ** min(failures - 1, 10)))


def _how_it_ended(pid: int) -> str | None:
    """How our child ended, or None while it runs. Leaves it a zombie, so that its pid and group stay ours."""
    state = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if state is None:
        return None
    if state.si_code == os.CLD_EXITED:
        return f"exited with status {state.si_status}"
    return f"was ended by {signal.Signals(state.si_status).name}"
