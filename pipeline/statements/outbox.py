"""Empty the outbox: batches are formed, delivered, and marked as the endpoint answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from pipeline.statements.answers import ALREADY, Verdict
from pipeline.statements.form import MOST_IN_A_CALL
from pipeline.statements.rows import Entry
from pipeline.statements.send import EndpointAway

Deliver = Callable[[str, Sequence[Entry]], AsyncIterator[Verdict]]
"""(batch, its statements) → what came of each call."""


class Queue(Protocol):
    """What is needed of the ledger (`pipeline.ledger.statements.Outbox`)."""

    def form_batches(self, most: int, since: datetime | None = None) -> tuple[str, ...]:
        """Every batch that has something to send."""

    def batch(self, name: str) -> tuple[Entry, ...]:
        """What of it is still to be sent."""

    def mark_sent(self, receipts: Mapping[str, str], now: datetime) -> None:
        """It has these."""

    def mark_refused(self, why: Mapping[str, str], now: datetime) -> None:
        """It does not take these."""


@dataclass(slots=True)
class Flushed:
    """What a run did.

    `already`: of those sent, how many the endpoint had. `silent`: puids that an accepted call did not confirm; they
    stay queued. `trouble`: why it stopped before the end.
    """

    batches: int = 0
    sent: int = 0
    already: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    silent: list[str] = field(default_factory=list)
    trouble: str | None = None


async def flush(
    queue: Queue,
    deliver: Deliver,
    *,
    clock: Callable[[], datetime],
    since: datetime | None = None,
    on_step: Callable[[int, int], None] = lambda _done, _of: None,
) -> Flushed:
    """Send everything that is queued, in batches of a hundred. What cannot be sent now stays queued.

    Args:
        queue: the outbox.
        deliver: where to.
        clock: when something was sent.
        since: only what was queued at or after this time; batches that were begun are finished in any case.
        on_step: hears of the batches done, and of how many there are.
    """
    done = Flushed()
    names = queue.form_batches(MOST_IN_A_CALL, since)
    for number, name in enumerate(names):
        on_step(number, len(names))
        entries = queue.batch(name)
        if not entries:  # another process sent it meanwhile
            continue
        try:
            async for verdict in deliver(name, entries):
                queue.mark_sent(verdict.sent, clock())
                queue.mark_refused(verdict.refused, clock())
                done.sent += len(verdict.sent)
                done.already += sum(receipt == ALREADY for receipt in verdict.sent.values())
                done.refused.update(verdict.refused)
                done.silent += verdict.silent
        except EndpointAway as error:
            done.trouble = str(error)
            break
        done.batches += 1
    on_step(done.batches, len(names))
    return done
