"""Faust's Kafka transport with three changes: only what `delivery.py` says is done counts as acknowledged, a commit
whose partitions have all moved meanwhile is none, and a partition of which nothing is committed yet begins anew.

Faust acknowledges by itself the messages that it skips because they were fetched before a rebalance
(`Stream.__aiter__`, `skipped_value`). An offset acknowledged that way, next to one that is still being handled, can be
committed past it. Here Faust's own acknowledgements are ignored.

Faust waits for its producer before it commits. When the group rebalances meanwhile, it leaves out the partitions that
moved; when none is left, it has aiokafka commit nothing, which aiokafka refuses, and the worker crashes.

Records that arrive while the group rebalances are dropped by Faust, which then goes back to what is committed
(`Consumer.getmany`, `perform_seek`). Where nothing is, aiokafka stays where it is (`seek_to_committed`), and the first
records of a partition would never be delivered: those behind them are acknowledged, and a commit passes the gap.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiokafka.errors import IllegalStateError, KafkaError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, Message


class CarefulThread(driver.AIOKafkaConsumerThread):
    """Where aiokafka's consumer lives."""

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Whether anything was committed. What has moved is delivered again to its next owner."""
        held = self.assignment()
        return any(tp in held for tp in offsets) and await super()._commit(offsets)

    async def seek_to_committed(self) -> Mapping[TP, int | None]:
        """Begin each partition again where the next owner would: at what is committed, else at its first record.

        Returns:
            What is committed of each, None where nothing is.
        """
        sought: Mapping[TP, int | None] = await self.call_thread(self._seek_to_committed)
        return sought

    async def _seek_to_committed(self) -> Mapping[TP, int | None]:
        consumer = self._ensure_consumer()
        committed: Mapping[TP, int | None] = await consumer.seek_to_committed()
        if fresh := [tp for tp, offset in committed.items() if not offset]:
            # Not by `seek_to_beginning`: the partition is nowhere then until the broker answers, and Faust, which looks
            # where each is, crashes.
            firsts: Mapping[TP, int] = await consumer.beginning_offsets(fresh)
            for tp, offset in firsts.items():
                consumer.seek(tp, offset)
        return committed


class OrderedConsumer(driver.Consumer):
    """A consumer whose offsets advance by `done` alone."""

    def _new_consumer_thread(self) -> CarefulThread:
        return CarefulThread(self, loop=self.loop, beacon=self.beacon)

    async def perform_seek(self) -> None:
        """Go back to what is committed. Faust drops records and only warns when it then cannot go back to them: better
        to end, and to begin again from there."""
        try:
            await super().perform_seek()
        except IllegalStateError:
            raise  # partitions have moved meanwhile; it is done again when they have come to rest
        except KafkaError as error:
            await self.crash(error)
            raise

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
