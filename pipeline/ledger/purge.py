"""Forgetting: by age, by upload, by uploader.

What an upload looked and sounded like, who put it there, what was written beside it and what people wrote of it goes.
That it was decided on, how, and by which rules stays: the promise to have answered every upload once must be provable
for as long as the topics last. What was written goes from the audit log too, whose chain holds without it.

Records in Kafka are not touched: their retention ends them (docs/operations.md says which topic keeps what how long).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace
from sqlalchemy import Connection, LargeBinary, Text, and_, delete, func, literal, or_, select, update

from pipeline.errors import Stage
from pipeline.events import (
    DecidedBy,
    MediaDecided,
    MediaEnforced,
    MediaUploaded,
    ReviewDecided,
    ReviewRequested,
    SubjectRequested,
)
from pipeline.events.codec import encode
from pipeline.events.values import MediaFacts, Signal
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.port import TaskState
from pipeline.ledger.tables import (
    contents,
    decisions,
    hashes,
    matches,
    metadata,
    outcomes,
    reopened,
    requests,
    reviews,
    tasks,
    uploads,
)
from pipeline.ledger.work_tables import audit_words, golden, golden_looks, looks, outbox, skips

FORGOTTEN = "forgotten:"
"""What stands instead of the address of an upload that was forgotten."""
FORGOTTEN_WAITING = "forgotten:waiting"
"""The same while somebody may still write about it: whatever is forgotten next, it is gone through again."""
ERASED = "What was written was erased."
"""What stands in an outcome instead of a person's words."""

_Asking = TypeVar("_Asking", MediaDecided, ReviewRequested)
_u, _d, _t = uploads.c, decisions.c, tasks.c
_decided = msgspec.json.Decoder(MediaDecided)
_requested = msgspec.json.Decoder(ReviewRequested)
_reviewed = msgspec.json.Decoder(ReviewDecided)
_enforced = msgspec.json.Decoder(MediaEnforced)
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
            again = list(connection.execute(_AGAIN).scalars())
            open_ = set(connection.execute(_WAITING).scalars())
        for i, media_id in enumerate(media_ids):
            if media_id in open_:
                found.waiting += 1
                if not also_waiting:
                    continue
            found.uploads += 1
            if not dry_run:
                with self._ledger.writing(Stage.SETTLE) as connection:
                    _forget_one(connection, media_id, found, waiting=media_id in open_)
            progress(i + 1, len(media_ids))
        if not dry_run:
            for media_id in set(again) - set(media_ids):
                with self._ledger.writing(Stage.SETTLE) as connection:
                    _forget_one(connection, media_id, Forgotten(), waiting=media_id in open_)
        return found

    def traces(self, words: Iterable[str]) -> dict[str, int]:
        """How many values of each column still hold one of these words: the proof that something is forgotten.

        Every column of every table that can hold words is searched, the audit log's and the outbox's too.
        """
        found: dict[str, int] = {}
        wanted = [word for word in words if word]
        with self._ledger.reading(Stage.SETTLE) as connection:
            for table in metadata.sorted_tables:
                for column in table.columns:
                    if not isinstance(column.type, Text | LargeBinary) or not wanted:
                        continue
                    held = or_(*(_holds(column, word, self._ledger.postgres) for word in wanted))
                    count = connection.execute(select(func.count()).select_from(table).where(held)).scalar_one()
                    if count:
                        found[f"{table.name}.{column.name}"] = count
        return found


_WAITING = (
    select(_t.media_id)
    .where(_t.state == TaskState.OPEN.value)
    .union(select(outbox.c.key).where(outbox.c.sent_at.is_(None)))
)
"""Uploads that a person still has to decide on, or of which something waits to be published."""
_AGAIN = select(_u.media_id).where(_u.uri == FORGOTTEN_WAITING).distinct().order_by(_u.media_id)


def _holds(column: Any, word: str, postgres: bool) -> Any:
    if isinstance(column.type, Text):
        return column.contains(word, autoescape=True)
    part = literal(word.encode(), LargeBinary)
    return (func.position(part.op("IN")(column)) if postgres else func.instr(column, part)) > 0


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
    known = _u.uri.not_in((FORGOTTEN, FORGOTTEN_WAITING))
    return select(_u.media_id).where(and_(*of), known).distinct().order_by(_u.media_id)


