"""Deliver records so that none is lost: many at once, acknowledged strictly in order.

Faust acknowledges an event when an agent raises, is cancelled, or takes the next one, and its commit skips a gap of
one offset. So agents read with `noack()`, and a record is acknowledged here: when its result is written or it is
buried, and every earlier record of its partition is acknowledged too. What dies half way is delivered again.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, Protocol, TypeVar

from pipeline import log
from pipeline.errors import Permanent, Reason, Stage, Transient
from pipeline.retry import RetryPolicy, retry

T = TypeVar("T")

logger = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Record:
    """One Kafka record, as received. `timestamp`: seconds since the epoch, as the broker has it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    timestamp: float


Handle = Callable[[Record], Awaitable[None]]
"""Do the work and write its result. Returning means: it may be acknowledged."""

Bury = Callable[[Record, Permanent, int], Awaitable[None]]
"""Write the dead letter (record, cause, attempts). Raising means: the process has to end and try again."""


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """How many at once, and for how long (seconds, retries included). No deadline: transient trouble is waited out."""

    concurrency: int
    deadline: float | None
    retry: RetryPolicy = field(default_factory=RetryPolicy)


class Watch(Protocol):
    """Observes deliveries; metrics and probes hang here, so that the flow has no counting lines."""

    def started(self, record: Record) -> None:
        """A record was taken up."""

    def retried(self, record: Record, error: Transient) -> None:
        """An attempt failed and will be repeated."""

    def ended(self, record: Record, result: str, seconds: float, failure: Permanent | None) -> None:
        """A record left: `ok`, `dead_letter` or `cancelled`."""


class _Slot(Generic[T]):
    __slots__ = ("done", "item", "lane")

    def __init__(self, lane: deque[_Slot[T]], item: T) -> None:
        self.lane = lane
        self.item = item
        self.done = False


class Lanes(Generic[T]):
    """Order in, order out: a lane per partition, from which only a finished head leaves."""

    def __init__(self, ack: Callable[[T], None]) -> None:
        self._ack = ack
        self._lanes: dict[Hashable, deque[_Slot[T]]] = {}

    def enter(self, partition: Hashable, item: T) -> _Slot[T]:
        """Take a place behind all that entered this partition's lane before."""
        lane = self._lanes.setdefault(partition, deque())
        slot = _Slot(lane, item)
        lane.append(slot)
        return slot

    def finish(self, slot: _Slot[T]) -> None:
        """Mark as done; acknowledge every finished item at the head of its lane, in order."""
        slot.done = True
        while slot.lane and slot.lane[0].done:
            self._ack(slot.lane.popleft().item)


class Drain:
    """Lets a stopping worker finish what is under way and take up nothing new."""

    def __init__(self) -> None:
        self.closing = False
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def idle(self) -> bool:
        """Nothing is under way."""
        return self._idle.is_set()

    def enter(self) -> None:
        """One more is under way."""
        self._under_way += 1
        self._idle.clear()

    def leave(self) -> None:
        """One fewer is under way."""
        self._under_way -= 1
        if not self._under_way:
            self._idle.set()

    async def close(self, within: float) -> bool:
        """Take up nothing new and wait; True when nothing is under way any more."""
        self.closing = True
        try:
            async with asyncio.timeout(within):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True


async def deliver(
    arrivals: AsyncIterator[tuple[Record, T]],
    *,
    handle: Handle,
    bury: Bury,
    ack: Callable[[T], None],
    policy: DeliveryPolicy,
    drain: Drain,
    watch: Watch,
) -> None:
    """Hand every arriving record to `handle`, at most `policy.concurrency` at once, and acknowledge in order.

    Records of one key are handled one after the other, so that of two answers about one upload the first stands.

    Backpressure: no record is taken up while all places are busy. When a dead letter cannot be written, everything
    under way is cancelled and the error leaves: the process must end, and what was not acknowledged comes again.
    """
    lanes: Lanes[T] = Lanes(ack)
    places = asyncio.Semaphore(policy.concurrency)
    last_of: _LastOf = {}

    async def one(record: Record, slot: _Slot[T], before: asyncio.Task[None] | None) -> None:
        try:
            if before is not None:
                await asyncio.wait((before,))
            await _settle(record, handle, bury, policy, watch)
            lanes.finish(slot)
        finally:
            drain.leave()
            places.release()

    async with asyncio.TaskGroup() as under_way:
        async for record, item in arrivals:
            await places.acquire()
            if drain.closing:
                # Not acknowledged, so it comes again after the restart.
                places.release()
                continue
            drain.enter()
            slot = lanes.enter((record.topic, record.partition), item)
            if record.key is None:
                under_way.create_task(one(record, slot, None))
                continue
            key = (record.topic, record.key)
            task = under_way.create_task(one(record, slot, last_of.get(key)))
            last_of[key] = task
            task.add_done_callback(partial(_forget, last_of, key))


_LastOf = dict[tuple[str, bytes], asyncio.Task[None]]
"""(topic, key) → the record of this key that was taken up last, while it is under way."""


def _forget(last_of: _LastOf, key: tuple[str, bytes], task: asyncio.Task[None]) -> None:
    if last_of.get(key) is task:
        del last_of[key]


async def _settle(record: Record, handle: Handle, bury: Bury, policy: DeliveryPolicy, watch: Watch) -> None:
    started = time.monotonic()
    attempts = 0
    trouble: Transient | None = None
    failure: Permanent | None = None
    bound = asyncio.timeout(policy.deadline)

    async def attempt() -> None:
        nonlocal attempts
        attempts += 1
        await handle(record)

    def again(error: Transient, _wait: float) -> None:
        nonlocal trouble
        trouble = error
        watch.retried(record, error)

    watch.started(record)
    result = "cancelled"
    try:
        try:
            async with bound:
                within = float("inf") if policy.deadline is None else policy.deadline
                await retry(attempt, within=within, policy=policy.retry, on_retry=again)
        except Permanent as error:
            failure = error
        except Transient as error:
            failure = Permanent(error.stage, error.reason, f"{error.detail} (gave up after {attempts} attempts)")
        except Exception as error:
            if not bound.expired():
                logger.exception("a handler failed unforeseen", offset=record.offset, topic=record.topic)
                failure = Permanent(Stage.RECEIVE, Reason.INTERNAL, f"{type(error).__name__}: {error}")
            elif trouble is not None:
                failure = Permanent(trouble.stage, trouble.reason, f"{trouble.detail} (until the deadline)")
            else:
                failure = Permanent(Stage.RECEIVE, Reason.DEADLINE, f"not done within {policy.deadline:g} s")
        if failure is not None:
            await bury(record, failure, attempts)
        result = "ok" if failure is None else "dead_letter"
    finally:
        watch.ended(record, result, time.monotonic() - started, failure)
