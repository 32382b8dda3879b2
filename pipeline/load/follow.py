"""The consumer: hears, in a thread of its own, what becomes of uploads: outcomes and dead letters."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

from confluent_kafka import Consumer, KafkaException, TopicPartition

from pipeline.errors import ConfigError, UnmaskError
from pipeline.events import MediaEnforced, OutcomeStatus
from pipeline.events.codec import decode
from pipeline.kafka import ClientConfig
from pipeline.load.report import Answer, Answered
from pipeline.topology import DEAD_LETTER, ENFORCED

_TIMEOUT = 30.0
_BATCH = 500


class Follower:
    """Context manager: from entering on, it hears everything that is published. Commits nothing, joins no group."""

    def __init__(self, config: ClientConfig) -> None:
        self._consumer = Consumer({**config, "group.id": "unmask-load", "enable.auto.commit": "false"})
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._read, name="follower", daemon=True)
        self._lock = threading.Lock()
        self._answers: list[Answered] = []
        self._failed: Exception | None = None

    def __enter__(self) -> Self:
        try:
            found = self._consumer.list_topics(timeout=_TIMEOUT).topics
            if missing := {ENFORCED, DEAD_LETTER} - found.keys():
                raise ConfigError(f"no such topic: {', '.join(sorted(missing))}; make them with `unmask topics apply`")
            places = [TopicPartition(name, n) for name in (ENFORCED, DEAD_LETTER) for n in found[name].partitions]
            for place in places:  # now: "the end" is otherwise looked up at the first fetch
                place.offset = self._consumer.get_watermark_offsets(place, timeout=_TIMEOUT)[1]
            self._consumer.assign(places)
        except KafkaException as error:
            raise UnmaskError(f"Kafka does not answer: {error.args[0]}") from error
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ending.set()
        self._thread.join()
        self._consumer.close()

    def answers(self) -> list[Answered]:
        """What was heard so far, of anybody's uploads. Raises UnmaskError when nothing more will be."""
        with self._lock:
            if self._failed is not None:
                raise UnmaskError(f"following the outcomes ended: {self._failed}") from self._failed
            return list(self._answers)

    def _read(self) -> None:
        try:
            while not self._ending.is_set():
                messages = self._consumer.consume(_BATCH, timeout=0.05)
                now = time.monotonic()
                heard = [
                    Answered(message.key().decode("utf-8", "replace"), _answer(message.topic(), message.value()), now)
                    for message in messages
                    if message.error() is None and message.key() is not None
                ]
                with self._lock:
                    self._answers += heard
        except KafkaException as error:
            with self._lock:
                self._failed = error


def _answer(topic: str | None, value: bytes | None) -> Answer:
    if topic == DEAD_LETTER:
        return Answer.DEAD_LETTER
    outcome = decode(value, MediaEnforced)
    final = isinstance(outcome, MediaEnforced) and outcome.status is OutcomeStatus.FINAL
    return Answer.FINAL if final else Answer.PROVISIONAL
