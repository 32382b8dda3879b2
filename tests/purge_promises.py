"""What forgetting promises, whatever database lies under it. A test module provides the fixture `ledger`."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, text

from pipeline.errors import Stage
from pipeline.events import MediaDecided, MediaEnforced, ReviewRequested
from pipeline.events.values import Action, Consent, FrameHash, MediaFacts, MediaKind
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.purge import FORGOTTEN, Purge, Which
from pipeline.ledger.tables import contents, hashes, uploads
from pipeline.ledger.work import Work
from pipeline.review.port import Answer
from pipeline.route import route
from tests.records import NOON, decided, reviewed, upload
from tests.work_promises import GRACE, LEASE, put

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
