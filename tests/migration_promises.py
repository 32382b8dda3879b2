"""What the steps of the schema promise, whatever database lies under it. A test module provides the fixtures `ledger`
(of today's schema, empty) and `make` (an empty database of a schema, by its revision)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, Table, inspect, select, text

from pipeline.errors import ConfigError
from pipeline.events.values import Action
from pipeline.ledger import ledger as ledger_module
from pipeline.ledger import work_tables  # noqa: F401 - it adds its tables to the metadata
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.tables import SCHEMA, metadata
from pipeline.ledger.work import Work
from pipeline.review.port import Answer
from tests.records import NOON, decided, reviewed, routed, settled
from tests.work_promises import GRACE, LEASE

Make = Callable[[str], Ledger]

_CHECKED = {
    ("tasks", "state"): ("open", "decided"),
    ("outcomes", "status"): ("provisional", "final"),
    ("quarantines", "action"): ("quarantine", "report"),
    ("reopened", "match"): ("named", "near_copy"),
    ("answers", "status"): ("received", "done"),
    ("statements", "state"): ("queued", "sent"),
    ("statements", "status"): ("provisional", "final"),
}
"""Columns that take certain words only."""


def revisions() -> list[str]:
    """Every step, oldest first."""
    config = Config()
    config.set_main_option("script_location", str(ledger_module._MIGRATIONS))
    return [script.revision for script in reversed(list(ScriptDirectory.from_config(config).walk_revisions()))]


def upgraded(url: str, revision: str) -> Ledger:
    """An empty database that went forward to a step, and no further."""
    ledger = Ledger(url)
    if url.startswith("sqlite"):
        ledger_module._prepare_file(ledger._engine)
    with ledger._writes.begin() as connection:
        command.upgrade(ledger_module._steps(connection), revision)
    return ledger


def row_of(table: Table, number: int) -> dict[str, Any]:
    """A row with a value in every column; the same number gives the same keys in all tables."""

    def value(column: Any) -> Any:
        words = _CHECKED.get((table.name, column.name))
        if words is not None:
            return words[number % 2]
        if column.name == "round":
            return number + 1
        kind = type(column.type).__name__
        match kind:
            case "Uuid":
                return UUID(int=number + 1)
            case "Utc" | "DateTime":
                return NOON + timedelta(days=number)
            case "Integer" | "BigInteger":
                return number + 1
            case "Float":
                return number + 0.5
            case "Boolean":
                return bool(number % 2)
            case "LargeBinary":
                return bytes([number])
            case "Text":
                return f"{column.name} {number}"
        raise AssertionError(f"{table.name}.{column.name} is {kind}: say here what to fill it with")

    return {column.name: value(column) for column in table.columns}


def fill(connection: Connection) -> None:
    """Two rows in every table."""
    for table in metadata.sorted_tables:
        connection.execute(table.insert(), [row_of(table, number) for number in range(2)])


def held(ledger: Ledger) -> dict[str, list[dict[str, str]]]:
    """Every row of every table, as it is read today; of columns that are there."""
    with ledger._engine.connect() as connection:
        there = {
            name: {c["name"] for c in inspect(connection).get_columns(name)}
            for name in inspect(connection).get_table_names()
        }
        return {
            table.name: sorted(
                (
                    {name: repr(value) for name, value in row.items()}
                    for row in connection.execute(
                        select(*(c for c in table.columns if c.name in there[table.name]))
                    ).mappings()
                ),
                key=repr,
            )
            for table in metadata.sorted_tables
            if table.name in there
        }


def described(ledger: Ledger) -> dict[str, Any]:
    """The schema: columns, keys, references, checks and indexes of every table."""
    with ledger._engine.connect() as connection:
        found = inspect(connection)
        return {
            name: {
                "columns": sorted((c["name"], str(c["type"]), c["nullable"]) for c in found.get_columns(name)),
                "key": found.get_pk_constraint(name)["constrained_columns"],
                "references": sorted(repr(sorted(k.items(), key=repr)) for k in found.get_foreign_keys(name)),
                "unique": sorted(repr(k["column_names"]) for k in found.get_unique_constraints(name)),
                "checks": sorted(k["sqltext"] for k in found.get_check_constraints(name)),
                "indexes": sorted(
                    (str(k["name"]), tuple(map(str, k["column_names"]))) for k in found.get_indexes(name)
                ),
            }
            for name in found.get_table_names()
            if name != "alembic_version"
        }


def schema(ledger: Ledger) -> str:
    """The revision on record."""
    return ledger._schema()


class MigrationPromises:
    """Inherit, and name the subclass Test…"""

    @pytest.mark.parametrize("revision", revisions()[:-1])
    def test_back_and_forward_with_rows_in_every_table(self, ledger: Ledger, make: Make, revision: str) -> None:
        """Going back gives the older release's very schema and keeps every row and value that it knows; going forward
        again gives today's, with empty tables where those were lost."""
        with ledger._writes.begin() as connection:
            fill(connection)
            connection.execute(text("UPDATE outbox SET sent_at = created_at"))
        before = held(ledger)
        ledger.go_back(revision)
        old = make(revision)
        assert (schema(ledger), described(ledger)) == (revision, described(old))
        kept = held(ledger)
        assert kept == {
            name: sorted(({key: row[key] for key in kept[name][0]} for row in before[name]), key=repr) for name in kept
        }
        assert all(len(rows) == 2 for rows in kept.values())

        ledger.migrate()
        ledger.check()
        with ledger._engine.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        after = held(ledger)
        assert {name for name, rows in after.items() if not rows} == set(before) - set(kept)
        for name, rows in kept.items():
            assert sorted(({key: row[key] for key in rows[0]} for row in after[name]), key=repr) == rows
        old.close()

    def test_all_the_way_back_leaves_nothing(self, ledger: Ledger) -> None:
        """And a migration makes it new."""
        with ledger._writes.begin() as connection:
            command.downgrade(ledger_module._steps(connection), "base")
        assert described(ledger) == {}
        ledger.migrate()
        ledger.check()

    def test_steps_that_are_not_there_are_refused(self, ledger: Ledger) -> None:
        """Forward is not back, and a revision that nobody made is no revision; nothing is changed."""
        for revision in (SCHEMA, "9999", "0000", "base", "-1", ""):
            with pytest.raises(ConfigError):
                ledger.go_back(revision)
        assert schema(ledger) == SCHEMA

    def test_answers_that_wait_to_be_published_are_not_lost(self, ledger: Ledger) -> None:
        """Going back behind the outbox waits for the relay."""
        event = decided("m1", review="faces")
        ledger.record_decision(event, *routed(event))
        work = Work(ledger)
        mine = work.claim("ann", ("faces",), NOON, LEASE)
        assert mine is not None
        work.answer("ann", mine.lease_id, Answer(Action.ALLOW), NOON, GRACE, {})
        with pytest.raises(ConfigError, match="1 answers wait"):
            ledger.go_back("0005")
        work.sent([row[0] for row in work.due(NOON + GRACE)], NOON + GRACE)
        ledger.go_back("0005")
        assert schema(ledger) == "0005"

    @pytest.mark.parametrize("revision", revisions())
    def test_a_worker_of_an_older_release_writes_into_today_s_schema(
        self, ledger: Ledger, make: Make, revision: str
    ) -> None:
        """It knows the columns of its own schema alone: rows without the newer ones are taken, and read back."""
        old = make(revision)
        known = MetaData()
        known.reflect(old._engine)
        old.close()
        with ledger._writes.begin() as connection:
            for table in metadata.sorted_tables:
                if table.name not in known.tables:
                    continue
                names = {column.name for column in known.tables[table.name].columns}
                for number in range(2):
                    row = {name: value for name, value in row_of(table, number).items() if name in names}
                    connection.execute(table.insert(), row)
        assert {name for name, rows in held(ledger).items() if rows} == set(known.tables) - {"alembic_version"}
        counts = ledger.counts()
        assert (counts.uploads, counts.decisions) == (2, 2)

    def test_a_newer_schema_is_left_alone_and_worked_with(self, ledger: Ledger) -> None:
        """During a roll-out the newest release migrates first: what it added neither stops the others nor is undone."""
        with ledger._writes.begin() as connection:
            connection.execute(text("ALTER TABLE uploads ADD COLUMN later TEXT"))
            connection.execute(text("CREATE TABLE later (id INTEGER PRIMARY KEY)"))
            connection.execute(text("UPDATE alembic_version SET version_num = '0999'"))
        ledger.migrate()
        ledger.check()
        assert schema(ledger) == "0999"
        event = decided("m1", review="faces")
        assert ledger.record_decision(event, *routed(event)) == event
        task = routed(event).task
        assert task is not None
        assert ledger.record_review(reviewed(task)) is not None
        assert ledger.record_final(settled(reviewed(task), task)) == ledger.outcome("m1")
        with ledger._engine.connect() as connection:
            assert connection.execute(text("SELECT later FROM uploads")).all() == [(None,)]
        with pytest.raises(ConfigError, match="only a release that knows it"):
            ledger.go_back("0005")
