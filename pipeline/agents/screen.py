"""`media.uploaded` → `media.decided`: judge an upload, or bury it and apply the policy's fail mode."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from pipeline import log
from pipeline.agents.burial import dead_letter
from pipeline.agents.delivery import Record
from pipeline.agents.publish import Publish
from pipeline.errors import Permanent, Reason, Stage
from pipeline.events import MediaDecided, MediaUploaded
from pipeline.events.cloudevents import round_of, trace_id, traceparent_of
from pipeline.events.codec import MalformedEvent, decode
from pipeline.events.values import Failure
from pipeline.topology import DEAD_LETTER, DECIDED

logger = log.get(__name__)

Screen = Callable[[MediaUploaded, int], Awaitable[MediaDecided]]
"""(upload, round) → what was found and decided."""

Unscreenable = Callable[[MediaUploaded, int, Failure], MediaDecided]
"""(upload, round, why) → the fail mode's decision."""


def screen_record(screen: Screen, publish: Publish) -> Callable[[Record], Awaitable[None]]:
    """The handler of `media.uploaded`."""

    async def handle(record: Record) -> None:
        upload = decode(record.value, MediaUploaded)
        if isinstance(upload, MalformedEvent):
            raise Permanent(Stage.RECEIVE, Reason.MALFORMED_EVENT, f"{upload.where}: {upload.why}")
        log.bind(media_id=upload.media_id, trace_id=trace_id(record.headers))
        decided = await screen(upload, round_of(record.headers))
        await publish(DECIDED, upload.media_id.encode(), decided, traceparent_of(record.headers))
        logger.info("screened", action=decided.decision.action.value, reused=decided.reused_from is not None)

    return handle


def bury_upload(unscreenable: Unscreenable, publish: Publish) -> Callable[[Record, Permanent, int], Awaitable[None]]:
    """The burial of an upload: the dead letter, and where the event names an upload, the fail mode's decision."""

    async def bury(record: Record, failure: Permanent, attempts: int) -> None:
        upload = decode(record.value, MediaUploaded)
        media_id = None if isinstance(upload, MalformedEvent) else upload.media_id
        traceparent = traceparent_of(record.headers)
        letter = dead_letter(record, failure, attempts, media_id, datetime.now(UTC))
        await publish(DEAD_LETTER, record.key, letter, traceparent)
        if isinstance(upload, MediaUploaded):
            decided = unscreenable(upload, round_of(record.headers), letter.failure)
            await publish(DECIDED, upload.media_id.encode(), decided, traceparent)

    return bury
