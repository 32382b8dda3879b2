"""Events to bytes and back.

`decode` is where strangers' bytes come in: whatever they are, it answers with an event or with a `MalformedEvent`, and
never raises. Fields that it does not know are let through, so that a publisher may be newer than this reader.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

import msgspec

from pipeline.events import Event
from pipeline.events.values import MediaId

E = TypeVar("E", bound=Event)


@dataclass(frozen=True, slots=True)
class MalformedEvent:
    """Bytes that are not the event that was expected.

    Args:
        where: the JSON path (`$.regions[0]`), the byte (`byte 17`), or `$` for the whole.
        why: a sentence.
        schema: the tag that the bytes claim, when it can be read.
        media_id: the upload that they speak of, when it can be read.
    """

    where: str
    why: str
    schema: str | None = None
    media_id: str | None = None


class _Glimpse(msgspec.Struct):
    """What can be read of an object that is not an event. Raw, so that what lies deeper is not looked at."""

    schema: msgspec.Raw = msgspec.Raw(b"null")
    media_id: msgspec.Raw = msgspec.Raw(b"null")


# Errors that the decoder was seen to raise: DecodeError and UnicodeDecodeError are ValueErrors, nesting ends in a
# RecursionError, and dates at the ends of the calendar overflow.
_REFUSED = (ValueError, RecursionError, OverflowError)

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
_glimpse = msgspec.json.Decoder(_Glimpse)
_text = msgspec.json.Decoder(str)
_media_id: msgspec.json.Decoder[str] = msgspec.json.Decoder(MediaId)


def schema_of(event: type[msgspec.Struct]) -> str:
    """The schema tag of an event's type, such as `media.uploaded/1`."""
    return str(event.__struct_config__.tag)


_SCHEMAS = tuple(schema_of(event) for event in get_args(Event))


def encode(event: Event) -> bytes:
    """The event as JSON.

    Text that no Unicode encoding has (lone surrogates, as in file names of another encoding) is written with
    replacement characters: one odd metadata entry must not keep an upload from its outcome.
    """
    try:
        return _encoder.encode(event)
    except UnicodeEncodeError:
        return _encoder.encode(_writable(msgspec.to_builtins(event)))


def decode(raw: bytes | None, expect: type[E]) -> E | MalformedEvent:
    """The event in `raw`, or where and why it is none."""
    if not raw:
        return MalformedEvent("byte 0", "The record has no value.")
    try:
        # The union, not `expect` alone: msgspec lets a single struct leave its tag out.
        event = _decoder.decode(raw)
    except _REFUSED as error:
        return _malformed(raw, error, schema_of(expect))
    if isinstance(event, expect):
        return event
    found = schema_of(type(event))
    return MalformedEvent("$.schema", _other_schema(found, schema_of(expect)), found, getattr(event, "media_id", None))


def _malformed(raw: bytes, error: Exception, expected: str) -> MalformedEvent:
    schema, media_id = _glimpsed(raw)
    if schema is not None and schema != expected:
        return MalformedEvent("$.schema", _other_schema(schema, expected), schema, media_id)
    where, why = _cause(error)
    return MalformedEvent(where, why, schema, media_id)


def _other_schema(found: str, expected: str) -> str:
    known = "" if found in _SCHEMAS else ", which this version does not know"
    return f"The schema is {found[:100]!r}{known}; {expected!r} was expected."


_PATH = re.compile(r"^(?P<why>.*) - at (?:`key` in )?`(?P<where>.*)`$", re.DOTALL)
_BYTE = re.compile(r"^(?P<why>.*) \((?P<where>byte \d+)\)$", re.DOTALL)


def _cause(error: Exception) -> tuple[str, str]:
    match error:
        case UnicodeDecodeError():
            return "$", f"Text is not UTF-8: {error.reason}."
        case RecursionError():
            return "$", "Nested too deeply."
        case OverflowError():
            return "$", "A number or date is out of range."
    text = str(error)
    found = _PATH.match(text) or _BYTE.match(text)
    where, why = (found["where"], found["why"]) if found else ("$", text)
    return where, f"{why.rstrip('.')}."


def _glimpsed(raw: bytes) -> tuple[str | None, str | None]:
    try:
        glimpse = _glimpse.decode(raw)
    except _REFUSED:
        return None, None
    return _read(_text.decode, glimpse.schema), _read(_media_id.decode, glimpse.media_id)


def _read(decode_text: Callable[[msgspec.Raw], str], raw: msgspec.Raw) -> str | None:
    try:
        return decode_text(raw)
    except _REFUSED:
        return None


def _writable(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {_writable(key): _writable(entry) for key, entry in value.items()}
        case list() | tuple():
            return [_writable(entry) for entry in value]
    return value
