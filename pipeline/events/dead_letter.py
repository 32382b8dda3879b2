"""`media.dead-letter`: what could not be processed, byte for byte, with the cause."""

from __future__ import annotations

from uuid import UUID

from pipeline.events.values import Failure, MediaId, Round, Struct, Timestamp


class DeadLetter(Struct, frozen=True, tag_field="schema", tag="media.dead-letter/1"):
    """`key`, `value` and `headers` are as received (base64 in JSON), so that `unmask replay` can send them again.

    `dead_letter_id` is a function of topic, partition and offset: a repeat of the same burial has the same id.
    """

    dead_letter_id: UUID
    topic: str
    partition: int
    offset: int
    value: bytes
    failure: Failure
    buried_at: Timestamp
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()
    media_id: MediaId | None = None
    round: Round = 1
    attempts: int = 1
