"""Replays: which dead letters are sent again, and as what. Pure."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Reason, Stage
from pipeline.events import DeadLetter
from pipeline.events.cloudevents import ROUND, round_of
from pipeline.events.ids import dead_letter_id
from pipeline.events.values import Failure
from pipeline.replay import REPLAYED_FROM, Selection, plan
from pipeline.topology import DECIDED, UPLOADED
from tests.records import NOON

NONE: frozenset[UUID] = frozenset()


def letter(offset: int = 0, topic: str = UPLOADED, **changes: object) -> DeadLetter:
    fields = {
        "key": b"m1",
        "value": b"\x00 whatever came",
        "headers": (("traceparent", b"00-aa"),),
        "failure": Failure(stage="detect", reason="inference_unavailable", detail="down"),
        "buried_at": NOON,
        "media_id": "m1",
        **changes,
    }
    return DeadLetter(
        dead_letter_id=dead_letter_id(topic, 0, offset),
        topic=topic,
        partition=0,
        offset=offset,
        **fields,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("selection", "chosen"),
    [
        (Selection(), {0, 1, 2}),
        (Selection(stage=Stage.FETCH), {1}),
        (Selection(reason=Reason.INFERENCE_UNAVAILABLE), {0, 2}),
        (Selection(since=NOON + timedelta(hours=1)), {1, 2}),
        (Selection(until=NOON + timedelta(hours=1)), {0}),
        (Selection(media_id="m2"), {2}),
        (Selection(stage=Stage.FETCH, media_id="m2"), set()),
    ],
)
def test_a_selection_takes_what_matches_all_of_it(selection: Selection, chosen: set[int]) -> None:
    """Every part narrows; `since` is included, `until` is not."""
    not_found = Failure(stage="fetch", reason="source_not_found", detail="404")
    letters = [
        letter(0),
        letter(1, failure=not_found, buried_at=NOON + timedelta(hours=1)),
        letter(2, media_id="m2", buried_at=NOON + timedelta(hours=2)),
    ]
    assert {resend.letter.offset for resend in plan(letters, NONE, selection).resends} == chosen


def test_an_upload_opens_the_next_round() -> None:
    """Key, value and other headers stay as they came; the round goes up and the origin is named, once each."""
    old = (("Unmask-Round", b"2"), ("a", b"1"), (REPLAYED_FROM, b"earlier"), ("a", b"2"))
    first = letter(round=2, headers=old)
    (resend,) = plan([first], NONE).resends
    assert resend.letter == first
    assert resend.round == 3
    assert resend.headers == (
        ("a", b"1"),
        ("a", b"2"),
        (ROUND, b"3"),
        (REPLAYED_FROM, str(first.dead_letter_id).encode()),
    )
    assert round_of(resend.headers) == 3


def test_a_decision_opens_no_round() -> None:
    """Its round lies in its body; the header is left as it came."""
    (resend,) = plan([letter(topic=DECIDED, headers=((ROUND, b"2"),))], NONE).resends
    assert resend.round is None
    assert resend.headers[0] == (ROUND, b"2")
    assert [name for name, _ in resend.headers] == [ROUND, REPLAYED_FROM]


def test_a_dead_letter_is_sent_again_once() -> None:
    """Repeats of a burial are one, and what was sent before is skipped and counted."""
    letters = [letter(0), letter(0), letter(1), letter(1)]
    found = plan(letters, frozenset({letter(1).dead_letter_id}))
    assert [resend.letter.offset for resend in found.resends] == [0]
    assert found.already == 1
    assert not found.sent


@given(st.lists(st.integers(0, 9)), st.sets(st.integers(0, 9)))
def test_every_chosen_letter_is_sent_or_was(offsets: list[int], before: set[int]) -> None:
    """None is lost, none is sent twice."""
    ids = frozenset(letter(offset).dead_letter_id for offset in before)
    found = plan([letter(offset) for offset in offsets], ids)
    sent = [resend.letter.offset for resend in found.resends]
    assert sorted(sent) == sorted(set(offsets) - before)
    assert found.already == len(set(offsets) & before)
