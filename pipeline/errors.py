"""What can go wrong, as types that say what the flow does next.

UnmaskError
├── ConfigError    the operator has to change something; commands end with status 2
├── Permanent      this item will never succeed: dead-letter it, apply the fail mode, go on
└── Transient      it may succeed later: try again under the item's deadline
    └── Unavailable    a dependency is known to be down (breaker open); nothing was asked
"""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    """Where in the flow an item was. A closed set: it labels metrics and filters replays."""

    RECEIVE = "receive"
    FETCH = "fetch"
    DECODE = "decode"
    DETECT = "detect"
    DECIDE = "decide"
    ROUTE = "route"
    SETTLE = "settle"
    ANSWER = "answer"


class Reason(StrEnum):
    """Why an item could not be processed. A closed set: it labels metrics and filters replays."""

    MALFORMED_EVENT = "malformed_event"
    SOURCE_FORBIDDEN = "source_forbidden"
    SOURCE_NOT_FOUND = "source_not_found"
    SOURCE_DENIED = "source_denied"
    SOURCE_TOO_LARGE = "source_too_large"
    SOURCE_TOO_SLOW = "source_too_slow"
    SOURCE_UNAVAILABLE = "source_unavailable"
    DIGEST_MISMATCH = "digest_mismatch"
    MEDIA_EMPTY = "media_empty"
    MEDIA_UNSUPPORTED = "media_unsupported"
    MEDIA_CORRUPT = "media_corrupt"
    MEDIA_BOMB = "media_bomb"
    DECODER_CRASHED = "decoder_crashed"
    DECODER_TIMEOUT = "decoder_timeout"
    INFERENCE_UNAVAILABLE = "inference_unavailable"
    INFERENCE_REJECTED = "inference_rejected"
    LEDGER_UNAVAILABLE = "ledger_unavailable"
    BROKER_UNAVAILABLE = "broker_unavailable"
    UNKNOWN_TASK = "unknown_task"
    DEADLINE = "deadline"
    INTERNAL = "internal"


class UnmaskError(Exception):
    """The root of every error that Unmask raises on purpose."""


class ConfigError(UnmaskError):
    """Settings, a policy file or a model repository that cannot work; the text says what to change."""


class ItemError(UnmaskError):
    """Trouble with one item. `detail` is for people and logs, never for metric labels."""

    def __init__(self, stage: Stage, reason: Reason, detail: str) -> None:
        super().__init__(stage, reason, detail)
        self.stage = stage
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.stage}: {self.reason}: {self.detail}"


class Permanent(ItemError):
    """The item will never succeed as it is."""


class Transient(ItemError):
    """The item may succeed later. `retry_after` (seconds) is the dependency's own wish, where it has one."""

    def __init__(self, stage: Stage, reason: Reason, detail: str, *, retry_after: float | None = None) -> None:
        super().__init__(stage, reason, detail)
        self.retry_after = retry_after


class Unavailable(Transient):
    """A circuit breaker is open: the dependency was not asked."""
