"""Provisioning on both brokers."""

from dataclasses import replace

import pytest

from pipeline import topics
from pipeline.stack.ports import free_ports
from tests.integration.stack.topic_traffic import unique_topic


@pytest.fixture(params=["kafka", "embedded_broker"])
def client(request):
    """Where to connect to, for each broker in turn."""
    return {"bootstrap.servers": request.getfixturevalue(request.param).bootstrap_servers}


def test_missing_topics_are_created_as_specified(client):
    """A topic that is missing is reported, then created with its settings; the second time nothing differs."""
    specs = [unique_topic(3), replace(unique_topic(2), cleanup="compact", retention_ms=-1)]
    assert [change.kind for change in topics.diff(specs, client)] == ["create", "create"]
    assert all(change.applied for change in topics.apply(specs, client))
    assert topics.diff(specs, client) == []
    assert topics.apply(specs, client) == []


def test_a_difference_is_reported_and_left_alone(client):
    """Other partitions, another retention: both are reported, with what is and what should be, and not touched."""
    spec = unique_topic(2)
    topics.apply([spec], client)
    other = replace(spec, partitions=4, retention_ms=7_200_000)
    found = [
        topics.TopicChange(spec.name, "partitions", "partitions", "2", "4"),
        topics.TopicChange(spec.name, "config", "retention.ms", "3600000", "7200000"),
    ]
    assert topics.diff([other], client) == found
    assert topics.apply([other], client) == found
    assert topics.diff([other], client) == found


def test_partitions_and_settings_change_when_asked(kafka):
    """On Apache Kafka partitions are added and settings altered on request."""
    client = {"bootstrap.servers": kafka.bootstrap_servers}
    spec = unique_topic(2)
    topics.apply([spec], client)
    other = replace(spec, partitions=4, retention_ms=7_200_000)
    changes = topics.apply([other], client, raise_partitions=True, alter_config=True)
    assert [change.applied for change in changes] == [True, True]
    assert topics.diff([other], client) == []


def test_partitions_are_never_taken_away(kafka):
    """Fewer partitions than there are stay a difference, even when asked."""
    client = {"bootstrap.servers": kafka.bootstrap_servers}
    spec = unique_topic(2)
    topics.apply([spec], client)
    (change,) = topics.apply([replace(spec, partitions=1)], client, raise_partitions=True)
    assert not change.applied


def test_what_the_broker_cannot_do_is_an_error_that_says_so(embedded_broker):
    """The embedded broker cannot add partitions: asking for it raises with the broker's words."""
    client = {"bootstrap.servers": embedded_broker.bootstrap_servers}
    spec = unique_topic(1)
    topics.apply([spec], client)
    with pytest.raises(topics.TopicsFailed, match="not supported by broker"):
        topics.apply([replace(spec, partitions=2)], client, raise_partitions=True)


def test_more_replicas_than_brokers_are_refused(kafka):
    """A replication factor that the cluster cannot give is an error, and the topic is not there."""
    client = {"bootstrap.servers": kafka.bootstrap_servers}
    spec = unique_topic(1)
    with pytest.raises(topics.TopicsFailed, match=r"[Rr]eplication"):
        topics.apply([spec], client, replication=3)
    assert [change.kind for change in topics.diff([spec], client)] == ["create"]


def test_no_broker_is_an_error_within_the_time_limit():
    """Nobody listens: the call ends with TopicsFailed."""
    (port,) = free_ports(1)
    with pytest.raises(topics.TopicsFailed):
        topics.diff([unique_topic()], {"bootstrap.servers": f"127.0.0.1:{port}"}, timeout_s=1.0)
