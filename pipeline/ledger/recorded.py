"""Many recorded decisions at once, for who decides them again: in spans of time that several processes can share."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

import msgspec
from msgspec import field
from sqlalchemy import exists, func, select
from sqlalchemy.sql import Select

from pipeline.events import MediaDecided
from pipeline.events.values import (
    Action,
    Decision,
    Evidence,
    Family,
    FrameHash,
    MediaFacts,
    RuleHit,
    Sampling,
    Saw,
    Signal,
    Timestamp,
    WindowLook,
)
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.tables import decisions, reviews, tasks
from pipeline.ledger.work_tables import looks

# What follows are events without their heavy parts. A field that is left out keeps its type and its default, and gets a
# name that no record has: the decoder then steps over what is stored, which is most of a record's bytes.


class LeanSignal(Signal, frozen=True, kw_only=True):
    """A signal without its evidence."""

    evidence: tuple[Evidence, ...] = field(default=(), name="-evidence")
    detectors: tuple[str, ...] = field(default=(), name="-detectors")
    note: str = field(default="", name="-note")


class LeanHit(RuleHit, frozen=True, kw_only=True):
    """A hit without its words."""

    because: str = field(default="", name="-because")
    saw: tuple[Saw, ...] = field(default=(), name="-saw")


class LeanDecision(Decision, frozen=True, kw_only=True):
    """A decision with the bare trace."""

    reasons: tuple[str, ...] = field(default=(), name="-reasons")
    trace: tuple[LeanHit, ...] = ()


class LeanFacts(MediaFacts, frozen=True, kw_only=True):
    """What a file says of itself, without tables and text entries."""

    metadata: tuple[tuple[str, str], ...] = field(default=(), name="-metadata")
    quantization: tuple[tuple[int, ...], ...] = field(default=(), name="-quantization")


class LeanSampling(Sampling, frozen=True, kw_only=True):
    """How much was looked at, without what it bought."""

    notes: tuple[str, ...] = field(default=(), name="-notes")
    windows: tuple[WindowLook, ...] = field(default=(), name="-windows")


class LeanDecided(MediaDecided, frozen=True, tag_field="schema", tag="media.decided/1"):
    """All of a decision that rules may see, and what was decided then."""

    decision: LeanDecision
    signals: tuple[LeanSignal, ...] = ()
    facts: LeanFacts | None = None
    sampling: LeanSampling | None = None
    shadow: tuple[Signal, ...] = field(default=(), name="-shadow")
    embedding: bytes | None = field(default=None, name="-embedding")
    face_features: bytes | None = field(default=None, name="-face_features")
    hashes: tuple[FrameHash, ...] = field(default=(), name="-hashes")


class Verdict(msgspec.Struct, frozen=True):
    """What a person decided: the part of a review that says whether the machine was right."""

    action: Action
    confirmed: tuple[Family, ...] = ()
    denied: tuple[Family, ...] = ()


class Recorded(NamedTuple):
    """One upload in one round: what was found and decided, and what a person said, where one did."""

    decided: LeanDecided
    verdict: Verdict | None


class Span(NamedTuple):
    """From `since` up to, not including, `until`."""

    since: datetime
    until: datetime


class Answer(NamedTuple):
    """One review, for what work costs: who answered, when the task came, when it was answered. `seconds`: that people
    held the case, all of them together, where the console gave it out."""

    reviewer_id: str
    queue: str
    requested_at: Timestamp
    decided_at: Timestamp
    seconds: int | None = None


_decided = msgspec.json.Decoder(LeanDecided)
_verdict = msgspec.json.Decoder(Verdict)


class Records(Ledger):
    """The ledger, read in bulk. Everything is streamed: memory does not grow with what is on record."""

    def spans(self, whole: Span, size: int) -> Iterator[tuple[Span, int]]:
        """`whole` in parts of about `size` decisions, oldest first, with the number of decisions in each (earlier
        rounds included). Decisions of one moment are in one part."""
        at = decisions.c.decided_at
        query = select(at, func.count()).where(at >= whole.since, at < whole.until).group_by(at).order_by(at)
        since, count = whole.since, 0
        for moment, here in self._stream(query):
            if count and count + here > size:
                yield Span(since, moment), count
                since, count = moment, 0
            count += here
        if count:
            yield Span(since, whole.until), count

    def recorded(self, span: Span, latest_before: datetime | None) -> Iterator[Recorded]:
        """The decisions of a span, oldest first, with their reviews.

        Args:
            span: when they were decided.
            latest_before: of each upload only the latest of the rounds that were decided before; None: every round.
        """
        for event, review in self._stream(_in_span(span, latest_before)):
            yield Recorded(_decided.decode(event), None if review is None else _verdict.decode(review))

    def verdict(self, media_id: str, round_: int) -> Verdict | None:
        """What a person said of one upload in one round."""
        t, r = tasks.c, reviews.c
        query = (
            select(r.event)
            .select_from(reviews.join(tasks, r.task_id == t.task_id))
            .where(t.media_id == media_id, t.round == round_)
        )
        return next((_verdict.decode(event) for (event,) in self._stream(query)), None)

    def answers(self, whole: Span) -> Iterator[Answer]:
        """Reviews that were given in this time, each reviewer's in order."""
        r, t, look = reviews.c, tasks.c, looks.c
        held = select(func.sum(look.seconds)).where(look.task_id == t.task_id, look.undone_at.is_(None))
        query = (
            select(r.reviewer_id, t.queue, t.requested_at, r.decided_at, held.scalar_subquery())
            .select_from(reviews.join(tasks, r.task_id == t.task_id))
            .where(r.decided_at >= whole.since, r.decided_at < whole.until)
            .order_by(r.reviewer_id, r.decided_at, r.task_id)
        )
        for row in self._stream(query):
            yield Answer(*row)


def _in_span(span: Span, latest_before: datetime | None) -> Select[tuple[str, str | None]]:
    d, t, r = decisions.c, tasks.c, reviews.c
    # By way of the task: reviews have no index on the upload.
    joined = decisions.outerjoin(tasks, (t.media_id == d.media_id) & (t.round == d.round)).outerjoin(
        reviews, r.task_id == t.task_id
    )
    query = (
        select(d.event, r.event)
        .select_from(joined)
        .where(d.decided_at >= span.since, d.decided_at < span.until)
        .order_by(d.decided_at, d.media_id, d.round)
    )
    if latest_before is None:
        return query
    later = decisions.alias("later").c
    return query.where(
        ~exists().where(later.media_id == d.media_id, later.round > d.round, later.decided_at < latest_before)
    )
