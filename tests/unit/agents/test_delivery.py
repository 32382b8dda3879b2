"""Ordered delivery, without a broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.agents.delivery import DeliveryPolicy, Drain, Lanes, Record, deliver
from pipeline.errors import Permanent, Reason, Stage, Transient
from pipeline.retry import RetryPolicy

FAST = RetryPolicy(first=0.001, longest=0.001)


def record(offset: int, partition: int = 0) -> Record:
    return Record("t", partition, offset, None, b"", (), 0.0)


class Seen:
    """Remembers what was acknowledged, buried and observed."""

    def __init__(self) -> None:
        self.acked: list[Record] = []
        self.buried: list[tuple[Record, Permanent, int]] = []
        self.results: list[str] = []
        self.retries = 0

    def ack(self, item: Record) -> None:
        self.acked.append(item)

    async def bury(self, item: Record, failure: Permanent, attempts: int) -> None:
        self.buried.append((item, failure, attempts))

    def started(self, item: Record) -> None: ...

    def retried(self, item: Record, error: Transient) -> None:
        self.retries += 1

    def ended(self, item: Record, result: str, seconds: float, failure: Permanent | None) -> None:
        self.results.append(result)


async def arrive(*records: Record) -> AsyncIterator[tuple[Record, Record]]:
    for item in records:
        yield item, item


async def run(seen: Seen, records: list[Record], handle, *, concurrency=4, deadline=5.0, drain=None, bury=None) -> None:
    await deliver(
        arrive(*records),
        handle=handle,
        bury=bury or seen.bury,
        ack=seen.ack,
        policy=DeliveryPolicy(concurrency, deadline, FAST),
        drain=drain or Drain(),
        watch=seen,
    )


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.randoms())
def test_lanes_acknowledge_in_order_whatever_the_order_of_finishing(partitions, random):
    """Items of a partition are acknowledged in the order of entering, and only behind a finished head."""
    acked: list[tuple[int, int]] = []
    lanes: Lanes[tuple[int, int]] = Lanes(acked.append)
    slots = [(partition, n, lanes.enter(partition, (partition, n))) for n, partition in enumerate(partitions)]
    random.shuffle(slots)
    finished: set[tuple[int, int]] = set()
    for partition, n, slot in slots:
        finished.add((partition, n))
        lanes.finish(slot)
        for p in set(partitions):
            mine = [k for k, q in enumerate(partitions) if q == p]
            prefix = []
            for k in mine:
                if (p, k) not in finished:
                    break
                prefix.append((p, k))
            assert [item for item in acked if item[0] == p] == prefix
    assert len(acked) == len(partitions)


async def test_a_slow_head_holds_back_the_acknowledgement_of_what_is_done():
    """While offset 0 is being handled, nothing behind it is acknowledged; afterwards all are, in order."""
    seen, release = Seen(), asyncio.Event()
    others = asyncio.Event()
    done = 0

    async def handle(item: Record) -> None:
        nonlocal done
        if item.offset == 0:
            await release.wait()
            return
        done += 1
        if done == 3:
            others.set()

    task = asyncio.create_task(run(seen, [record(n) for n in range(4)], handle))
    await others.wait()
    await asyncio.sleep(0)
    assert seen.acked == []
    release.set()
    await task
    assert [item.offset for item in seen.acked] == [0, 1, 2, 3]


async def test_at_most_so_many_are_under_way():
    """Backpressure: no more handlers run at once than the policy allows."""
    seen, now, peak = Seen(), 0, 0

    async def handle(item: Record) -> None:
        nonlocal now, peak
        now += 1
        peak = max(peak, now)
        await asyncio.sleep(0)
        now -= 1

    await run(seen, [record(n) for n in range(50)], handle, concurrency=3)
    assert peak == 3
    assert len(seen.acked) == 50


async def test_a_permanent_failure_is_buried_and_then_acknowledged():
    """The dead letter is written before the record is acknowledged, and the next record goes on."""
    seen = Seen()

    async def handle(item: Record) -> None:
        if item.offset == 1:
            raise Permanent(Stage.DECODE, Reason.MEDIA_CORRUPT, "broken")

    await run(seen, [record(n) for n in range(3)], handle)
    assert [(item.offset, failure.reason) for item, failure, _ in seen.buried] == [(1, Reason.MEDIA_CORRUPT)]
    assert [item.offset for item in seen.acked] == [0, 1, 2]
    assert seen.results.count("dead_letter") == 1


async def test_transient_trouble_is_tried_again():
    """A dependency that comes back costs attempts, not the upload."""
    seen, left = Seen(), 3

    async def handle(item: Record) -> None:
        nonlocal left
        if left:
            left -= 1
            raise Transient(Stage.DETECT, Reason.INFERENCE_UNAVAILABLE, "down")

    await run(seen, [record(0)], handle)
    assert seen.retries == 3
    assert seen.buried == []
    assert seen.results == ["ok"]


async def test_transient_trouble_that_outlasts_the_deadline_is_buried_with_its_cause():
    """The dead letter says what was down, not merely that time ran out."""
    seen = Seen()

    async def handle(item: Record) -> None:
        raise Transient(Stage.FETCH, Reason.SOURCE_UNAVAILABLE, "503")

    await run(seen, [record(0)], handle, deadline=0.05)
    [(_, failure, attempts)] = seen.buried
    assert failure.reason is Reason.SOURCE_UNAVAILABLE
    assert attempts > 1


async def test_a_handler_that_hangs_is_cut_off_at_the_deadline():
    """A hang is buried as `deadline`, so that it cannot hold back its partition for ever."""
    seen = Seen()

    async def handle(item: Record) -> None:
        await asyncio.Event().wait()

    await run(seen, [record(0)], handle, deadline=0.05)
    assert [failure.reason for _, failure, _ in seen.buried] == [Reason.DEADLINE]
    assert len(seen.acked) == 1


async def test_an_unforeseen_error_is_buried_as_internal():
    """A bug in a handler costs one item, which can be replayed after the fix."""
    seen = Seen()

    async def handle(item: Record) -> None:
        raise TimeoutError("a library's own")

    await run(seen, [record(0)], handle)
    [(_, failure, _)] = seen.buried
    assert failure.reason is Reason.INTERNAL
    assert "a library's own" in failure.detail


async def test_when_even_the_dead_letter_fails_nothing_is_acknowledged_and_the_error_leaves():
    """The process must end: what was not acknowledged is delivered again."""
    seen = Seen()

    async def handle(item: Record) -> None:
        if item.offset == 0:
            raise Permanent(Stage.DECODE, Reason.MEDIA_CORRUPT, "broken")
        await asyncio.Event().wait()

    async def bury(item: Record, failure: Permanent, attempts: int) -> None:
        raise Transient(Stage.RECEIVE, Reason.BROKER_UNAVAILABLE, "no broker")

    with pytest.raises(ExceptionGroup) as caught:
        await run(seen, [record(n) for n in range(3)], handle, bury=bury)
    assert caught.group_contains(Transient)
    assert seen.acked == []
    assert "cancelled" in seen.results


async def test_a_draining_worker_finishes_what_is_under_way_and_takes_up_nothing_new():
    """Records that arrive after the drain began stay unacknowledged, so that they come again."""
    seen, drain, release = Seen(), Drain(), asyncio.Event()
    second = asyncio.Event()

    async def arrivals() -> AsyncIterator[tuple[Record, Record]]:
        yield record(0), record(0)
        await second.wait()
        yield record(1), record(1)

    async def handle(item: Record) -> None:
        await release.wait()

    task = asyncio.create_task(
        deliver(
            arrivals(),
            handle=handle,
            bury=seen.bury,
            ack=seen.ack,
            policy=DeliveryPolicy(2, 5.0, FAST),
            drain=drain,
            watch=seen,
        )
    )
    while drain.idle:
        await asyncio.sleep(0)
    closing = asyncio.create_task(drain.close(5.0))
    await asyncio.sleep(0)
    second.set()
    release.set()
    assert await closing
    await task
    assert [item.offset for item in seen.acked] == [0]


async def test_a_drain_that_takes_too_long_says_so():
    """`close` answers False when work is left over after the time given."""
    drain = Drain()
    drain.enter()
    assert not await drain.close(0.01)


async def test_records_of_one_key_are_handled_one_after_the_other():
    """The first of two answers about one upload stands, however slow its handler is; other keys do not wait for it."""
    seen = Seen()
    order: list[str] = []
    gate = asyncio.Event()

    async def handle(item: Record) -> None:
        if item.offset == 0:
            await gate.wait()
        order.append(f"{item.offset}{(item.key or b'-').decode()}")
        if item.offset == 2:
            gate.set()

    keys = (b"a", b"a", b"b", None, b"a")
    records = [Record("t", 0, n, key, b"", (), 0.0) for n, key in enumerate(keys)]
    await run(seen, records, handle, concurrency=5)
    assert [each for each in order if "a" in each] == ["0a", "1a", "4a"]
    assert order.index("2b") < order.index("0a")
    assert seen.acked == records


async def test_a_record_goes_on_when_the_one_before_it_was_buried():
    """A key is not blocked by a record that failed."""
    seen = Seen()

    async def handle(item: Record) -> None:
        if item.offset == 0:
            raise Permanent(Stage.SETTLE, Reason.MALFORMED_EVENT, "no")

    records = [Record("t", 0, n, b"k", b"", (), 0.0) for n in range(2)]
    await run(seen, records, handle)
    assert [buried.offset for buried, _, _ in seen.buried] == [0]
    assert seen.results == ["dead_letter", "ok"]
