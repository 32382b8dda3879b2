"""Publish upload events as a platform would: the reference for integration, used by the demo and `unmask publish`."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from confluent_kafka import KafkaError, Message, Producer

from pipeline.errors import UnmaskError
from pipeline.events import Event, MediaUploaded
from pipeline.events.cloudevents import headers
from pipeline.events.codec import encode
from pipeline.events.values import Surface
from pipeline.kafka import ClientConfig
from pipeline.topology import UPLOADED

SOURCE = "urn:unmask:publish"


def publish_files(
    config: ClientConfig, files: Sequence[Path], *, surface: Surface = Surface.POST, declared: bool = False
) -> Iterator[MediaUploaded]:
    """Publish each file as an upload with a new media id; yields the events once the broker has them all.

    Raises:
        UnmaskError: a file does not exist, or the broker did not take a record.
    """
    uploads = []
    for path in files:
        if not path.is_file():
            raise UnmaskError(f"no such file: {path}")
        uploads.append(
            MediaUploaded(
                media_id=str(uuid4()),
                uri=path.resolve().as_uri(),
                uploaded_at=datetime.now(UTC),
                content_type=mimetypes.guess_type(path.name)[0],
                size=path.stat().st_size,
                surface=surface,
                declared_synthetic=declared,
            )
        )
    send(config, ((UPLOADED, upload.media_id, upload) for upload in uploads))
    yield from uploads


def send(
    config: ClientConfig,
    records: Iterable[tuple[str, str, Event]],
    *,
    source: str = SOURCE,
    rounds: Mapping[str, int] | None = None,
) -> None:
    """Send (topic, key, event) records and wait until the brokers have all of them. Raises UnmaskError otherwise.

    `rounds`: by key, the round that a record of `media.uploaded` opens, where it is not the first.
    """
    producer = Producer({**config, "acks": "all", "linger.ms": "20"})
    refused: list[str] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            refused.append(str(error))

    for topic, key, event in records:
        pairs = list(headers(event, source=source, time=datetime.now(UTC), round_=(rounds or {}).get(key)))
        while True:
            try:
                producer.produce(topic, key=key, value=encode(event), headers=pairs, on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    left = producer.flush(30)
    if left or refused:
        raise UnmaskError(
            f"the broker did not take {left + len(refused)} records: {refused[:1] or 'no answer in 30 s'}"
        )
