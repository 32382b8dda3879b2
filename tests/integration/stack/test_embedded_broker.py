"""The broker in memory."""

import os
import signal
import time

from pipeline import topics
from pipeline.stack.embedded_broker import EmbeddedBroker, answers
from tests.integration.stack.topic_traffic import consume, produce, unique_topic


def test_what_is_produced_is_consumed(embedded_broker):
    """Records pass through, in order within a partition."""
    spec, values = unique_topic(), [b"%d" % i for i in range(100)]
    topics.apply([spec], {"bootstrap.servers": embedded_broker.bootstrap_servers})
    produce(embedded_broker.bootstrap_servers, spec.name, values)
    assert consume(embedded_broker.bootstrap_servers, spec.name, 100) == values


def test_a_killed_broker_comes_back_on_its_port_and_empty(home):
    """After SIGKILL the same address answers again; what was in memory is gone."""
    events = []
    spec = unique_topic()
    with EmbeddedBroker(home, events.append) as broker:
        client = {"bootstrap.servers": broker.bootstrap_servers}
        topics.apply([spec], client)
        os.kill(broker.pid, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while [event.kind for event in events].count("ready") < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert [change.kind for change in topics.diff([spec], client)] == ["create"]
    assert not answers(broker.bootstrap_servers)