def _forget_one(connection: Connection, media_id: str, found: Forgotten, *, waiting: bool) -> None:
    digests = set(
        connection.execute(select(_u.sha256).where(_u.media_id == media_id, _u.sha256.is_not(None))).scalars()
    )
    stands = FORGOTTEN_WAITING if waiting else FORGOTTEN
    bare = {"uri": stands, "uploader_id": None, "content_type": None, "consent_reference": None, "sha256": None}
    connection.execute(update(uploads).where(_u.media_id == media_id).values(bare))
    found.decisions += _rewrite(connection, decisions, _d.media_id == media_id, _decided.decode, _bare_decision)
    found.tasks += _rewrite(connection, tasks, _t.media_id == media_id, _requested.decode, _bare_task)
    r = reviews.c
    found.reviews += _rewrite(connection, reviews, r.media_id == media_id, _reviewed.decode, _bare_review)
    _forget_outcomes(connection, media_id)
    _forget_requests(connection, media_id)
    ids = select(_t.task_id).where(_t.media_id == media_id)
    _rewrite(connection, looks, looks.c.task_id.in_(ids), _reviewed.decode, _bare_review)
    connection.execute(update(skips).where(skips.c.task_id.in_(ids)).values(reason=""))
    # One entry may speak of several near copies: its words go with the first of them.
    entries = list(connection.execute(select(audit_words.c.seq).where(audit_words.c.task_id.in_(ids))).scalars())
    connection.execute(delete(audit_words).where(audit_words.c.seq.in_(entries)))
    # Nothing is left that anybody could be measured by.
    connection.execute(delete(golden_looks).where(golden_looks.c.task_id.in_(ids)))
    connection.execute(delete(golden).where(golden.c.task_id.in_(ids)))
    connection.execute(delete(outbox).where(outbox.c.key == media_id, outbox.c.sent_at.is_not(None)))
    connection.execute(update(matches).where(matches.c.media_id == media_id).values(sha256=""))
    for digest in digests:
        # The same bytes in another upload, which is not to be forgotten, keep what was found in them.
        if connection.execute(select(_u.media_id).where(_u.sha256 == digest).limit(1)).first() is None:
            found.contents += connection.execute(delete(contents).where(contents.c.sha256 == digest)).rowcount
            connection.execute(delete(hashes).where(hashes.c.sha256 == digest))


def _forget_outcomes(connection: Connection, media_id: str) -> None:
    """What the person who decided wrote: words for the platform, a label of their own."""
    tasks_ = map(_requested.decode, connection.execute(select(_t.event).where(_t.media_id == media_id)).scalars())
    by_id = {task.task_id: task for task in tasks_}
    mine = (outcomes.c.media_id == media_id, outcomes.c.decided_by == DecidedBy.PERSON.value)
    _rewrite(
        connection,
        outcomes,
        and_(*mine),
        _enforced.decode,
        lambda event: _bare_outcome(event, by_id.get(event.task_id)),
    )


def _forget_requests(connection: Connection, media_id: str) -> None:
    """What was said by who asked about this upload, also where it was passed on to its copies."""
    asked = select(reopened.c.request_id).where(reopened.c.media_id == media_id)
    meant = or_(requests.c.media_id == media_id, requests.c.request_id.in_(asked))
    ids = list(connection.execute(select(requests.c.request_id).where(meant)).scalars())
    _rewrite(connection, requests, requests.c.request_id.in_(ids), _asked.decode, _bare_request)
    rounds = select(reopened.c.media_id, reopened.c.round).where(reopened.c.request_id.in_(ids))
    for row in connection.execute(rounds).all():
        for table, read in ((decisions, _decided.decode), (tasks, _requested.decode)):
            copy = and_(table.c.media_id == row.media_id, table.c.round == row.round)
            _rewrite(connection, table, copy, read, _without_statement)


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


def _without_statement(event: _Asking) -> _Asking:
    return replace(event, request=replace(event.request, statement="")) if event.request else event


def _bare_decision(decided: MediaDecided) -> MediaDecided:
    return replace(
        _without_statement(decided),
        upload=_bare_upload(decided.upload),
        sha256=None,
        facts=_bare_facts(decided.facts),
        signals=_bare_signals(decided.signals),
        shadow=_bare_signals(decided.shadow),
        embedding=None,
        face_features=None,
        hashes=(),
        matches=(),
    )


def _bare_task(task: ReviewRequested) -> ReviewRequested:
    return replace(
        _without_statement(task),
        upload=_bare_upload(task.upload),
        sha256=None,
        facts=_bare_facts(task.facts),
        signals=_bare_signals(task.signals),
    )


def _bare_review(review: ReviewDecided) -> ReviewDecided:
    return replace(review, reason="", notes="", label=None)


def _bare_outcome(outcome: MediaEnforced, task: ReviewRequested | None) -> MediaEnforced:
    """The verdict in its own words and what the machine said stay (`settle`), and a label that was not the person's."""
    verdict, *told = outcome.reasons or ("",)
    machine = tuple(reason for reason in told if task is not None and reason in task.reasons)
    label = outcome.label if task is not None and outcome.label == task.label else None
    if label == outcome.label and len(machine) == len(told):
        return outcome
    viewer = outcome.viewer_label if label is not None else None
    return replace(outcome, reasons=(verdict, ERASED, *machine), label=label, viewer_label=viewer)


def _bare_request(asked: SubjectRequested) -> SubjectRequested:
    return replace(asked, statement="")
