"""Topic changes in words."""

from pipeline.topics import TopicChange, wanted_config
from pipeline.topology import TopicSpec


def test_a_change_reads_as_a_sentence():
    """What is missing, and what differs, is said in one line each."""
    assert str(TopicChange("a", "create", "", "", "8 partitions")) == "a: create with 8 partitions"
    assert str(TopicChange("a", "partitions", "partitions", "4", "8")) == "a: partitions is 4, should be 8"


def test_a_spec_stands_for_its_cleanup_and_retention():
    """The settings are Kafka's names and text."""
    assert wanted_config(TopicSpec("a", 1, "compact", -1, "", 2048)) == {
        "cleanup.policy": "compact",
        "retention.ms": "-1",
        "max.message.bytes": "2048",
    }
