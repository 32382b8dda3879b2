"""The whole stack on one machine, in order: broker, topics, Triton, workers, console; and down again in reverse.

What exists already is used instead: a Kafka cluster by its bootstrap servers, a Triton by its URL. Nothing is printed
here; events say what happens, `Stack.listening` says where.
"""

import os
import secrets
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from pipeline.stack.embedded_broker import EmbeddedBroker
from pipeline.stack.kafka import Kafka
from pipeline.stack.ports import free_ports
from pipeline.stack.probe import responds
from pipeline.stack.process import Child, Launch, OnEvent, StackEvent, ignore
from pipeline.stack.triton import Triton
from pipeline.topics import ClientConfig, TopicsFailed
from pipeline.topics import apply as apply_topics
from pipeline.topology import TopicSpec

BrokerKind = Literal["embedded", "kafka"]


@dataclass(frozen=True)
class StackOptions:
    """What to start, and around what."""

    home: Path  # fetched parts, logs, Kafka's data, the embedded database
    models_dir: Path
    topics: tuple[TopicSpec, ...]
    broker: BrokerKind = "embedded"
    kafka_nodes: Literal[1, 3] = 1
    kafka_data: Path | None = None  # where Kafka keeps its records; in home when None
    kafka_doors: tuple[tuple[int, int], ...] = ()  # more ports for clients, one for each node; see NodePorts
    workers: int = 1
    media_roots: tuple[Path, ...] = ()  # folders that workers may read `file:` URIs from
    fetch_schemes: tuple[str, ...] = ("https", "s3", "gs", "az")  # besides `file`, when there are media roots
    database_url: str | None = None
    bootstrap_servers: str | None = None  # an existing cluster, instead of a broker
    security: ClientConfig = field(default_factory=dict)  # librdkafka's SASL and TLS settings for it
    replication: int | None = None  # of topics that are created; min(3, brokers) when None
    triton_url: str | None = None  # gRPC address of an existing server
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    worker_command: tuple[str, ...] = (sys.executable, "-m", "pipeline.cli", "worker")
    worker_ready_within_s: float = 120.0  # the console too
    worker_grace_s: float = 40.0  # longer than a worker drains
    worker_first_attempts: int = 1  # more for those (the console too) that may be started while something is away
    console: bool = False  # whether the review console runs beside the workers
    console_command: tuple[str, ...] = (sys.executable, "-m", "pipeline.cli", "console", "serve")


@dataclass(frozen=True)
class Listener:
    """One line of the table of what listens where."""

    part: str
    what: str
    address: str


class Worker:
    """One worker process; its HTTP port stays the same when it is restarted."""

    def __init__(self, number: int, environment: Mapping[str, str], options: StackOptions, on_event: OnEvent) -> None:
        (port,) = free_ports(1)
        self.name = f"worker {number}"
        self.http_address = f"127.0.0.1:{port}"
        self._child = Child(
            Launch(
                self.name,
                options.worker_command,
                log=options.home.absolute() / "log" / f"worker-{number}.log",
                ready=lambda _pid: responds(self.http_address, "/readyz"),
                env={**environment, "UNMASK_HTTP_HOST": "127.0.0.1", "UNMASK_HTTP_PORT": str(port)},
                ready_within_s=options.worker_ready_within_s,
                grace_s=options.worker_grace_s,
                first_attempts=options.worker_first_attempts,
            ),
            on_event,
        )

    @property
    def pid(self) -> int | None:
        return self._child.pid

    @property
    def is_ready(self) -> bool:
        return self._child.is_ready

    def begin(self) -> None:
        self._child.begin()

    def wait_ready(self) -> None:
        self._child.wait_ready()

    def stop(self) -> None:
        """SIGTERM, on which a worker drains."""
        self._child.stop()


class ConsoleProcess:
    """The review console; its port stays the same when it is restarted. Its secret is made for this run."""

    name = "console"

    def __init__(self, environment: Mapping[str, str], options: StackOptions, on_event: OnEvent) -> None:
        port, metrics = free_ports(2)
        self.url = f"http://127.0.0.1:{port}"
        self.metrics_address = f"127.0.0.1:{metrics}"
        self._child = Child(
            Launch(
                self.name,
                options.console_command,
                log=options.home.absolute() / "log" / "console.log",
                ready=lambda _pid: responds(f"127.0.0.1:{port}", "/readyz"),
                env={
                    "UNMASK_CONSOLE_SECRET": secrets.token_urlsafe(32),
                    **environment,
                    "UNMASK_CONSOLE_HOST": "127.0.0.1",
                    "UNMASK_CONSOLE_PORT": str(port),
                    "UNMASK_CONSOLE_METRICS_HOST": "127.0.0.1",
                    "UNMASK_CONSOLE_METRICS_PORT": str(metrics),
                    "UNMASK_CONSOLE_URL": self.url,
                },
                ready_within_s=options.worker_ready_within_s,
                grace_s=15.0,
                first_attempts=options.worker_first_attempts,
            ),
            on_event,
        )

    @property
    def pid(self) -> int | None:
        return self._child.pid

    def start(self) -> None:
        self._child.begin()
        self._child.wait_ready()

    def stop(self) -> None:
        """SIGTERM."""
        self._child.stop()

    def kill(self) -> None:
        """SIGKILL, and stay down until `start()`."""
        self._child.kill()


