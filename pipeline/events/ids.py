"""Ids that are functions of what they are about, so that doing a thing twice writes the same record twice."""

from __future__ import annotations

from uuid import NAMESPACE_URL, UUID, uuid5

_UNMASK = uuid5(NAMESPACE_URL, "urn:unmask")


def decision_id(media_id: str, round_: int) -> UUID:
    """The decision on an upload in a round."""
    return uuid5(_UNMASK, f"decision/{round_}/{media_id}")


def task_id(media_id: str, round_: int) -> UUID:
    """The review task of an upload in a round."""
    return uuid5(_UNMASK, f"task/{round_}/{media_id}")


def review_id(task_id: UUID, reviewer_id: str) -> UUID:
    """What a person decided on a task in the console."""
    return uuid5(_UNMASK, f"review/{task_id}/{reviewer_id}")


def outcome_id(media_id: str, round_: int, status: str) -> UUID:
    """The provisional or final outcome of an upload in a round."""
    return uuid5(_UNMASK, f"outcome/{round_}/{status}/{media_id}")


def answer_id(request_id: str, status: str) -> UUID:
    """What a request of the person shown is answered, at each status once."""
    return uuid5(_UNMASK, f"answer/{status}/{request_id}")


def dead_letter_id(topic: str, partition: int, offset: int) -> UUID:
    """The burial of one Kafka record."""
    return uuid5(_UNMASK, f"dead-letter/{topic}/{partition}/{offset}")
