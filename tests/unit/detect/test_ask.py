"""Many questions, one deadline."""

import asyncio
from functools import partial

import pytest

from pipeline.detect.ask import ask
from pipeline.errors import Permanent, Reason, Stage, Transient


async def answer(value):
    await asyncio.sleep(0)
    return value


async def fail(error):
    raise error


async def hang():
    await asyncio.Event().wait()


def soon(seconds=30.0):
    return asyncio.get_running_loop().time() + seconds


async def test_answers_come_in_the_order_of_the_questions():
    """Whoever answers first, the first question's answer is first."""
    gate = asyncio.Event()

    async def last():
        await gate.wait()
        return "slow"

    async def first():
        gate.set()
        return "quick"

    answers = await ask([last, first], until=soon())
    assert answers.given == ("slow", "quick")
    assert (answers.answered, answers.troubles, answers.late) == (2, (), False)


async def test_a_failure_costs_its_own_answer_only():
    """Permanent, transient and bug alike: the others' answers stay, each reason is told once."""
    down = Transient(Stage.DETECT, Reason.INFERENCE_UNAVAILABLE, "down")
    wrong = Permanent(Stage.DETECT, Reason.INFERENCE_REJECTED, "wrong")
    questions = [partial(fail, e) for e in (down, wrong, down, ZeroDivisionError("bug"))]
    answers = await ask([*questions, partial(answer, 5)], until=soon())
    assert answers.given == (None, None, None, None, 5)
    assert answers.troubles == ("inference_unavailable: down", "inference_rejected: wrong", "ZeroDivisionError: bug")
    assert not answers.late


async def test_what_was_answered_before_the_deadline_is_kept():
    """A question that hangs is late; the one that was answered is not lost."""
    answers = await ask([partial(answer, 1), hang], until=soon(0.2))
    assert answers.given == (1, None)
    assert answers.late


async def test_a_failure_at_the_deadline_is_lateness():
    """Who is told the deadline and gives up then is late, not broken."""
    until = soon(0.2)

    async def obedient():
        await asyncio.sleep(until - asyncio.get_running_loop().time() - 0.01)
        raise Transient(Stage.DETECT, Reason.INFERENCE_UNAVAILABLE, "no answer in time")

    assert (await ask([obedient], until=until)).late


async def test_a_deadline_that_has_passed_asks_nothing_in_vain():
    """With no time left everything is late, and nothing is left running."""
    before = asyncio.all_tasks()
    answers = await ask([hang, hang], until=soon(-1))
    assert answers.given == (None, None)
    assert answers.late
    assert asyncio.all_tasks() == before


async def test_no_more_than_allowed_are_under_way():
    """`at_once` bounds how many questions run side by side."""
    running, most = 0, 0

    async def count():
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    await ask([count] * 10, until=soon(), at_once=3)
    assert most == 3


async def test_cancellation_passes_and_leaves_nothing_behind():
    """A caller that stops waiting stops every question."""
    before = asyncio.all_tasks()
    task = asyncio.create_task(ask([hang, hang], until=soon()))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == before
