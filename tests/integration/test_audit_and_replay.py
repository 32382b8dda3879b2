"""Audit and replay against a broker and a ledger: what the agents would write is written here by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from pipeline import topics
from pipeline.audit import Violation
from pipeline.audit_facts import run_audit
from pipeline.errors import ConfigError, Stage
from pipeline.events import DeadLetter, Event
from pipeline.events.cloudevents import round_of
from pipeline.events.codec import encode
from pipeline.events.ids import dead_letter_id
from pipeline.events.values import Action, Failure
from pipeline.ledger.ledger import Ledger
from pipeline.replay import REPLAYED_FROM, Selection, replay
from pipeline.scan import Scan, Stored, existing_topics
from pipeline.stack.embedded_broker import EmbeddedBroker
from pipeline.stack.kafka import Kafka
from pipeline.topics import TopicsFailed
from pipeline.topology import DEAD_LETTER, DECIDED, ENFORCED, REVIEW_DECIDED, UPLOADED, review_topic
from pipeline.topology import topics as topology
from tests.records import NOON, decided, reviewed, routed, settled, upload

Config = dict[str, str]


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.slow)])
def cluster(request: pytest.FixtureRequest, home: Path, tmp_path: Path) -> Iterator[Config]:
    """A broker of the test's own, since an audit reads whole topics; with the topics of one queue."""
    broker = EmbeddedBroker(home) if request.param == "embedded" else Kafka(home, data=tmp_path / "kafka")
    with broker:
        config = {"bootstrap.servers": broker.bootstrap_servers}
        topics.apply(topology(["faces"], partitions=3), config)
        yield config


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    ledger.migrate()
    yield ledger
    ledger.close()


@pytest.fixture
def publish(cluster: Config) -> Iterator[Callable[..., None]]:
    producer = Producer({**cluster, "acks": "all"})

    def send(topic: str, event: Event | bytes, headers: tuple[tuple[str, bytes], ...] = (), key: bytes = b"k") -> None:
        value = event if isinstance(event, bytes) else encode(event)
        producer.produce(topic, key=key, value=value, headers=list(headers))
        assert producer.flush(30) == 0

    yield send
    assert producer.flush(30) == 0


def read(cluster: Config, topic: str) -> list[Stored]:
    return list(Scan(cluster, frozenset({topic})))


def bury(record: Stored, media_id: str | None) -> DeadLetter:
    return DeadLetter(
        dead_letter_id=dead_letter_id(record.topic, record.partition, record.offset),
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=record.key,
        value=record.value or b"",
        headers=record.headers,
        failure=Failure(stage="fetch", reason="source_not_found", detail="404"),
        buried_at=NOON,
        media_id=media_id,
        round=round_of(record.headers),
    )


