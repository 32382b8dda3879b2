"""How far behind a worker is, per partition: in records, as the broker counts, and in seconds.

Records: the partition's end as the broker gives it now, less the offset that the next owner would begin at. The high
watermarks that come with fetched records are not used: they are as old as the last fetch.

Seconds: since the oldest record that is not committed yet was written. Where it is under way its timestamp is known.
Where it still waits it is younger than the record before it and than the moment at which the partition was last found
empty, and the later of these two stands for it: the number is then too large by at most that gap.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from aiokafka.errors import KafkaError
from faust.exceptions import ConsumerNotStarted
from faust.types import TP
from faust.types.transports import ConsumerT

from pipeline.errors import Reason, Stage, Transient


@dataclass(frozen=True, slots=True)
class Lag:
    """`seconds`: None while nothing is known of the record that waits."""

    records: int
    seconds: float | None


@dataclass(slots=True)
class _Seen:
    under_way: dict[int, float] = field(default_factory=dict)
    taken: float | None = None
    empty: float | None = None


class LagWatch:
    """Hears of each record that is taken up or leaves, and says how far behind the partitions are."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int], _Seen] = {}

    def started(self, topic: str, partition: int, offset: int, timestamp: float) -> None:
        """A record was taken up; `timestamp` as the broker has it, seconds since the epoch."""
        seen = self._seen.setdefault((topic, partition), _Seen())
        seen.under_way[offset] = timestamp
        seen.taken = timestamp

    def ended(self, topic: str, partition: int, offset: int) -> None:
        """It left."""
        if seen := self._seen.get((topic, partition)):
            seen.under_way.pop(offset, None)

    def look(
        self, ends: Mapping[TP, int], begins: Mapping[TP, int], done: Mapping[TP, int | None], now: float
    ) -> dict[TP, Lag]:
        """The lag of every partition in `ends`.

        Args:
            ends: the offset that the next record will get.
            begins: the first offset that is still there; what a group without a commit begins at.
            done: the committed offset; None where nothing was committed yet.
            now: seconds since the epoch.
        """
        return {tp: self._lag(tp, ends[tp], begins.get(tp, 0), done.get(tp), now) for tp in ends}

    def _lag(self, tp: TP, end: int, begin: int, done: int | None, now: float) -> Lag:
        seen = self._seen.setdefault((tp.topic, tp.partition), _Seen())
        records = max(0, end - max(begin, done or 0))
        if records == 0:
            seen.empty = now
            return Lag(0, 0.0)
        if seen.under_way:
            return Lag(records, max(0.0, now - min(seen.under_way.values())))
        known = [moment for moment in (seen.taken, seen.empty) if moment is not None]
        return Lag(records, max(0.0, now - max(known)) if known else None)

    def forget(self, held: frozenset[TP]) -> None:
        """Partitions that left: what was seen of them is old when they come back."""
        kept = {(tp.topic, tp.partition) for tp in held}
        self._seen = {key: seen for key, seen in self._seen.items() if key in kept or seen.under_way}


async def bounds(
    consumer: ConsumerT, partitions: Iterable[TP], within: float
) -> tuple[Mapping[TP, int], Mapping[TP, int]]:
    """(the first offset that is there, the offset that comes next) of each partition, as the broker says it now.

    Raises:
        Transient: the broker does not say.
    """
    asked = tuple(partitions)
    if not asked:
        return {}, {}
    try:
        async with asyncio.timeout(within):
            return await consumer.earliest_offsets(*asked), await consumer.highwaters(*asked)
    except (KafkaError, ConsumerNotStarted, TimeoutError) as error:
        raise Transient(Stage.RECEIVE, Reason.BROKER_UNAVAILABLE, f"{error!r}") from error
