"""Apache Kafka in KRaft mode, one node and three."""

import os
import signal
import time

from pipeline import topics
from pipeline.stack.kafka import Kafka
from tests.integration.stack.topic_traffic import consume, produce, unique_topic


def test_what_is_produced_is_consumed(kafka):
    """Records pass through, in order within a partition."""
    spec, values = unique_topic(), [b"%d" % i for i in range(100)]
    topics.apply([spec], {"bootstrap.servers": kafka.bootstrap_servers})
    produce(kafka.bootstrap_servers, spec.name, values)
    assert consume(kafka.bootstrap_servers, spec.name, 100) == values


def test_a_killed_node_comes_back_with_its_records(home, tmp_path):
    """After SIGKILL a node is restarted on its port with what it had acknowledged; and so after a new start."""
    spec, values = unique_topic(), [b"%d" % i for i in range(100)]
    events = []
    with Kafka(home, data=tmp_path, on_event=events.append) as cluster:
        (node,) = cluster.nodes
        topics.apply([spec], {"bootstrap.servers": cluster.bootstrap_servers})
        produce(cluster.bootstrap_servers, spec.name, values)
        os.kill(node.pid, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while [event.kind for event in events].count("ready") < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert consume(cluster.bootstrap_servers, spec.name, 100) == values
    with Kafka(home, data=tmp_path) as again:
        assert consume(again.bootstrap_servers, spec.name, 100) == values


def test_three_nodes_survive_the_loss_of_any_one(home, tmp_path):
    """With one of three nodes killed, writes are acknowledged by those in sync; it returns to its place."""
    spec = unique_topic(partitions=6)
    with Kafka(home, 3, data=tmp_path) as cluster:
        client = {"bootstrap.servers": cluster.bootstrap_servers}
        topics.apply([spec], client)
        produce(cluster.bootstrap_servers, spec.name, [b"before"] * 30)
        lost = cluster.nodes[1]
        lost.kill()
        assert lost.pid is None
        produce(cluster.bootstrap_servers, spec.name, [b"without"] * 30)
        lost.start()
        assert topics.broker_ids(client) == {1, 2, 3}
        cluster.nodes[2].stop()
        produce(cluster.bootstrap_servers, spec.name, [b"after"] * 30)
        values = consume(cluster.bootstrap_servers, spec.name, 90)
    assert sorted(values) == sorted([b"before"] * 30 + [b"without"] * 30 + [b"after"] * 30)
