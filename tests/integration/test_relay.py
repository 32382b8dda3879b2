"""The relay as processes of its own, beside a real broker."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from pipeline.kafka import client_config
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.work import Work
from pipeline.settings import Settings
from pipeline.stack.embedded_broker import EmbeddedBroker
from pipeline.stack.ports import free_ports
from pipeline.topics import apply
from pipeline.topology import TopicSpec

TOPIC = "relayed"
PATIENCE = 240.0

pytestmark = pytest.mark.timeout(600)


class Relay:
    """`unmask relay` in a process."""

    def __init__(self, broker: EmbeddedBroker, database: str, log: Path) -> None:
        (port,) = free_ports(1)
        self.log, self.url = log, f"http://127.0.0.1:{port}"
        env = os.environ | {
            "UNMASK_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
            "UNMASK_KAFKA_IDEMPOTENCE": "false",
            "UNMASK_DATABASE_URL": database,
            "UNMASK_HTTP_PORT": str(port),
        }
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pipeline.cli", "relay"], env=env, stdout=out, stderr=subprocess.STDOUT
            )

    def said(self, path: str) -> str:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text(encoding="utf-8")
        try:
            return "ok" in self.said("/readyz") and "true" in self.said("/livez")
        except OSError:
            return False

    def number(self, series: str) -> float:
        found = re.search(rf"^{re.escape(series)} (\S+)$", self.said("/metrics"), re.MULTILINE)
        assert found, series
        return float(found[1])

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@pytest.fixture
def relays(embedded_broker: EmbeddedBroker, tmp_path: Path) -> Iterator[tuple[Relay, Relay]]:
    """Two of them on one ledger."""
    database = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    made = tuple(Relay(embedded_broker, database, tmp_path / f"relay-{number}.log") for number in range(2))
    yield made[0], made[1]
    for relay in made:
        if relay.process.poll() is None:
            relay.process.kill()
            relay.process.wait()


def until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end
        time.sleep(0.2)


def test_two_relays_share_the_work_and_publish_it_once(
    relays: tuple[Relay, Relay], embedded_broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """Both are alive and ready, one publishes; when that one is told to stop the other goes on. Each record is there
    once, and each key's in order."""
    config = client_config(Settings(), embedded_broker.bootstrap_servers)
    apply((TopicSpec(TOPIC, 1, "delete", 3_600_000, "this test"),), config)
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    ledger.migrate()
    work = Work(ledger)
    consumer = Consumer({**config, "group.id": "relayed", "enable.auto.commit": "false"})
    consumer.assign([TopicPartition(TOPIC, 0, OFFSET_BEGINNING)])
    read: list[tuple[bytes, bytes]] = []

    def there(count: int) -> bool:
        while (message := consumer.poll(0.2)) is not None:
            assert message.error() is None
            read.append((message.key(), message.value()))
        return len(read) >= count

    def post(numbers: range) -> None:
        for i in numbers:
            work.post(TOPIC, f"k{i % 4}", b"%03d" % i, datetime.now(UTC))

    until(lambda: all(relay.ready() for relay in relays))
    until(lambda: sum(relay.number("unmask_outbox_turn") for relay in relays) == 1)
    post(range(40))
    until(lambda: there(40))
    first, second = sorted(relays, key=lambda relay: relay.number("unmask_outbox_turn"), reverse=True)
    assert first.number(f'unmask_outbox_published_total{{topic="{TOPIC}"}}') == 40
    assert first.end() == 0
    post(range(40, 50))
    until(lambda: there(50))
    assert second.number(f'unmask_outbox_published_total{{topic="{TOPIC}"}}') == 10
    until(lambda: second.number('unmask_outbox_records{state="due"}') == 0)
    assert second.end() == 0
    there(51)
    consumer.close()
    ledger.close()
    assert len(read) == 50
    for key in range(4):
        assert [value for k, value in read if k == b"k%d" % key] == [b"%03d" % i for i in range(key, 50, 4)]
