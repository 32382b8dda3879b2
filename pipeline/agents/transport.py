"""Faust's Kafka transport with two changes: only what `delivery.py` says is done counts as acknowledged, and a commit
whose partitions have all moved meanwhile is none.

Faust acknowledges by itself the messages that it skips because they were fetched before a rebalance
(`Stream.__aiter__`, `skipped_value`). An offset acknowledged that way, next to one that is still being handled, can be
committed past it. Here Faust's own acknowledgements are ignored.

Faust waits for its producer before it commits. When the group rebalances meanwhile, it leaves out the partitions that
moved; when none is left, it has aiokafka commit nothing, which aiokafka refuses, and the worker crashes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from faust.transport.drivers import aiokafka as driver
from faust.types import TP, Message


class CarefulThread(driver.AIOKafkaConsumerThread):
    """Where aiokafka's consumer lives."""

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Whether anything was committed. What has moved is delivered again to its next owner."""
        held = self.assignment()
        return any(tp in held for tp in offsets) and await super()._commit(offsets)


class OrderedConsumer(driver.Consumer):
    """A consumer whose offsets advance by `done` alone."""

    def _new_consumer_thread(self) -> CarefulThread:
        return CarefulThread(self, loop=self.loop, beacon=self.beacon)

    def ack(self, message: Message) -> bool:
        """Ignore what Faust acknowledges by itself."""
        return False

    def done(self, message: Message) -> None:
        """The message is handled or buried, and so is every earlier one of its partition."""
        super().ack(message)

    def committed_to(self, partition: TP) -> int | None:
        """The offset that the next owner of the partition would begin at; None before anything is known."""
        offset: int | None = self._committed_offset[partition]
        return offset


class IdempotentProducer(driver.Producer):
    """A producer whose retries cannot duplicate or reorder records, where the broker supports it."""

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": self.app.idempotent}


class OrderedTransport(driver.Transport):
    """aiokafka, with ordered acknowledgement."""

    Consumer = OrderedConsumer
    Producer = IdempotentProducer
