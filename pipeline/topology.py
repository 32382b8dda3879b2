"""Every topic, in flow order: the file to read first.

    media.uploaded ──screen──► media.decided ──route──┬──► review.requested.<queue> ─► console / the platform's tool
          │                                           │                                      │
          │                                           └──► media.enforced ◄──settle── review.decided ◄┘
          │                       ▲
          │                       └──answer◄── subject.requested (the person shown)
          │                             └────► subject.answered
          └──► media.dead-letter (original bytes, stage, reason; replayable)

Every record of `media.…` and `review.…` is keyed by media_id, so all that concerns one upload is in one partition of
each topic, in order; those of `subject.…` are keyed by request_id.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

UPLOADED = "media.uploaded"
DECIDED = "media.decided"
REVIEW_REQUESTED = "review.requested"
REVIEW_DECIDED = "review.decided"
ENFORCED = "media.enforced"
SUBJECT_REQUESTED = "subject.requested"
SUBJECT_ANSWERED = "subject.answered"
DEAD_LETTER = "media.dead-letter"

_DAY_MS = 24 * 60 * 60 * 1000

LARGEST_UPLOAD_EVENT = 1024 * 1024
LARGEST_RECORD = 4 * 1024 * 1024
"""Bytes. Unmask's own records repeat the upload's event, dead letters in base64: they need more room than it had."""


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """What a topic must look like on the broker. `retention_ms` -1: for ever. `max_message_bytes`: of one record."""

    name: str
    partitions: int
    cleanup: Literal["delete", "compact"]
    retention_ms: int
    why: str
    max_message_bytes: int = LARGEST_RECORD


def review_topic(queue: str) -> str:
    """The topic of a review queue."""
    return f"{REVIEW_REQUESTED}.{queue}"


def topics(queues: Iterable[str], partitions: int = 8) -> tuple[TopicSpec, ...]:
    """Every topic of the flow for a policy with these queues; `partitions` bounds how many workers share the load."""
    return (
        TopicSpec(UPLOADED, partitions, "delete", 7 * _DAY_MS, "uploads to screen", LARGEST_UPLOAD_EVENT),
        TopicSpec(DECIDED, partitions, "delete", 30 * _DAY_MS, "findings and decisions; the ledger is built from it"),
        *(
            TopicSpec(review_topic(queue), partitions, "delete", 30 * _DAY_MS, f"tasks of the queue {queue}")
            for queue in sorted(set(queues))
        ),
        TopicSpec(REVIEW_DECIDED, partitions, "delete", 30 * _DAY_MS, "what people decided"),
        TopicSpec(ENFORCED, partitions, "compact", -1, "what applies to each upload; the platform acts on it"),
        TopicSpec(SUBJECT_REQUESTED, partitions, "delete", 30 * _DAY_MS, "requests by the person shown"),
        TopicSpec(SUBJECT_ANSWERED, partitions, "delete", 30 * _DAY_MS, "what came of each request"),
        TopicSpec(DEAD_LETTER, partitions, "delete", 30 * _DAY_MS, "what could not be processed, replayable"),
    )
