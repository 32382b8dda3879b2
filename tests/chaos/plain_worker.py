"""A worker that acknowledges as Faust does by itself: when the next event is taken, whatever became of this one.

For the counter-proof only: under the same faults it loses uploads, and the audit has to say so.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from faust.transport.drivers import aiokafka as driver
from faust.types import Message, StreamT

from pipeline.agents import worker
from pipeline.agents.delivery import Record
from pipeline.agents.transport import OrderedConsumer
from pipeline.cli import main


async def _arrivals(stream: StreamT[bytes]) -> AsyncIterator[tuple[Record, Message]]:
    async for event in stream.events():
        yield worker._record(event.message), event.message


if __name__ == "__main__":
    OrderedConsumer.ack = driver.Consumer.ack  # type: ignore[method-assign]
    worker._arrivals = _arrivals
    main()
