"""Forgetting: by age, by upload, by uploader.

What an upload looked and sounded like, who put it there, what was written beside it and what people wrote of it goes.
That it was decided on, how, and by which rules stays: the promise to have answered every upload once must be provable
for as long as the topics last.

Records in Kafka are not touched: their retention ends them (docs/operations.md says which topic keeps what how long).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import replace
from sqlalchemy import Connection, and_, delete, func, or_, select, update

from pipeline.errors import Stage
from pipeline.events import MediaDecided, MediaUploaded, ReviewDecided, ReviewRequested, SubjectRequested
from pipeline.events.codec import encode
from pipeline.events.values import MediaFacts, Signal
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.port import TaskState
from pipeline.ledger.tables import (
    contents,
    decisions,
    hashes,
    matches,
    requests,
    reviews,
    tasks,
    uploads,
)
from pipeline.ledger.work_tables import looks, outbox

FORGOTTEN = "forgotten:"
"""What stands instead of the address of an upload that was forgotten."""

_u, _d, _t = uploads.c, decisions.c, tasks.c
_decided = msgspec.json.Decoder(MediaDecided)
_requested = msgspec.json.Decoder(ReviewRequested)
_reviewed = msgspec.json.Decoder(ReviewDecided)
_asked = msgspec.json.Decoder(SubjectRequested)


@dataclass(frozen=True, slots=True)
class Which:
    """What to forget: uploads that were decided before a time, of an uploader, or by their ids; any that is given."""

    before: datetime | None = None
    uploader_id: str | None = None
    media_ids: tuple[str, ...] = ()


@dataclass
class Forgotten:
    """What was found. `waiting`: uploads that a person still has to decide on; they are left alone unless asked for."""

    uploads: int = 0
    decisions: int = 0
    tasks: int = 0
    reviews: int = 0
    contents: int = 0
    waiting: int = 0


class Purge:
    """Forgetting, on one ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def forget(
        self, which: Which, *, also_waiting: bool, dry_run: bool, progress: Callable[[int, int], None] = lambda *_: None
    ) -> Forgotten:
        """Forget, an upload at a time: what was forgotten stays so whatever happens next, and doing it again is
        harmless.

        Args:
            which: uploads.
            also_waiting: also those that a person still has to decide on, who then sees nothing any more.
            dry_run: only count.
            progress: hears how many of how many are done.
        """
        found = Forgotten()
        with self._ledger.reading(Stage.SETTLE) as connection:
            media_ids = list(connection.execute(_meant(which)).scalars())
            open_ = set(connection.execute(select(_t.media_id).where(_t.state == TaskState.OPEN.value)).scalars())
        for i, media_id in enumerate(media_ids):
            if media_id in open_:
                found.waiting += 1
                if not also_waiting:
                    continue
            found.uploads += 1
            if not dry_run:
                with self._ledger.writing(Stage.SETTLE) as connection:
                    _forget_one(connection, media_id, found)
            progress(i + 1, len(media_ids))
        return found

    def traces(self, words: Iterable[str]) -> dict[str, int]:
        """How many values of each text column still hold one of these words: the proof that something is forgotten.

        Every text column of every table is searched, the audit log's and the outbox's too.
        """
        from pipeline.ledger.tables import metadata

        found: dict[str, int] = {}
        wanted = [word for word in words if word]
        with self._ledger.reading(Stage.SETTLE) as connection:
            for table in metadata.sorted_tables:
                for column in table.columns:
                    if type(column.type).__name__ != "Text" or not wanted:
                        continue
                    held = or_(*(column.contains(word, autoescape=True) for word in wanted))
                    count = connection.execute(select(func.count()).select_from(table).where(held)).scalar_one()
                    if count:
                        found[f"{table.name}.{column.name}"] = count
        return found


def _meant(which: Which) -> Any:
    """Ids of uploads that are meant and not forgotten yet."""
    of = []
    if which.before is not None:
        late = select(_d.media_id).where(_d.media_id == _u.media_id, _d.decided_at >= which.before)
        of.append(~late.exists())
    if which.uploader_id is not None:
        of.append(_u.uploader_id == which.uploader_id)
    if which.media_ids:
        of.append(_u.media_id.in_(which.media_ids))
    if not of:
        raise ValueError("nothing is named: an age, an uploader or an upload")
    return select(_u.media_id).where(and_(*of), _u.uri != FORGOTTEN).distinct().order_by(_u.media_id)


