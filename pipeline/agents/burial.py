"""The dead letter of a record: its bytes as they came, and the cause."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from pipeline.agents.delivery import Record
from pipeline.agents.publish import Publish
from pipeline.errors import Permanent
from pipeline.events import DeadLetter
from pipeline.events.cloudevents import round_of, traceparent_of
from pipeline.events.ids import dead_letter_id
from pipeline.events.values import Failure
from pipeline.topology import DEAD_LETTER


def dead_letter(
    record: Record, failure: Permanent, attempts: int, media_id: str | None, buried_at: datetime
) -> DeadLetter:
    """Byte for byte what was received, so that it can be sent again."""
    return DeadLetter(
        dead_letter_id=dead_letter_id(record.topic, record.partition, record.offset),
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=record.key,
        value=record.value or b"",
        headers=record.headers,
        failure=Failure(stage=failure.stage.value, reason=failure.reason.value, detail=failure.detail[:2000]),
        buried_at=buried_at,
        media_id=media_id,
        round=round_of(record.headers),
        attempts=attempts,
    )


def bury_record(publish: Publish) -> Callable[[Record, Permanent, int], Awaitable[None]]:
    """The burial of a record that names no new upload (a decision, a review)."""

    async def bury(record: Record, failure: Permanent, attempts: int) -> None:
        letter = dead_letter(record, failure, attempts, None, datetime.now(UTC))
        await publish(DEAD_LETTER, record.key, letter, traceparent_of(record.headers))

    return bury
