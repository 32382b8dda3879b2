"""Real parts that integration tests share: each is started once, on first use, and ended with the run.

Tests keep out of each other's way with topics and groups of their own. A test that kills a part starts its own.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pipeline.stack.embedded_broker import EmbeddedBroker
from pipeline.stack.kafka import Kafka
from pipeline.stack.triton import Triton

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def home() -> Path:
    """Where fetched parts are kept between runs, so that jars and wheels are fetched once."""
    return Path(os.environ.get("UNMASK_HOME") or REPOSITORY / ".unmask").absolute()


@pytest.fixture(scope="session")
def embedded_broker(home: Path) -> Iterator[EmbeddedBroker]:
    """A Kafka-protocol broker in memory; `.bootstrap_servers` says where."""
    with EmbeddedBroker(home) as broker:
        yield broker


@pytest.fixture(scope="session")
def kafka(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """Apache Kafka, one empty node; `.bootstrap_servers` says where."""
    with Kafka(home, data=tmp_path_factory.mktemp("kafka")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def triton(home: Path) -> Iterator[Callable[[Path], Triton]]:
    """Serve a model repository: `triton(models_dir)` returns a running server, the same one for the same folder."""
    servers: dict[Path, Triton] = {}
    with ExitStack() as running:

        def serve(models_dir: Path) -> Triton:
            if models_dir not in servers:
                servers[models_dir] = running.enter_context(Triton(models_dir, home))
            return servers[models_dir]

        yield serve
