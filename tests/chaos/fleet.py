"""The parts that run and break: workers that come and go, brokers, Triton, the database, the console, and the network
between them. Every signal goes to one pid."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from errno import ENOSPC
from pathlib import Path

from pipeline.stack.kafka import Kafka
from pipeline.stack.process import PartMissing, StackEvent, StartFailed
from pipeline.stack.triton import Triton
from pipeline.stack.up import ConsoleProcess, StackOptions, Worker
from tests.chaos.proxy import Link, Trouble
from tests.chaos.recovery import Happened
from tests.chaos.schedule import Fault, Kind
from tests.postgres import Postgres

_PATIENCE_SECONDS = 60.0
"""How long a fault waits for somebody whom it can hit."""

READY_SECONDS = 300.0
"""How long it is waited for a part to be ready again. On a busy machine a broker needs minutes."""

_STARTS = 3
"""How often a part is started that is not ready in the time that its own supervisor gives it."""

SPOOL_BYTES = 32 * 1024**2
"""Of each worker's spool."""

_MOUNT = f'mkdir -p "$0" && mount -t tmpfs -o size={SPOOL_BYTES} unmask-spool "$0" && exec "$@"'

_LEAST_SKEW, _MOST_SKEW = 120.0, 600.0
"""Seconds by which a wrong clock is wrong, before or after."""


def with_own_spool(spool: Path, command: tuple[str, ...]) -> tuple[str, ...]:
    """The command in a mount namespace, where `spool` is a small disk of its own, which goes when it ends."""
    return ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _MOUNT, str(spool), *command)


