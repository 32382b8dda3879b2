"""Stacks of a test's own, and the platform that talks to one."""

from __future__ import annotations

import os
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from pipeline.events import MediaEnforced, MediaUploaded, OutcomeStatus, ReviewDecided, ReviewRequested
from pipeline.events.codec import decode
from pipeline.events.values import Action
from pipeline.kafka import client_config
from pipeline.ledger.ledger import Ledger
from pipeline.models.build import build
from pipeline.policy.file import load
from pipeline.publish import send
from pipeline.settings import Settings
from pipeline.stack.up import Stack, StackOptions
from pipeline.topology import ENFORCED, REVIEW_DECIDED, UPLOADED, review_topic, topics

MODELS = Path(__file__).parents[1] / "models"
PARTITIONS = 4
PATIENCE = 120.0


@dataclass
class Platform:
    """What a platform does: publish uploads, read outcomes, answer tasks."""

    stack: Stack
    media: Path
    ledger: Ledger
    policy: Path | None = None
    outcomes: dict[str, list[MediaEnforced]] = field(default_factory=dict)
    tasks: dict[str, list[ReviewRequested]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.config = client_config(Settings(), self.stack.bootstrap_servers)
        self._consumer = Consumer({**self.config, "group.id": "platform", "enable.auto.commit": "false"})
        names = [ENFORCED, *(review_topic(queue) for queue in load(self.policy).queues)]
        parts = [(name, part) for name in names for part in range(PARTITIONS)]
        self._consumer.assign([TopicPartition(name, part, OFFSET_BEGINNING) for name, part in parts])

    def close(self) -> None:
        self._consumer.close()

    def upload(self, path: Path, **more: object) -> MediaUploaded:
        event = MediaUploaded(media_id=str(uuid4()), uri=path.as_uri(), uploaded_at=datetime.now(UTC), **more)
        send(self.config, [(UPLOADED, event.media_id, event)])
        return event

    def until(self, done: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < end, f"no answer in {PATIENCE} s; outcomes: {self.outcomes}"
            message = self._consumer.poll(0.2)
            if message is None or message.error():
                continue
            if message.topic() == ENFORCED:
                outcome = decode(message.value(), MediaEnforced)
                assert isinstance(outcome, MediaEnforced)
                self.outcomes.setdefault(outcome.media_id, []).append(outcome)
            else:
                task = decode(message.value(), ReviewRequested)
                assert isinstance(task, ReviewRequested)
                self.tasks.setdefault(task.media_id, []).append(task)

    def outcome(self, event: MediaUploaded, round_: int = 1, status: OutcomeStatus | None = None) -> MediaEnforced:
        def found() -> list[MediaEnforced]:
            return [
                each
                for each in self.outcomes.get(event.media_id, [])
                if each.round == round_ and status in (None, each.status)
            ]

        self.until(lambda: bool(found()))
        return found()[0]

    def task(self, event: MediaUploaded, round_: int = 1) -> ReviewRequested:
        def found() -> list[ReviewRequested]:
            return [each for each in self.tasks.get(event.media_id, []) if each.round == round_]

        self.until(lambda: bool(found()))
        return found()[0]

    def review(self, task: ReviewRequested, action: Action) -> None:
        review = ReviewDecided(
            review_id=uuid4(),
            task_id=task.task_id,
            media_id=task.media_id,
            action=action,
            decided_at=datetime.now(UTC),
            reviewer_id="r-1",
            reason="looked at it",
        )
        send(self.config, [(REVIEW_DECIDED, task.media_id, review)])

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://{self.stack.workers[0].http_address}/metrics") as answer:
            return answer.read().decode()


def stack_options(
    home: Path,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    *,
    policy: Path | None = None,
    partitions: int = PARTITIONS,
    **more: Any,
) -> StackOptions:
    """A stack whose workers read `folder/media` and whose ledger is `folder/ledger.sqlite`; Apache Kafka's records lie
    beside it. The models are built. `policy`: whose queues have topics."""
    media = folder / "media"
    media.mkdir(exist_ok=True)
    build(MODELS, home)
    return StackOptions(
        home=home,
        models_dir=MODELS,
        topics=topics(load(policy).queues, partitions),
        kafka_data=folder / "kafka",
        media_roots=(media,),
        database_url=f"sqlite:///{folder / 'ledger.sqlite'}",
        environment={**os.environ, **(environment or {})},
        **more,
    )


@contextmanager
def platform_on(options: StackOptions, policy: Path | None = None) -> Iterator[Platform]:
    """A platform, with the stack that it talks to running."""
    assert options.database_url
    with Stack(options) as stack:
        ledger = Ledger(options.database_url)
        platform = Platform(stack, options.media_roots[0], ledger, policy)
        yield platform
        platform.close()
        ledger.close()
