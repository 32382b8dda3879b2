"""What forgetting promises, whatever database lies under it. A test module provides the fixture `ledger`."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, text

from pipeline.errors import Stage
from pipeline.events import DecidedBy, MediaDecided, MediaEnforced, ReviewDecided, ReviewRequested
from pipeline.events.codec import decode
from pipeline.events.values import Action, Consent, FrameHash, MediaFacts, MediaKind
from pipeline.ledger.golden import Golden
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.purge import ERASED, FORGOTTEN, Purge, Which
from pipeline.ledger.tables import contents, hashes, uploads
from pipeline.ledger.work import Work
from pipeline.review.chain import verify
from pipeline.review.port import Answer
from pipeline.route import route
from pipeline.settle import settle
from tests.asked import asking, concerning, record
from tests.records import NOON, decided, reviewed, upload
from tests.work_promises import AWAY, GRACE, LEASE, put

HOUR = timedelta(hours=1)
FACTS = MediaFacts(kind=MediaKind.IMAGE, container="jpeg", metadata=(("exif:Artist", "Zoë Secret"),))
LOOKS = (FrameHash(at=0.0, pdq=bytes(range(32)), quality=100),)


def told(ledger: Ledger, media_id: str, uploader: str, sha256: str, **more: object) -> None:
    """An upload with all that can be known of somebody."""
    said = upload(
        media_id,
        uploader_id=uploader,
        caption=f"by {uploader}",
        attributes={"handle": f"@{uploader}"},
        consent=Consent(reference=f"consent-of-{uploader}"),
    )
    made = decided(media_id, upload=said, facts=FACTS, hashes=LOOKS, sha256=sha256, **more)  # type: ignore[arg-type]
    follows = route(made)
    ledger.record_decision(made, follows.task, follows.outcome)


def forget(ledger: Ledger, which: Which, *, also_waiting: bool = False, dry_run: bool = False) -> int:
    """How many uploads were forgotten."""
    return Purge(ledger).forget(which, also_waiting=also_waiting, dry_run=dry_run).uploads


class PurgePromises:
    """Inherit, and name the subclass Test…"""

    def test_an_uploader_is_forgotten(self, ledger: Ledger) -> None:
        """Nothing of them is left in any text column; others, and what was decided, stay."""
        told(ledger, "m1", "zoe", "ab" * 32)
        told(ledger, "m2", "zoe", "cd" * 32)
        told(ledger, "m3", "max", "ef" * 32)
        before = ledger.outcome("m1")
        assert forget(ledger, Which(uploader_id="zoe"), dry_run=True) == 2
        assert Purge(ledger).traces(["zoe"]) != {}
        assert forget(ledger, Which(uploader_id="zoe")) == 2
        assert Purge(ledger).traces(["zoe", "ab" * 32, "cd" * 32]) == {}
        assert Purge(ledger).traces(["max"]) != {}
        assert ledger.outcome("m1") == before
        kept = ledger.decision("m1", 1)
        assert kept is not None
        assert (kept.upload.uri, kept.upload.caption, kept.embedding, kept.hashes) == (FORGOTTEN, "", None, ())
        assert kept.facts is not None
        assert (kept.facts.metadata, [s.evidence for s in kept.signals]) == ((), [()])
        assert [signal.probability for signal in kept.signals] == [0.7]
        assert forget(ledger, Which(uploader_id="zoe")) == 0
        assert ledger.counts().uploads == 3

    def test_the_same_bytes_elsewhere_keep_their_findings(self, ledger: Ledger) -> None:
        """Another upload of them is decided from what was found, until the last one is forgotten."""
        told(ledger, "m1", "zoe", "ab" * 32)
        told(ledger, "m2", "max", "ab" * 32)

        def left() -> tuple[int, int]:
            with ledger.reading(Stage.SETTLE) as connection:
                rows = [connection.execute(select(table)).all() for table in (contents, hashes)]
            return len(rows[0]), len(rows[1])

        assert left() == (1, 1)
        forget(ledger, Which(media_ids=("m1",)))
        assert left() == (1, 1)
        forget(ledger, Which(media_ids=("m2",)))
        assert left() == (0, 0)

    def test_by_age(self, ledger: Ledger) -> None:
        """The latest round counts: what was looked at again lately stays."""
        told(ledger, "old", "a", "ab" * 32)
        told(ledger, "again", "b", "cd" * 32)
        ledger.record_decision(*_whole(decided("again", 2, decided_at=NOON + 2 * HOUR)))
        assert forget(ledger, Which(before=NOON + HOUR)) == 1
        assert Purge(ledger).traces(["by a"]) == {}
        assert Purge(ledger).traces(["by b"]) != {}

    def test_what_waits_for_a_person_is_left_alone(self, ledger: Ledger) -> None:
        """Unless it is asked for; what people wrote goes with it."""
        told(ledger, "m1", "zoe", "ab" * 32, review="faces")
        found = Purge(ledger).forget(Which(uploader_id="zoe"), also_waiting=False, dry_run=False)
        assert (found.uploads, found.waiting) == (0, 1)
        work = Work(ledger)
        held = work.claim("ann", ("faces",), NOON, LEASE)
        assert held is not None
        words = Answer(Action.LIMIT, "zoe did it", "zoe again")
        work.answer("ann", held.lease_id, words, NOON, GRACE, {})
        work.sent([row[0] for row in work.due(NOON + GRACE)], NOON + GRACE)
        ledger.record_review(reviewed(held.tasks[0]))
        found = Purge(ledger).forget(Which(uploader_id="zoe"), also_waiting=False, dry_run=False)
        assert (found.uploads, found.tasks, found.reviews) == (1, 1, 1)
        assert Purge(ledger).traces(["zoe"]) == {}

    def test_what_people_wrote_goes_and_the_audit_log_holds(self, ledger: Ledger) -> None:
        """Reasons, notes, labels, reasons of skips, statements of requests: no column holds them any more, the log is
        as whole as before, and the outcome says what was decided, how, and that words are gone."""
        told(ledger, "m1", "zoe", "ab" * 32, review="faces")
        told(ledger, "m2", "max", "cd" * 32, review="faces")
        work = Work(ledger)
        for _ in range(2):
            held = work.claim("ann", ("faces",), NOON, LEASE)
            assert held is not None
            work.skip("ann", held.lease_id, f"{held.tasks[0].media_id}: skipped", NOON, AWAY)
        for _ in range(2):
            held = work.claim("eve", ("faces",), NOON, LEASE)
            assert held is not None
            task = held.tasks[0]
            name = task.media_id
            words = Answer(Action.LABEL, f"{name}: reason", f"{name}: notes", f"{name}: label")
            work.answer("eve", held.lease_id, words, NOON, GRACE, {})
            rows = work.due(NOON + GRACE)
            (review,) = [decode(value, ReviewDecided) for _, _, key, value in rows if key == name]
            assert isinstance(review, ReviewDecided)
            ledger.record_review(review)
            ledger.record_final(settle(review, task))
            work.sent([row[0] for row in rows], NOON + GRACE)
        before, published = verify(work.log_entries()), ledger.outcome("m1")
        assert (before.broken_at, published is not None and "m1: reason" in published.reasons) == (None, True)
        opened = record(ledger, asking("m1", statement="m1: statement"), concerning("m1", "m2"))
        assert [each.media_id for each in opened.decisions] == ["m1", "m2"]
        ours = ["m1: reason", "m1: notes", "m1: label", "m1: skipped", "m1: statement"]
        found = {name for word in ours for name in Purge(ledger).traces([word])}
        assert found == {
            "audit_words.words",
            "decisions.event",
            "looks.event",
            "outbox.value",
            "outcomes.event",
            "requests.event",
            "reviews.event",
            "skips.reason",
            "tasks.event",
        }, found

        assert forget(ledger, Which(uploader_id="zoe"), also_waiting=True) == 1
        assert Purge(ledger).traces(ours) == {}
        for word in ("m2: reason", "m2: notes", "m2: label", "m2: skipped"):
            assert Purge(ledger).traces([word]) != {}
        assert verify(work.log_entries()) == before
        (kept,) = [
            each for each in ledger.all_outcomes() if each.media_id == "m1" and each.decided_by is DecidedBy.PERSON
        ]
        assert kept.reasons[:2] == ("A person looked at it: to be labelled.", ERASED)
        assert (kept.action, kept.decided_by, kept.label) == (Action.LABEL, DecidedBy.PERSON, None)

    def test_what_is_written_later_goes_the_next_time(self, ledger: Ledger) -> None:
        """Of an upload that was forgotten while a person still had to decide; whatever the next purge is about."""
        told(ledger, "m1", "zoe", "ab" * 32, review="faces")
        told(ledger, "m2", "max", "cd" * 32)
        assert forget(ledger, Which(uploader_id="zoe"), also_waiting=True) == 1
        work = Work(ledger)
        held = work.claim("ann", ("faces",), NOON, LEASE)
        assert held is not None
        work.answer("ann", held.lease_id, Answer(Action.LIMIT, "it was zoe"), NOON, GRACE, {})
        ledger.record_review(reviewed(held.tasks[0]))
        assert forget(ledger, Which(media_ids=("m2",))) == 1
        assert set(Purge(ledger).traces(["zoe"])) == {"outbox.value"}
        work.sent([row[0] for row in work.due(NOON + GRACE)], NOON + GRACE)
        assert forget(ledger, Which(media_ids=("m2",))) == 0
        assert Purge(ledger).traces(["zoe"]) == {}

    def test_a_golden_task_that_is_forgotten_is_asked_of_nobody(self, ledger: Ledger) -> None:
        """There is nothing left to look at."""
        told(ledger, "m1", "zoe", "ab" * 32, review="faces")
        held = Work(ledger).claim("ann", ("faces",), NOON, LEASE)
        assert held is not None
        ledger.record_review(reviewed(held.tasks[0]))
        golden = Golden(ledger)
        golden.add(held.tasks[0].task_id, Action.REMOVE, "lea", NOON)
        assert golden.claim("bob", ("faces",), NOON, LEASE) is not None
        assert forget(ledger, Which(uploader_id="zoe")) == 1
        assert golden.claim("cid", ("faces",), NOON, LEASE) is None
        assert golden.holding("bob", NOON) is None

    def test_nothing_is_forgotten_by_accident(self, ledger: Ledger) -> None:
        """A command without a name is refused."""
        put(ledger, decided("m1", review="faces"))
        with pytest.raises(ValueError, match="nothing is named"):
            forget(ledger, Which())
        with ledger.reading(Stage.SETTLE) as connection:
            assert connection.execute(text("SELECT count(*) FROM uploads")).scalar_one() == 1
            assert connection.execute(select(uploads.c.uri)).scalar_one() != FORGOTTEN


def _whole(made: MediaDecided) -> tuple[MediaDecided, ReviewRequested | None, MediaEnforced]:
    follows = route(made)
    return made, follows.task, follows.outcome
