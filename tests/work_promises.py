"""What reviewers' work promises, whatever database lies under it. A test module provides the fixture `ledger`."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import update

from pipeline.console.accounts import choose_password, make_account, sign_in
from pipeline.errors import ConfigError, Stage
from pipeline.events import MediaDecided, MediaEnforced, ReviewDecided, ReviewRequested
from pipeline.events.codec import decode
from pipeline.events.values import Action, Family, RequestFacts, RequestKind
from pipeline.ledger.entries import Note
from pipeline.ledger.golden import Golden
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.overview import Overview
from pipeline.ledger.people import People
from pipeline.ledger.work import Work, opened_note
from pipeline.ledger.work_tables import audit_log
from pipeline.review.chain import verify
from pipeline.review.desk import Desk
from pipeline.review.gather import Cases
from pipeline.review.people import Person, Role
from pipeline.review.port import Answer, Held, Refused, Stands
from pipeline.review.relay import gather_once
from pipeline.route import route
from pipeline.settle import settle
from tests.records import NOON, decided, reviewed

LEASE, GRACE, AWAY = timedelta(minutes=10), timedelta(seconds=30), timedelta(hours=1)
ALLOW = Answer(Action.ALLOW)


def wait(
    ledger: Ledger, media_id: str, queue: str = "faces", *, starts: int = 0, priority: int = 50, **more: object
) -> UUID:
    """An upload that waits for a person; work has to start so many minutes after noon. Its task."""
    made = decided(media_id, review=queue, **{"sha256": None, **more})  # type: ignore[arg-type]
    need = made.decision.review
    assert need is not None
    need = msgspec.structs.replace(need, start_by=NOON + timedelta(minutes=starts), priority=priority)
    return put(ledger, msgspec.structs.replace(made, decision=msgspec.structs.replace(made.decision, review=need)))


def put(ledger: Ledger, made: MediaDecided) -> UUID:
    """Record a decision; its task."""
    follows = route(made)
    ledger.record_decision(made, follows.task, follows.outcome)
    assert follows.task is not None
    return follows.task.task_id


def _bare(made: MediaDecided) -> tuple[MediaDecided, ReviewRequested | None, MediaEnforced]:
    """A decision and what follows from it."""
    follows = route(made)
    return made, follows.task, follows.outcome


def one(held: Held | None) -> UUID:
    """The only task of what is held."""
    assert held is not None
    (task,) = held.tasks
    return task.task_id


class WorkPromises:
    """Inherit, and name the subclass Test…"""

    def test_what_has_to_start_first_comes_first(self, ledger: Ledger) -> None:
        """Slack is the order, whatever the queue; among equals the higher priority."""
        work = Work(ledger)
        wait(ledger, "later", starts=60)
        wait(ledger, "low", "triage", starts=5, priority=10)
        first = wait(ledger, "high", starts=5, priority=90)
        assert one(work.claim("ann", ("faces", "triage"), NOON, LEASE)) == first
        assert one(work.claim("bob", ("faces", "triage"), NOON, LEASE)) != first
        assert work.claim("cy", ("voices",), NOON, LEASE) is None

    def test_who_holds_a_case_gets_it_again(self, ledger: Ledger) -> None:
        """A page that is loaded again shows the same case under the same lease."""
        work = Work(ledger)
        for name in ("m1", "m2"):
            wait(ledger, name)
        held = work.claim("ann", ("faces",), NOON, LEASE)
        assert work.claim("ann", ("faces",), NOON, LEASE) == held == work.holding("ann", NOON)

    def test_two_never_hold_the_same_task(self, ledger: Ledger) -> None:
        """Twelve people take sixty tasks as fast as they can: each task once."""
        work = Work(ledger)
        for i in range(60):
            wait(ledger, f"m{i}", starts=i % 7)
        got: list[tuple[str, UUID]] = []
        trouble: list[BaseException] = []

        def person(name: str) -> None:
            try:
                while (held := work.claim(name, ("faces",), NOON, LEASE)) is not None:
                    got.append((name, one(held)))
                    work.answer(name, held.lease_id, ALLOW, NOON, GRACE, {})
            except BaseException as error:
                trouble.append(error)
                raise

        people = [threading.Thread(target=person, args=(f"p{i}",)) for i in range(12)]
        for each in people:
            each.start()
        for each in people:
            each.join()
        assert trouble == []
        assert len(got) == 60
        assert len({task for _, task in got}) == 60
        assert len(work.due(NOON + GRACE, 1000)) == 60

    def test_a_lease_ends_by_itself(self, ledger: Ledger) -> None:
        """Who goes away loses the case, and is told so when they come back; a heartbeat keeps it."""
        work = Work(ledger)
        task = wait(ledger, "m1")
        held = work.claim("ann", ("faces",), NOON, LEASE)
        assert held is not None
        kept = work.keep("ann", held.lease_id, NOON + LEASE / 2, LEASE)
        assert work.claim("bob", ("faces",), NOON + LEASE, LEASE) is None
        assert one(work.claim("bob", ("faces",), kept, LEASE)) == task
        for late in (
            lambda: work.keep("ann", held.lease_id, kept, LEASE),
            lambda: work.answer("ann", held.lease_id, ALLOW, kept, GRACE, {}),
            lambda: work.skip("ann", held.lease_id, "late", kept, AWAY),
        ):
            with pytest.raises(Refused, match="lease has ended"):
                late()

    def test_what_was_said_first_ends_with_the_lease(self, ledger: Ledger) -> None:
        """Who gets a blind case after somebody whose lease ran out is asked anew before they see its scores."""
        work = Work(ledger)
        wait(ledger, "m1")
        held = work.claim("ann", ("faces",), NOON, LEASE)
        assert held is not None
        work.first("ann", held.lease_id, Action.ALLOW, NOON)
        later = work.claim("bob", ("faces",), NOON + LEASE, LEASE)
        assert later is not None
        assert later.first is None

    def test_a_claim_and_its_entry_are_one(self, ledger: Ledger) -> None:
        """Where the audit log cannot say who opened a case nobody has it; where it can it says so."""
        work = Work(ledger)
        task = wait(ledger, "m1")

        def cannot(_: Held) -> Note:
            raise OSError("no space left")

        with pytest.raises(OSError, match="no space left"):
            work.claim("ann", ("faces",), NOON, LEASE, note=cannot)
        assert work.holding("ann", NOON) is None
        assert one(work.claim("bob", ("faces",), NOON, LEASE, note=partial(opened_note, "bob", NOON))) == task
        assert [(entry.actor, entry.verb, entry.subject) for entry in work.log_entries()] == [("bob", "opened", "m1")]

    def test_what_is_skipped_does_not_come_straight_back(self, ledger: Ledger) -> None:
        """To the same person, for a while; to others it does."""
        work = Work(ledger)
        task = wait(ledger, "m1")
        held = work.claim("ann", ("faces",), NOON, LEASE)
        assert held is not None
        work.skip("ann", held.lease_id, "not today", NOON, AWAY)
        assert work.claim("ann", ("faces",), NOON, LEASE) is None
        other = work.claim("bob", ("faces",), NOON, LEASE)
        assert one(other) == task
        assert other is not None
        work.release("bob", other.lease_id)
        assert one(work.claim("ann", ("faces",), NOON + AWAY, LEASE)) == task

    def test_moving_tasks(self, ledger: Ledger) -> None:
        """Assigned, held back, moved: each is taken from whoever holds it, and only open ones count."""
        work = Work(ledger)
        task = wait(ledger, "m1")
        held = work.claim("ann", ("faces",), NOON, LEASE)
        assert held is not None
        assert work.assign((task,), "bob") == 1
        with pytest.raises(Refused):
            work.keep("ann", held.lease_id, NOON, LEASE)
        assert work.claim("ann", ("faces",), NOON, LEASE) is None
        assert one(work.claim("bob", ("faces",), NOON, LEASE)) == task
        assert work.assign((task,), None) == 1
        assert work.hold((task,), NOON + AWAY) == 1
        assert work.claim("ann", ("faces",), NOON, LEASE) is None
        assert one(work.claim("ann", ("faces",), NOON + AWAY, LEASE)) == task
        assert work.escalate((task,), "triage") == 1
        assert work.claim("bob", ("faces",), NOON + AWAY, LEASE) is None
        assert one(work.claim("bob", ("triage",), NOON + AWAY, LEASE)) == task
        assert work.escalate((UUID(int=1),), "triage") == 0

    def test_an_answer_waits_for_its_grace_time(self, ledger: Ledger) -> None:
        """The record for the flow is written with the answer, and is due when it cannot be taken back any more."""
        work = Work(ledger)
        task = wait(ledger, "m1")
        held = work.claim("ann", ("faces",), NOON, LEASE)
        assert held is not None
        given = Answer(
            Action.LIMIT, "swapped", "sure", "Altered", (Family.FACE_SWAP,), (Family.SPLICE,), "impersonation"
        )
        done = work.answer("ann", held.lease_id, given, NOON, GRACE, {})
        assert (done.stands, done.swept, done.undo_until) == (Stands.SETTLED, (task,), NOON + GRACE)
        assert work.claim("bob", ("faces",), NOON, LEASE) is None
        assert work.due(NOON + GRACE / 2) == ()
        ((outbox_id, topic, key, value),) = work.due(NOON + GRACE)
        review = decode(value, ReviewDecided)
        assert isinstance(review, ReviewDecided)
        assert (topic, key, review.task_id, review.reviewer_id) == ("review.decided", "m1", task, "ann")
        assert (review.action, review.reason, review.notes, review.label) == (
            Action.LIMIT,
            "swapped",
            "sure",
            "Altered",
        )
        assert (review.confirmed, review.denied, review.harm) == (
            (Family.FACE_SWAP,),
            (Family.SPLICE,),
            "impersonation",
        )
        work.sent((outbox_id,), NOON + GRACE)
        assert work.due(NOON + AWAY) == ()

    def test_an_answer_is_taken_back(self, ledger: Ledger) -> None:
        """Within the grace time; then the case is held again and nothing is published."""
        work = Work(ledger)
        wait(ledger, "m1")
        held = work.claim("ann", ("faces",), NOON, LEASE)
        assert held is not None
        done = work.answer("ann", held.lease_id, ALLOW, NOON, GRACE, {})
        with pytest.raises(Refused):
            work.undo("bob", done.answer_id, NOON, LEASE)
        again = work.undo("ann", done.answer_id, NOON + GRACE / 2, LEASE)
        assert again.tasks == held.tasks
        assert work.due(NOON + AWAY) == ()
        last = work.answer("ann", again.lease_id, Answer(Action.REMOVE, "why"), NOON, GRACE, {})
        with pytest.raises(Refused, match="too late"):
            work.undo("ann", last.answer_id, NOON + GRACE, LEASE)
        assert len(work.due(NOON + GRACE)) == 1

    def test_two_have_to_agree(self, ledger: Ledger) -> None:
        """The second is somebody else; where they agree it is settled, where not a lead decides."""
        work = Work(ledger)
        people = {"faces": 2}
        for name, second in (("agreed", Action.LIMIT), ("disputed", Action.ALLOW)):
            task = wait(ledger, name)
            held = work.claim("ann", ("faces",), NOON, LEASE)
            assert held is not None
            assert (
                work.answer("ann", held.lease_id, Answer(Action.LIMIT, "w"), NOON, GRACE, people).stands
                is Stands.SECOND
            )
            assert work.claim("ann", ("faces",), NOON, LEASE) is None
            other = work.claim("bob", ("faces",), NOON, LEASE)
            assert one(other) == task
            assert other is not None
            assert other.looks == 1
            stands = work.answer("bob", other.lease_id, Answer(second, "w"), NOON, GRACE, people).stands
            assert stands is (Stands.SETTLED if second is Action.LIMIT else Stands.DISPUTED)
        assert len(work.due(NOON + GRACE)) == 1
        assert work.claim("cy", ("faces",), NOON, LEASE) is None
        held = work.claim("lead", ("faces",), NOON, LEASE, lead=True)
        assert held is not None
        assert work.answer("lead", held.lease_id, ALLOW, NOON, GRACE, people).stands is Stands.SETTLED
        assert len(work.due(NOON + GRACE)) == 2

    def test_near_copies_are_one_case(self, ledger: Ledger) -> None:
        """One decision settles all that have the same bytes in the same queue, and says which."""
        work = Work(ledger)
        same = {wait(ledger, name, sha256="cd" * 32) for name in ("m1", "m2", "m3")}
        alone = wait(ledger, "m4", sha256="ef" * 32, starts=9)
        elsewhere = wait(ledger, "m5", "triage", sha256="cd" * 32)
        assert gather_once(work, Cases(), NOON + AWAY) == 0  # nothing was requested since then
        assert gather_once(work, Cases()) == 5
        assert gather_once(work, Cases()) == 0
        assert {waiting.task_id: case for waiting, case in work.gathered()}.keys() == same | {alone, elsewhere}
        held = work.claim("ann", ("faces",), NOON, LEASE)
        assert held is not None
        assert {task.task_id for task in held.tasks} == same
        done = work.answer("ann", held.lease_id, Answer(Action.REMOVE, "w"), NOON, GRACE, {})
        assert set(done.swept) == same
        assert {key for _, _, key, _ in work.due(NOON + GRACE)} == {"m1", "m2", "m3"}
        assert one(work.claim("ann", ("faces",), NOON, LEASE)) == alone
        assert one(work.claim("bob", ("triage",), NOON, LEASE)) == elsewhere

    def test_many_are_decided_at_once(self, ledger: Ledger) -> None:
        """What somebody holds is left out."""
        work = Work(ledger)
        ids = [wait(ledger, f"m{i}", starts=i) for i in range(4)]
        held = work.claim("ann", ("faces",), NOON, LEASE)
        assert one(held) == ids[0]
        done = work.decide("lead", ids, Answer(Action.LIMIT, "spam"), NOON, GRACE)
        assert set(done.swept) == set(ids[1:])
        with pytest.raises(Refused):
            work.decide("lead", ids, ALLOW, NOON, GRACE)

    def test_an_appeal_goes_to_somebody_else(self, ledger: Ledger) -> None:
        """Who decided gets neither the task by asking for any, nor by asking for this one."""
        work = Work(ledger)
        first = decided("m1", review="faces", sha256=None)
        put(ledger, first)
        task = route(first).task
        assert task is not None
        review = reviewed(task, reviewer="ann")
        found = ledger.record_review(review)
        assert found is not None
        ledger.record_final(settle(found.review, found.task))
        assert [queue for _, _, queue in work.reviewed(NOON - AWAY)] == ["faces"]
        asked = RequestFacts(request_id="r1", kind=RequestKind.APPEAL, received_at=NOON)
        again = put(ledger, decided("m1", 2, review="faces", sha256=None, request=asked))
        assert work.claim("ann", ("faces",), NOON, LEASE) is None
        with pytest.raises(Refused, match="your own decision"):
            work.claim_task("ann", again, NOON, LEASE)
        with pytest.raises(Refused):
            work.decide("ann", (again,), ALLOW, NOON, GRACE)
        assert one(work.claim("bob", ("faces",), NOON, LEASE)) == again

    def test_an_appeal_does_not_come_in_with_its_copies(self, ledger: Ledger) -> None:
        """A case leaves out what this person decided, also as the first of two who had to agree."""
        work = Work(ledger)
        first = decided("m1", review="faces", sha256="cd" * 32)
        put(ledger, first)
        for name in ("ann", "bob"):
            held = work.claim(name, ("faces",), NOON, LEASE)
            assert held is not None
            work.answer(name, held.lease_id, Answer(Action.REMOVE, "w"), NOON, GRACE, {"faces": 2})
        ((_, _, _, value),) = work.due(NOON + GRACE)
        review = decode(value, ReviewDecided)
        assert isinstance(review, ReviewDecided)
        found = ledger.record_review(review)
        assert found is not None
        ledger.record_final(settle(found.review, found.task))
        asked = RequestFacts(request_id="r1", kind=RequestKind.APPEAL, received_at=NOON)
        again = put(ledger, decided("m1", 2, review="faces", sha256="cd" * 32, request=asked))
        copy = wait(ledger, "m2", sha256="cd" * 32, starts=-5)
        gather_once(work, Cases())
        for name in ("ann", "bob"):
            held = work.claim(name, ("faces",), NOON, LEASE)
            assert one(held) == copy
            assert held is not None
            work.release(name, held.lease_id)
            with pytest.raises(Refused, match="your own decision"):
                work.claim_task(name, again, NOON, LEASE)
        held = work.claim("cy", ("faces",), NOON, LEASE)
        assert held is not None
        assert {task.task_id for task in held.tasks} == {again, copy}

    def test_a_later_round_takes_a_task_out_of_hands(self, ledger: Ledger) -> None:
        """Who holds it is told so, gets another, and cannot take back an answer to it; its copies stay with them."""
        work = Work(ledger)
        for name in ("m1", "m2"):
            wait(ledger, name, sha256="cd" * 32)
        other = wait(ledger, "m3", starts=30)
        gather_once(work, Cases())
        held = work.claim("ann", ("faces",), NOON, LEASE)
        assert held is not None
        ledger.record_decision(*_bare(decided("m1", 2, sha256="cd" * 32)))
        mine = work.holding("ann", NOON)
        assert mine is not None
        assert [task.media_id for task in mine.tasks] == ["m2"]
        done = work.answer("ann", held.lease_id, ALLOW, NOON, GRACE, {})
        assert len(done.swept) == 1
        ledger.record_decision(*_bare(decided("m2", 2, sha256="cd" * 32)))
        with pytest.raises(Refused, match="decided anew"):
            work.undo("ann", done.answer_id, NOON, LEASE)
        held = work.claim("ann", ("faces",), NOON, LEASE)
        assert one(held) == other
        ledger.record_decision(*_bare(decided("m3", 2, sha256=None)))
        assert held is not None
        with pytest.raises(Refused):
            work.keep("ann", held.lease_id, NOON, LEASE)
        with pytest.raises(Refused, match="decided anew"):
            work.answer("ann", held.lease_id, ALLOW, NOON, GRACE, {})
        assert work.claim("ann", ("faces",), NOON, LEASE) is None
        assert Overview(ledger).at_work(NOON) == ()

    def test_what_is_being_published_is_not_taken_back(self, ledger: Ledger) -> None:
        """Also where whoever takes it back was held up, and still believes that there is time."""
        work = Work(ledger)
        wait(ledger, "m1")
        held = work.claim("ann", ("faces",), NOON, LEASE)
        assert held is not None
        done = work.answer("ann", held.lease_id, ALLOW, NOON, GRACE, {})
        assert len(work.due(NOON + GRACE)) == 1
        with pytest.raises(Refused, match="too late"):
            work.undo("ann", done.answer_id, NOON + GRACE / 2, LEASE)
        assert len(work.due(NOON + GRACE)) == 1

    def test_taking_back_takes_nothing_from_others(self, ledger: Ledger) -> None:
        """A case that somebody else holds by now stays theirs; a dispute whose last word is taken back stays one."""
        work, people = Work(ledger), {"faces": 2}
        task = wait(ledger, "m1")
        held = work.claim("ann", ("faces",), NOON, LEASE)
        assert held is not None
        done = work.answer("ann", held.lease_id, ALLOW, NOON, GRACE, people)
        bobs = work.claim("bob", ("faces",), NOON, LEASE)
        assert bobs is not None
        with pytest.raises(Refused, match="Somebody else"):
            work.undo("ann", done.answer_id, NOON, LEASE)
        work.answer("bob", bobs.lease_id, Answer(Action.LIMIT, "w"), NOON + GRACE, GRACE, people)
        leads = work.claim("lead", ("faces",), NOON + GRACE, LEASE, lead=True)
        assert leads is not None
        last = work.answer("lead", leads.lease_id, ALLOW, NOON + 2 * GRACE, GRACE, people)
        again = work.undo("lead", last.answer_id, NOON + 2 * GRACE, LEASE)
        work.release("lead", again.lease_id)
        assert work.claim("cy", ("faces",), NOON, LEASE) is None
        assert one(work.claim("lead", ("faces",), NOON, LEASE, lead=True)) == task

    def test_copies_in_another_queue_are_another_case(self, ledger: Ledger) -> None:
        """What was moved away from its copies is not pulled into the hands of who may not see that queue."""
        work = Work(ledger)
        ids = [wait(ledger, name, sha256="cd" * 32) for name in ("m1", "m2")]
        gather_once(work, Cases())
        work.escalate((ids[1],), "triage")
        assert one(work.claim("ann", ("faces",), NOON, LEASE)) == ids[0]
        moved = work.claim("bob", ("triage",), NOON, LEASE)
        assert one(moved) == ids[1]
        assert moved is not None
        assert moved.tasks[0].queue == "triage"
        found = work.task(ids[1])
        assert found is not None
        assert found[0].queue == "triage"

    def test_one_person_has_one_case(self, ledger: Ledger) -> None:
        """However many windows ask at the same time, golden tasks among them."""
        work, golden = Work(ledger), Golden(ledger)
        desk = Desk(work, golden, LEASE, GRACE)
        known = wait(ledger, "known")
        held = work.claim("somebody", ("faces",), NOON, LEASE)
        assert held is not None
        ledger.record_review(reviewed(held.tasks[0], reviewer="somebody"))
        for i in range(10):
            wait(ledger, f"m{i}", starts=i)
        for share in (0.0, 0.5):
            got: list[UUID] = []
            trouble: list[BaseException] = []

            def window(share: float = share, got: list[UUID] = got, trouble: list[BaseException] = trouble) -> None:
                try:
                    got.append(one(desk.claim("ann", ("faces",), NOON, lead=False, golden={"faces": share})))
                except BaseException as error:
                    trouble.append(error)
                    raise

            windows = [threading.Thread(target=window) for _ in range(8)]
            for each in windows:
                each.start()
            for each in windows:
                each.join()
            assert trouble == []
            assert len(set(got)) == 1
            if share == 0.0:
                mine = desk.holding("ann", NOON)
                assert mine is not None
                desk.answer("ann", mine.lease_id, ALLOW, NOON, {})
                golden.add(known, Action.REMOVE, "lead", NOON)
        assert got[0] == known

    def test_golden_tasks_give_way(self, ledger: Ledger) -> None:
        """Who asks for a very task, or takes an answer back, holds that one; a golden one is never late, and one that
        ran out may come again."""
        work, golden = Work(ledger), Golden(ledger)
        desk = Desk(work, golden, LEASE, GRACE)
        known = wait(ledger, "known")
        held = work.claim("somebody", ("faces",), NOON, LEASE)
        assert held is not None
        ledger.record_review(reviewed(held.tasks[0], reviewer="somebody"))
        golden.add(known, Action.REMOVE, "lead", NOON)
        task = wait(ledger, "m1")
        always, later = {"faces": 1.0}, NOON + timedelta(days=3)
        case = desk.claim("ann", ("faces",), later, lead=False, golden=always)
        assert case is not None
        assert one(case) == known
        assert case.tasks[0].deadline - later == timedelta(hours=4)
        wanted = desk.claim_task("ann", task, later, lead=False)
        assert desk.holding("ann", later) == wanted
        done = desk.answer("ann", wanted.lease_id, ALLOW, later, {})
        assert one(desk.claim("ann", ("faces",), later, lead=False, golden=always)) == known
        back = desk.undo("ann", done.answer_id, later)
        assert desk.holding("ann", later) == back
        desk.release("ann", back.lease_id)
        assert one(desk.claim("ann", ("faces",), later, lead=False, golden=always)) == known
        ended = later + LEASE
        again = desk.claim("ann", ("faces",), ended, lead=False, golden=always)
        assert one(again) == known
        assert again is not None
        desk.first("ann", again.lease_id, Action.ALLOW, ended)
        desk.first("ann", again.lease_id, Action.REMOVE, ended)
        mine = desk.holding("ann", ended)
        assert mine is not None
        assert mine.first is Action.ALLOW
        assert desk.escalate("ann", (known,), "triage", ended) == 1
        assert desk.holding("ann", ended) is None

    def test_what_is_done_is_logged_with_it(self, ledger: Ledger) -> None:
        """An answer and its entry are one transaction, a golden one's too; what was refused leaves none."""
        work = Work(ledger)
        wait(ledger, "m1")
        held = work.claim("ann", ("faces",), NOON, LEASE)
        assert held is not None
        done = work.answer("ann", held.lease_id, ALLOW, NOON, GRACE, {})
        again = work.undo("ann", done.answer_id, NOON, LEASE)
        work.skip("ann", again.lease_id, "why", NOON, AWAY)
        with pytest.raises(Refused):
            work.answer("ann", again.lease_id, ALLOW, NOON, GRACE, {})
        assert [(entry.actor, entry.verb) for entry in work.log_entries()] == [
            ("ann", "answered"),
            ("ann", "took back"),
            ("ann", "skipped"),
        ]

    def test_what_a_queue_looks_like(self, ledger: Ledger) -> None:
        """Depth, lateness, what is held, and how long there is."""
        work = Work(ledger)
        ids = [wait(ledger, f"m{i}", starts=10 * i) for i in range(3)]
        work.claim("ann", ("faces",), NOON, LEASE)
        work.hold((ids[2],), NOON + AWAY)
        state = work.queue_states(("faces",), NOON)["faces"]
        assert (state.depth, state.leased, state.held, state.overdue, state.oldest) == (3, 1, 1, 0, NOON)
        assert state.slack == (0.0, 600.0, 1200.0)
        assert work.queue_states(("faces",), NOON + timedelta(hours=5))["faces"].overdue == 3
        assert work.queue_states(("voices",), NOON)["voices"].depth == 0
        assert [task.media_id for task in work.listed("faces", None, 2)] == ["m0", "m1"]
        assert [task.media_id for task in work.listed("faces", ids[1], 2)] == ["m2"]

    def test_golden_tasks_look_like_any_other(self, ledger: Ledger) -> None:
        """They come at their share, count for the measure, and nothing is published of them."""
        work, golden = Work(ledger), Golden(ledger)
        desk = Desk(work, golden, LEASE, GRACE)
        known = wait(ledger, "known")
        with pytest.raises(Refused, match="decided"):
            golden.add(known, Action.REMOVE, "lead", NOON)
        held = work.claim("somebody", ("faces",), NOON, LEASE)
        assert held is not None
        ledger.record_review(reviewed(held.tasks[0], reviewer="somebody"))
        golden.add(known, Action.REMOVE, "lead", NOON)
        for i in range(4):
            wait(ledger, f"m{i}", starts=i)
        seen = []
        for _ in range(5):
            case = desk.claim("ann", ("faces",), NOON, lead=False, golden={"faces": 0.25})
            assert case is not None
            assert desk.claim("ann", ("faces",), NOON, lead=False, golden={"faces": 0.25}) == case
            seen.append(one(case) == known)
            desk.keep("ann", case.lease_id, NOON)
            done = desk.answer("ann", case.lease_id, Answer(Action.LIMIT, "w"), NOON, {})
            assert done.stands is Stands.SETTLED
            if seen[-1]:
                back = desk.undo("ann", done.answer_id, NOON)
                assert one(back) == known
                desk.answer("ann", back.lease_id, Answer(Action.LIMIT, "w"), NOON, {})
        assert seen.count(True) == 1
        assert len(work.due(NOON + GRACE)) == 4
        ((queue, who, right, said),) = golden.answered(NOON)
        assert (queue, who, right, said) == ("faces", "ann", Action.REMOVE, Action.LIMIT)

    def test_the_log_shows_what_was_touched(self, ledger: Ledger) -> None:
        """Entries follow from each other, also when many write at once; a changed or missing one is found."""
        work = Work(ledger)

        def write(name: str) -> None:
            for i in range(5):
                work.log(NOON, name, "saw", f"m{i}", {"i": i})

        writers = [threading.Thread(target=write, args=(f"p{i}",)) for i in range(4)]
        for each in writers:
            each.start()
        for each in writers:
            each.join()
        found = verify(work.log_entries())
        assert (found.entries, found.broken_at) == (20, None)
        with ledger.writing(Stage.SETTLE) as connection:
            connection.execute(update(audit_log).where(audit_log.c.seq == 7).values(actor="nobody"))
        assert verify(work.log_entries()).broken_at == 7
        with ledger.writing(Stage.SETTLE) as connection:
            connection.execute(audit_log.delete().where(audit_log.c.seq == 3))
        assert verify(work.log_entries()).broken_at == 4

    def test_people_and_their_sessions(self, ledger: Ledger) -> None:
        """A password works once until another is chosen; a session ends in time, at sign-out, and with its password."""
        people = People(ledger)
        ann = Person("ann", "Ann", frozenset({Role.REVIEWER, Role.LEAD}), frozenset({"faces", "triage"}))
        password = make_account(people, ann, NOON)
        assert sign_in(people, "ann", password) == (ann, True)
        assert sign_in(people, "ann", "wrong") is None
        assert sign_in(people, "nobody", password) is None
        secret = people.open_session(ann, NOON, NOON + AWAY)
        assert people.session(secret, NOON) == ann
        assert people.session(secret, NOON + AWAY) is None
        assert people.session("another", NOON) is None
        for easy in ("short", "aaaaaaaaaaaaaaa", "xx-ann-likes-tea", "my-password-2026"):
            with pytest.raises(ConfigError):
                choose_password(people, "ann", easy)
        token = people.open_session(ann, NOON, NOON + AWAY)
        make_account(people, ann, NOON)
        assert people.session(token, NOON) is None
        token = people.open_session(ann, NOON, NOON + AWAY)
        assert (people.end_sessions("ann"), people.session(token, NOON)) == (1, None)
        secret = people.open_session(ann, NOON, NOON + AWAY)
        choose_password(people, "ann", "seven green kettles")
        assert people.session(secret, NOON) is None
        assert sign_in(people, "ann", password) is None
        assert sign_in(people, "ann", "seven green kettles") == (ann, False)
        other = people.open_session(ann, NOON, NOON + AWAY)
        people.close_session(other)
        assert people.session(other, NOON) is None

    def test_exposure_is_summed(self, ledger: Ledger) -> None:
        """By harm, the hardest first, within the time that is asked about."""
        people = People(ledger)
        task = wait(ledger, "m1")

        def look(at: datetime, harm: str, severity: int, seconds: float) -> None:
            people.expose("ann", task, at, harm=harm, severity=severity, seconds=seconds, filters="blur")

        look(NOON, "fraud", 3, 10.0)
        look(NOON + timedelta(seconds=1), "fraud", 3, 5.0)
        look(NOON + timedelta(seconds=2), "intimate-imagery", 5, 2.0)
        look(NOON - AWAY, "fraud", 3, 99.0)
        assert people.exposure("ann", NOON) == (("intimate-imagery", 5, 2.0), ("fraud", 3, 15.0))
        assert people.exposure("bob", NOON) == ()
        assert people.preferences("ann") is None
        for words in ('{"blur": 3}', '{"blur": 4}'):
            people.put_preferences("ann", words)
            assert people.preferences("ann") == words