class Stack:
    """Everything that `unmask stack up` runs. Context manager; `stop()` may be called at any time, and twice."""

    def __init__(self, options: StackOptions, on_event: OnEvent = ignore) -> None:
        self._options = options
        self._tell = on_event
        self._running = ExitStack()
        self._provisioned = False
        self.broker: EmbeddedBroker | Kafka | None = None
        self.triton: Triton | None = None
        self.workers: tuple[Worker, ...] = ()
        self.console: ConsoleProcess | None = None

    @property
    def bootstrap_servers(self) -> str:
        servers = self.broker.bootstrap_servers if self.broker else self._options.bootstrap_servers
        return servers or ""

    @property
    def triton_url(self) -> str:
        """The gRPC address of the inference server."""
        return (self.triton.addresses.grpc if self.triton else self._options.triton_url) or ""

    @property
    def listening(self) -> tuple[Listener, ...]:
        """What listens where."""
        kafka = "kafka" if self._options.broker == "kafka" or self.broker is None else EmbeddedBroker.name
        rows = [
            Listener(kafka, "bootstrap servers", self.bootstrap_servers),
            Listener("triton", "grpc", self.triton_url),
        ]
        if self.triton:
            rows.append(Listener("triton", "http", f"http://{self.triton.addresses.http}"))
            rows.append(Listener("triton", "metrics", f"http://{self.triton.addresses.metrics}/metrics"))
        rows += [Listener(worker.name, "metrics", f"http://{worker.http_address}/metrics") for worker in self.workers]
        if self.console:
            rows.append(Listener("console", "pages and API", self.console.url))
            rows.append(Listener("console", "metrics", f"http://{self.console.metrics_address}/metrics"))
        return tuple(rows)

    def start(self) -> Self:
        """Start every part and wait until all are ready. On any error, Ctrl-C too, what runs already is stopped.

        Raises PartMissing, StartFailed or TopicsFailed.
        """
        with ExitStack() as undo:  # each stop is registered before its start, so that none can slip through
            if self._options.bootstrap_servers is None:
                self.broker = self._make_broker()
                undo.callback(self.broker.stop)
                self.broker.start()
            self._provision()
            if self._options.triton_url is None:
                self.triton = Triton(self._options.models_dir, self._options.home, self._tell)
                undo.callback(self.triton.stop)
                self.triton.start()
            self.workers = self._make_workers()
            for worker in self.workers:
                undo.callback(worker.stop)
            for worker in self.workers[:1]:  # alone at first: it may have a database to create
                worker.begin()
                worker.wait_ready()
            for worker in self.workers[1:]:
                worker.begin()
            for worker in self.workers[1:]:
                worker.wait_ready()
            if self._options.console:
                environment = worker_environment(self._options, self.bootstrap_servers, self.triton_url)
                self.console = ConsoleProcess(environment, self._options, self._tell)
                undo.callback(self.console.stop)
                self.console.start()
            self._running = undo.pop_all()
        return self

    def stop(self) -> None:
        """End every part that was started here, in reverse order."""
        self._running.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _make_broker(self) -> EmbeddedBroker | Kafka:
        if self._options.broker == "embedded":
            return EmbeddedBroker(self._options.home, self._on_broker_event)
        chosen = self._options
        return Kafka(
            chosen.home, chosen.kafka_nodes, data=chosen.kafka_data, doors=chosen.kafka_doors, on_event=self._tell
        )

    def _make_workers(self) -> tuple[Worker, ...]:
        environment = worker_environment(self._options, self.bootstrap_servers, self.triton_url)
        return tuple(
            Worker(number, environment, self._options, self._tell) for number in range(1, self._options.workers + 1)
        )

    def _provision(self) -> None:
        client = {**self._options.security, "bootstrap.servers": self.bootstrap_servers}
        for change in apply_topics(self._options.topics, client, replication=self._options.replication):
            self._tell(StackEvent("topics", "created" if change.applied else "differs", str(change)))
        self._provisioned = True

    def _on_broker_event(self, event: StackEvent) -> None:
        """Pass on; and give an embedded broker that was restarted, empty, its topics back."""
        self._tell(event)
        if event.kind == "ready" and self._provisioned:
            try:
                self._provision()
            except TopicsFailed as error:
                self._tell(StackEvent("topics", "failed", str(error)))


def worker_environment(options: StackOptions, bootstrap_servers: str, triton_url: str) -> dict[str, str]:
    """The environment of a worker: the caller's, with the addresses of this stack."""
    environment = {
        **options.environment,
        "UNMASK_HOME": str(options.home.absolute()),
        "UNMASK_MODELS_DIR": str(options.models_dir.absolute()),
        "UNMASK_KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
        "UNMASK_TRITON_URL": triton_url,
    }
    if options.broker == "embedded" and options.bootstrap_servers is None:
        environment["UNMASK_KAFKA_IDEMPOTENCE"] = "false"  # the embedded broker gives out no producer ids
    if options.database_url is not None:
        environment["UNMASK_DATABASE_URL"] = options.database_url
    if options.media_roots:
        environment["UNMASK_FETCH_ROOTS"] = ",".join(str(root.absolute()) for root in options.media_roots)
        environment["UNMASK_FETCH_SCHEMES"] = ",".join(dict.fromkeys((*options.fetch_schemes, "file")))
    return environment
