"""Whatever the bytes are, the codec answers with an event or with where and why they are none."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.events import Event, MediaDecided, MediaUploaded, ReviewDecided
from pipeline.events.codec import MalformedEvent, decode, encode, schema_of
from pipeline.events.values import Action
from tests import strategies

UPLOADED: dict[str, Any] = {
    "schema": "media.uploaded/1",
    "media_id": "m-1",
    "uri": "s3://bucket/m-1.mp4",
    "uploaded_at": "2026-01-02T03:04:05Z",
}


def raw(**changes: object) -> bytes:
    return json.dumps({**UPLOADED, **changes}).encode()


def malformed(value: bytes | None, expect: type[Event] = MediaUploaded) -> MalformedEvent:
    found = decode(value, expect)
    assert isinstance(found, MalformedEvent)
    assert found.where
    assert found.why.endswith(".")
    return found


@given(strategies.events)
def test_round_trip(event: Event) -> None:
    """Every event comes back as it was written."""
    assert decode(encode(event), type(event)) == event


@given(st.binary(), st.sampled_from([MediaUploaded, MediaDecided, ReviewDecided]))
@example(b"\xff\xfe", MediaUploaded)
@example(b"[" * 200_000, MediaUploaded)
def test_any_bytes(value: bytes, expect: type[Event]) -> None:
    """Arbitrary bytes never raise."""
    assert isinstance(decode(value, expect), expect | MalformedEvent)


@given(st.data(), strategies.events)
def test_damaged_events(data: st.DataObject, event: Event) -> None:
    """A valid event with bytes replaced, inserted or cut never raises."""
    value = bytearray(encode(event))
    start = data.draw(st.integers(0, len(value)))
    value[start : start + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    assert isinstance(decode(bytes(value), type(event)), type(event) | MalformedEvent)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(json_values)
def test_any_json(value: object) -> None:
    """Arbitrary JSON, what Python calls JSON included (NaN, Infinity), never raises."""
    assert isinstance(decode(json.dumps(value).encode(), MediaUploaded), MediaUploaded | MalformedEvent)


@given(st.sampled_from([*UPLOADED, "size", "sha256", "regions", "surface", "attributes", "caption"]), json_values)
def test_any_value_in_any_field(field: str, value: object) -> None:
    """A field of another type or out of range never raises."""
    assert isinstance(decode(raw(**{field: value}), MediaUploaded), MediaUploaded | MalformedEvent)


def test_unknown_fields_are_let_through() -> None:
    """A publisher may be newer than this reader."""
    assert isinstance(decode(raw(mood="sunny", regions=["DE"]), MediaUploaded), MediaUploaded)


@pytest.mark.parametrize(
    ("value", "where", "why"),
    [
        (None, "byte 0", "no value"),
        (b"", "byte 0", "no value"),
        (b"{", "$", "truncated"),
        (b'{"media_id": nope}', "byte 14", "invalid character"),
        (b"[]", "$", "Expected `object`"),
        (b"{}", "$", "missing required field `schema`"),
        (raw(schema="media.uploaded/2"), "$.schema", "which this version does not know"),
        (raw(schema="media.decided/1"), "$.schema", "'media.uploaded/1' was expected"),
        (raw(schema=7), "$.schema", "Expected `str`"),
        (raw(uri=7), "$.uri", "Expected `str`"),
        (raw(media_id=""), "$.media_id", "length"),
        (raw(media_id="a\x00b"), "$.media_id", "regex"),
        (raw(media_id="a\n"), "$.media_id", "regex"),
        (raw(uploaded_at="2026-01-02T03:04:05"), "$.uploaded_at", "timezone"),
        (raw(uploaded_at="0001-01-01T00:00:00+10:00"), "$", "calendar"),
        (raw(sha256="0" * 64 + "\n"), "$.sha256", "length"),
        (raw(regions=["DE", "Germany"]), "$.regions[1]", "length"),
        (raw(attributes={"a": 1}), "$.attributes[...]", "Expected `str`"),
        (raw(size=-1), "$.size", ">= 0"),
        (raw(size=2**63), "$.size", "<="),
        (raw(size=10**400), "$.size", "<="),
        (raw(size=float("nan")), "byte", "invalid character"),
        (raw(caption="X").replace(b"X", b"\xff"), "$", "UTF-8"),
        (raw(media_id="X").replace(b"X", b"\\ud800"), "byte", "surrogate"),
        (raw(mood="X").replace(b'"X"', b"[" * 5000 + b"]" * 5000), "$", "deeply"),
    ],
)
def test_says_where_and_why(value: bytes | None, where: str, why: str) -> None:
    """Each kind of damage is named, with its place."""
    found = malformed(value)
    assert found.where.startswith(where)
    assert why in found.why


def test_the_upload_is_named_when_it_can_be_read() -> None:
    """The media_id and the schema survive damage elsewhere in the event."""
    found = malformed(raw(uri=None))
    assert (found.schema, found.media_id) == ("media.uploaded/1", "m-1")


def test_an_unsafe_id_is_not_passed_on() -> None:
    """A media_id that no event could have is not reported as one."""
    assert malformed(raw(media_id="a\x00b")).media_id is None
    assert malformed(raw(media_id=["m-1"])).media_id is None


def test_hold_is_no_answer() -> None:
    """A person cannot answer that a person should decide."""
    review = {
        "schema": schema_of(ReviewDecided),
        "review_id": str(UUID(int=1)),
        "task_id": str(UUID(int=2)),
        "media_id": "m-1",
        "action": "hold",
        "decided_at": "2026-01-02T03:04:05Z",
        "reviewer_id": "r-1",
    }
    assert "`hold` is no answer" in malformed(json.dumps(review).encode(), ReviewDecided).why
    review["action"] = "limit"
    answer = decode(json.dumps(review).encode(), ReviewDecided)
    assert isinstance(answer, ReviewDecided)
    assert answer.action is Action.LIMIT


def test_text_without_an_encoding_is_written_all_the_same() -> None:
    """A lone surrogate, as old file names have them, does not keep an event from being written."""
    event = MediaUploaded(
        media_id="m-1",
        uri="file:///caf\udce9.png",
        uploaded_at=datetime(2026, 1, 1, tzinfo=UTC),
        attributes={"\udc80": "x"},
    )
    written = decode(encode(event), MediaUploaded)
    assert isinstance(written, MediaUploaded)
    assert written.uri == "file:///caf?.png"
