"""Which hashes match suspiciously much. Pure: counts and the time come in.

A hash that suddenly matches hundreds of different contents is seldom a hundred finds: it is the hash of something
common (a caption, a logo, a blank page) or was put into the bank to hurt. Bytes that are passed on a thousand times
count once, so what spreads is no flood. Who wants a hash out of the way could still make many variants of its picture;
where that matters more than false alarms, `action: report` leaves the hash in force and only tells.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from pipeline.match.banks import Flood, OnFlood

BANK_TIMES = 10
"""A bank as a whole may match so many times as many contents as one of its hashes."""


@dataclass(frozen=True, slots=True)
class Counted:
    """How many different contents one hash matched within the window; an empty id: the bank as a whole."""

    bank: str
    hash_id: str
    contents: int


@dataclass(frozen=True, slots=True)
class Quarantine:
    """A hash, or with an empty id a bank, that matched suspiciously much. `action` REPORT: its matches still count."""

    bank: str
    hash_id: str
    since: datetime
    contents: int
    reason: str
    action: OnFlood = OnFlood.QUARANTINE
    released_at: datetime | None = None

    @property
    def holds(self) -> bool:
        """Whether its matches decide nothing."""
        return self.released_at is None and self.action is OnFlood.QUARANTINE


def floods(counts: Iterable[Counted], contents: int, limits: Flood, now: datetime) -> tuple[Quarantine, ...]:
    """What has to be quarantined or reported.

    Args:
        counts: of one bank, within `limits.window` before `now`.
        contents: how many different contents were decided in that window.
        limits: the bank's.
        now: when the quarantine begins.
    """
    found = []
    for each in counts:
        most = limits.contents * (1 if each.hash_id else BANK_TIMES)
        share = each.contents / max(contents, each.contents)
        if each.contents >= most:
            why = f"{each.contents} different contents within {limits.window}, {most} are the most"
        elif each.contents >= limits.least and share > limits.share:
            why = f"{share:.1%} of {contents} contents within {limits.window}, {limits.share:.1%} are the most"
        else:
            continue
        found.append(Quarantine(each.bank, each.hash_id, now, each.contents, why, limits.action))
    return tuple(found)
