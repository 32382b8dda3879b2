"""Values in words for people."""

from __future__ import annotations

from datetime import timedelta

from pipeline.events import SubjectAnswered
from pipeline.events.ids import answer_id
from pipeline.events.subject import AnswerStatus, Reopened, SubjectMatch
from pipeline.events.values import Action, RequestKind
from pipeline.show import answer_line
from tests.records import NOON


def said(status: AnswerStatus, **more: object) -> str:
    """An answer in words."""
    fields = {"request_id": "r1", "kind": RequestKind.REMOVAL, "answered_at": NOON, **more}
    return answer_line(SubjectAnswered(answer_id=answer_id("r1", status), status=status, **fields))  # type: ignore[arg-type]


def test_an_answer_says_what_is_opened_until_when() -> None:
    """Each upload on a line of its own, and how many were left alone."""
    uploads = (
        Reopened(media_id="m1", round=2, match=SubjectMatch.NAMED),
        Reopened(media_id="m2", round=3, match=SubjectMatch.NEAR_COPY),
    )
    words = said(AnswerStatus.RECEIVED, uploads=uploads, deadline=NOON + timedelta(days=2), left_out=7)
    assert words.splitlines() == [
        "received: 2 uploads opened again, until 2025-06-03 12:00 UTC; 7 more copies were left alone",
        "  m1 round 2 (named)",
        "  m2 round 3 (near copy)",
    ]


def test_the_last_answer_says_what_became_of_each() -> None:
    """And whether it was in time."""
    uploads = (Reopened(media_id="m1", round=2, match=SubjectMatch.NAMED, action=Action.REMOVE),)
    words = said(AnswerStatus.DONE, uploads=uploads, in_time=False)
    assert words.splitlines() == [
        "done: 1 upload opened again, [red]too late[/]",
        "  m1 round 2 (named): [red]remove[/]",
    ]
    assert said(AnswerStatus.UNKNOWN_CONTENT) == "unknown content"
