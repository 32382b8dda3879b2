"""What the ledger gives back: plain values, so that who reads them needs no SQLAlchemy."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from pipeline.events import (
    MediaDecided,
    MediaEnforced,
    MediaUploaded,
    OutcomeStatus,
    ReviewDecided,
    ReviewRequested,
    SubjectAnswered,
    Versions,
)
from pipeline.events.subject import SubjectMatch
from pipeline.events.values import (
    Agreement,
    Family,
    FrameHash,
    MediaFacts,
    MediaId,
    Sampling,
    Sha256,
    Signal,
    SignalStatus,
    Struct,
    Timestamp,
)


class TaskState(StrEnum):
    """`superseded`: a later round of the same upload was decided before a person came to it."""

    OPEN = "open"
    DECIDED = "decided"
    SUPERSEDED = "superseded"


class KnownContent(Struct, frozen=True):
    """What was found in these bytes before, by this set of detectors: all that a decision needs but the context."""

    sha256: Sha256
    versions: Versions
    media_id: MediaId
    judged_at: Timestamp
    size: int | None = None
    facts: MediaFacts | None = None
    sampling: Sampling | None = None
    signals: tuple[Signal, ...] = ()
    shadow: tuple[Signal, ...] = ()
    embedding: bytes | None = None
    hashes: tuple[FrameHash, ...] = ()
    agreement: tuple[Agreement, ...] = ()
    face_features: bytes | None = None


def known_from(decided: MediaDecided) -> KnownContent | None:
    """What of a decision may be used again for the same bytes.

    None when the upload could not be judged in full: a detector that was down today must get its say tomorrow.
    """
    if decided.sha256 is None or decided.failure is not None:
        return None
    if any(signal.status is SignalStatus.MISSING for signal in (*decided.signals, *decided.shadow)):
        return None
    return KnownContent(
        sha256=decided.sha256,
        versions=decided.versions,
        media_id=decided.reused_from or decided.media_id,
        judged_at=decided.decided_at,
        size=decided.size,
        facts=decided.facts,
        sampling=decided.sampling,
        # What the banks knew is no finding: they are asked again, because they change.
        signals=tuple(signal for signal in decided.signals if signal.family is not Family.KNOWN_CONTENT),
        shadow=decided.shadow,
        embedding=decided.embedding,
        hashes=decided.hashes,
        agreement=decided.agreement,
        face_features=decided.face_features,
    )


@dataclass(frozen=True, slots=True)
class SettledReview:
    """The review that stands for a task, which need not be the one that was just handed in.

    `superseded`: a later round had been decided when it came; it is on record and changes nothing.
    """

    review: ReviewDecided
    task: ReviewRequested
    superseded: bool = False


@dataclass(frozen=True, slots=True)
class LedgerCounts:
    """How many rows of each kind, for summaries. Keys are the values of the closed sets, or names of queues."""

    uploads: int = 0
    contents: int = 0
    decisions: int = 0
    reviews: int = 0
    reused: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    tasks: dict[str, int] = field(default_factory=dict)
    open_by_queue: dict[str, int] = field(default_factory=dict)
    provisional: dict[str, int] = field(default_factory=dict)
    final: dict[str, int] = field(default_factory=dict)


class DecisionRow(NamedTuple):
    """One row of `decisions`, as far as an audit needs it."""

    media_id: str
    round: int
    decided_at: datetime


class TaskRow(NamedTuple):
    """One row of `tasks`, as far as an audit needs it."""

    task_id: UUID
    media_id: str
    round: int
    queue: str
    state: TaskState
    requested_at: datetime


class ReviewRow(NamedTuple):
    """One row of `reviews`, as far as an audit needs it."""

    task_id: UUID
    media_id: str
    round: int
    decided_at: datetime


@dataclass(frozen=True, slots=True)
class RecentUpload:
    """An upload of which the bytes are known, in its latest round. `known`: (bank, hash id) of matches that counted."""

    upload: MediaUploaded
    round: int
    sha256: str
    decided_at: datetime
    hashes: tuple[FrameHash, ...] = ()
    known: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Standing:
    """How an upload stands: the decision of its latest round, and what applies."""

    decided: MediaDecided
    in_force: MediaEnforced

    @property
    def waits(self) -> bool:
        """A person is still to decide."""
        return self.in_force.status is OutcomeStatus.PROVISIONAL

    @property
    def requested(self) -> bool:
        """A request of the person shown is still to be decided on."""
        return self.waits and self.decided.request is not None


class Following(NamedTuple):
    """A decision with what follows from it."""

    decided: MediaDecided
    task: ReviewRequested | None
    outcome: MediaEnforced


@dataclass(frozen=True, slots=True)
class OpenedRequest:
    """What a request led to: the decisions of the rounds that it opened, and what is said to it at once.

    `new`: it was recorded just now; of an earlier delivery otherwise.
    """

    decisions: tuple[MediaDecided, ...]
    answer: SubjectAnswered
    new: bool


class ReopenedRow(NamedTuple):
    """One row of `reopened`, as far as an audit needs it. `final`: that round, or a later one, is."""

    request_id: str
    media_id: str
    round: int
    match: SubjectMatch
    recorded_at: datetime
    final: bool
