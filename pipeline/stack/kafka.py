"""Apache Kafka in KRaft mode out of Maven Central's jars, under Java 17: one node, or three, of which one may die.

Every node is broker and controller, with its own ports and log directory, and can be killed, stopped and started
alone; it comes back on the same ports with what it had written.
"""

import base64
import os
import re
import shutil
import subprocess
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from xml.sax.saxutils import escape

from pipeline.stack.lock import locked
from pipeline.stack.ports import free_ports
from pipeline.stack.process import Child, Launch, OnEvent, PartMissing, StackEvent, ignore
from pipeline.topics import TopicsFailed, broker_ids

KAFKA_VERSION = "4.1.0"
ARTEFACTS = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
    "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3",
)
COPY_GOAL = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
JAVA_AT_LEAST = 17
JVM_OPTIONS = ("-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")

LOG4J = """\
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %p %c{1}: %m%n
"""


@dataclass(frozen=True)
class NodePorts:
    """Where one node listens on 127.0.0.1. `door`: one more port for clients, and the one that they are told instead
    of it, behind which somebody passes on what comes."""

    node_id: int
    broker: int
    controller: int
    door: tuple[int, int] | None = None


class KafkaNode:
    """One broker and controller."""

    def __init__(self, ports: NodePorts, cluster: tuple[NodePorts, ...], software: "Software", data: Path,
                 cluster_id: str, on_event: OnEvent) -> None:  # fmt: skip
        self.node_id = ports.node_id
        self.bootstrap_servers = f"127.0.0.1:{ports.broker}"
        self._software = software
        self._cluster_id = cluster_id
        self._properties = data / f"node-{ports.node_id}.properties"
        self._log_dir = data / f"node-{ports.node_id}"
        self._text = server_properties(ports, cluster, self._log_dir)
        name = "kafka" if len(cluster) == 1 else f"kafka {ports.node_id}"
        self._child = Child(
            Launch(
                name,
                software.java("kafka.Kafka", str(self._properties)),
                log=data / f"node-{ports.node_id}.log",
                ready=lambda _pid: self._has_joined(),
                ready_within_s=120.0,
                grace_s=20.0,
            ),
            on_event,
        )

    @property
    def pid(self) -> int | None:
        return self._child.pid

    @property
    def is_ready(self) -> bool:
        return self._child.is_ready

    def start(self) -> None:
        """Start, and wait until the cluster counts it as up. Raises StartFailed."""
        self.begin()
        self.wait_ready()

    def begin(self) -> None:
        """Start without waiting: the first nodes of a cluster wait for each other."""
        self._properties.parent.mkdir(parents=True, exist_ok=True)
        self._properties.write_text(self._text)
        if not (self._log_dir / "meta.properties").exists():
            self._software.run(
                *("kafka.tools.StorageTool", "format", "-t", self._cluster_id, "-c", str(self._properties))
            )
        self._child.begin()

    def wait_ready(self) -> None:
        self._child.wait_ready()

    def stop(self) -> None:
        """SIGTERM: it hands its partitions over first."""
        self._child.stop()

    def kill(self) -> None:
        """SIGKILL, and stay down until `start()`."""
        self._child.kill()

    def _has_joined(self) -> bool:
        with suppress(TopicsFailed):
            return self.node_id in broker_ids({"bootstrap.servers": self.bootstrap_servers}, timeout_s=1.0)
        return False


