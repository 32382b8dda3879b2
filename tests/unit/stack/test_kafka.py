"""What Kafka is configured with, and what is said when a part is missing."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from pipeline.stack.kafka import ARTEFACTS, NodePorts, Software, pom, server_properties
from pipeline.stack.process import PartMissing

THREE = (NodePorts(1, 101, 201), NodePorts(2, 102, 202), NodePorts(3, 103, 203))


def properties(own: NodePorts, cluster: tuple[NodePorts, ...]) -> dict[str, str]:
    lines = server_properties(own, cluster, Path("/data/node")).splitlines()
    return dict(line.split("=", 1) for line in lines)


def program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_one_node_keeps_one_copy():
    """A single node replicates nothing and waits for nobody."""
    found = properties(THREE[0], THREE[:1])
    assert found["default.replication.factor"] == found["min.insync.replicas"] == "1"
    assert found["controller.quorum.voters"] == "1@127.0.0.1:201"


def test_three_nodes_keep_three_copies_and_write_with_two():
    """Every topic, the internal ones too, survives the loss of one of three nodes and stays writable."""
    found = properties(THREE[1], THREE)
    assert {found[key] for key in found if key.endswith("replication.factor")} == {"3"}
    assert {found[key] for key in found if key.endswith(("min.isr", "min.insync.replicas"))} == {"2"}
    assert found["controller.quorum.voters"] == "1@127.0.0.1:201,2@127.0.0.1:202,3@127.0.0.1:203"
    assert found["node.id"] == "2"
    assert found["listeners"] == "PLAINTEXT://127.0.0.1:102,CONTROLLER://127.0.0.1:202"


def test_a_door_is_listened_at_and_another_port_is_told():
    """Clients that come by the door are told the port behind which somebody passes on what comes; brokers are not."""
    found = properties(NodePorts(1, 101, 201, door=(301, 401)), THREE[:1])
    assert found["listeners"] == "PLAINTEXT://127.0.0.1:101,CONTROLLER://127.0.0.1:201,DOOR://127.0.0.1:301"
    assert found["advertised.listeners"] == "PLAINTEXT://127.0.0.1:101,DOOR://127.0.0.1:401"
    assert found["inter.broker.listener.name"] == "PLAINTEXT"


def test_the_pom_names_every_artefact():
    """Maven is asked for exactly the pinned artefacts."""
    root = ElementTree.fromstring(pom())
    maven = "{http://maven.apache.org/POM/4.0.0}"
    named = [":".join(part.text for part in one) for one in root.iter(f"{maven}dependency")]
    assert named == list(ARTEFACTS)


def test_a_machine_without_java_is_told_to_install_it(tmp_path, monkeypatch):
    """The error names Java and the version."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PartMissing, match="install a Java 17 runtime"):
        Software(tmp_path / "kafka").fetch()


def test_an_old_java_is_refused_with_what_it_says_of_itself(tmp_path, monkeypatch):
    """The error quotes the version that was found."""
    program(tmp_path / "bin", "java", """echo 'openjdk version "11.0.2" 2019-01-15' >&2""")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(PartMissing, match=r"needs Java 17.*11\.0\.2"):
        Software(tmp_path / "kafka").fetch()


def test_a_machine_without_maven_is_told_to_install_it(tmp_path, monkeypatch):
    """Maven is asked for only when the jars are not there yet."""
    program(tmp_path / "bin", "java", """echo 'openjdk version "21" 2023-09-19' >&2""")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    software = Software(tmp_path / "kafka")
    with pytest.raises(PartMissing, match="install Maven"):
        software.fetch()
    software.lib.mkdir()
    software.fetch()


def test_a_failed_fetch_leaves_nothing_that_looks_fetched(tmp_path, monkeypatch):
    """When Maven fails its words are in the error, and the next start tries again."""
    program(tmp_path / "bin", "java", """echo 'openjdk version "17.0.1" 2021-10-19' >&2""")
    program(tmp_path / "bin", "mvn", "echo 'unknown host'; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    software = Software(tmp_path / "kafka")
    with pytest.raises(PartMissing, match="unknown host"):
        software.fetch()
    assert not software.lib.exists()
