"""The outbox's way to Kafka: what people decided is published once their time to take it back is over.

At least once: a record that was published and not yet marked is published again, with the same id and the same bytes;
`settle` takes the first. Any number of relays may run: they publish the same records.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime

from pipeline import log
from pipeline.errors import Transient
from pipeline.events import ReviewDecided, SubjectRequested
from pipeline.events.cloudevents import headers
from pipeline.events.codec import decode
from pipeline.ledger.work import Work
from pipeline.pause import pause
from pipeline.review.gather import Cases
from pipeline.topology import REVIEW_DECIDED, SUBJECT_REQUESTED

logger = log.get(__name__)

Send = Callable[[str, bytes, bytes, tuple[tuple[str, bytes], ...]], Awaitable[None]]
"""(topic, key, value, headers) → returns when every in-sync replica has the record. Raises Transient."""

SOURCE = "/unmask/console"
_EVENTS: dict[str, type[ReviewDecided] | type[SubjectRequested]] = {
    REVIEW_DECIDED: ReviewDecided,
    SUBJECT_REQUESTED: SubjectRequested,
}
_PAUSE, _LONGEST = 0.5, 10.0
_FORGET_SECONDS = 3600.0
"""Cases are read anew so often: those that were decided meanwhile are not kept in memory for ever."""


async def relay_once(work: Work, send: Send, now: datetime) -> int:
    """Publish what is due; how many. What was published before trouble came is marked."""
    due = await asyncio.to_thread(work.due, now)
    done = []
    try:
        for outbox_id, topic, key, value in due:
            await send(topic, key.encode(), value, headers_of(topic, value))
            done.append(outbox_id)
    finally:
        if done:
            await asyncio.to_thread(work.sent, done, now)
    return len(done)


def headers_of(topic: str, value: bytes) -> tuple[tuple[str, bytes], ...]:
    """The CloudEvents headers of a record of the outbox. All of them follow from the record, its time too, so that one
    that is published again is the same to the last byte. A decision of a person begins a trace."""
    event = decode(value, _EVENTS[topic]) if topic in _EVENTS else None
    match event:
        case ReviewDecided():
            return headers(event, source=SOURCE, time=event.decided_at)
        case SubjectRequested():
            return headers(event, source=SOURCE, time=event.received_at)
    return ()


def gather_once(work: Work, cases: Cases) -> int:
    """Put new tasks into cases; how many. Blocking."""
    waiting = work.ungathered()
    work.gather([(task.task_id, cases.of(task)) for task in waiting])
    return len(waiting)


async def gather(work: Work, stop: asyncio.Event) -> None:
    """Make cases of near copies until told to stop. A task that belongs to none yet is a case of its own."""
    cases: Cases | None = None
    made = 0.0
    while not stop.is_set():
        try:
            if cases is None or time.monotonic() - made > _FORGET_SECONDS:
                cases, made = await asyncio.to_thread(_known, work), time.monotonic()
            if await asyncio.to_thread(gather_once, work, cases):
                continue
        except Transient as trouble:
            logger.warning("near copies wait to be gathered", detail=trouble.detail)
        await pause(stop, _LONGEST if cases is None else _PAUSE * 4)


def _known(work: Work) -> Cases:
    cases = Cases()
    for task, case_id in work.gathered():
        cases.known(task, case_id)
    return cases


async def relay(work: Work, send: Send, clock: Callable[[], datetime], stop: asyncio.Event) -> None:
    """Publish until told to stop. Trouble is waited out: nothing in the outbox is lost."""
    wait = _PAUSE
    while not stop.is_set():
        try:
            count = await relay_once(work, send, clock())
            wait = _PAUSE
            if count:
                logger.info("published reviews", count=count)
                continue
        except Transient as trouble:
            logger.warning("reviews wait in the outbox", detail=trouble.detail)
            wait = min(_LONGEST, wait * 2)
        await pause(stop, wait)
