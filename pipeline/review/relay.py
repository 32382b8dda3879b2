"""The outbox's way to Kafka: what people decided is published once their time to take it back is over.

At least once: a record that was published and not yet marked is published again, with the same id and the same bytes;
`settle` takes the first. Any number of relays may run: one of them has the turn and publishes, in order, and the others
stand by. One that dies leaves its turn to them within `TURN`, and perhaps a batch that is published twice.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from uuid import uuid4

from pipeline import log
from pipeline.errors import Transient
from pipeline.events import ReviewDecided, SubjectRequested
from pipeline.events.cloudevents import headers, traceparent_of
from pipeline.events.codec import decode
from pipeline.ledger.turns import Turns
from pipeline.ledger.work import Work
from pipeline.pause import pause
from pipeline.review.gather import Cases
from pipeline.topology import REVIEW_DECIDED, SUBJECT_REQUESTED
from pipeline.trace import OFF, Tracing

logger = log.get(__name__)

Send = Callable[[str, bytes, bytes, tuple[tuple[str, bytes], ...]], Awaitable[None]]
"""(topic, key, value, headers) → returns when every in-sync replica has the record. Raises Transient."""

SOURCE = "/unmask/console"
_EVENTS: dict[str, type[ReviewDecided] | type[SubjectRequested]] = {
    REVIEW_DECIDED: ReviewDecided,
    SUBJECT_REQUESTED: SubjectRequested,
}
_NAME = "relay"
TURN = timedelta(seconds=30)
DELIVERY_SECONDS = 10.0
"""Longer than this `Send` must not take: nothing is begun that might end after the turn."""
_PAUSE, _LONGEST = 0.5, 10.0
_FORGET_SECONDS = 3600.0
"""Cases are read anew so often: those that were decided meanwhile are not kept in memory for ever."""
_LATE = timedelta(minutes=10)
_EVERY_TASK_SECONDS = 300.0
"""Tasks that were recorded later than `_LATE` after they were requested are found when every open task is looked at,
so often: of many that is heavy, and people wait for the same database."""


class Turn:
    """One relay's turn at the outbox."""

    def __init__(self, turns: Turns) -> None:
        self._turns, self._holder = turns, uuid4()
        self._until = 0.0

    async def take(self, now: datetime) -> bool:
        """Have it, or keep it; whether this relay may publish. Raises Transient."""
        if time.monotonic() < self._until - TURN.total_seconds() / 2:
            return True
        began = time.monotonic()
        mine = await asyncio.to_thread(self._turns.take, _NAME, self._holder, now, now + TURN)
        self._until = began + TURN.total_seconds() if mine else 0.0
        return mine

    def lasts(self) -> bool:
        """Whether one more record can be published in it."""
        return time.monotonic() + DELIVERY_SECONDS < self._until

    async def give_back(self) -> None:
        """Leave it to others at once."""
        if self._until:
            self._until = 0.0
            await asyncio.to_thread(self._turns.give_back, _NAME, self._holder)


async def relay_once(
    work: Work, send: Send, now: datetime, lasts: Callable[[], bool] = lambda: True, traced: Tracing = OFF
) -> int:
    """Publish what is due, as long as the turn lasts; how many. What was published before trouble came is marked."""
    due = await asyncio.to_thread(work.due, now)
    events = [decode(value, _EVENTS[topic]) if topic in _EVENTS else None for _, topic, _, value in due]
    answered = [event.task_id for event in events if isinstance(event, ReviewDecided)]
    asked = await asyncio.to_thread(work.traces, answered) if answered else {}
    done = []
    try:
        for (outbox_id, topic, key, value), event in zip(due, events, strict=True):
            if not lasts():
                break
            parent = asked.get(event.task_id) if isinstance(event, ReviewDecided) else None
            pairs = headers_of(event, parent)
            with traced.joined("relay", parent), traced.sending(topic, traceparent_of(pairs)):
                await send(topic, key.encode(), value, pairs)
            done.append(outbox_id)
    finally:
        if done:
            await asyncio.to_thread(work.sent, done, now)
    return len(done)


def headers_of(event: object, asked: str | None = None) -> tuple[tuple[str, bytes], ...]:
    """The CloudEvents headers of a record of the outbox. All of them follow from what is on record, its time too, so
    that one that is published again is the same to the last byte. A decision of a person belongs to the trace of the
    record that `asked` for it; where that is not known it begins one."""
    match event:
        case ReviewDecided():
            return headers(event, source=SOURCE, time=event.decided_at, traceparent=asked)
        case SubjectRequested():
            return headers(event, source=SOURCE, time=event.received_at)
    return ()


def gather_once(work: Work, cases: Cases, since: datetime | None = None) -> int:
    """Put new tasks, of those that were requested `since`, into cases; how many. Blocking."""
    waiting = work.ungathered(since)
    work.gather([(task.task_id, cases.of(task)) for task in waiting])
    return len(waiting)


async def gather(work: Work, clock: Callable[[], datetime], stop: asyncio.Event) -> None:
    """Make cases of near copies until told to stop. A task that belongs to none yet is a case of its own."""
    cases: Cases | None = None
    made = all_seen = -math.inf
    while not stop.is_set():
        try:
            if cases is None or time.monotonic() - made > _FORGET_SECONDS:
                cases, made = await asyncio.to_thread(_known, work), time.monotonic()
            began = time.monotonic()
            every = began - all_seen > _EVERY_TASK_SECONDS
            if await asyncio.to_thread(gather_once, work, cases, None if every else clock() - _LATE):
                continue
            if every:
                all_seen = began
        except Transient as trouble:
            logger.warning("near copies wait to be gathered", detail=trouble.detail)
        await pause(stop, _LONGEST if cases is None else _PAUSE * 4)


def _known(work: Work) -> Cases:
    cases = Cases()
    for task, case_id in work.gathered():
        cases.known(task, case_id)
    return cases


async def relay(
    work: Work,
    turn: Turn,
    send: Send,
    clock: Callable[[], datetime],
    stop: asyncio.Event,
    moved: Callable[[], None] = lambda: None,
    stand_by: float = 2.0,
    traced: Tracing = OFF,
) -> None:
    """Publish in one's turn until told to stop. Trouble is waited out: nothing in the outbox is lost.

    `moved`: told once a round, for whoever asks whether this is still alive. `stand_by`: seconds between two looks
    whether the turn is free.
    """
    wait = _PAUSE
    while not stop.is_set():
        moved()
        try:
            if not await turn.take(clock()):
                await pause(stop, stand_by)
                continue
            count = await relay_once(work, send, clock(), turn.lasts, traced)
            wait = _PAUSE
            if count:
                logger.info("published reviews", count=count)
                continue
        except Transient as trouble:
            logger.warning("reviews wait in the outbox", detail=trouble.detail)
            wait = min(_LONGEST, wait * 2)
        await pause(stop, wait)
    try:
        await turn.give_back()
    except Transient as trouble:
        logger.warning("the turn is not given back", detail=trouble.detail)
