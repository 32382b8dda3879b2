"""What leads and administrators are shown, whatever database lies under it. A test module provides the fixture
`ledger`."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from pipeline.console.accounts import make_account, sign_in
from pipeline.events.values import Action
from pipeline.ledger.entries import Note
from pipeline.ledger.golden import Golden
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.overview import Overview
from pipeline.ledger.people import People
from pipeline.ledger.work import Work
from pipeline.review.desk import Desk
from pipeline.review.people import Person, Role
from pipeline.review.port import Answer
from tests.records import NOON, reviewed
from tests.work_promises import GRACE, LEASE, wait

ALWAYS = {"faces": 1.0}


def settle(ledger: Ledger, media_id: str, queue: str = "faces", action: Action = Action.REMOVE) -> UUID:
    """An upload that somebody decided. Its task."""
    task = wait(ledger, media_id, queue)
    found = Work(ledger).task(task)
    assert found is not None
    ledger.record_review(reviewed(found[0], action, "rae"))
    return task


def person(name: str, *roles: Role) -> Person:
    """Somebody who sees every queue."""
    return Person(name, name.title(), frozenset(roles), frozenset({"*"}))


class OverviewPromises:
    """Inherit, and name the subclass Test…"""

    def test_who_holds_what(self, ledger: Ledger) -> None:
        """By name, case and lease: near copies are one line, golden cases are lines like any other, and what was given
        back, has ended or was answered is none."""
        work, golden, overview = Work(ledger), Golden(ledger), Overview(ledger)
        desk = Desk(work, golden, LEASE, GRACE)
        People(ledger).open_session(person("ann", Role.REVIEWER), NOON, NOON + timedelta(days=1))
        near = [wait(ledger, f"m{i}", starts=i) for i in range(3)]
        work.gather((task, near[0]) for task in near)
        known = settle(ledger, "known")
        golden.add(known, Action.REMOVE, "lea", NOON)
        assert overview.at_work(NOON) == ()
        case = desk.claim("ann", ("faces",), NOON, lead=False, golden={})
        assert case is not None
        assert desk.claim("bob", ("faces",), NOON, lead=False, golden=ALWAYS) is not None
        ann, bob = overview.at_work(NOON)
        assert (ann.who, ann.name, ann.queue, ann.task_id, ann.media_id) == ("ann", "Ann", "faces", near[0], "m0")
        assert (ann.tasks, ann.since, ann.until) == (3, NOON, NOON + LEASE)
        assert (bob.who, bob.name, bob.queue, bob.task_id, bob.tasks) == ("bob", "bob", "faces", known, 1)
        assert overview.at_work(NOON + LEASE) == ()
        desk.answer("ann", case.lease_id, Answer(Action.ALLOW), NOON, {})
        assert [each.who for each in overview.at_work(NOON)] == ["bob"]

    def test_golden_tasks_and_what_was_answered(self, ledger: Ledger) -> None:
        """Each with its right answer and how often people said what; the latest first, page by page."""
        golden, overview = Golden(ledger), Overview(ledger)
        desk = Desk(Work(ledger), golden, LEASE, GRACE)
        tasks = [settle(ledger, f"m{i}") for i in range(3)]
        other = settle(ledger, "elsewhere", "triage")
        for i, task in enumerate([*tasks, other]):
            golden.add(task, Action.LIMIT, "lea", NOON + timedelta(minutes=i))
        for name, action in (("ann", Action.LIMIT), ("bob", Action.LIMIT), ("cid", Action.ALLOW)):
            case = desk.claim(name, ("faces",), NOON, lead=False, golden=ALWAYS)
            assert case is not None
            assert case.tasks[0].task_id == tasks[0]
            desk.answer(name, case.lease_id, Answer(action), NOON, {})
        assert desk.claim("dee", ("faces",), NOON, lead=False, golden=ALWAYS) is not None  # held, not answered
        found = overview.golden("faces", None, 2)
        assert [each.media_id for each in found] == ["m2", "m1"]
        (last,) = overview.golden("faces", found[-1].task_id, 2)
        assert (last.media_id, last.action, last.added_by, last.added_at) == ("m0", Action.LIMIT, "lea", NOON)
        assert last.answers == {Action.LIMIT: 2, Action.ALLOW: 1}
        assert overview.golden("faces", wait(ledger, "not golden"), 2) == ()

    def test_retired_is_asked_about_no_more(self, ledger: Ledger) -> None:
        """And counts for what was answered; it can be added again, with another answer, and is not asked twice."""
        golden, overview = Golden(ledger), Overview(ledger)
        desk = Desk(Work(ledger), golden, LEASE, GRACE)
        task = settle(ledger, "m1")
        note = Note(NOON, "lea", "retired golden", str(task), {})
        assert not golden.retire(task, NOON, note)
        golden.add(task, Action.REMOVE, "lea", NOON)
        case = desk.claim("ann", ("faces",), NOON, lead=False, golden=ALWAYS)
        assert case is not None
        desk.answer("ann", case.lease_id, Answer(Action.ALLOW), NOON, {})
        assert golden.retire(task, NOON, note)
        assert not golden.retire(task, NOON, note)
        assert [entry.verb for entry in Work(ledger).log_entries()].count("retired golden") == 1
        assert desk.claim("bob", ("faces",), NOON, lead=False, golden=ALWAYS) is None
        assert overview.golden("faces", None, 9) == ()
        assert len(golden.answered(NOON)) == 1
        golden.add(task, Action.ALLOW, "lou", NOON)
        assert desk.claim("ann", ("faces",), NOON, lead=False, golden=ALWAYS) is None
        assert desk.claim("bob", ("faces",), NOON, lead=False, golden=ALWAYS) is not None
        (back,) = overview.golden("faces", None, 9)
        assert (back.action, back.added_by, back.answers) == (Action.ALLOW, "lou", {Action.ALLOW: 1})

    def test_what_could_be_golden(self, ledger: Ledger) -> None:
        """What people decided and is not golden, of these queues, of one upload or of all."""
        golden, overview = Golden(ledger), Overview(ledger)
        task, known = settle(ledger, "m1", action=Action.LABEL), settle(ledger, "m2")
        settle(ledger, "m3", "triage")
        wait(ledger, "still open")
        golden.add(known, Action.REMOVE, "lea", NOON)
        (found,) = overview.settled(("faces",), None, 9)
        assert (found.task_id, found.media_id, found.action, found.decided_by) == (task, "m1", Action.LABEL, "rae")
        assert {each.media_id for each in overview.settled(("faces", "triage"), None, 9)} == {"m1", "m3"}
        assert [each.media_id for each in overview.settled(("faces", "triage"), "m3", 9)] == ["m3"]
        assert overview.settled(("faces",), "m3", 9) == overview.settled((), None, 9) == ()
        golden.retire(known, NOON, Note(NOON, "lea", "retired golden", str(known), {}))
        assert {each.media_id for each in overview.settled(("faces",), None, 9)} == {"m1", "m2"}

    def test_who_may_come_in(self, ledger: Ledger) -> None:
        """Local accounts, and whoever is signed in without one, with how many sessions have not ended."""
        people, overview = People(ledger), Overview(ledger)
        make_account(people, person("ann", Role.REVIEWER), NOON)
        for minutes in (1, 2):
            people.open_session(person("ann", Role.REVIEWER), NOON + timedelta(minutes=minutes), NOON + LEASE)
        people.open_session(person("tool", Role.INTEGRATION), NOON, NOON + timedelta(days=9))
        ann, tool = overview.people(NOON)
        assert (ann.person, ann.account, ann.fresh, ann.disabled) == (person("ann", Role.REVIEWER), NOON, True, False)
        assert (ann.sessions, ann.latest) == (2, NOON + timedelta(minutes=2))
        assert (tool.person.id, tool.account, tool.sessions) == ("tool", None, 1)
        assert [each.sessions for each in overview.people(NOON + LEASE)] == [0, 1]

    @pytest.mark.parametrize("disabled_at", [None, NOON])
    def test_an_account_is_changed(self, ledger: Ledger, disabled_at: object) -> None:
        """From now on they may that and no more, every session of theirs has ended, and the log says who did it. Who
        is disabled does not come in with the right password."""
        people, overview = People(ledger), Overview(ledger)
        password = make_account(people, person("ann", Role.REVIEWER), NOON)
        secret = people.open_session(person("ann"), NOON, NOON + LEASE)
        note = Note(NOON, "adi", "changed an account", "ann", {})
        roles, queues = frozenset({Role.LEAD}), frozenset({"faces", "voices"})
        assert people.change_account("nobody", roles, queues, disabled_at=None, note=note) is None
        ended = people.change_account("ann", roles, queues, disabled_at=disabled_at, note=note)  # type: ignore[arg-type]
        assert ended == 1
        assert people.session(secret, NOON) is None
        (ann,) = overview.people(NOON)
        assert (ann.person.roles, ann.person.queues, ann.disabled) == (roles, queues, disabled_at is not None)
        assert (sign_in(people, "ann", password) is None) == (disabled_at is not None)
        assert [(entry.actor, entry.subject) for entry in Work(ledger).log_entries()] == [("adi", "ann")]
