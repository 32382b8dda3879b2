"""What a ledger promises, whatever database lies under it. A test module provides the fixtures `ledger` and `url`."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from uuid import uuid4

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text, update

from pipeline.errors import Transient
from pipeline.events import OutcomeStatus
from pipeline.events.subject import AnswerStatus, SubjectMatch
from pipeline.events.values import Action, Consent, Failure, FrameHash, Match, RequestFacts, RequestKind, SignalStatus
from pipeline.ledger import ledger as ledger_module
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.port import LedgerCounts, RecentUpload, SettledReview, TaskState
from pipeline.ledger.tables import SCHEMA, metadata, tasks
from pipeline.match.copies import Concerned, Content
from pipeline.match.flood import Counted, Quarantine
from tests.asked import asking, concerning, record
from tests.ledger_race import race
from tests.records import DETECTORS, NOON, decided, reviewed, routed, settled, signal, upload

DIGEST = "ab" * 32


LOOKS = (FrameHash(at=0.0, pdq=bytes(range(32)), quality=100), FrameHash(at=2.5, pdq=bytes(32), quality=3))


def known(hash_id: str, *, live: bool = True) -> Match:
    """A match with `bank`."""
    return Match(bank="bank", hash_id=hash_id, kind="pdq", distance=7, live=live)


class LedgerPromises:
    """Inherit, and name the subclass Test…"""

    def test_the_first_decision_stands(self, ledger: Ledger) -> None:
        """Whatever a second screening says, the first record comes back, whole."""
        first, second = decided("m1", action=Action.ALLOW), decided("m1", action=Action.HOLD, review="faces")
        assert ledger.record_decision(first, *routed(first)) == first
        assert ledger.record_decision(second, *routed(second)) == first
        assert ledger.decision("m1", 1) == first
        assert ledger.open_tasks() == ()
        assert ledger.outcome("m1") == routed(first).outcome

    def test_a_repeat_changes_nothing(self, ledger: Ledger) -> None:
        """Delivery at least once leaves one row of each kind."""
        event = decided("m1", review="faces")
        for _ in range(3):
            assert ledger.record_decision(event, *routed(event)) == event
        assert ledger.counts() == LedgerCounts(
            uploads=1,
            contents=1,
            decisions=1,
            tasks={"open": 1},
            open_by_queue={"faces": 1},
            provisional={"hold": 1},
        )

    def test_rounds_are_apart(self, ledger: Ledger) -> None:
        """A new round has its own decision; what applies is that of the latest."""
        one, two = decided("m1", action=Action.REMOVE), decided("m1", 2, action=Action.LABEL)
        ledger.record_decision(one, *routed(one))
        assert ledger.record_decision(two, *routed(two)) == two
        found = ledger.outcome("m1")
        assert found is not None
        assert (found.round, found.action) == (2, Action.LABEL)
        assert ledger.outcome("unknown") is None
        assert ledger.decision("m1", 3) is None

    def test_a_later_round_supersedes_open_tasks(self, ledger: Ledger) -> None:
        """Nobody is asked about what was judged anew; tasks of other uploads stay."""
        for event in (decided("m1", review="faces"), decided("m2", review="faces"), decided("m1", 2, review="faces")):
            ledger.record_decision(event, *routed(event))
        assert {(task.media_id, task.round) for task in ledger.open_tasks()} == {("m2", 1), ("m1", 2)}
        assert {(row.media_id, row.round): row.state for row in ledger.all_tasks()} == {
            ("m1", 1): TaskState.SUPERSEDED,
            ("m2", 1): TaskState.OPEN,
            ("m1", 2): TaskState.OPEN,
        }

    def test_an_earlier_round_that_comes_late_is_superseded_at_once(self, ledger: Ledger) -> None:
        """The order in which rounds are recorded does not matter."""
        for event in (decided("m1", 2), decided("m1", 1, review="faces")):
            ledger.record_decision(event, *routed(event))
        assert ledger.open_tasks() == ()
        assert [row.state for row in ledger.all_tasks()] == [TaskState.SUPERSEDED]
        found = ledger.outcome("m1")
        assert found is not None
        assert found.round == 2

    def test_the_first_review_stands(self, ledger: Ledger) -> None:
        """Two reviewers, one answer."""
        event = decided("m1", review="faces")
        ledger.record_decision(event, *routed(event))
        task = routed(event).task
        assert task is not None
        first, second = reviewed(task, Action.REMOVE, "r1"), reviewed(task, Action.ALLOW, "r2")
        assert ledger.record_review(first) == SettledReview(first, task)
        assert ledger.record_review(second) == SettledReview(first, task)
        assert ledger.open_tasks() == ()
        assert [row.state for row in ledger.all_tasks()] == [TaskState.DECIDED]
        assert [row.task_id for row in ledger.all_reviews()] == [task.task_id]

    def test_a_final_outcome_stands_beside_the_provisional_one(self, ledger: Ledger) -> None:
        """The first final outcome stands, and applies."""
        event = decided("m1", review="faces")
        ledger.record_decision(event, *routed(event))
        task = routed(event).task
        assert task is not None
        final, other = settled(reviewed(task), task), settled(reviewed(task, Action.ALLOW), task)
        assert ledger.record_final(final) == final
        assert ledger.record_final(other) == final
        assert ledger.outcome("m1") == final
        assert {outcome.status for outcome in ledger.all_outcomes()} == set(OutcomeStatus)

    def test_a_review_of_nothing_is_none(self, ledger: Ledger) -> None:
        """An unknown task, or a task of another upload, is no task."""
        event = decided("m1", review="faces")
        task = routed(event).task
        assert task is not None
        assert ledger.record_review(reviewed(task)) is None
        ledger.record_decision(event, *routed(event))
        other = routed(decided("m2", review="faces")).task
        assert other is not None
        assert ledger.record_review(reviewed(other)) is None
        assert ledger.counts().reviews == 0

    def test_a_review_that_comes_too_late_says_so_every_time(self, ledger: Ledger) -> None:
        """It is on record, the task stays superseded, and a repeat is answered alike."""
        for event in (decided("m1", review="faces"), decided("m1", 2)):
            ledger.record_decision(event, *routed(event))
        task = routed(decided("m1", review="faces")).task
        assert task is not None
        for _ in range(2):
            assert ledger.record_review(reviewed(task)) == SettledReview(reviewed(task), task, superseded=True)
        assert [row.state for row in ledger.all_tasks()] == [TaskState.SUPERSEDED]

    def test_a_task_that_was_decided_is_not_superseded(self, ledger: Ledger) -> None:
        """A repeat of the review must lead to the same outcome, also after a later round."""
        event = decided("m1", review="faces")
        ledger.record_decision(event, *routed(event))
        task = routed(event).task
        assert task is not None
        before = ledger.record_review(reviewed(task))
        later = decided("m1", 2)
        ledger.record_decision(later, *routed(later))
        assert ledger.record_review(reviewed(task)) == before

    def test_the_most_urgent_task_comes_first(self, ledger: Ledger) -> None:
        """By the moment that work has to start, then by priority; one queue or all; as many as are wanted."""
        urgent = {"a": (10, 3, 1), "b": (90, 2, None), "c": (90, 9, 1), "d": (50, 2, 1.5)}
        for media_id, (priority, hours, start) in urgent.items():
            event = decided(media_id, review="faces" if media_id != "d" else "other")
            task, outcome = routed(event)
            assert task is not None
            start_by = None if start is None else NOON + timedelta(hours=start)
            fields = {"priority": priority, "deadline": NOON + timedelta(hours=hours), "start_by": start_by}
            ledger.record_decision(event, type(task)(**{**_fields(task), **fields}), outcome)
        assert [task.media_id for task in ledger.open_tasks()] == ["c", "a", "d", "b"]
        assert [task.media_id for task in ledger.open_tasks("faces", limit=2)] == ["c", "a"]

    def test_known_bytes_are_known(self, ledger: Ledger) -> None:
        """What was found comes back with its embedding, for the same set of detectors in any order."""
        event = decided("m1")
        ledger.record_decision(event, *routed(event))
        known = ledger.known_content(DIGEST, DETECTORS[::-1])
        assert known is not None
        assert (known.media_id, known.signals, known.embedding) == ("m1", event.signals, event.embedding)
        assert (known.size, known.versions, known.judged_at) == (event.size, event.versions, NOON)
        assert ledger.known_content(DIGEST, (*DETECTORS, "voice@1")) is None
        assert ledger.known_content("cd" * 32, DETECTORS) is None

    def test_what_was_reused_names_the_first_upload(self, ledger: Ledger) -> None:
        """A third upload of the same bytes points at the first, and the row stays the first one's."""
        for event in (decided("m1"), decided("m2", reused_from="m1")):
            ledger.record_decision(event, *routed(event))
        known = ledger.known_content(DIGEST, DETECTORS)
        assert known is not None
        assert known.media_id == "m1"
        assert ledger.counts().contents == 1
        assert ledger.counts().reused == 1

    def test_half_a_judgement_is_not_reused(self, ledger: Ledger) -> None:
        """A failure, a missing signal or unknown bytes leave nothing to use again."""
        failure = Failure(stage="detect", reason="inference_unavailable", detail="down")
        for event in (
            decided("failed", failure=failure),
            decided("missing", signals=(signal(), signal(SignalStatus.MISSING, None))),
            decided("shadow", shadow=(signal(SignalStatus.MISSING, None),)),
            decided("no bytes", sha256=None),
        ):
            ledger.record_decision(event, *routed(event))
        assert ledger.known_content(DIGEST, DETECTORS) is None
        assert ledger.counts().contents == 0
        assert ledger.counts().failures == {"inference_unavailable": 1}

    def test_what_contents_look_like_is_known(self, ledger: Ledger) -> None:
        """With what was found in them; what the banks knew is not: it may be otherwise tomorrow."""
        event = decided("m1", hashes=LOOKS, matches=(known("a"),))
        ledger.record_decision(event, *routed(event))
        content = ledger.known_content(DIGEST, DETECTORS)
        assert content is not None
        assert content.hashes == LOOKS

    def test_matches_are_counted_by_content(self, ledger: Ledger) -> None:
        """The same bytes again count once, and a repeat of a decision not at all; per hash, and the bank as a whole."""
        for media_id, digest, names in (
            ("m1", "aa", "ab"),
            ("m2", "aa", "a"),
            ("m3", "bb", "a"),
            ("m4", "cc", ""),
            ("m1", "dd", "ab"),
        ):
            event = decided(media_id, sha256=digest * 32, matches=tuple(known(name) for name in names))
            ledger.record_decision(event, *routed(event))
        assert ledger.matched_contents("bank", NOON) == (
            Counted("bank", "a", 2),
            Counted("bank", "b", 1),
            Counted("bank", "", 2),
        )
        assert ledger.matched_contents("bank", NOON + timedelta(seconds=1)) == (Counted("bank", "", 0),)
        assert ledger.matched_contents("other", NOON) == (Counted("other", "", 0),)
        assert ledger.decided_contents(NOON) == 3
        assert ledger.decided_contents(NOON + timedelta(seconds=1)) == 0

    def test_a_quarantine_holds_until_it_is_released(self, ledger: Ledger) -> None:
        """Begun once, however many workers see the flood; what was matched before the release counts no more."""
        event = decided("m1", matches=(known("a"), known("b")))
        ledger.record_decision(event, *routed(event))
        flood = Quarantine("bank", "a", NOON, 200, "200 different contents")
        assert ledger.quarantine([flood]) == (flood,)
        assert ledger.quarantine([flood, Quarantine("bank", "a", NOON + timedelta(hours=1), 300, "more")]) == ()
        assert ledger.quarantines() == (flood,)
        later = NOON + timedelta(hours=2)
        assert ledger.release("bank", "b", later) == ledger.release("other", None, later) == 0
        assert ledger.release("bank", "a", later) == 1
        (ended,) = ledger.quarantines()
        assert (ended.released_at, ended.holds) == (later, False)
        assert ledger.matched_contents("bank", NOON) == (Counted("bank", "b", 1), Counted("bank", "", 1))
        again = Quarantine("bank", "a", later, 200, "again")
        assert ledger.quarantine([again]) == (again,)
        assert ledger.release("bank", None, later) == 1

    def test_threads_that_see_one_flood_quarantine_it_once(self, ledger: Ledger) -> None:
        """Each worker looks for floods; one of them is told that it was the first."""
        floods = [[Quarantine("bank", "a", NOON + timedelta(seconds=i), 200, "flood")] for i in range(6)]
        with ThreadPoolExecutor(6) as pool:
            told = list(pool.map(ledger.quarantine, floods))
        assert sorted(map(len, told)) == [0, 0, 0, 0, 0, 1]
        assert len(ledger.quarantines()) == 1

    def test_recent_uploads_come_in_their_latest_round(self, ledger: Ledger) -> None:
        """With what they look like, and the matches that counted; those without bytes, or from before, do not."""
        late = NOON + timedelta(hours=1)
        for event in (
            decided("old", hashes=LOOKS),
            decided("m1", hashes=LOOKS, matches=(known("a"),), decided_at=late),
            decided("m1", 2, hashes=LOOKS, matches=(known("b"), known("c", live=False)), decided_at=late),
            decided("m2", sha256="cd" * 32, decided_at=late),
            decided("no bytes", sha256=None, decided_at=late),
        ):
            ledger.record_decision(event, *routed(event))
        assert list(ledger.recent_uploads(late)) == [
            RecentUpload(upload("m1"), 2, DIGEST, late, LOOKS, frozenset({("bank", "b")})),
            RecentUpload(upload("m2"), 1, "cd" * 32, late),
        ]
        assert len(list(ledger.recent_uploads(NOON))) == 3

    def test_a_request_opens_the_next_round_of_each_upload_once(self, ledger: Ledger) -> None:
        """With decision, task and provisional outcome; the earlier task is superseded, and a repeat gets the same."""
        for event in (decided("m1", review="faces"), decided("m2")):
            ledger.record_decision(event, *routed(event))
        opened = record(ledger, asking(), concerning("m1", "m2"))
        assert [(each.media_id, each.round) for each in opened.decisions] == [("m1", 2), ("m2", 2)]
        assert (opened.new, opened.answer.status) == (True, AnswerStatus.RECEIVED)
        assert [task.media_id for task in ledger.open_tasks("requests")] == ["m1", "m2"]
        assert ledger.open_tasks("faces") == ()
        standing = ledger.standing("m1")
        assert standing is not None
        assert (standing.decided, standing.requested) == (opened.decisions[0], True)
        again = record(ledger, asking(), concerning("m1", "m2", "m3"))
        assert (again.decisions, again.answer, again.new) == (opened.decisions, opened.answer, False)
        assert ledger.answered("r1") == (opened.answer,)
        assert [(row.media_id, row.match, row.final) for row in ledger.all_reopened()] == [
            ("m1", SubjectMatch.NAMED, False),
            ("m2", SubjectMatch.NEAR_COPY, False),
        ]
        assert [name for name, _ in ledger.all_requests()] == ["r1"]

    def test_a_request_that_means_nothing_may_mean_something_later(self, ledger: Ledger) -> None:
        """The platform asks before the upload was decided on, and asks again."""
        unknown = record(ledger, asking(), Concerned({}))
        assert (unknown.answer.status, unknown.decisions) == (AnswerStatus.UNKNOWN_CONTENT, ())
        assert record(ledger, asking(), Concerned({})).answer == unknown.answer
        event = decided("m1")
        ledger.record_decision(event, *routed(event))
        assert record(ledger, asking(), concerning("m1")).answer.status is AnswerStatus.RECEIVED
        assert {said.status for said in ledger.all_answers()} == {AnswerStatus.UNKNOWN_CONTENT, AnswerStatus.RECEIVED}

    def test_a_request_is_done_when_the_last_upload_is_final(self, ledger: Ledger) -> None:
        """Not before; asked again it says the same; later rounds do not say it again."""
        for event in (decided("m1"), decided("m2")):
            ledger.record_decision(event, *routed(event))
        record(ledger, asking(), concerning("m1", "m2"))
        one, two = ledger.open_tasks()
        ledger.record_final(settled(reviewed(one), one))
        assert ledger.finish_requests("m1", 2) == ()
        ledger.record_final(settled(reviewed(two, Action.ALLOW), two))
        (done,) = ledger.finish_requests("m2", 2)
        assert (done.status, done.in_time) == (AnswerStatus.DONE, True)
        assert [(each.media_id, each.action) for each in done.uploads] == [("m1", Action.REMOVE), ("m2", Action.ALLOW)]
        assert ledger.finish_requests("m1", 2) == ledger.finish_requests("m2", 2) == (done,)
        later = decided("m1", 3)
        ledger.record_decision(later, *routed(later))
        assert ledger.finish_requests("m1", 3) == ()
        assert all(row.final for row in ledger.all_reopened())

    def test_two_requests_on_one_upload_are_both_done(self, ledger: Ledger) -> None:
        """The second one's round takes the question over, and its outcome settles both."""
        event = decided("m1")
        ledger.record_decision(event, *routed(event))
        record(ledger, asking(), concerning("m1"))
        record(ledger, asking(request_id="r2"), concerning("m1"))
        (task,) = ledger.open_tasks()
        assert task.round == 3
        ledger.record_final(settled(reviewed(task), task))
        assert [said.request_id for said in ledger.finish_requests("m1", 3)] == ["r1", "r2"]

    def test_a_later_round_must_know_of_the_request(self, ledger: Ledger) -> None:
        """A decision without it is refused until it was made with it; what was recorded before is given back."""
        event = decided("m1")
        ledger.record_decision(event, *routed(event))
        opened = record(ledger, asking(), concerning("m1"))
        rival, rescan = decided("m1", 2), decided("m1", 3)
        assert ledger.record_decision(rival, *routed(rival)) == opened.decisions[0]
        with pytest.raises(Transient, match="under a request"):
            ledger.record_decision(rescan, *routed(rescan))
        heeded = decided("m1", 3, request=opened.decisions[0].request, review="faces")
        assert ledger.record_decision(heeded, *routed(heeded)) == heeded

    def test_a_ledger_that_is_built_again_finds_the_rounds_of_a_request(self, ledger: Ledger) -> None:
        """The decisions come from their topic before the request is read: no round is opened a second time."""
        first = decided("m1")
        for event in (first, decided("m1", 2, review="faces", request=_facts(), decided_at=NOON + timedelta(hours=1))):
            ledger.record_decision(event, *routed(event))
        opened = record(ledger, asking(), concerning("m1"))
        assert [each.round for each in opened.decisions] == [2]
        assert [row.round for row in ledger.all_decisions()] == [1, 2]

    def test_uploads_are_found_by_name_consent_and_bytes(self, ledger: Ledger) -> None:
        """In any round; with what they look like where that is known."""
        consent = Consent(reference="c-1")
        for event in (
            decided("m1", hashes=LOOKS, upload=upload("m1", consent=consent)),
            decided("m1", 2, sha256="cd" * 32, upload=upload("m1", consent=consent)),
            decided("m2", upload=upload("m2", uploaded_at=NOON + timedelta(days=1))),
        ):
            ledger.record_decision(event, *routed(event))
        revoked = asking(None, kind=RequestKind.CONSENT_REVOKED, consent_reference="c-1")
        assert ledger.uploads_meant(revoked) == ledger.uploads_meant(asking("m1")) == ("m1",)
        assert ledger.uploads_meant(asking("unknown")) == ()
        assert set(ledger.contents_of(["m1"])) == {Content(DIGEST, LOOKS), Content("cd" * 32, ())}
        assert ledger.uploads_of([DIGEST]) == ((DIGEST, "m2"), (DIGEST, "m1"))
        assert list(ledger.contents_since(NOON)) == [Content(DIGEST, LOOKS)]
        assert list(ledger.contents_since(NOON + timedelta(seconds=1))) == []
        assert ledger.contents_of([]) == ledger.uploads_of([]) == ()

    def test_threads_that_race_over_a_request_open_it_once(self, ledger: Ledger) -> None:
        """Also where two requests concern the same uploads in another order: nobody waits in a circle."""
        for name in ("m1", "m2", "m3"):
            event = decided(name)
            ledger.record_decision(event, *routed(event))
        ways = [("r1", concerning("m1", "m2", "m3")), ("r2", concerning("m3", "m2", "m1"))] * 3
        with ThreadPoolExecutor(6) as pool:
            opened = list(pool.map(lambda way: record(ledger, asking(request_id=way[0]), way[1]), ways))
        assert sum(each.new for each in opened) == 2
        for name in ("r1", "r2"):
            told = [(each.decisions, each.answer) for each in opened if each.answer.request_id == name]
            assert all(each == told[0] for each in told)
        assert sorted((row.media_id, row.round) for row in ledger.all_reopened()) == [
            (name, round_) for name in ("m1", "m2", "m3") for round_ in (2, 3)
        ]

    def test_the_schema_goes_forward_and_back_with_rows_in(self, url: str) -> None:
        """What was recorded stays, and what the step adds is filled: old tasks are to be started by their deadline."""
        ledger = Ledger(url)
        if "sqlite" in url:
            ledger_module._prepare_file(ledger._engine)
        _move(ledger, "0002", command.upgrade)
        row = {"media_id": "m1", "round": 1, "event": "{}", "id": uuid4().hex, "at": "2025-06-01 12:00:00", "text": "x"}
        with ledger._writes.begin() as connection:
            for statement in _OLD_ROWS:
                connection.execute(text(statement), row)
        for revision, how in (("0003", command.upgrade), ("0002", command.downgrade), ("0003", command.upgrade)):
            _move(ledger, revision, how)
            columns = "deadline, start_by" if revision == "0003" else "deadline"
            with ledger._engine.connect() as connection:
                (found,) = connection.execute(text(f"SELECT {columns} FROM tasks"))
            assert len(set(found)) == 1
        ledger.migrate()
        ledger.check()
        ledger.close()

    def test_tasks_of_an_older_worker_are_sorted_by_their_deadline(self, ledger: Ledger) -> None:
        """While a release is rolled out, some rows have no moment to start by."""
        for name in ("m1", "m2"):
            event = decided(name, review="faces")
            task, outcome = routed(event)
            assert task is not None
            hours = {"m1": 1, "m2": 2}[name]
            fields = {**_fields(task), "deadline": NOON + timedelta(hours=hours)}
            ledger.record_decision(event, type(task)(**fields), outcome)
        with ledger._writes.begin() as connection:
            connection.execute(update(tasks).where(tasks.c.media_id == "m1").values(start_by=None))
        assert [task.media_id for task in ledger.open_tasks()] == ["m1", "m2"]

    def test_moments_come_back_with_their_offset(self, ledger: Ledger) -> None:
        """Any offset in, UTC out; and the ends of the calendar are no trouble."""
        abroad = datetime(2025, 1, 1, 1, tzinfo=timezone(timedelta(hours=5)))
        first_day = datetime.min.replace(tzinfo=UTC)
        event = decided("m1", decided_at=abroad, upload=upload("m1", uploaded_at=first_day))
        assert ledger.record_decision(event, *routed(event)) == event
        assert ledger.decision("m1", 1) == event
        (row,) = ledger.all_decisions()
        assert (row.decided_at, row.decided_at.utcoffset()) == (abroad, timedelta(0))

    def test_strangers_words_are_no_trouble(self, ledger: Ledger) -> None:
        """Quotes, rare letters and NUL, where the wire lets them pass, neither fail nor change the event."""
        odd = "'\"; -- \\ %s :x \u202e😀"
        event = decided(odd, upload=upload(odd, uri=odd, content_type=odd, uploader_id=odd, caption=f"\x00{odd}"))
        ledger.record_decision(event, *routed(event))
        assert ledger.decision(odd, 1) == event

    def test_migrating_again_changes_nothing(self, ledger: Ledger) -> None:
        """Every worker migrates at its start."""
        event = decided("m1")
        ledger.record_decision(event, *routed(event))
        ledger.migrate()
        ledger.check()
        assert ledger.decision("m1", 1) == event

    def test_the_migrations_make_the_tables(self, ledger: Ledger) -> None:
        """The schema that the steps build is the one that the code declares, and the last step is the one it names."""
        with ledger._engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, metadata) == []
        config = Config()
        config.set_main_option("script_location", str(ledger_module._MIGRATIONS))
        assert ScriptDirectory.from_config(config).get_heads() == [SCHEMA]

    def test_threads_that_race_agree(self, ledger: Ledger) -> None:
        """One winner per upload, told to everyone; its task and outcome are the winner's."""
        racers, media = 6, [f"m{i}" for i in range(10)]
        start = threading.Barrier(racers)

        def run(racer: int) -> list[bytes]:
            start.wait()
            return race(ledger, racer, media)

        with ThreadPoolExecutor(racers) as pool:
            answers = list(pool.map(run, range(racers)))
        assert all(answer == answers[0] for answer in answers)
        assert ledger.counts().decisions == ledger.counts().uploads == len(media)
        for media_id in media:
            winner = ledger.decision(media_id, 1)
            assert winner is not None
            assert ledger.outcome(media_id) == routed(winner).outcome

    def test_rounds_that_race_leave_one_open_task_at_most(self, ledger: Ledger) -> None:
        """However rounds interleave, only the latest one's task stays open."""
        rounds = list(range(1, 9))
        random.Random(7).shuffle(rounds)

        def record(round_: int) -> None:
            event = decided("m1", round_, review="faces")
            ledger.record_decision(event, *routed(event))

        with ThreadPoolExecutor(len(rounds)) as pool:
            list(pool.map(record, rounds))
        assert [task.round for task in ledger.open_tasks()] == [8]

    # Examples share a ledger and keep apart by name; each database that runs this has a test class of its own.
    @settings(
        max_examples=15,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    )
    @given(events=st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 3), st.booleans()), max_size=12))
    def test_the_first_of_any_sequence_stands(self, ledger: Ledger, events: list[tuple[str, int, bool]]) -> None:
        """For every upload and round, whatever the order and however often."""
        space = str(uuid4())
        first: dict[tuple[str, int], object] = {}
        for name, round_, review in events:
            event = decided(space + name, round_, review="faces" if review else None)
            expected = first.setdefault((name, round_), event)
            assert ledger.record_decision(event, *routed(event)) == expected


