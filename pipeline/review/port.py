"""What passes between the console and the ledger: plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from pipeline.errors import UnmaskError
from pipeline.events import MediaEnforced, ReviewDecided, ReviewRequested
from pipeline.events.values import Action, Family


class Refused(UnmaskError):
    """What a reviewer asked for cannot be: the lease has ended, the task is gone. The message is for that person."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a reviewer holds until the lease ends: a case, which is one task or several of near copies.

    `tasks`: the most urgent first. `looks`: answers of others that it has already, which this person does not see.
    `first`: what they said before they saw the scores.
    """

    lease_id: UUID
    until: datetime
    tasks: tuple[ReviewRequested, ...]
    looks: int = 0
    first: Action | None = None


class Background(NamedTuple):
    """What is on record around a task: outcomes of this upload and of the same bytes elsewhere (`past`), of other
    uploads by the same uploader (`elsewhere`), and answers with notes for colleagues."""

    past: tuple[MediaEnforced, ...]
    elsewhere: tuple[MediaEnforced, ...]
    notes: tuple[ReviewDecided, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person says of a case."""

    action: Action
    reason: str = ""
    notes: str = ""
    label: str | None = None
    confirmed: tuple[Family, ...] = ()
    denied: tuple[Family, ...] = ()
    harm: str | None = None


class Stands(StrEnum):
    """What an answer led to. `settled`: it is final after the grace time. `second`: another person has to look.
    `disputed`: two people disagree; a lead decides."""

    SETTLED = "settled"
    SECOND = "second"
    DISPUTED = "disputed"


@dataclass(frozen=True, slots=True)
class Answered:
    """`swept`: the tasks that this answer speaks for. `undo_until`: until then it can be taken back."""

    answer_id: UUID
    stands: Stands
    swept: tuple[UUID, ...]
    undo_until: datetime


@dataclass(frozen=True, slots=True)
class QueueState:
    """What a queue looks like now. `slack`: seconds until work has to start, of the most urgent tasks, sorted."""

    queue: str
    depth: int
    oldest: datetime | None
    overdue: int
    leased: int
    held: int
    slack: tuple[float, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Given:
    """An answer on record."""

    answer_id: UUID
    reviewer_id: str
    action: Action
    at: datetime


@dataclass(frozen=True, slots=True)
class Looked:
    """One answer to a blind question: what was said before and after the scores were seen."""

    queue: str
    first: Action
    final: Action


class GoldenLook(NamedTuple):
    """What somebody answered to a task whose answer is known."""

    queue: str
    reviewer_id: str
    right: Action
    said: Action


def stands(answers: tuple[Given, ...], people: int) -> Stands:
    """What a task's answers amount to, where so many people have to agree. The latest is the last.

    Two that agree settle it; where two disagree the third one, a lead's, does.
    """
    if len(answers) >= 3 or people <= 1:
        return Stands.SETTLED
    if len(answers) < people:
        return Stands.SECOND
    return Stands.SETTLED if len({answer.action for answer in answers}) == 1 else Stands.DISPUTED
