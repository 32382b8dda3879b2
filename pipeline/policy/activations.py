"""Which policy decides from when: what the ledger keeps of it, as plain values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol


class Key(NamedTuple):
    """Names a policy with its calibration: together they decide."""

    version: str
    fusion_version: str


@dataclass(frozen=True, slots=True)
class PolicyWords:
    """A policy and its calibration as they were written."""

    key: Key
    policy: str
    calibration: str


@dataclass(frozen=True, slots=True)
class Switch:
    """From when which policy is in force, and which worker asked for it."""

    number: int
    key: Key
    active_from: datetime
    proposed_at: datetime
    proposed_by: str


@dataclass(frozen=True, slots=True)
class WorkerPolicy:
    """What one worker has in force. `file`: what its own file says, None when that is not sound.

    `since`: when it came in force there. `refused`: why something is not in force there that should be.
    """

    worker_id: str
    number: int
    key: Key
    since: datetime | None
    file: Key | None
    refused: str | None
    seen_at: datetime


def agree(workers: Iterable[WorkerPolicy], key: Key) -> bool:
    """Whether the files of all these workers say the same."""
    return all(worker.file == key for worker in workers)


class Record(Protocol):
    """Where switches are kept. Methods raise `Transient` while it is away."""

    def now(self) -> datetime:
        """By its own clock."""
        ...

    def propose(self, words: PolicyWords, worker_id: str, lead: timedelta) -> Switch:
        """Put a policy in force `lead` from now, or at once when there was none before."""
        ...

    def at(self, moment: datetime | None = None) -> Switch | None:
        """What is in force at a moment (now when not given)."""
        ...

    def after(self, number: int) -> tuple[Switch, ...]:
        """The switches with a higher number, in order."""
        ...

    def words(self, key: Key) -> PolicyWords | None:
        """The words of a policy."""
        ...

    def was_switched_to(self, key: Key) -> bool:
        """Whether it was ever in force, or is going to be."""
        ...

    def activated(self, worker_id: str, number: int, at: datetime, digest: str) -> None:
        """A worker decides by this switch from `at` on."""
        ...

    def seen(self, worker_id: str, number: int, file: Key | None, refused: str | None) -> None:
        """A worker lives, and this is how it stands."""
        ...

    def gone(self, worker_id: str) -> None:
        """A worker has ended as it should."""
        ...

    def workers(self) -> tuple[WorkerPolicy, ...]:
        """Those that were heard of lately."""
        ...
