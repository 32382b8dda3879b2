"""The running parts that the benchmarks share: Apache Kafka, Triton, one worker, and the source photographs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.kafka import ClientConfig, client_config
from pipeline.models.build import build
from pipeline.models.samples import sample_photographs
from pipeline.policy.file import Policy
from pipeline.policy.file import load as load_policy
from pipeline.settings import Settings
from pipeline.stack.kafka import Kafka
from pipeline.stack.up import Stack, StackOptions, Worker
from pipeline.topology import topics
from tests.benchmarks.corpus import Photos, read_photos

Tell = Callable[[str], None]
"""Hears what is being done now."""


@dataclass(frozen=True, slots=True)
class Bench:
    """`place`: an empty folder for media; the worker may read it. `settings` are the worker's own."""

    settings: Settings
    policy: Policy
    stack: Stack
    photos: Photos
    place: Path
    tell: Tell

    @property
    def config(self) -> ClientConfig:
        """How to reach the broker."""
        return client_config(self.settings, self.stack.bootstrap_servers)

    @property
    def worker(self) -> Worker:
        """The one worker."""
        (worker,) = self.stack.workers
        return worker

    @property
    def triton_pid(self) -> int:
        """The inference server."""
        assert self.stack.triton is not None
        return _running(self.stack.triton.pid)

    @property
    def kafka_pid(self) -> int:
        """The broker."""
        assert isinstance(self.stack.broker, Kafka)
        return _running(self.stack.broker.nodes[0].pid)

    @property
    def worker_pid(self) -> int:
        """The worker; another one after a restart."""
        return _running(self.worker.pid)


@contextmanager
def running(settings: Settings, tell: Tell) -> Iterator[Bench]:
    """Start everything, empty; end it and remove what it wrote."""
    policy = load_policy(settings.policy_file, settings.calibration_file)
    build(settings.models_dir, settings.home, tell)
    photos = read_photos(
        {photo.name: photo.path for photo in sample_photographs(settings.home, settings.models_dir, tell)}
    )
    with tempfile.TemporaryDirectory(prefix="unmask-bench-", ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        media = place / "media"
        media.mkdir()
        options = StackOptions(
            home=settings.home,
            models_dir=settings.models_dir,
            topics=topics(policy.queues, settings.kafka_partitions),
            broker="kafka",
            kafka_data=place / "kafka",
            media_roots=(media,),
            database_url=f"sqlite:///{place / 'ledger.sqlite'}",
        )
        with Stack(options, lambda event: tell(f"{event.part}: {event.kind}")) as stack:
            local = settings.model_copy(
                update={
                    "triton_url": stack.triton_url,
                    "fetch_schemes": ("file",),
                    "fetch_roots": (str(media),),
                }
            )
            yield Bench(local, policy, stack, photos, media, tell)


def _running(pid: int | None) -> int:
    if pid is None:
        raise RuntimeError("a part of the stack has ended")
    return pid
