"""Record headers: CloudEvents 1.0 in the Kafka protocol binding's binary mode, and the W3C trace context.

The value of a record is the event alone; what routers and tracers need lies in its headers.

Sources: CloudEvents 1.0.2 and its Kafka protocol binding; W3C Trace Context, level 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from hashlib import sha256

from pipeline.events import (
    DeadLetter,
    Event,
    MediaDecided,
    MediaEnforced,
    MediaUploaded,
    ReviewDecided,
    ReviewRequested,
    SubjectAnswered,
    SubjectRequested,
)
from pipeline.events.codec import schema_of

Headers = Mapping[str, bytes | str | None] | Iterable[tuple[str, bytes | str | None]] | None
"""Headers as any Kafka client hands them over."""

ROUND = "unmask-round"
"""Which round a record of `media.uploaded` opens: 1 (or no header) for the upload itself."""

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII | re.DOTALL)
_MOST_ROUNDS = 2**31 - 1


def ce_type(event: type[Event]) -> str:
    """The CloudEvents type: `media.decided/1` → `org.unmask.media.decided.v1`."""
    name, _, version = schema_of(event).rpartition("/")
    return f"org.unmask.{name}.v{version}"


def ce_id(event: Event) -> str:
    """Unique per source and type; a repeat of the same event has the same id."""
    match event:
        case MediaUploaded():
            return event.media_id
        case MediaDecided():
            return str(event.decision_id)
        case ReviewRequested():
            return str(event.task_id)
        case ReviewDecided():
            return str(event.review_id)
        case MediaEnforced():
            return str(event.outcome_id)
        case SubjectRequested():
            return event.request_id
        case SubjectAnswered():
            return str(event.answer_id)
        case DeadLetter():
            return str(event.dead_letter_id)


def subject_of(event: Event) -> str | None:
    """What the event is about: an upload, or a request of the person shown."""
    match event:
        case SubjectRequested() | SubjectAnswered():
            return event.request_id
    return event.media_id


def headers(
    event: Event, *, source: str, time: datetime, traceparent: str | None = None, round_: int | None = None
) -> tuple[tuple[str, bytes], ...]:
    """The headers of a record that carries `event`.

    Args:
        event: what the record carries.
        source: the URI-reference of who publishes it, such as `/unmask/worker`.
        time: when it happened, with an offset.
        traceparent: of the record that led to this one; this one is its child in the same trace.
        round_: for `MediaUploaded` of a later round; every other event carries its round in its body.
    """
    pairs = {
        "ce_specversion": "1.0",
        "ce_id": ce_id(event),
        "ce_source": source,
        "ce_type": ce_type(type(event)),
        "ce_time": time.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "content-type": "application/json",
    }
    if (subject := subject_of(event)) is not None:
        pairs["ce_subject"] = subject
    pairs["traceparent"] = traceparent_for(event, traceparent)
    if round_ is not None:
        pairs[ROUND] = str(round_)
    return tuple((name, value.encode("utf-8", "replace")) for name, value in pairs.items())


def traceparent_for(event: Event, parent: str | None) -> str:
    """The trace context of the record that carries `event`, which `parent`'s record led to."""
    return child_traceparent(parent, ce_type(type(event)) + ce_id(event))


def child_traceparent(parent: str | None, seed: str) -> str:
    """The trace context of a record that `parent`'s record led to; without a valid parent, of a new trace.

    Nothing here is random: the ids are digests of `seed`, so a record that is written twice is the same record twice.
    """
    found = _parsed(parent)
    trace, flags = found or (_hex(f"trace {seed}", 32), "01")
    return f"00-{trace}-{_hex(f'span {trace} {seed}', 16)}-{flags}"


def traceparent_of(headers: Headers) -> str | None:
    """The `traceparent` of a record, when it is valid."""
    value = _first(headers, "traceparent")
    return value if _parsed(value) else None


def trace_id(headers: Headers) -> str | None:
    """The trace that a record belongs to, for logs."""
    found = _parsed(_first(headers, "traceparent"))
    return found[0] if found else None


def round_of(headers: Headers) -> int:
    """The round that a record of `media.uploaded` opens; 1 when the header is absent or nonsense."""
    value = _first(headers, ROUND) or ""
    if not re.fullmatch(r"[0-9]{1,10}", value):
        return 1
    number = int(value)
    return number if 1 <= number <= _MOST_ROUNDS else 1


def _parsed(value: str | None) -> tuple[str, str] | None:
    """Trace id and flags. Versions after 00 may add parts; ff and ids of zeros are invalid."""
    found = _TRACEPARENT.fullmatch(value or "")
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    if version == "ff" or (version == "00" and more is not None) or not trace.strip("0") or not span.strip("0"):
        return None
    return trace, flags


def _hex(text: str, digits: int) -> str:
    digest = sha256(text.encode("utf-8", "replace")).hexdigest()[:digits]
    return digest if digest.strip("0") else "1".rjust(digits, "0")


def _first(headers: Headers, name: str) -> str | None:
    pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
    for key, value in pairs:
        if isinstance(key, str) and key.lower() == name:
            if isinstance(value, bytes):
                return value.decode("ascii", "replace")
            return value
    return None
