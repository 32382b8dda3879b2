"""What differs from Faust's own transport."""

from __future__ import annotations

import pytest
from aiokafka.errors import GroupAuthorizationFailedError, IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from pipeline.agents.transport import CarefulThread, OrderedConsumer

HERE, MOVED = TP("media.uploaded", 0), TP("media.uploaded", 1)


class Consumer:
    """aiokafka's, as far as commits and seeks need it: it refuses to commit nothing, and goes back to commits alone."""

    def __init__(self) -> None:
        self.committed: list[dict[TopicPartition, OffsetAndMetadata]] = []
        self.positions: dict[TP, int] = {}
        self.done: dict[TP, int | None] = {}

    async def commit(self, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        if not offsets:
            raise ValueError(offsets)
        self.committed.append(offsets)

    async def seek_to_committed(self) -> dict[TP, int | None]:
        self.positions.update({tp: offset for tp, offset in self.done.items() if offset})
        return self.done

    async def beginning_offsets(self, partitions: list[TP]) -> dict[TP, int]:
        return dict.fromkeys(partitions, 3)

    def seek(self, partition: TP, offset: int) -> None:
        self.positions[partition] = offset


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


async def test_a_partition_begins_again_where_its_next_owner_would_begin(consumer: Consumer) -> None:
    """At what is committed, and at its first record where nothing is."""
    consumer.positions = {HERE: 9, MOVED: 5}
    consumer.done = {HERE: 7, MOVED: None}
    assert await thread()._seek_to_committed() == {HERE: 7, MOVED: None}
    assert consumer.positions == {HERE: 7, MOVED: 3}


@pytest.mark.parametrize(
    ("trouble", "ends"), [(IllegalStateError("not assigned"), False), (GroupAuthorizationFailedError(), True)]
)
async def test_a_worker_that_cannot_go_back_ends(
    monkeypatch: pytest.MonkeyPatch, trouble: KafkaError, ends: bool
) -> None:
    """What it dropped would not come again; partitions that have moved are gone back to when they come to rest."""
    crashes: list[BaseException] = []

    async def fails(_: object) -> None:
        raise trouble

    async def crash(_: object, why: BaseException) -> None:
        crashes.append(why)

    monkeypatch.setattr(driver.Consumer, "perform_seek", fails)
    monkeypatch.setattr(OrderedConsumer, "crash", crash)
    with pytest.raises(KafkaError):
        await object.__new__(OrderedConsumer).perform_seek()
    assert crashes == ([trouble] if ends else [])
