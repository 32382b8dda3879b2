"""The outbox on PostgreSQL: the same promises as on SQLite, and senders side by side."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from pipeline.events.values import Action
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.statements import Outbox
from tests.restricted import restricted
from tests.statement_promises import StatementPromises, record, reporting

__all__ = ["reporting"]


class TestOnPostgres(StatementPromises):
    """All that an outbox promises."""


def test_processes_that_form_batches_at_once_form_them_once(reporting: Ledger) -> None:
    """No statement is in two batches, and all see the same ones."""
    for number in range(20):
        record(reporting, restricted(Action.LIMIT, media_id=f"m-{number}"))
    outbox = Outbox(reporting)
    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(lambda _: outbox.form_batches(3), range(4)))
    assert len(set(map(frozenset, seen))) == 1
    puids = [entry.puid for name in seen[0] for entry in outbox.batch(name)]
    assert len(puids) == len(set(puids)) == 20