def test_audit_and_replay(cluster: Config, ledger: Ledger, publish: Callable[..., None]) -> None:
    """One flow: what holds is found to hold, what is missing is named, a replay sends it again once, as a new round."""
    # Sixty uploads that were decided, every third one by a person, and one that no agent could read.
    for number in range(60):
        media_id = f"m{number}"
        publish(UPLOADED, upload(media_id), key=media_id.encode())
        event = decided(media_id, review=None if number % 3 else "faces")
        publish(DECIDED, event)
        task, outcome = routed(ledger.record_decision(event, *routed(event)))
        if task is not None:
            publish(review_topic("faces"), task)
        publish(ENFORCED, outcome)
        if task is not None and number % 2:
            publish(REVIEW_DECIDED, reviewed(task, Action.LIMIT))
            found = ledger.record_review(reviewed(task, Action.LIMIT))
            assert found is not None
            publish(ENFORCED, ledger.record_final(settled(found.review, found.task)))
    publish(ENFORCED, outcome)
    publish(UPLOADED, b"\x00\xff no event", (("x", b"\x01"),))
    report = run_audit(cluster, ledger)
    assert [finding.kind for finding in report.violations] == [Violation.NOT_BURIED]
    assert (report.counts.uploads, report.counts.final, report.counts.waiting) == (60, 50, 10)
    assert report.duplicates.total == report.duplicates.enforced == 1
    assert report.incomplete == ()

    # It is buried, with an upload that was never found: the promise holds.
    publish(UPLOADED, upload("gone"), (("traceparent", b"t"),), b"gone")
    for record in read(cluster, UPLOADED):
        if record.key == b"gone" or record.headers == (("x", b"\x01"),):
            publish(DEAD_LETTER, bury(record, "gone" if record.key == b"gone" else None))
    report = run_audit(cluster, ledger)
    assert report.violations == ()
    assert (report.counts.dead_letters, report.counts.buried_only, report.counts.malformed) == (2, 1, 1)

    # A dry run sends nothing, a replay sends byte for byte, a second one finds nothing left to do.
    chosen = Selection(stage=Stage.FETCH, media_id="gone")
    before = len(read(cluster, UPLOADED))
    planned = replay(cluster, chosen)
    assert ([resend.round for resend in planned.resends], planned.sent) == ([2], False)
    assert len(read(cluster, UPLOADED)) == before
    assert replay(cluster, chosen, dry_run=False).sent
    again = replay(cluster, chosen, dry_run=False)
    assert (again.resends, again.already, again.sent) == ((), 1, False)
    first, second = sorted((r for r in read(cluster, UPLOADED) if r.key == b"gone"), key=lambda r: round_of(r.headers))
    assert (second.value, second.partition, round_of(second.headers)) == (first.value, first.partition, 2)
    assert dict(second.headers)[REPLAYED_FROM] == str(planned.resends[0].letter.dead_letter_id).encode()
    assert dict(second.headers)["traceparent"] == b"t"

    # The new round is an upload that nobody answered yet.
    (finding,) = run_audit(cluster, ledger).violations
    assert (finding.kind, finding.media_id, finding.round) == (Violation.UNANSWERED, "gone", 2)
    # The other dead letter is left, and names no upload.
    assert [resend.letter.media_id for resend in replay(cluster).resends] == [None]


def test_many_records_are_all_read(embedded_broker: EmbeddedBroker) -> None:
    """Also where the broker names the wrong end of its log: a batch that was written as one is read to its end."""
    config = {"bootstrap.servers": embedded_broker.bootstrap_servers}
    name = "scan.many"
    topics.apply([replace(topology([])[0], name=name)], config)
    producer = Producer({**config, "linger.ms": 200})
    for number in range(5_000):
        producer.produce(name, key=str(number), value=b"v")
    assert producer.flush(60) == 0
    scan = Scan(config, frozenset({name}))
    assert {record.key for record in scan} == {str(number).encode() for number in range(5_000)}
    assert scan.incomplete == set()
    assert name in existing_topics(config, "scan.")


def test_a_topic_that_is_not_there_is_the_operator_s_business(embedded_broker: EmbeddedBroker) -> None:
    """The message says what to do."""
    with pytest.raises(ConfigError, match=r"scan\.absent; make them with `unmask topics apply`"):
        list(Scan({"bootstrap.servers": embedded_broker.bootstrap_servers}, frozenset({"scan.absent"})))


def test_a_cluster_that_is_away_fails() -> None:
    """An audit without a broker does not hold by default."""
    scan = Scan({"bootstrap.servers": "127.0.0.1:1"}, frozenset({"any"}), stall_seconds=1.0)
    with pytest.raises(TopicsFailed):
        list(scan)


@pytest.mark.slow
def test_records_that_are_gone_are_noticed(kafka: Kafka) -> None:
    """A topic that retention has shortened is read from where it begins now, and named as incomplete."""
    config = {"bootstrap.servers": kafka.bootstrap_servers}
    name = "scan.shortened"
    topics.apply([replace(topology([], partitions=1)[0], name=name)], config)
    producer = Producer({**config, "acks": "all"})
    for number in range(10):
        producer.produce(name, value=str(number).encode())
    assert producer.flush(30) == 0
    scan = Scan(config, frozenset({name}))
    assert len(list(scan)) == 10
    assert scan.incomplete == set()
    admin = AdminClient(config)
    (gone,) = admin.delete_records([TopicPartition(name, 0, 4)]).values()
    gone.result(30)
    scan = Scan(config, frozenset({name}))
    assert [record.value for record in scan] == [str(number).encode() for number in range(4, 10)]
    assert scan.incomplete == {name}
