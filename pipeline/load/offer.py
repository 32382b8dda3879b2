"""The producer: publishes each upload when it is due, never waiting for an answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from confluent_kafka import KafkaError, Message, Producer

from pipeline.errors import UnmaskError
from pipeline.events import MediaUploaded
from pipeline.events.cloudevents import headers
from pipeline.events.codec import encode
from pipeline.kafka import ClientConfig
from pipeline.load.mix import Kind
from pipeline.load.report import Sent
from pipeline.topology import UPLOADED

SOURCE = "urn:unmask:load"
_FLUSH_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Due:
    """A file, and when it is to be offered: seconds from the beginning."""

    path: Path
    kind: Kind
    after: float


def offer(config: ClientConfig, uploads: Sequence[Due], began: float, on_sent: Callable[[Sent], None]) -> None:
    """Publish them all in time; returns once the brokers have every one. `began`: the moment from which they are due,
    on the monotonic clock. `on_sent` hears of each just before it is sent, so that no answer can come sooner.

    Raises:
        UnmaskError: the broker did not take a record.
    """
    producer = Producer({**config, "acks": "all", "linger.ms": "5"})
    refused: list[str] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            refused.append(str(error))

    for upload in uploads:
        due = began + upload.after
        while (left := due - time.monotonic()) > 0:
            producer.poll(min(left, 0.1))
        event = MediaUploaded(
            media_id=f"load-{uuid4()}", uri=upload.path.resolve().as_uri(), uploaded_at=datetime.now(UTC)
        )
        pairs = list(headers(event, source=SOURCE, time=event.uploaded_at))
        on_sent(Sent(event.media_id, upload.kind, due, time.monotonic()))
        while True:
            try:
                producer.produce(
                    UPLOADED, key=event.media_id, value=encode(event), headers=pairs, on_delivery=delivered
                )
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    left = producer.flush(_FLUSH_SECONDS)
    if left or refused:
        why = refused[0] if refused else f"no answer in {_FLUSH_SECONDS:g} s"
        raise UnmaskError(f"the broker did not take {left + len(refused)} of {len(uploads)} uploads: {why}")
