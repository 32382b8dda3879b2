"""How long reviews take."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pipeline.ledger.recorded import Answer
from pipeline.policy.file import load
from pipeline.policy.workload import ENOUGH, PAUSE, Handling, Source, cost, handling

NINE = datetime(2026, 1, 1, 9, tzinfo=UTC)


def answers(each: timedelta, count: int, queue: str = "faces", reviewer: str = "r") -> list[Answer]:
    """One after another without a pause, of tasks that have waited since the day before."""
    return [Answer(reviewer, queue, NINE - timedelta(days=1), NINE + each * i) for i in range(count)]


def test_waiting_is_no_handling() -> None:
    """A task that waited for a day and took two minutes cost two minutes."""
    found = handling(answers(timedelta(minutes=2), ENOUGH + 1))
    assert found["faces"].seconds == 120
    assert found["faces"].reviews == ENOUGH
    assert found["faces"].source is Source.MEASURED


def test_a_person_who_waits_for_work_handles_nothing() -> None:
    """Where the task came after the last answer, its handling begins with the task."""
    came = [
        Answer("r", "faces", NINE + timedelta(minutes=20 * i), NINE + timedelta(minutes=20 * i + 1)) for i in range(40)
    ]
    assert handling(came)["faces"].seconds == 60


def test_what_the_console_measured_needs_no_guess() -> None:
    """The time that a case was held counts, a person's first answer included."""
    held = [answer._replace(seconds=45) for answer in answers(timedelta(minutes=2), ENOUGH)]
    assert handling(held)["faces"] == Handling(45, Source.MEASURED, ENOUGH)
    at_once = [answer._replace(seconds=0) for answer in held]
    assert handling([*held, *at_once])["faces"].reviews == ENOUGH


def test_pauses_and_first_answers_say_nothing() -> None:
    """What took longer than a pause is left out, and so is the first answer of each person."""
    steady = answers(timedelta(minutes=1), ENOUGH + 1)
    late = Answer("r", "faces", NINE, steady[-1].decided_at + PAUSE + timedelta(seconds=1))
    assert handling([*steady, late])["faces"].reviews == ENOUGH
    one_each = [Answer(f"r{i:03}", "faces", NINE, NINE + timedelta(minutes=i)) for i in range(100)]
    assert handling(one_each) == {}


def test_too_few_reviews_leave_it_to_the_policy() -> None:
    """Below the least number the policy's figure counts, and is named; a queue that nobody knows has the default."""
    policy = load(None)
    queue = next(iter(policy.queues))
    few = handling(answers(timedelta(minutes=2), ENOUGH, queue))
    assert few == {}
    assert cost(queue, few, policy).source is Source.POLICY
    assert cost("gone", few, policy, None).seconds == 300
    enough = handling(answers(timedelta(minutes=2), ENOUGH + 1, queue))
    assert cost(queue, enough, policy).seconds == 120
