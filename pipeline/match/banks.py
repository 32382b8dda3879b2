"""What a bank is: hashes that somebody collected, and what a match with them may do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from hashlib import blake2b
from typing import Annotated, Protocol

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from pipeline.events.values import Probability, RuleMode
from pipeline.match.index import Near
from pipeline.match.pdq import BITS
from pipeline.moments import Duration, length

THRESHOLD = 31
"""Bits that may differ: what the authors of PDQ call a confident match, and what the exchanges use."""

QUERY_SHARE = 0.8
"""Of the upload's frames, how many a video in a bank must know: the default of ThreatExchange's vPDQ."""

_LARGEST_THRESHOLD = 64
"""Half way to chance (128); beyond it everything matches something."""

Name = Annotated[str, Meta(pattern=r"^[a-z0-9]+([-_][a-z0-9]+)*$(?!\n)", min_length=1, max_length=40)]


class Kind(StrEnum):
    """What is compared: the bytes; a picture, or each frame of a video; a video as a whole."""

    SHA256 = "sha256"
    PDQ = "pdq"
    VPDQ = "vpdq"


class OnFlood(StrEnum):
    """What follows when a hash matches suspiciously much: its matches decide nothing, or it is only reported."""

    QUARANTINE = "quarantine"
    REPORT = "report"


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Part of the banks file: a word that nobody knows is an error."""


class Flood(Section, frozen=True):
    """When a hash, or a bank as a whole, matches suspiciously much within `window`.

    `contents`: so many different contents (the same bytes again count once: what is passed on a lot is no flood).
    `share`: or so large a share of all contents, once it is at least `least` of them. A bank as a whole may match ten
    times `contents`, and the same share.
    """

    contents: Annotated[int, Meta(ge=2)] = 200
    share: Probability = 0.05
    least: Annotated[int, Meta(ge=2)] = 20
    window: Duration = "1h"
    action: OnFlood = OnFlood.QUARANTINE

    @property
    def within(self) -> timedelta:
        """The window as a length of time."""
        return length(self.window)


class BankSpec(Section, frozen=True):
    """One entry of banks.yaml.

    `files`: relative to the file; formats are told by content. `threshold`: bits that may differ. `query_share`: of the
    upload's frames, `compared_share`: of the bank's video, how many must be known (vPDQ; of a PDQ bank one frame is
    enough). `rollout`: for which share of the uploads matches count. `negative`: what it knows is genuine, and does not
    count as known elsewhere. `disabled`: ids or hashes that are left out. `harm`: in words, for people.
    """

    name: Name
    kind: Kind
    files: Annotated[tuple[str, ...], Meta(min_length=1)]
    harm: Annotated[str, Meta(max_length=100)] = ""
    mode: RuleMode = RuleMode.SHADOW
    rollout: Probability = 1.0
    negative: bool = False
    threshold: Annotated[int, Meta(ge=0, le=_LARGEST_THRESHOLD)] = THRESHOLD
    query_share: Probability = QUERY_SHARE
    compared_share: Probability = 0.0
    disabled: tuple[str, ...] = ()
    flood: Flood = Flood()
    note: str = ""

    def __post_init__(self) -> None:
        if self.kind is not Kind.VPDQ and (self.query_share, self.compared_share) != (QUERY_SHARE, 0.0):
            raise ValueError(f"`query_share` and `compared_share` are for vpdq banks; {self.name!r} is {self.kind}")
        if self.kind is Kind.SHA256 and self.threshold != THRESHOLD:
            raise ValueError(f"`threshold` is for pdq and vpdq banks; {self.name!r} is sha256")


class BanksFile(Section, frozen=True):
    """All that banks.yaml says."""

    banks: Annotated[tuple[BankSpec, ...], Meta(min_length=1)]

    def __post_init__(self) -> None:
        names = [bank.name for bank in self.banks]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"the bank {twice[0]!r} is given twice")


class Ids(Protocol):
    """The names of a bank's entries."""

    def __getitem__(self, entry: int) -> str:
        """Of one entry."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class HexIds:
    """Entries that have no other name than their hash."""

    codes: NDArray[np.uint8]

    def __getitem__(self, entry: int) -> str:
        """In hexadecimal."""
        return bytes(self.codes[entry]).hex()


@dataclass(frozen=True, slots=True, eq=False)
class GivenIds:
    """Entries with names: UTF-8, one after the other in `text`, entry i from `ends[i]` to `ends[i + 1]`."""

    text: NDArray[np.uint8]
    ends: NDArray[np.int64]

    def __getitem__(self, entry: int) -> str:
        """The name."""
        return bytes(self.text[self.ends[entry] : self.ends[entry + 1]]).decode()


@dataclass(frozen=True, slots=True, eq=False)
class Bank:
    """A bank, ready to be asked.

    `near`: all codes: one per entry, or of a vPDQ bank one per frame. `owner`: which entry a code belongs to; None
    where code and entry are the same. `frames`: of a vPDQ bank, how many different frames each entry has.
    """

    spec: BankSpec
    digest: str
    near: Near
    ids: Ids
    owner: NDArray[np.uint32] | None = None
    frames: NDArray[np.uint32] | None = None

    @property
    def name(self) -> str:
        """As in the file."""
        return self.spec.name

    @property
    def version(self) -> str:
        """`name@digest`: changes with every hash."""
        return f"{self.spec.name}@{self.digest[:8]}"

    @property
    def size(self) -> int:
        """How many entries."""
        return len(self.near.codes) if self.frames is None else len(self.frames)

    def owners(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The entries that codes belong to."""
        return rows if self.owner is None else self.owner[rows].astype(np.int64)

    def concerns(self, media_id: str) -> bool:
        """Whether this upload is in the share for which the bank is rolled out: the same answer every time."""
        digest = blake2b(f"{self.spec.name}\n{media_id}".encode("utf-8", "replace"), digest_size=8).digest()
        return int.from_bytes(digest) < self.spec.rollout * 2**64


Banks = Sequence[Bank]


def row_of(codes: NDArray[np.uint8], code: bytes) -> int | None:
    """Where `code` is among sorted codes."""
    low, high = 0, len(codes)
    while low < high:
        middle = (low + high) // 2
        if codes[middle].tobytes() < code:
            low = middle + 1
        else:
            high = middle
    return low if low < len(codes) and codes[low].tobytes() == code else None


assert _LARGEST_THRESHOLD < BITS // 2
