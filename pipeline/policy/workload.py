"""How long a review takes, per queue: as measured where enough were given, else as the policy says. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from pipeline.ledger.recorded import Answer
from pipeline.moments import length
from pipeline.policy.rules import Policy, Queue

ENOUGH = 30
"""Reviews of a queue from which on their mean is used: its standard error is then about a fifth of the spread."""

PAUSE = timedelta(minutes=30)
"""A longer gap between two answers of a person is a pause and no handling."""


class Source(StrEnum):
    """Where a handling time comes from. `policy` is a 90th percentile, so hours from it are rather too many."""

    MEASURED = "measured"
    POLICY = "policy"


class Handling(msgspec.Struct, frozen=True):
    """What one task of a queue costs. `reviews`: how many the measurement rests on (0 for the policy's figure)."""

    seconds: float
    source: Source
    reviews: int = 0


def handling(answers: Iterable[Answer]) -> dict[str, Handling]:
    """Per queue the mean time that a case was held in the console; of answers that came another way, from when a person
    could begin (the task was there, and their last answer given) to the answer. From the task's arrival alone it would
    be mostly waiting. A person's first answer in the time looked at, and what follows a pause, then say nothing.

    Args:
        answers: each person's in the order in which they were given.
    """
    spent: dict[str, list[float]] = defaultdict(lambda: [0, 0.0])
    last: tuple[str, datetime] | None = None
    for each in answers:
        took = _took(each, last)
        if took is not None:
            spent[each.queue][0] += 1
            spent[each.queue][1] += took
        last = (each.reviewer_id, each.decided_at)
    return {
        queue: Handling(round(seconds / count, 1), Source.MEASURED, int(count))
        for queue, (count, seconds) in sorted(spent.items())
        if count >= ENOUGH
    }


def _took(each: Answer, last: tuple[str, datetime] | None) -> float | None:
    if each.seconds is not None:
        return each.seconds or None  # 0: a lead decided many at once
    if last is None or last[0] != each.reviewer_id:
        return None
    took = each.decided_at - max(last[1], each.requested_at)
    return took.total_seconds() if timedelta(0) < took <= PAUSE else None


def cost(queue: str, measured: Mapping[str, Handling], *policies: Policy | None) -> Handling:
    """What one task of a queue costs: as measured, else as the first policy that has the queue says."""
    if queue in measured:
        return measured[queue]
    known = next((p.queues[queue] for p in policies if p is not None and queue in p.queues), _UNKNOWN)
    return Handling(length(known.handling).total_seconds(), Source.POLICY)


_UNKNOWN = Queue(what="a queue that no policy at hand knows")
