"""Backing up and restoring, as docs/ledger.md says, with rows in every table; and putting right an older backup by the
topics."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from pipeline.audit_facts import run_audit
from pipeline.demo.media import rendered, write_jpeg
from pipeline.events import MediaUploaded, OutcomeStatus, ReviewDecided, ReviewRequested
from pipeline.events.values import Action
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.tables import metadata
from pipeline.models.build import build
from pipeline.policy.file import load
from pipeline.publish import send
from pipeline.stack.kafka import Kafka
from pipeline.stack.triton import Triton
from pipeline.stack.up import Stack, StackOptions
from pipeline.topology import DECIDED, REVIEW_DECIDED, UPLOADED, topics
from tests.integration.conftest import REPOSITORY
from tests.migration_promises import fill, held
from tests.postgres import Postgres, running_postgres

PATIENCE = 120.0
PARTITIONS = 2
GROUP = "unmask"


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


def database(server: Postgres, name: str) -> str:
    """A new, empty database; its URL, for libpq and for Unmask alike."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return server.url.replace("/postgres?", f"/{name}?")


def dump(server: Postgres, url: str, file: Path) -> None:
    run(server, "pg_dump", "--format=custom", f"--file={file}", url)


def restore(server: Postgres, file: Path, url: str) -> None:
    options = ("--no-owner", "--exit-on-error", "--single-transaction")
    run(server, "pg_restore", *options, f"--dbname={url}", str(file))


def run(server: Postgres, program: str, *arguments: str) -> None:
    done = subprocess.run([server.programs / program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_dump_of_postgresql_is_the_ledger(server: Postgres, tmp_path: Path) -> None:
    """Every row of every table, and a schema that needs no migration."""
    ledger, again = Ledger(database(server, "live")), Ledger(database(server, "restored"))
    ledger.migrate()
    with ledger._writes.begin() as connection:
        fill(connection)
    dump(server, server.url.replace("/postgres?", "/live?"), tmp_path / "ledger.dump")
    restore(server, tmp_path / "ledger.dump", server.url.replace("/postgres?", "/restored?"))
    again.check()
    assert held(again) == held(ledger)
    with again._engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    for each in (ledger, again):
        each.close()


def test_a_copy_of_sqlite_is_the_ledger_while_it_is_written(tmp_path: Path) -> None:
    """`VACUUM INTO` takes what is committed, also what still lies in the write-ahead log; a plain copy would not."""
    live, copy, back = (tmp_path / name for name in ("live.sqlite", "copy.sqlite", "back.sqlite"))
    ledger = Ledger(f"sqlite:///{live}")
    ledger.migrate()
    with ledger._writes.begin() as connection:
        fill(connection)
    before = held(ledger)
    writer = sqlite3.connect(live)
    writer.execute("DELETE FROM preferences")  # under way: not committed, so it is not in the copy
    with sqlite3.connect(live) as other:
        other.execute("VACUUM INTO ?", [str(copy)])
    writer.rollback()
    writer.close()
    ledger.close()
    shutil.copyfile(copy, back)
    again = Ledger(f"sqlite:///{back}")
    again.migrate()
    again.check()
    assert held(again) == before
    again.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_older_backup_is_put_right_by_the_topics(
    server: Postgres, home: Path, triton: Callable[[Path], Triton], tmp_path: Path
) -> None:
    """What was decided and answered after the backup is read again from `media.decided`, then from `review.decided`:
    the same outcomes are in the ledger as before, and the audit holds."""
    models, media = REPOSITORY / "models", tmp_path / "media"
    media.mkdir()
    build(models, home)
    write_jpeg(media / "there.jpg", rendered(5))
    url = database(server, "before")
    with Kafka(home, data=tmp_path / "kafka") as kafka:
        config = {"bootstrap.servers": kafka.bootstrap_servers}

        @contextmanager
        def working(url: str) -> Iterator[Ledger]:
            """A worker, until all that was asked for is done; its ledger."""
            options = StackOptions(
                home=home,
                models_dir=models,
                topics=topics(load(None).queues, PARTITIONS),
                bootstrap_servers=kafka.bootstrap_servers,
                triton_url=triton(models).addresses.grpc,
                media_roots=(media,),
                database_url=url,
                environment={**os.environ, "UNMASK_KAFKA_GROUP": GROUP},
            )
            with Stack(options):
                ledger = Ledger(url)
                yield ledger
                ledger.close()

        def upload(ledger: Ledger, name: str) -> MediaUploaded:
            event = MediaUploaded(media_id=str(uuid4()), uri=(media / name).as_uri(), uploaded_at=datetime.now(UTC))
            send(config, [(UPLOADED, event.media_id, event)])
            until(lambda: ledger.outcome(event.media_id) is not None)
            return event

        def answer(ledger: Ledger, event: MediaUploaded) -> None:
            (task,) = (task for task in ledger.open_tasks() if task.media_id == event.media_id)
            send(config, [(REVIEW_DECIDED, event.media_id, answered(task))])
            until(lambda: final(ledger, event))

        with working(url) as ledger:
            upload(ledger, "there.jpg")
            early, waiting = upload(ledger, "not-there.jpg"), upload(ledger, "not-there.jpg")
            answer(ledger, early)
            dump(server, url, tmp_path / "ledger.dump")
            upload(ledger, "there.jpg")
            late = upload(ledger, "not-there.jpg")
            for event in (waiting, late):
                answer(ledger, event)
            whole = outcomes(ledger)
        ledger = Ledger(url)
        assert run_audit(config, ledger).holds
        ledger.close()

        url = database(server, "after")
        restore(server, tmp_path / "ledger.dump", url)
        ledger = Ledger(url)
        assert not run_audit(config, ledger).holds
        ledger.close()

        back_to_the_beginning(config, DECIDED)
        with working(url) as ledger:
            until(lambda: ledger.outcome(late.media_id) is not None and len(outcomes(ledger)) == len(whole) - 2)
            assert not final(ledger, late)
        back_to_the_beginning(config, REVIEW_DECIDED)
        with working(url) as ledger:
            until(lambda: final(ledger, waiting) and final(ledger, late))
            assert outcomes(ledger) == whole
        ledger = Ledger(url)
        report = run_audit(config, ledger)
        assert report.violations == ()
        assert (report.counts.uploads, report.counts.final, report.counts.dead_letters) == (5, 5, 3)
        ledger.close()


def answered(task: ReviewRequested) -> ReviewDecided:
    return ReviewDecided(
        review_id=uuid4(),
        task_id=task.task_id,
        media_id=task.media_id,
        action=Action.REMOVE,
        decided_at=datetime.now(UTC),
        reviewer_id="r-1",
        round=task.round,
    )


def final(ledger: Ledger, event: MediaUploaded) -> bool:
    outcome = ledger.outcome(event.media_id)
    return outcome is not None and outcome.status is OutcomeStatus.FINAL


def outcomes(ledger: Ledger) -> set[object]:
    """Every outcome on record, whole."""
    return set(ledger.all_outcomes())


def until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end, f"nothing in {PATIENCE} s"
        time.sleep(0.2)


def back_to_the_beginning(config: dict[str, str], topic: str) -> None:
    """What `kafka-consumer-groups.sh --reset-offsets --to-earliest` does; refused while the group has members."""
    wanted = [TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)]
    admin = AdminClient(config)

    def done() -> bool:
        asked = admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(GROUP, wanted)])
        try:
            found = asked[GROUP].result(30)
        except KafkaException:
            return False
        return all(partition.error is None for partition in found.topic_partitions)

    until(done)
