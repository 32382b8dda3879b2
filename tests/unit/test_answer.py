"""What is said to a request: at once, and when all is final."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
import pytest

from pipeline.answer import Opened, done, received, unknown_content
from pipeline.events import MediaEnforced
from pipeline.events.subject import AnswerStatus, SubjectMatch
from pipeline.events.values import Action
from tests.asked import asking
from tests.records import NOON, decided, routed

TWO_DAYS = NOON + timedelta(days=2)


def final(action: Action, at: datetime) -> MediaEnforced:
    return msgspec.structs.replace(routed(decided("m1", 2)).outcome, action=action, enforced_at=at)


def opened(
    media_id: str, match: SubjectMatch, deadline: datetime | None, outcome: MediaEnforced | None = None
) -> Opened:
    return Opened(media_id, 2, match, deadline, outcome)


def test_what_is_received_is_listed_with_the_earliest_deadline() -> None:
    """The named upload first; no action, since nothing is final."""
    later = opened("a", SubjectMatch.NEAR_COPY, TWO_DAYS + timedelta(days=1))
    said = received(asking(), [later, opened("m1", SubjectMatch.NAMED, TWO_DAYS)], NOON, left_out=4)
    assert (said.status, said.deadline, said.left_out, said.in_time) == (AnswerStatus.RECEIVED, TWO_DAYS, 4, None)
    assert [(each.media_id, each.action) for each in said.uploads] == [("m1", None), ("a", None)]


def test_done_waits_for_every_upload() -> None:
    """One that is not final keeps the answer back; a request that opened nothing is never done."""
    settled = opened("m1", SubjectMatch.NAMED, TWO_DAYS, final(Action.REMOVE, NOON))
    assert done(asking(), [settled, opened("a", SubjectMatch.SAME_BYTES, TWO_DAYS)]) is None
    assert done(asking(), []) is None


@pytest.mark.parametrize(("deadline", "in_time"), [(TWO_DAYS, True), (NOON + timedelta(hours=1), False), (None, None)])
def test_done_says_whether_it_was_in_time(deadline: datetime | None, in_time: bool | None) -> None:
    """Each upload by its own deadline; unknown where nobody had to look. It is said at the moment of the last one."""
    at = NOON + timedelta(hours=2)
    said = done(
        asking(),
        [
            opened("m1", SubjectMatch.NAMED, TWO_DAYS if deadline else None, final(Action.REMOVE, NOON)),
            opened("a", SubjectMatch.NEAR_COPY, deadline, final(Action.ALLOW, at)),
        ],
    )
    assert said is not None
    assert (said.status, said.in_time, said.answered_at) == (AnswerStatus.DONE, in_time, at)
    assert [each.action for each in said.uploads] == [Action.REMOVE, Action.ALLOW]


def test_each_answer_has_an_id_of_its_own_and_a_repeat_the_same() -> None:
    """They depend on the request and the status alone."""
    ids = [
        unknown_content(asking(), NOON).answer_id,
        received(asking(), [], NOON).answer_id,
        unknown_content(asking(request_id="r2"), NOON).answer_id,
    ]
    assert len(set(ids)) == 3
    assert unknown_content(asking(), TWO_DAYS).answer_id == ids[0]