def _forget_one(connection: Connection, media_id: str, found: Forgotten) -> None:
    digests = set(
        connection.execute(select(_u.sha256).where(_u.media_id == media_id, _u.sha256.is_not(None))).scalars()
    )
    bare = {"uri": FORGOTTEN, "uploader_id": None, "content_type": None, "consent_reference": None, "sha256": None}
    connection.execute(update(uploads).where(_u.media_id == media_id).values(bare))
    found.decisions += _rewrite(connection, decisions, _d.media_id == media_id, _decided.decode, _bare_decision)
    found.tasks += _rewrite(connection, tasks, _t.media_id == media_id, _requested.decode, _bare_task)
    r = reviews.c
    found.reviews += _rewrite(connection, reviews, r.media_id == media_id, _reviewed.decode, _bare_review)
    ids = select(_t.task_id).where(_t.media_id == media_id)
    _rewrite(connection, looks, looks.c.task_id.in_(ids), _reviewed.decode, _bare_review)
    _rewrite(connection, requests, requests.c.media_id == media_id, _asked.decode, _bare_request)
    connection.execute(delete(outbox).where(outbox.c.key == media_id, outbox.c.sent_at.is_not(None)))
    connection.execute(update(matches).where(matches.c.media_id == media_id).values(sha256=""))
    for digest in digests:
        # The same bytes in another upload, which is not to be forgotten, keep what was found in them.
        if connection.execute(select(_u.media_id).where(_u.sha256 == digest).limit(1)).first() is None:
            found.contents += connection.execute(delete(contents).where(contents.c.sha256 == digest)).rowcount
            connection.execute(delete(hashes).where(hashes.c.sha256 == digest))


def _rewrite(
    connection: Connection, table: Any, where: Any, read: Callable[[str], Any], bare: Callable[[Any], Any]
) -> int:
    """Put the bare event in place of each that is meant."""
    key = list(table.primary_key.columns)
    rows = connection.execute(select(*key, table.c.event).where(where)).all()
    for row in rows:
        mine = and_(*(column == getattr(row, column.name) for column in key))
        event = encode(bare(read(row.event))).decode()
        connection.execute(update(table).where(mine).values(event=event))
    return len(rows)


def _bare_upload(upload: MediaUploaded) -> MediaUploaded:
    """Where and how it was shown stays, for counting; who, what and which words do not."""
    consent = replace(upload.consent, reference=None) if upload.consent else None
    return replace(
        upload,
        uri=FORGOTTEN,
        sha256=None,
        uploader_id=None,
        caption="",
        attributes={},
        content_type=None,
        consent=consent,
        uploader=None,
    )


def _bare_facts(facts: MediaFacts | None) -> MediaFacts | None:
    return replace(facts, metadata=(), credentials=None, quantization=()) if facts else None


def _bare_signals(signals: Iterable[Signal]) -> tuple[Signal, ...]:
    """The numbers stay, for measuring; places, crops' boxes and heat maps do not."""
    return tuple(replace(signal, evidence=(), note="") for signal in signals)


def _bare_decision(decided: MediaDecided) -> MediaDecided:
    return replace(
        decided,
        upload=_bare_upload(decided.upload),
        sha256=None,
        facts=_bare_facts(decided.facts),
        signals=_bare_signals(decided.signals),
        shadow=_bare_signals(decided.shadow),
        embedding=None,
        face_features=None,
        hashes=(),
        matches=(),
        request=replace(decided.request, statement="") if decided.request else None,
    )


def _bare_task(task: ReviewRequested) -> ReviewRequested:
    return replace(
        task,
        upload=_bare_upload(task.upload),
        sha256=None,
        facts=_bare_facts(task.facts),
        signals=_bare_signals(task.signals),
        request=replace(task.request, statement="") if task.request else None,
    )


def _bare_review(review: ReviewDecided) -> ReviewDecided:
    return replace(review, reason="", notes="")


def _bare_request(asked: SubjectRequested) -> SubjectRequested:
    return replace(asked, statement="")
