"""The parts that run and break: workers that come and go, brokers, Triton. Every signal goes to one pid."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace

from pipeline.stack.kafka import Kafka
from pipeline.stack.process import StackEvent
from pipeline.stack.triton import Triton
from pipeline.stack.up import StackOptions, Worker
from tests.chaos.schedule import Fault, Kind

_PATIENCE_SECONDS = 60.0
"""How long a fault waits for somebody whom it can hit."""


class Fleet:
    """Workers, each a supervised process that is started again when it ends."""

    def __init__(self, options: StackOptions, environment: dict[str, str], tell: Callable[[str], None]) -> None:
        self._options = replace(options, worker_first_attempts=1_000)  # one may join while the broker is away
        self._environment = environment
        self._tell = tell
        self._lock = threading.Lock()
        self._workers: dict[str, Worker] = {}
        self._hit: set[str] = set()
        self._number = 0
        self.by_themselves: list[str] = []
        """Deaths that nobody here asked for. Harmless to the promise, and worth knowing."""
        self.overdue: list[str] = []
        """Workers that did not end in time after SIGTERM, and were killed for it."""

    def join(self) -> Worker:
        """Add a worker; it is not waited for."""
        with self._lock:
            self._number += 1
            worker = Worker(self._number, self._environment, self._options, self._on_event)
            self._workers[worker.name] = worker
        worker.begin()
        return worker

    def leave(self, pick: float) -> str:
        """SIGTERM to one worker, which is not started again. Returns when it is gone."""
        worker = self._choose(pick)
        with self._lock:
            del self._workers[worker.name]
        self._stop(worker)
        return worker.name

    def kill(self, pick: float) -> str:
        """SIGKILL to one worker; it is started again."""
        worker = self._choose(pick)
        _signal(worker.pid, signal.SIGKILL)
        return worker.name

    def terminate(self, pick: float) -> str:
        """SIGTERM to one worker; it is started again when it has ended."""
        worker = self._choose(pick)
        pid = worker.pid
        _signal(pid, signal.SIGTERM)
        until = time.monotonic() + self._options.worker_grace_s
        while worker.pid == pid:
            if time.monotonic() > until:
                self.overdue.append(worker.name)
                _signal(pid, signal.SIGKILL)
                break
            time.sleep(0.1)
        return worker.name

    def freeze(self, pick: float, seconds: float) -> str:
        """SIGSTOP, and SIGCONT later: meanwhile its partitions may go to others, of which it knows nothing."""
        worker = self._choose(pick)
        pid = worker.pid
        _signal(pid, signal.SIGSTOP)
        time.sleep(seconds)
        if worker.pid == pid:
            _signal(pid, signal.SIGCONT)
        with self._lock:
            self._hit.discard(worker.name)
        return worker.name

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

    def _choose(self, pick: float) -> Worker:
        """One that is ready and was not hit since; when there is none for a while, one that is only starting."""
        began = time.monotonic()
        while (waited := time.monotonic() - began) < _PATIENCE_SECONDS:
            with self._lock:
                able = [
                    worker
                    for worker in self._workers.values()
                    if worker.pid
                    and worker.name not in self._hit
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


@dataclass(slots=True)
class Saboteur:
    """Carries out a schedule. Faults that last do so in the background, so that they overlap with what follows."""

    fleet: Fleet
    kafka: Kafka
    triton: Triton
    tell: Callable[[str], None]
    done: list[Fault] = field(default_factory=list)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(16))
    _under_way: list[Future[None]] = field(default_factory=list)
    _one_broker: threading.Lock = field(default_factory=threading.Lock)

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
        match fault.kind:
            case Kind.WORKER_KILLED:
                whom = self.fleet.kill(fault.pick)
            case Kind.WORKER_TERMINATED:
                whom = self.fleet.terminate(fault.pick)
            case Kind.WORKER_FROZEN:
                whom = f"{self.fleet.freeze(fault.pick, fault.lasts)} for {fault.lasts:.0f} s"
            case Kind.PEER_JOINS:
                whom = self.fleet.join().name
            case Kind.PEER_LEAVES:
                whom = self.fleet.leave(fault.pick)
            case Kind.BROKER_KILLED:
                whom = self._restart_broker(fault)
            case Kind.TRITON_KILLED:
                whom = self._hit_triton(lambda: self.triton.pid)
            case Kind.STUB_KILLED:
                whom = self._hit_triton(lambda: _nth(self.triton.stubs, fault.pick))
        self.done.append(fault)
        self.tell(f"{fault.kind.value}: {whom}")

    def _restart_broker(self, fault: Fault) -> str:
        with self._one_broker:
            node = self.kafka.nodes[int(fault.pick * len(self.kafka.nodes)) % len(self.kafka.nodes)]
            node.kill()
            time.sleep(fault.lasts)
            node.start()
        return f"node {node.node_id}, down for {fault.lasts:.0f} s and its start"

    def _hit_triton(self, whom: Callable[[], int | None]) -> str:
        until = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < until:
            if self.triton.is_ready and (pid := whom()) is not None:
                _signal(pid, signal.SIGKILL)
                return str(pid)
            time.sleep(0.1)
        raise TimeoutError(f"Triton was not ready for {_PATIENCE_SECONDS:g} s")


def _nth(pids: frozenset[int], pick: float) -> int | None:
    ordered = sorted(pids)
    return ordered[int(pick * len(ordered)) % len(ordered)] if ordered else None


def _signal(pid: int | None, number: signal.Signals) -> None:
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
