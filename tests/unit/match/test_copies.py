"""Which uploads a request concerns: the named ones, the same bytes, and what looks the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.events import SubjectRequested
from pipeline.events.subject import SubjectMatch
from pipeline.match.banks import QUERY_SHARE, THRESHOLD
from pipeline.match.copies import Concerned, Content, alike, concerned, looked_back
from pipeline.match.pdq import LEAST_QUALITY, distance
from tests.asked import asking
from tests.records import NOON
from tests.unit.match.made import code, frames, turned

A, B, C = code(1), code(2), code(3)
FAR = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass
class Known:
    """Stands where the ledger is: media id → content."""

    contents: dict[str, Content]
    since: datetime | None = None

    def uploads_meant(self, request: SubjectRequested) -> tuple[str, ...]:
        return tuple(name for name in self.contents if name == request.media_id or request.consent_reference)

    def contents_of(self, media_ids: Sequence[str]) -> tuple[Content, ...]:
        return tuple(self.contents[name] for name in media_ids)

    def contents_since(self, since: datetime) -> Iterator[Content]:
        self.since = since
        yield from dict.fromkeys(self.contents.values())

    def uploads_of(self, sha256s: Sequence[str]) -> tuple[tuple[str, str], ...]:
        return tuple((each.sha256, name) for name, each in self.contents.items() if each.sha256 in sha256s)


def found(known: Known, most: int = 10, **request: object) -> Concerned:
    return concerned(asking(**request), known, since=FAR, most=most)


def test_the_named_upload_its_bytes_and_what_looks_like_it() -> None:
    """Each with its reason; what looks otherwise is left alone."""
    known = Known(
        {
            "m1": Content("aa", frames(A)),
            "same": Content("aa", frames(A)),
            "near": Content("bb", frames(turned(A, THRESHOLD))),
            "far": Content("cc", frames(turned(A, THRESHOLD + 1))),
            "other": Content("dd", frames(B)),
        }
    )
    assert found(known).uploads == {
        "m1": SubjectMatch.NAMED,
        "same": SubjectMatch.SAME_BYTES,
        "near": SubjectMatch.NEAR_COPY,
    }
    assert known.since == FAR


def test_everything_that_carried_the_consent_is_meant() -> None:
    """And not as a copy, even where uploads are copies of each other."""
    known = Known({"m1": Content("aa", frames(A)), "m2": Content("aa", frames(A))})
    uploads = found(known, media_id=None, consent_reference="c-1").uploads
    assert set(uploads.values()) == {SubjectMatch.SAME_CONSENT}
    assert set(uploads) == {"m1", "m2"}


def test_copies_have_a_bound_and_what_is_left_out_is_counted() -> None:
    """The same bytes first, then the most alike; what is named is never left out."""
    known = Known(
        {
            "m1": Content("aa", frames(A)),
            "far": Content("cc", frames(turned(A, 9))),
            "near": Content("bb", frames(turned(A, 3))),
            "same": Content("aa", frames(A)),
        }
    )
    two = found(known, most=2)
    assert (set(two.uploads), two.left_out) == ({"m1", "same", "near"}, 1)
    none = found(known, most=0)
    assert (set(none.uploads), none.left_out) == ({"m1"}, 3)


def test_nothing_that_was_decided_on_is_meant() -> None:
    """There is nothing to compare with."""
    assert found(Known({"m9": Content("aa", frames(A))})) == Concerned({})


def test_most_of_either_must_be_found() -> None:
    """A part of the named video, or a video that holds it whole; one shared frame among many is no copy."""
    whole = Content("aa", frames(*(code(seed) for seed in range(10, 20))))
    part = Content("bb", frames(*(code(seed) for seed in range(10, 15))))
    longer = Content("cc", frames(*(code(seed) for seed in range(10, 40))))
    one = Content("dd", frames(code(10), *(code(seed) for seed in range(50, 60))))
    assert set(alike([whole], [part, longer, one])) == {"bb", "cc"}


def test_plain_frames_are_not_compared() -> None:
    """A black frame is like every other."""
    plain = frames(A, quality=LEAST_QUALITY - 1)
    assert alike([Content("aa", plain)], [Content("bb", plain)]) == {}
    assert alike([Content("aa", frames(A))], [Content("bb", plain), Content("cc", ())]) == {}


@given(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=6), min_size=1, max_size=8), st.integers(0, 40))
def test_as_a_comparison_of_all_pairs(contents: list[list[int]], noise: int) -> None:
    """Batches and groups give what comparing each frame with each gives."""
    wanted = Content("wanted", frames(*(turned(code(seed), noise) for seed in (0, 1, 2))))
    others = [Content(f"c{i}", frames(*map(code, seeds))) for i, seeds in enumerate(contents)]
    expected = {}
    for other in others:
        mine, theirs = ({frame.pdq for frame in each.frames} for each in (wanted, other))
        pairs = [(a, b) for a in mine for b in theirs if distance(a, b) <= THRESHOLD]
        shares = len({a for a, _ in pairs}) / len(mine), len({b for _, b in pairs}) / len(theirs)
        if pairs and max(shares) >= QUERY_SHARE:
            expected[other.sha256] = min(distance(a, b) for a, b in pairs)
    assert alike([wanted], others) == expected


@pytest.mark.parametrize(
    ("received", "since"),
    [
        (NOON, NOON - timedelta(days=90)),
        (datetime(2099, 1, 1, tzinfo=UTC), NOON - timedelta(days=90)),
        (datetime.min.replace(tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC) - timedelta(days=90)),
    ],
)
def test_the_window_begins_before_the_request(received: datetime, since: datetime) -> None:
    """A date in the future, or at the beginning of the calendar, is no trouble."""
    assert looked_back(asking(received_at=received), NOON, timedelta(days=90)) == since
