"""What the outbox holds: plain values, so that who reads them needs no database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pipeline.events import MediaDecided, MediaEnforced, ReviewDecided
from pipeline.ledger.port import Standing


class StatementState(StrEnum):
    """`queued` → `sent` or `refused` (by the endpoint). `held-back`: a person has to look first."""

    QUEUED = "queued"
    SENT = "sent"
    REFUSED = "refused"
    HELD_BACK = "held-back"


@dataclass(frozen=True, slots=True)
class Draft:
    """A statement on its way into the outbox. `body`, `findings`: JSON. `status`: of the outcome that it is about."""

    puid: str
    media_id: str
    round: int
    status: str
    queued_at: datetime
    state: StatementState
    body: str
    findings: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A statement in the outbox.

    `batch`: the call that it is, or was, sent with. `receipt`: the endpoint's own id of it, or how it came to count as
    sent. `why`: why it was refused.
    """

    puid: str
    media_id: str
    round: int
    state: StatementState
    queued_at: datetime
    body: str
    findings: str
    batch: str | None = None
    settled_at: datetime | None = None
    receipt: str | None = None
    why: str | None = None


Compile = Callable[[MediaDecided, MediaEnforced, ReviewDecided | None, Standing | None], tuple[Draft, ...]]
"""Decision, outcome, the review where a person decided, and what applied before → what is to be reported."""
