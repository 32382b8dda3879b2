"""`media.decided` → `review.requested.<queue>` and `media.enforced`: record the decision, then say what applies.

Recording comes first and the first record wins, so that an upload that was screened twice (a worker died between
writing its result and acknowledging) still has one outcome: whatever is read here again is published as it was first.
A later round of an upload that is under a request of the person shown is decided with that request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from pipeline import log
from pipeline.agents.answer import Close, nothing_asked
from pipeline.agents.delivery import Record
from pipeline.agents.publish import Publish
from pipeline.errors import Permanent, Reason, Stage
from pipeline.events import MediaDecided
from pipeline.events.cloudevents import trace_id, traceparent_for, traceparent_of
from pipeline.events.codec import MalformedEvent, decode
from pipeline.route import Routed, route
from pipeline.topology import ENFORCED, review_topic

logger = log.get(__name__)

RecordDecision = Callable[[MediaDecided, Routed, str | None], Awaitable[MediaDecided]]
"""Store a decision, what follows, and the task's traceparent, in one transaction; returns the first decision on this
upload and round."""

Counted = Callable[[MediaDecided, Routed, bool], None]
"""Hears of each decision, what followed, and whether it was the first."""


Heed = Callable[[MediaDecided], Awaitable[MediaDecided]]
"""The decision with the request that is open on its upload, where there is one and the decision knows none."""


async def as_it_is(decided: MediaDecided) -> MediaDecided:
    """Where no requests are answered."""
    return decided


def _is_new(first: MediaDecided, decided: MediaDecided) -> bool:
    """Whether this decision was recorded just now: the ledger then returns the very object that it was given, else one
    that was read from its rows. Rounds that a request opened were recorded by `answer`; they are known by their words,
    and count again when their record comes again."""
    return first is decided or (decided.request is not None and first == decided)


def route_record(
    record_decision: RecordDecision,
    publish: Publish,
    counted: Counted,
    heed: Heed = as_it_is,
    close: Close = nothing_asked,
) -> Callable[[Record], Awaitable[None]]:
    """The handler of `media.decided`."""

    async def handle(record: Record) -> None:
        decided = decode(record.value, MediaDecided)
        if isinstance(decided, MalformedEvent):
            raise Permanent(Stage.ROUTE, Reason.MALFORMED_EVENT, f"{decided.where}: {decided.why}")
        log.bind(media_id=decided.media_id, trace_id=trace_id(record.headers))
        traceparent = traceparent_of(record.headers)
        decided = await heed(decided)
        follows = route(decided)
        task_trace = traceparent_for(follows.task, traceparent) if follows.task else None
        first = await record_decision(decided, follows, task_trace)
        routed = route(first)
        if routed.task is not None:
            await publish(review_topic(routed.task.queue), first.media_id.encode(), routed.task, traceparent)
        await publish(ENFORCED, first.media_id.encode(), routed.outcome, traceparent)
        await close(routed.outcome, traceparent)
        counted(first, routed, _is_new(first, decided))
        logger.info("routed", status=routed.outcome.status.value, queue=routed.task.queue if routed.task else None)

    return handle
