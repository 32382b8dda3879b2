"""`review.decided` → `media.enforced`: the first answer to a review task becomes the final outcome."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from pipeline import log
from pipeline.agents.answer import Close, nothing_asked
from pipeline.agents.delivery import Record
from pipeline.agents.publish import Publish
from pipeline.errors import Permanent, Reason, Stage
from pipeline.events import MediaEnforced, ReviewDecided
from pipeline.events.cloudevents import trace_id, traceparent_of
from pipeline.events.codec import MalformedEvent, decode
from pipeline.ledger.port import SettledReview
from pipeline.settle import settle
from pipeline.topology import ENFORCED

logger = log.get(__name__)

RecordReview = Callable[[ReviewDecided], Awaitable[SettledReview | None]]
"""Store an answer; returns the first answer to this task and the task, or None when nobody asked."""

RecordOutcome = Callable[[MediaEnforced], Awaitable[MediaEnforced]]
"""Store a final outcome; returns the first one of its round."""


def settle_record(
    record_review: RecordReview, record_outcome: RecordOutcome, publish: Publish, close: Close = nothing_asked
) -> Callable[[Record], Awaitable[None]]:
    """The handler of `review.decided`."""

    async def handle(record: Record) -> None:
        review = decode(record.value, ReviewDecided)
        if isinstance(review, MalformedEvent):
            raise Permanent(Stage.SETTLE, Reason.MALFORMED_EVENT, f"{review.where}: {review.why}")
        log.bind(media_id=review.media_id, trace_id=trace_id(record.headers))
        found = await record_review(review)
        if found is None:
            raise Permanent(Stage.SETTLE, Reason.UNKNOWN_TASK, f"no review task {review.task_id}")
        if found.superseded:
            logger.info("a later round has been decided; this review changes nothing")
            return
        outcome = await record_outcome(settle(found.review, found.task))
        traceparent = traceparent_of(record.headers)
        await publish(ENFORCED, outcome.media_id.encode(), outcome, traceparent)
        await close(outcome, traceparent)
        logger.info("settled", action=outcome.action.value)

    return handle