class Kafka:
    """A cluster of one or three nodes on this machine. Context manager.

    `data` keeps what was written from one run to the next; by default it lies in `home`. `doors`: see NodePorts, one
    for each node.
    """

    def __init__(self, home: Path, nodes: int = 1, *, data: Path | None = None, doors: Sequence[tuple[int, int]] = (),
                 on_event: OnEvent = ignore) -> None:  # fmt: skip
        home = home.absolute()
        software = Software(home / "kafka" / KAFKA_VERSION, on_event)
        data = (data or home / "kafka" / f"data-{nodes}").absolute()
        free = free_ports(2 * nodes)
        ports = tuple(
            NodePorts(i + 1, free[2 * i], free[2 * i + 1], door)
            for i, door in zip(range(nodes), doors or (None,) * nodes, strict=True)
        )
        cluster_id = _cluster_id(data)
        self._software = software
        self.nodes = tuple(KafkaNode(own, ports, software, data, cluster_id, on_event) for own in ports)
        self.bootstrap_servers = ",".join(node.bootstrap_servers for node in self.nodes)

    def start(self) -> Self:
        """Fetch what is missing and start every node. Raises PartMissing or StartFailed; nothing is left then."""
        self._software.fetch()
        try:
            for node in self.nodes:
                node.begin()
            for node in self.nodes:
                node.wait_ready()
        except BaseException:
            for node in self.nodes:
                node.kill()
            raise
        return self

    def stop(self) -> None:
        """Stop the nodes. One that is left without a majority is killed: it would wait in vain to sign off, and what it
        wrote is safe with the kernel."""
        up = sum(node.pid is not None for node in self.nodes)
        for node in self.nodes:
            if 2 * up > len(self.nodes):
                node.stop()
            else:
                node.kill()
            up = sum(other.pid is not None for other in self.nodes)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def server_properties(own: NodePorts, cluster: tuple[NodePorts, ...], log_dir: Path) -> str:
    """The configuration of one node. Internal topics are kept small, since one machine carries them all."""
    replicas = min(3, len(cluster))
    in_sync = max(1, replicas - 1)
    door, told = (f",DOOR://127.0.0.1:{port}" for port in own.door) if own.door else ("", "")
    voters = ",".join(f"{node.node_id}@127.0.0.1:{node.controller}" for node in cluster)
    settings: dict[str, object] = {
        "process.roles": "broker,controller",
        "node.id": own.node_id,
        "controller.quorum.voters": voters,
        "listeners": f"PLAINTEXT://127.0.0.1:{own.broker},CONTROLLER://127.0.0.1:{own.controller}{door}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{own.broker}{told}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,DOOR:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": log_dir,
        "auto.create.topics.enable": "false",  # topics are provisioned; a typing error must not make one
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": replicas,
        "offsets.topic.num.partitions": 8,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
        "group.initial.rebalance.delay.ms": 0,
        "broker.session.timeout.ms": 4000,  # a killed broker loses its partitions after this, not after 9 s
        "broker.heartbeat.interval.ms": 500,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())


@dataclass(frozen=True)
class Software:
    """Kafka's jars in a directory of their own, and the Java that runs them."""

    directory: Path
    on_event: OnEvent = ignore

    @property
    def lib(self) -> Path:
        return self.directory / "lib"

    def java(self, *arguments: str) -> tuple[str, ...]:
        """The command line of a class out of the jars."""
        logging = f"-Dlog4j2.configurationFile={self.directory / 'log4j2.properties'}"
        return ("java", *JVM_OPTIONS, logging, "-cp", f"{self.lib}/*", *arguments)

    def run(self, *arguments: str) -> None:
        _run(self.java(*arguments))

    def fetch(self) -> None:
        """Make sure that Java is there and the jars are here. Raises PartMissing."""
        _check_java()
        self.directory.mkdir(parents=True, exist_ok=True)
        with locked(self.directory / ".lock"):
            if self.lib.exists():
                return
            self.on_event(StackEvent("kafka", "fetching", f"Apache Kafka {KAFKA_VERSION} from Maven Central"))
            if shutil.which("mvn") is None:
                raise PartMissing("mvn is needed once to fetch Apache Kafka: install Maven 3.6 or later")
            (self.directory / "pom.xml").write_text(pom())
            (self.directory / "log4j2.properties").write_text(LOG4J)
            partly = self.directory / "lib.partly"
            shutil.rmtree(partly, ignore_errors=True)
            pom_file = str(self.directory / "pom.xml")
            _run(("mvn", "-B", "-q", "-C", "-f", pom_file, COPY_GOAL, f"-DoutputDirectory={partly}"))
            partly.rename(self.lib)


def pom() -> str:
    """A Maven project that is nothing but Kafka's dependencies; Maven checks their checksums (-C)."""
    dependencies = "".join(
        "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>".format(
            *map(escape, artefact.split(":"))
        )
        for artefact in ARTEFACTS
    )
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>unmask</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>"
        f"<dependencies>{dependencies}</dependencies></project>\n"
    )


def _check_java() -> None:
    if shutil.which("java") is None:
        raise PartMissing(f"java is needed for Apache Kafka: install a Java {JAVA_AT_LEAST} runtime or later")
    told = subprocess.run(("java", "-version"), capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', told)
    if version is None or int(version.group(1)) < JAVA_AT_LEAST:
        raise PartMissing(f"Apache Kafka needs Java {JAVA_AT_LEAST} or later, but java -version says: {told.strip()}")


def _run(command: tuple[str, ...]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    if done.returncode:
        raise PartMissing(f"{' '.join(command[:1])} failed: {(done.stdout + done.stderr)[-2000:]}")


def _cluster_id(data: Path) -> str:
    """The id that the log directories were formatted with, or a new one."""
    for meta in sorted(data.glob("node-*/meta.properties")):
        if found := re.search(r"^cluster\.id=(\S+)$", meta.read_text(), re.MULTILINE):
            return found.group(1)
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
