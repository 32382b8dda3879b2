"""What the outbox promises, whatever database lies under it. A test module provides the fixture `url`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from functools import partial

import msgspec
import pytest

from pipeline.events import MediaDecided
from pipeline.events.values import Action, RequestKind
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.statements import Outbox
from pipeline.route import route
from pipeline.settle import settle
from pipeline.statements.drafts import drafts
from pipeline.statements.rows import StatementState
from tests.restricted import HARMS, NOON, REQUEST, answer, hit, restricted

LATER = NOON + timedelta(hours=5)


def record(ledger: Ledger, decided: MediaDecided) -> None:
    routed = route(decided)
    ledger.record_decision(decided, routed.task, routed.outcome)


def review(ledger: Ledger, decided: MediaDecided, action: Action) -> None:
    found = ledger.record_review(answer(decided, action))
    assert found is not None
    ledger.record_final(settle(found.review, found.task))


@pytest.fixture
def reporting(url: str) -> Iterator[Ledger]:
    """A ledger that reports by the harms of the tests."""
    ledger = Ledger(url, partial(drafts, harms=HARMS))
    ledger.migrate()
    yield ledger
    ledger.close()


class StatementPromises:
    """Inherit, and name the subclass Test…"""

    def test_a_restriction_is_queued_with_its_outcome_once(self, reporting: Ledger) -> None:
        """However often the decision is delivered."""
        decided = restricted(Action.HOLD, review=True)
        for _ in range(3):
            record(reporting, decided)
        (entry,) = Outbox(reporting).entries()
        assert (entry.media_id, entry.round, entry.state) == ("m-1", 1, StatementState.QUEUED)
        assert json.loads(entry.body)["puid"] == entry.puid
        assert entry.queued_at == decided.decided_at

    def test_a_decision_that_does_not_stand_is_not_reported(self, reporting: Ledger) -> None:
        """The first one does; a second one says nothing, to nobody."""
        record(reporting, restricted(Action.ALLOW))
        record(reporting, restricted(Action.REMOVE))
        assert Outbox(reporting).entries() == ()

    def test_a_ledger_without_a_report_queues_nothing(self, url: str) -> None:
        """As the tools that only read use it."""
        ledger = Ledger(url)
        ledger.migrate()
        record(ledger, restricted(Action.REMOVE))
        assert Outbox(ledger).entries() == ()
        ledger.close()

    def test_what_cannot_be_queued_is_not_decided_either(self, reporting: Ledger, url: str) -> None:
        """One transaction: no outcome without its statement."""

        def fails(*_: object) -> tuple[()]:
            raise RuntimeError("a bug")

        broken = Ledger(url, fails)
        with pytest.raises(RuntimeError):
            record(broken, restricted(Action.REMOVE))
        broken.close()
        assert reporting.decision("m-1", 1) is None
        assert reporting.outcome("m-1") is None

    def test_a_person_who_removes_is_reported_after_the_hold(self, reporting: Ledger) -> None:
        """Two restrictions, two statements; the review is known to the second."""
        decided = restricted(Action.HOLD, review=True)
        record(reporting, decided)
        for _ in range(2):
            review(reporting, decided, Action.REMOVE)
        held, removed = map(json.loads, (entry.body for entry in Outbox(reporting).entries()))
        assert held["automated_decision"] == "AUTOMATED_DECISION_FULLY"
        assert removed["automated_decision"] == "AUTOMATED_DECISION_PARTIALLY"
        assert removed["decision_visibility"] == ["DECISION_VISIBILITY_CONTENT_REMOVED"]

    def test_a_person_who_confirms_adds_nothing(self, reporting: Ledger) -> None:
        """The ledger knows what applied before."""
        decided = restricted(Action.LIMIT, review=True)
        record(reporting, decided)
        review(reporting, decided, Action.LIMIT)
        assert len(Outbox(reporting).entries()) == 1

    def test_a_round_that_changes_nothing_adds_nothing(self, reporting: Ledger) -> None:
        """What is new is reported, also where the round between restricted nothing."""
        for round_, action, count in ((1, Action.LIMIT, 1), (2, Action.LIMIT, 1), (3, Action.ALLOW, 1),
                                      (4, Action.LIMIT, 2)):  # fmt: skip
            record(reporting, restricted(action, round_=round_))
            assert len(Outbox(reporting).entries()) == count

    def test_an_appeal_adds_nothing_until_something_changes(self, reporting: Ledger) -> None:
        """It is opened, and another person removes what was limited: that is reported, on the ground of then."""
        record(reporting, restricted(Action.LIMIT))
        appeal = msgspec.structs.replace(REQUEST, kind=RequestKind.APPEAL)
        opened = restricted(Action.LIMIT, round_=2, review=True, request=appeal)
        record(reporting, opened)
        assert len(Outbox(reporting).entries()) == 1
        review(reporting, opened, Action.REMOVE)
        _, removed = Outbox(reporting).entries()
        assert json.loads(removed.body)["source_type"] == "SOURCE_VOLUNTARY"

    def test_a_round_that_comes_too_late_is_not_reported(self, reporting: Ledger) -> None:
        """It never applied."""
        record(reporting, restricted(Action.ALLOW, round_=2))
        record(reporting, restricted(Action.REMOVE))
        assert Outbox(reporting).entries() == ()

    def test_personal_data_are_held_back_until_released(self, reporting: Ledger) -> None:
        """With the finding; released, it is queued as it is."""
        named = hit(Action.LIMIT, "fraud", because="Reported by anna@mail.example.")
        record(reporting, restricted(Action.LIMIT, hits=(named,)))
        outbox = Outbox(reporting)
        (entry,) = outbox.entries()
        assert entry.state is StatementState.HELD_BACK
        (finding,) = json.loads(entry.findings)
        assert (finding["field"], finding["kind"]) == ("decision_facts", "e-mail address")
        assert outbox.form_batches(100) == ()
        assert outbox.release([entry.puid, "unknown"]) == 1
        assert outbox.entries()[0].state is StatementState.QUEUED
        assert len(outbox.form_batches(100)) == 1

    def test_what_the_database_would_refuse_is_held_back(self, reporting: Ledger) -> None:
        """An upload of the last century: nothing is lost, and a person sees why."""
        record(reporting, restricted(Action.LIMIT, uploaded_at=NOON.replace(year=1999)))
        (entry,) = Outbox(reporting).entries([StatementState.HELD_BACK])
        assert "content_date" in entry.findings

    def test_batches_stay_as_they_are(self, reporting: Ledger) -> None:
        """What is queued later comes into another batch, and what was sent leaves its own."""
        for number in range(5):
            record(reporting, restricted(Action.LIMIT, media_id=f"m-{number}"))
        outbox = Outbox(reporting)
        names = outbox.form_batches(2)
        before = {name: [entry.puid for entry in outbox.batch(name)] for name in names}
        assert sorted(map(len, before.values())) == [1, 2, 2]
        record(reporting, restricted(Action.LIMIT, media_id="m-9"))
        more = outbox.form_batches(2)
        assert set(names) < set(more)
        assert {name: [entry.puid for entry in outbox.batch(name)] for name in names} == before
        for name in more:
            outbox.mark_sent({entry.puid: "r" for entry in outbox.batch(name)}, LATER)
        assert outbox.form_batches(2) == ()
        assert outbox.counts() == {"queued": 0, "sent": 6, "refused": 0, "held-back": 0}

    def test_since_leaves_the_older_ones_queued(self, reporting: Ledger) -> None:
        """And batches that were begun are finished in any case."""
        record(reporting, restricted(Action.LIMIT))
        record(reporting, restricted(Action.LIMIT, "intimate", round_=2))
        outbox = Outbox(reporting)
        (name,) = outbox.form_batches(100, since=NOON + timedelta(minutes=30))
        assert [entry.round for entry in outbox.batch(name)] == [2]
        assert len(outbox.form_batches(100)) == 2
        assert [entry.round for entry in outbox.entries(since=NOON + timedelta(minutes=30))] == [2]

    def test_marks_are_final(self, reporting: Ledger) -> None:
        """What was sent is not refused afterwards; what was refused can be queued again, in a new batch."""
        record(reporting, restricted(Action.LIMIT))
        outbox = Outbox(reporting)
        (name,) = outbox.form_batches(100)
        (entry,) = outbox.batch(name)
        outbox.mark_refused({entry.puid: "no"}, LATER)
        outbox.mark_sent({entry.puid: "r"}, LATER)
        (refused,) = outbox.entries([StatementState.REFUSED])
        assert (refused.why, refused.settled_at) == ("no", LATER)
        assert outbox.release([entry.puid]) == 1
        (name,) = outbox.form_batches(100)
        outbox.mark_sent({entry.puid: "r"}, LATER)
        (sent,) = outbox.entries([StatementState.SENT], media_id="m-1")
        assert (sent.receipt, sent.why, sent.batch) == ("r", None, name)
        assert outbox.release([entry.puid]) == 0
