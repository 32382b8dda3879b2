"""Headers: CloudEvents in Kafka's binary mode, trace context, rounds."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.events import DeadLetter, Event, MediaDecided, MediaUploaded, ReviewRequested
from pipeline.events.cloudevents import (
    ce_type,
    child_traceparent,
    headers,
    round_of,
    trace_id,
    traceparent_of,
)
from pipeline.events.values import Failure
from tests import strategies

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
UPLOAD = MediaUploaded(media_id="m-é", uri="s3://b/k", uploaded_at=NOW)


def test_binary_mode() -> None:
    """An upload's record has every attribute that CloudEvents requires, and a subject."""
    written = dict(headers(UPLOAD, source="/platform", time=NOW, traceparent=PARENT))
    traceparent = written.pop("traceparent").decode()
    assert traceparent.startswith(f"00-{TRACE}-")
    assert written == {
        "ce_specversion": b"1.0",
        "ce_id": "m-é".encode(),
        "ce_source": b"/platform",
        "ce_type": b"org.unmask.media.uploaded.v1",
        "ce_time": b"2026-01-02T03:04:05Z",
        "ce_subject": "m-é".encode(),
        "content-type": b"application/json",
    }


def test_types_follow_the_schema_tags() -> None:
    """The type is the schema tag in reversed-domain form."""
    assert ce_type(MediaDecided) == "org.unmask.media.decided.v1"
    assert ce_type(ReviewRequested) == "org.unmask.review.requested.v1"
    assert ce_type(DeadLetter) == "org.unmask.media.dead-letter.v1"


def test_a_dead_letter_that_names_no_upload_has_no_subject() -> None:
    """The subject is left out where nothing is known."""
    letter = DeadLetter(
        dead_letter_id=UUID(int=1),
        topic="media.uploaded",
        partition=0,
        offset=0,
        value=b"?",
        failure=Failure(stage="receive", reason="malformed_event", detail=""),
        buried_at=NOW,
    )
    assert "ce_subject" not in dict(headers(letter, source="/x", time=NOW))


@given(strategies.events)
def test_headers_are_the_same_every_time(event: Event) -> None:
    """Writing an event again writes the same headers, names unique, values in UTF-8."""
    first = headers(event, source="/x", time=NOW, traceparent=None)
    assert first == headers(event, source="/x", time=NOW, traceparent=None)
    assert len(dict(first)) == len(first)
    assert trace_id(first)


def test_a_child_stays_in_the_trace() -> None:
    """The trace and its flags are kept, the span is new, and depends on the seed alone."""
    child = child_traceparent(f"00-{TRACE}-00f067aa0ba902b7-00", "a")
    version, trace, span, flags = child.split("-")
    assert (version, trace, flags) == ("00", TRACE, "00")
    assert span != "00f067aa0ba902b7"
    assert child == child_traceparent(f"00-{TRACE}-1111111111111111-00", "a")
    assert child != child_traceparent(f"00-{TRACE}-00f067aa0ba902b7-00", "b")


INVALID = [
    None,
    "",
    "nonsense",
    PARENT.upper(),
    f"ff-{TRACE}-00f067aa0ba902b7-01",
    f"00-{'0' * 32}-00f067aa0ba902b7-01",
    f"00-{TRACE}-{'0' * 16}-01",
    f"{PARENT}-more",
    f"{PARENT}\n",
]


@pytest.mark.parametrize("parent", INVALID)
def test_an_invalid_parent_opens_a_new_trace(parent: str | None) -> None:
    """What is no trace context is not passed on."""
    child = child_traceparent(parent, "seed")
    assert TRACE not in child
    assert traceparent_of([("traceparent", child.encode())]) == child
    assert traceparent_of([("traceparent", (parent or "").encode())]) is None


def test_a_later_version_is_read_by_its_first_parts() -> None:
    """The trace context's rule for versions to come."""
    assert trace_id({"traceparent": f"01-{TRACE}-00f067aa0ba902b7-01-more"}) == TRACE


@pytest.mark.parametrize("value", [b"3", "3"])
def test_round(value: bytes | str) -> None:
    """A round is read from bytes or text, from pairs or a mapping."""
    assert round_of([("x", b"y"), ("unmask-round", value)]) == 3
    assert round_of({"Unmask-Round": value}) == 3


@pytest.mark.parametrize("value", [b"", b"0", b"-1", b"1.5", b"two", b"\xff", b"99999999999", b"\xd9\xa3", None])
def test_a_nonsense_round_is_the_first(value: bytes | None) -> None:
    """What is no positive number counts as 1."""
    assert round_of([("unmask-round", value)]) == 1
    assert round_of(None) == 1


def test_a_round_is_written() -> None:
    """A replay says which round it opens."""
    assert round_of(headers(UPLOAD, source="/x", time=NOW, round_=4)) == 4
    assert round_of(headers(UPLOAD, source="/x", time=NOW)) == 1


@given(st.lists(st.tuples(st.sampled_from(["traceparent", "unmask-round", "x"]), st.none() | st.binary() | st.text())))
def test_any_headers(pairs: list[tuple[str, bytes | str | None]]) -> None:
    """Strangers' headers never raise."""
    assert round_of(pairs) >= 1
    assert (trace_id(pairs) is None) == (traceparent_of(pairs) is None)
