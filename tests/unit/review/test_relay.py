"""The outbox's way to Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from pipeline.errors import Reason, Stage, Transient
from pipeline.events import SubjectRequested
from pipeline.events.values import RequestKind
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.turns import Turns
from pipeline.ledger.work import Work
from pipeline.review.relay import TURN, Turn, headers_of, relay, relay_once
from pipeline.route import route
from tests.records import NOON, decided, reviewed


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Work]:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    ledger.migrate()
    yield Work(ledger)
    ledger.close()


@pytest.fixture
def turns(work: Work) -> Turns:
    return Turns(work._ledger)


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not done():
            await asyncio.sleep(0.02)


class DiesWithoutMarking:
    """The work of a relay whose process is gone before it could write down what it published."""

    def __init__(self, work: Work) -> None:
        self.due = work.due

    def sent(self, ids: list[UUID], now: datetime) -> None:
        """Never happens."""


class Broker:
    """Takes records, or fails from the one with this number on."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.taken: list[bytes] = []
        self.fails_at = fails_at

    async def send(self, topic: str, key: bytes, value: bytes, headers: tuple[tuple[str, bytes], ...]) -> None:
        """Take one."""
        if self.fails_at is not None and len(self.taken) >= self.fails_at:
            raise Transient(Stage.SETTLE, Reason.BROKER_UNAVAILABLE, "away")
        self.taken.append(value)


async def test_what_was_published_is_not_again(work: Work) -> None:
    """In order, once; what is not due yet waits."""
    for i in range(3):
        work.post("t", "k", b"%d" % i, NOON + timedelta(seconds=i))
    broker = Broker()
    assert await relay_once(work, broker.send, NOON + timedelta(seconds=1)) == 2
    assert await relay_once(work, broker.send, NOON + timedelta(seconds=1)) == 0
    assert await relay_once(work, broker.send, NOON + timedelta(seconds=9)) == 1
    assert broker.taken == [b"0", b"1", b"2"]


async def test_trouble_in_the_middle_loses_nothing(work: Work) -> None:
    """What went through is marked; the rest goes later."""
    for i in range(4):
        work.post("t", "k", b"%d" % i, NOON + timedelta(seconds=i))
    later = NOON + timedelta(minutes=1)
    broker = Broker(fails_at=2)
    with pytest.raises(Transient):
        await relay_once(work, broker.send, later)
    broker.fails_at = None
    assert await relay_once(work, broker.send, later) == 2
    assert broker.taken == [b"0", b"1", b"2", b"3"]


async def test_it_goes_on_until_told_to_stop(work: Work, turns: Turns) -> None:
    """A broker that is away for a while is waited for."""
    work.post("t", "k", b"0", NOON)
    broker, stop = Broker(fails_at=0), asyncio.Event()
    running = asyncio.create_task(relay(work, Turn(turns), broker.send, lambda: NOON, stop))
    await asyncio.sleep(0.05)
    broker.fails_at = None
    await until(lambda: bool(broker.taken))
    stop.set()
    await running
    assert broker.taken == [b"0"]


async def test_two_relays_publish_every_record_once_and_in_order(work: Work, turns: Turns) -> None:
    """One has the turn; when it stops, the other goes on at once."""
    for i in range(250):
        work.post("t", f"k{i % 7}", b"%d" % i, NOON + timedelta(seconds=i))
    later, broker = NOON + timedelta(hours=1), Broker()
    stops = asyncio.Event(), asyncio.Event()
    running = [
        asyncio.create_task(relay(work, Turn(turns), broker.send, lambda: later, stop, stand_by=0.01)) for stop in stops
    ]
    await until(lambda: len(broker.taken) == 250)
    stops[0].set()
    await running[0]
    for i in range(250, 260):
        work.post("t", f"k{i % 7}", b"%d" % i, NOON + timedelta(seconds=i))
    await until(lambda: len(broker.taken) == 260)
    stops[1].set()
    await running[1]
    assert broker.taken == [b"%d" % i for i in range(260)]


async def test_one_that_dies_is_followed_when_its_turn_is_over(work: Work, turns: Turns) -> None:
    """Nothing is lost and the order of each key is kept; what it published and did not mark is published again, the
    same, and nothing else is."""
    for i in range(30):
        work.post("t", f"k{i % 3}", b"%d" % i, NOON + timedelta(seconds=i))
    later = NOON + timedelta(hours=1)
    first, second, broker = Turn(turns), Turn(turns), Broker(fails_at=12)
    assert await first.take(later)
    with pytest.raises(Transient):
        await relay_once(DiesWithoutMarking(work), broker.send, later)  # type: ignore[arg-type]
    broker.fails_at = None
    assert not await second.take(later)
    assert not await second.take(later + TURN / 2)
    assert await second.take(later + TURN)
    assert await relay_once(work, broker.send, later + TURN, second.lasts) == 30
    assert broker.taken == [b"%d" % i for i in (*range(12), *range(30))]
    assert not await Turn(turns).take(later + TURN)


async def test_nothing_is_begun_when_the_turn_is_about_to_end(work: Work) -> None:
    """A relay that was stopped for a while does not go on with what it had: another may have published it."""
    for i in range(5):
        work.post("t", "k", b"%d" % i, NOON)
    broker = Broker()
    assert await relay_once(work, broker.send, NOON, lambda: len(broker.taken) < 2) == 2
    assert len(broker.taken) == 2
    assert await relay_once(work, broker.send, NOON) == 3


def test_a_record_goes_out_with_the_headers_of_any_other() -> None:
    """CloudEvents' and a trace's, all made of the record alone: what is published again is the same."""
    task = route(decided("m1", review="faces")).task
    assert task is not None
    review = reviewed(task)
    asked = SubjectRequested(request_id="r1", kind=RequestKind.APPEAL, received_at=NOON, media_id="m1")
    for event, name, about in (
        (review, b"org.unmask.review.decided.v1", b"m1"),
        (asked, b"org.unmask.subject.requested.v1", b"r1"),
    ):
        found = headers_of(event)
        assert found == headers_of(event)
        said = dict(found)
        assert (said["ce_type"], said["ce_subject"], said["ce_source"]) == (name, about, b"/unmask/console")
        assert len(said["traceparent"]) == 55
    assert headers_of(None) == ()
