"""Uploads into a running stack, and the time until each has its outcome: what a platform would see."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from confluent_kafka import OFFSET_END, Consumer, TopicPartition

from pipeline.kafka import ClientConfig
from pipeline.publish import publish_files
from pipeline.topology import DEAD_LETTER, ENFORCED

_PATIENCE_SECONDS = 120.0
"""How long nothing at all may come before the run counts as stuck."""


class Traffic:
    """Publishes files and waits for `media.enforced`. Context manager."""

    def __init__(self, config: ClientConfig) -> None:
        self._config = config
        self._consumer = Consumer({**config, "group.id": "bench", "enable.auto.commit": "false"})

    def __enter__(self) -> Self:
        found = self._consumer.list_topics(timeout=15).topics
        places = [
            TopicPartition(name, n, OFFSET_END) for name in (ENFORCED, DEAD_LETTER) for n in found[name].partitions
        ]
        # Resolved before anything is published: "the end" is otherwise looked up when the first fetch is made.
        for place in places:
            place.offset = self._consumer.get_watermark_offsets(place, timeout=15)[1]
        self._consumer.assign(places)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._consumer.close()

    def send(self, paths: Sequence[Path], on_done: Callable[[], None] = lambda: None) -> float:
        """Seconds from before the first is published until the last has an outcome.

        Raises RuntimeError when something was dead-lettered, or nothing comes any more.
        """
        started = last = time.monotonic()
        waiting = {upload.media_id for upload in publish_files(self._config, paths)}
        while waiting:
            message = self._consumer.poll(0.2)
            if message is None or message.error():
                if time.monotonic() - last > _PATIENCE_SECONDS:
                    raise RuntimeError(f"{len(waiting)} of {len(paths)} uploads have no outcome")
                continue
            if message.topic() == DEAD_LETTER:
                raise RuntimeError(f"an upload was dead-lettered: {message.value()[:2000]!r}")
            media_id = message.key().decode()
            if media_id in waiting:
                waiting.remove(media_id)
                last = time.monotonic()
                on_done()
        return last - started
