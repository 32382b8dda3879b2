"""What the console tells whoever watches it."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from pipeline.console.metrics import HORIZONS, ConsoleMetrics, CountedDesk, expose, read
from pipeline.events.values import Action, RequestFacts, RequestKind
from pipeline.ledger.golden import Golden
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.open_work import OpenWork
from pipeline.ledger.work import Work
from pipeline.review.port import Answer
from pipeline.stack.ports import free_ports
from tests.records import NOON
from tests.work_promises import GRACE, LEASE, wait

MINUTE = timedelta(minutes=1)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    ledger.migrate()
    yield ledger
    ledger.close()


class Watched:
    """A ledger with a desk at it, and what is told of both."""

    def __init__(self, ledger: Ledger) -> None:
        self.registry = CollectorRegistry()
        self.metrics = ConsoleMetrics(self.registry)
        self.metrics.queues(("faces", "voices"))
        self.work, self.open = Work(ledger), OpenWork(ledger)
        self.desk = CountedDesk(self.work, Golden(ledger), LEASE, GRACE, self.metrics)

    def look(self, now) -> None:
        self.metrics.show(*read(self.open, now), now)

    def __call__(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    def answer(self, who: str, action: Action, now) -> None:
        held = self.desk.claim(who, ("faces",), now, lead=False, golden={})
        assert held is not None
        self.desk.answer(who, held.lease_id, Answer(action), now, {})


@pytest.fixture
def watched(ledger: Ledger) -> Watched:
    return Watched(ledger)


def test_an_empty_queue_is_a_zero_and_has_no_slack(watched: Watched):
    """Nothing waits is a number; how long until work has to start is none then."""
    watched.look(NOON)
    assert watched("unmask_review_queue_tasks", queue="voices") == 0
    assert watched("unmask_review_oldest_age_seconds", queue="voices") == 0
    assert watched("unmask_review_slack_seconds", queue="voices") is None


def test_a_queue_shows_depth_age_and_what_has_to_start_when(watched: Watched, ledger: Ledger):
    """Breaches are forecast from when work has to start: each horizon includes the ones before."""
    for name, starts in (("late", -5), ("soon", 10), ("in an hour", 55), ("tonight", 230)):
        wait(ledger, name, starts=starts)
    watched.look(NOON)
    assert watched("unmask_review_queue_tasks", queue="faces") == 4
    assert watched("unmask_review_slack_seconds", queue="faces") == -300
    due = {within: watched("unmask_review_due_tasks", queue="faces", within=within) for within in HORIZONS}
    assert due == {"now": 1, "15m": 2, "1h": 3, "4h": 4}
    watched.look(NOON + timedelta(hours=4, minutes=1))
    assert watched("unmask_review_overdue_tasks", queue="faces") == 4
    assert watched("unmask_review_oldest_age_seconds", queue="faces") == 4 * 3600 + 60


def test_an_answer_leaves_the_queue_waits_in_the_outbox_and_is_counted(watched: Watched, ledger: Ledger):
    """Until it can no longer be taken back it is in its grace time; after that it is due."""
    wait(ledger, "m1")
    watched.answer("ann", Action.REMOVE, NOON + 5 * MINUTE)
    watched.look(NOON + 5 * MINUTE)
    assert watched("unmask_review_queue_tasks", queue="faces") == 0
    assert watched("unmask_outbox_records", state="grace") == 1
    assert watched("unmask_review_answers_total", queue="faces", action="remove", stands="settled") == 1
    assert watched("unmask_review_decision_seconds_sum", queue="faces") == 300
    watched.look(NOON + 6 * MINUTE)
    assert (watched("unmask_outbox_records", state="grace"), watched("unmask_outbox_records", state="due")) == (0, 1)
    assert watched("unmask_outbox_oldest_age_seconds") == 30


def test_a_lease_that_runs_out_is_counted_once(watched: Watched, ledger: Ledger):
    """A lease that is given back, or that had run out before the first look, is not one that expired."""
    wait(ledger, "before")
    watched.desk.claim("ann", ("faces",), NOON - LEASE - MINUTE, lead=False, golden={})
    watched.look(NOON)
    assert watched("unmask_review_leases_expired_total", queue="faces") == 0
    watched.desk.claim("bob", ("faces",), NOON, lead=False, golden={})
    watched.look(NOON + MINUTE)
    assert watched("unmask_review_leased_tasks", queue="faces") == 1
    for _ in range(2):
        watched.look(NOON + LEASE + MINUTE)
    assert watched("unmask_review_leases_expired_total", queue="faces") == 1


def test_an_appeal_that_ends_milder_is_an_overturn(watched: Watched, ledger: Ledger):
    """Against what applied when the appeal came."""
    facts = RequestFacts(request_id="r1", kind=RequestKind.APPEAL, received_at=NOON)
    wait(ledger, "m1", action=Action.REMOVE, request=facts)
    wait(ledger, "m2", action=Action.REMOVE, request=facts)
    watched.answer("ann", Action.ALLOW, NOON)
    watched.answer("bob", Action.REMOVE, NOON)
    assert watched("unmask_review_appeals_total", result="overturned") == 1
    assert watched("unmask_review_appeals_total", result="upheld") == 1


def test_what_is_taken_back_is_counted(watched: Watched, ledger: Ledger):
    """A counter never goes back: answers taken back are counted beside the answers."""
    wait(ledger, "m1")
    held = watched.desk.claim("ann", ("faces",), NOON, lead=False, golden={})
    done = watched.desk.answer("ann", held.lease_id, Answer(Action.ALLOW), NOON, {})
    watched.desk.undo("ann", done.answer_id, NOON)
    assert watched("unmask_review_answers_undone_total") == 1


def test_the_audit_log_is_counted(watched: Watched):
    """Whether it grows is seen from outside."""
    watched.work.log(NOON, "ann", "answered", "m1", {})
    watched.look(NOON)
    assert watched("unmask_audit_log_entries") == 1


def test_the_numbers_are_served_on_a_port_of_their_own(watched: Watched):
    """And nothing is served any more afterwards."""
    (port,) = free_ports(1)
    end = expose(watched.registry, "127.0.0.1", port)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        assert b"unmask_console_build_info" in answer.read()
    end()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics")