def wrong_clock(pick: float) -> dict[str, str]:
    """The environment of a process whose clock is minutes fast (`pick` from 0.5 on) or slow. What measures time, the
    monotonic clock, stays right. Raises PartMissing."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        raise PartMissing("libfaketime is needed to skew a clock: install faketime (Debian)")
    share = abs(2 * pick - 1)
    seconds = (_LEAST_SKEW + share * (_MOST_SKEW - _LEAST_SKEW)) * (1 if pick >= 0.5 else -1)
    return {"LD_PRELOAD": str(found[0]), "FAKETIME": f"{seconds:+.0f}s", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


@dataclass(frozen=True, slots=True)
class Hit:
    """Whom a fault hit, and when (monotonic): it may have waited until there was somebody."""

    worker: Worker
    began: float


class Fleet:
    """Workers, each a supervised process that is started again when it ends."""

    def __init__(self, options: StackOptions, environment: dict[str, str], tell: Callable[[str], None]) -> None:
        self._options = replace(options, worker_first_attempts=1_000, worker_ready_within_s=READY_SECONDS)
        self._environment = environment
        self._tell = tell
        self._lock = threading.Lock()
        self._workers: dict[str, Worker] = {}
        self._hit: set[str] = set()
        self._guests: set[str] = set()
        self._number = 0
        self.by_themselves: list[str] = []
        """Deaths that nobody here asked for. Harmless to the promise, and worth knowing."""
        self.overdue: list[str] = []
        """Workers that did not end in time after SIGTERM, and were killed for it."""

    @property
    def addresses(self) -> list[str]:
        """Where the workers of now tell of themselves."""
        with self._lock:
            return sorted(worker.http_address for worker in self._workers.values())

    def join(self, **changes: str) -> Worker:
        """Add a worker; it is not waited for. `changes`: to its environment. One with changes is a guest: only who let
        it in lets it go."""
        with self._lock:
            self._number += 1
            worker = Worker(self._number, {**self._environment, **changes}, self._options, self._on_event)
            self._workers[worker.name] = worker
            if changes:
                self._guests.add(worker.name)
        worker.begin()
        return worker

    def leave(self, pick: float) -> Hit:
        """SIGTERM to one worker, which is not started again. Returns when it is gone."""
        worker = self._choose(pick, guests=False)
        began = time.monotonic()
        self.let_go(worker)
        return Hit(worker, began)

    def let_go(self, worker: Worker) -> None:
        """SIGTERM to this one, which is not started again. Returns when it is gone."""
        with self._lock:
            self._hit.add(worker.name)
            if self._workers.pop(worker.name, None) is None:
                return
        self._stop(worker)

    def kill(self, pick: float) -> Hit:
        """SIGKILL to one worker; it is started again."""
        worker = self._choose(pick)
        began = time.monotonic()
        _signal(worker.pid, signal.SIGKILL)
        return Hit(worker, began)

    def terminate(self, pick: float) -> Hit:
        """SIGTERM to one worker; it is started again when it has ended."""
        worker = self._choose(pick)
        pid, began = worker.pid, time.monotonic()
        _signal(pid, signal.SIGTERM)
        until = began + self._options.worker_grace_s
        while worker.pid == pid:
            if time.monotonic() > until:
                self.overdue.append(worker.name)
                _signal(pid, signal.SIGKILL)
                break
            time.sleep(0.1)
        return Hit(worker, began)

    def freeze(self, pick: float, seconds: float) -> Hit:
        """SIGSTOP, and SIGCONT later: meanwhile its partitions may go to others, of which it knows nothing."""
        worker = self._choose(pick)
        pid, began = worker.pid, time.monotonic()
        _signal(pid, signal.SIGSTOP)
        time.sleep(seconds)
        if worker.pid == pid:
            _signal(pid, signal.SIGCONT)
        self._spare(worker)
        return Hit(worker, began)

    def fill_spool(self, pick: float, seconds: float) -> Hit:
        """Leave one worker no room in its spool for a while."""
        worker = self._choose(pick)
        filler = Path(f"/proc/{worker.pid}/root{self._options.home / 'spool' / 'filler'}")
        began = time.monotonic()
        until = began + seconds
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile, and its spool with it
            while time.monotonic() < until:  # what is being worked on gives room back: it is taken too
                _fill(filler)
                time.sleep(0.2)
            filler.unlink()
        self._spare(worker)
        return Hit(worker, began)

    def wait_ready(self, worker: Worker) -> None:
        """Until it is ready, or gone."""
        _until(lambda: worker.is_ready or not self._has(worker), f"{worker.name} is ready again")

    def _has(self, worker: Worker) -> bool:
        with self._lock:
            return worker.name in self._workers

    def _spare(self, worker: Worker) -> None:
        with self._lock:
            self._hit.discard(worker.name)

    def stop(self) -> None:
        """SIGTERM to all, side by side."""
        with self._lock:
            workers = tuple(self._workers.values())
            self._hit |= self._workers.keys()
        with ThreadPoolExecutor(max(1, len(workers))) as pool:
            list(pool.map(self._stop, workers))

    def _stop(self, worker: Worker) -> None:
        began = time.monotonic()
        worker.stop()
        if time.monotonic() - began >= self._options.worker_grace_s:
            self.overdue.append(worker.name)

    def _choose(self, pick: float, *, guests: bool = True) -> Worker:
        """One that is ready and was not hit since; when there is none for a while, one that is only starting."""
        began = time.monotonic()
        while (waited := time.monotonic() - began) < _PATIENCE_SECONDS:
            with self._lock:
                able = [
                    worker
                    for worker in self._workers.values()
                    if worker.pid
                    and worker.name not in self._hit
                    and (guests or worker.name not in self._guests)
                    and (worker.is_ready or waited > _PATIENCE_SECONDS / 4)
                ]
                if able:
                    chosen = able[int(pick * len(able)) % len(able)]
                    self._hit.add(chosen.name)
                    return chosen
            time.sleep(0.1)
        raise TimeoutError(f"no worker ran for {_PATIENCE_SECONDS:g} s")

    def _on_event(self, event: StackEvent) -> None:
        with self._lock:
            if event.kind in ("ready", "starting"):
                self._hit.discard(event.part)
            elif event.kind == "died" and event.part not in self._hit:
                self.by_themselves.append(f"{event.part} {event.detail}")
        self._tell(f"{event.part}: {event.kind} {event.detail}")


@dataclass(frozen=True, slots=True)
class Links:
    """Where the parts meet."""

    kafka: tuple[Link, ...]
    triton: Link
    database: Link | None
    origin: Link


@dataclass(slots=True)
class Saboteur:
    """Carries out a schedule. Faults that last do so in the background, so that they overlap with what follows.

    `database`, `console`: None where the schedule has nothing for them. `poison`: publishes some files that kill their
    decoder.
    """

    fleet: Fleet
    kafka: Kafka
    triton: Triton
    links: Links
    database: Postgres | None
    console: ConsoleProcess | None
    poison: Callable[[], str]
    tell: Callable[[str], None]
    done: list[Happened] = field(default_factory=list)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(32))
    _under_way: list[Future[None]] = field(default_factory=list)
    _one_broker: threading.Lock = field(default_factory=threading.Lock)
    _one_database: threading.Lock = field(default_factory=threading.Lock)
    _one_console: threading.Lock = field(default_factory=threading.Lock)

    def carry_out(self, faults: tuple[Fault, ...], started: float, stop: threading.Event) -> None:
        """Each at its time, counted from `started` (monotonic). Returns when everything is begun."""
        for fault in faults:
            if stop.wait(max(0.0, started + fault.at - time.monotonic())):
                return
            self._under_way.append(self._pool.submit(self._apply, fault))

    def finish(self) -> None:
        """Wait until everything is undone. Raises what went wrong."""
        for fault in self._under_way:
            fault.result()
        self._pool.shutdown()

    def _apply(self, fault: Fault) -> None:
        self.tell(f"begins: {fault.kind.value}")
        happened = self._strike(fault)
        self.done.append(happened)
        ready = "" if happened.ready is None else f", ready after {happened.ready - happened.ended:.1f} s"
        self.tell(f"{fault.kind.value}: {happened.whom}, {happened.ended - happened.began:.1f} s{ready}")

    def _strike(self, fault: Fault) -> Happened:
        links = self.links
        match fault.kind:
            case Kind.WORKER_KILLED | Kind.WORKER_TERMINATED:
                return self._signal_worker(fault)
            case Kind.WORKER_FROZEN:
                return _over(fault, lambda: self.fleet.freeze(fault.pick, fault.lasts))
            case Kind.WORKER_SKEWED:
                return self._skew(fault)
            case Kind.PEER_JOINS:
                began = time.monotonic()
                worker = self.fleet.join()
                self.fleet.wait_ready(worker)
                return Happened(fault, worker.name, began, began, time.monotonic())
            case Kind.PEER_LEAVES:
                return _over(fault, lambda: self.fleet.leave(fault.pick))
            case Kind.SPOOL_FULL:
                return _over(fault, lambda: self.fleet.fill_spool(fault.pick, fault.lasts))
            case Kind.POISON:
                began = time.monotonic()
                return Happened(fault, self.poison(), began, time.monotonic())
            case Kind.BROKER_KILLED | Kind.BROKER_STOPPED:
                node = self.kafka.nodes[int(fault.pick * len(self.kafka.nodes)) % len(self.kafka.nodes)]
                with self._one_broker:
                    return _away(fault, f"node {node.node_id}", node.kill, node.stop, node.start)
            case Kind.TRITON_KILLED:
                return self._hit_triton(fault, lambda: self.triton.pid, signal.SIGKILL)
            case Kind.TRITON_STOPPED:
                return self._hit_triton(fault, lambda: self.triton.pid, signal.SIGTERM)
            case Kind.STUB_KILLED:
                return self._hit_triton(fault, lambda: _nth(self.triton.stubs, fault.pick), signal.SIGKILL)
            case Kind.DATABASE_KILLED | Kind.DATABASE_STOPPED:
                assert self.database is not None
                with self._one_database:
                    return _away(fault, "", self.database.kill, self.database.stop, self.database.start)
            case Kind.CONSOLE_KILLED | Kind.CONSOLE_STOPPED:
                assert self.console is not None
                with self._one_console:
                    return _away(fault, "", self.console.kill, self.console.stop, self.console.start)
            case Kind.KAFKA_SLOW:
                return _troubled(fault, links.kafka, Trouble.SLOW)
            case Kind.KAFKA_SILENT:
                return _troubled(fault, (links.kafka[int(fault.pick * len(links.kafka)) % len(links.kafka)],), _SILENT)
            case Kind.TRITON_SLOW:
                return _troubled(fault, (links.triton,), Trouble.SLOW)
            case Kind.TRITON_SILENT:
                return _troubled(fault, (links.triton,), _SILENT)
            case Kind.DATABASE_SLOW | Kind.DATABASE_CUT | Kind.DATABASE_SILENT:
                assert links.database is not None
                return _troubled(fault, (links.database,), _OF_DATABASE[fault.kind])
            case Kind.ORIGIN_SLOW:
                return _troubled(fault, (links.origin,), Trouble.SLOW)
            case Kind.ORIGIN_CUT:
                return _troubled(fault, (links.origin,), Trouble.CUT)

    def _signal_worker(self, fault: Fault) -> Happened:
        """The fault ends with the process: of one that drains, later than it began."""
        act = self.fleet.kill if fault.kind is Kind.WORKER_KILLED else self.fleet.terminate
        hit = act(fault.pick)
        ended = time.monotonic()
        _until(lambda: not hit.worker.is_ready, f"{hit.worker.name} ended")
        self.fleet.wait_ready(hit.worker)
        return Happened(fault, hit.worker.name, hit.began, ended, time.monotonic())

    def _skew(self, fault: Fault) -> Happened:
        began = time.monotonic()
        clock = wrong_clock(fault.pick)
        worker = self.fleet.join(**clock)
        self.fleet.wait_ready(worker)
        time.sleep(fault.lasts)
        self.fleet.let_go(worker)
        return Happened(fault, f"{worker.name}, {clock['FAKETIME']}", began, time.monotonic())

    def _hit_triton(self, fault: Fault, whom: Callable[[], int | None], number: signal.Signals) -> Happened:
        found: list[tuple[int | None, int]] = []

        def can_be_hit() -> bool:
            server, pid = self.triton.pid, whom()
            if self.triton.is_ready and pid is not None:
                found.append((server, pid))
            return bool(found)

        _until(can_be_hit, "Triton was ready")
        ((server, pid),) = found
        began = time.monotonic()
        _signal(pid, number)
        _until(lambda: self.triton.is_ready and self.triton.pid != server, "Triton is ready again")
        return Happened(fault, str(pid), began, began, time.monotonic())


_SILENT = Trouble.SILENT
_OF_DATABASE = {
    Kind.DATABASE_SLOW: Trouble.SLOW,
    Kind.DATABASE_CUT: Trouble.CUT,
    Kind.DATABASE_SILENT: Trouble.SILENT,
}
_KILLS = (Kind.BROKER_KILLED, Kind.DATABASE_KILLED, Kind.CONSOLE_KILLED)


def _over(fault: Fault, act: Callable[[], Hit]) -> Happened:
    """What is over when it returns."""
    hit = act()
    return Happened(fault, hit.worker.name, hit.began, time.monotonic())


def _away(
    fault: Fault, whom: str, kill: Callable[[], None], stop: Callable[[], None], start: Callable[[], None]
) -> Happened:
    """Ended in one of two ways, away for a while, started. The fault ends when it is started again."""
    began = time.monotonic()
    (kill if fault.kind in _KILLS else stop)()
    time.sleep(fault.lasts)
    ended = time.monotonic()
    for left in reversed(range(_STARTS)):
        try:
            start()
            break
        except StartFailed:
            if not left:
                raise
    return Happened(fault, whom, began, ended, time.monotonic())


def _troubled(fault: Fault, links: tuple[Link, ...], what: Trouble) -> Happened:
    with ExitStack() as over:
        began = time.monotonic()
        for link in links:
            over.enter_context(link.trouble(what))
        time.sleep(fault.lasts)
    return Happened(fault, ", ".join(link.address for link in links), began, time.monotonic())


def _fill(path: Path) -> None:
    """Write until the disk is full."""
    block = bytes(1024**2)
    with path.open("ab", buffering=0) as file:
        try:
            while file.write(block):
                pass
        except OSError as error:
            if error.errno != ENOSPC:
                raise


def _until(holds: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + READY_SECONDS
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError(f"waited {READY_SECONDS:g} s in vain until {what}")
        time.sleep(0.1)


def _nth(pids: frozenset[int], pick: float) -> int | None:
    ordered = sorted(pids)
    return ordered[int(pick * len(ordered)) % len(ordered)] if ordered else None


def _signal(pid: int | None, number: signal.Signals) -> None:
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
