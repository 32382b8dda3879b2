"""What differs from Faust's own transport."""

from __future__ import annotations

import pytest
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.types import TP

from pipeline.agents.transport import CarefulThread

HERE, MOVED = TP("media.uploaded", 0), TP("media.uploaded", 1)


class Consumer:
    """aiokafka's, as far as a commit needs it: it refuses to commit nothing."""

    def __init__(self) -> None:
        self.committed: list[dict[TopicPartition, OffsetAndMetadata]] = []

    async def commit(self, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        if not offsets:
            raise ValueError(offsets)
        self.committed.append(offsets)


@pytest.fixture
def consumer(monkeypatch: pytest.MonkeyPatch) -> Consumer:
    found = Consumer()
    monkeypatch.setattr(CarefulThread, "_ensure_consumer", lambda _: found)
    monkeypatch.setattr(CarefulThread, "assignment", lambda _: {HERE})
    return found


def thread() -> CarefulThread:
    made = object.__new__(CarefulThread)
    made.tp_last_committed_at = {}
    return made


async def test_a_commit_whose_partitions_have_all_moved_is_none(consumer: Consumer) -> None:
    """The worker goes on; whoever holds them now gets the records again."""
    assert await thread()._commit({MOVED: 7}) is False
    assert consumer.committed == []


async def test_what_is_still_held_is_committed(consumer: Consumer) -> None:
    """Without what has moved."""
    assert await thread()._commit({HERE: 5, MOVED: 7}) is True
    (offsets,) = consumer.committed
    assert {(tp.topic, tp.partition): said.offset for tp, said in offsets.items()} == {("media.uploaded", 0): 5}