def _fields(task: object) -> dict[str, object]:
    return {name: getattr(task, name) for name in task.__struct_fields__}  # type: ignore[attr-defined]


_OLD_ROWS = (
    "INSERT INTO uploads (media_id, round, uri, surface, uploaded_at) VALUES (:media_id, :round, :text, :text, :at)",
    (
        "INSERT INTO decisions (media_id, round, decision_id, decided_at, action, policy_version, event)"
        " VALUES (:media_id, :round, :id, :at, :text, :text, :event)"
    ),
    (
        "INSERT INTO tasks (task_id, media_id, round, state, queue, harm, priority, requested_at, deadline, event)"
        " VALUES (:id, :media_id, :round, 'open', :text, :text, 1, :at, :at, :event)"
    ),
)
"""As a release before the step wrote them."""


def _facts() -> RequestFacts:
    return RequestFacts(request_id="r1", kind=RequestKind.REMOVAL, received_at=NOON)


def _move(ledger: Ledger, revision: str, how: Callable[[Config, str], None]) -> None:
    """Bring the schema to another revision, as an operator would."""
    config = Config()
    config.set_main_option("script_location", str(ledger_module._MIGRATIONS))
    with ledger._writes.begin() as connection:
        config.attributes["connection"] = connection
        how(config, revision)
