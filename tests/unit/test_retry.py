"""Retrying under a budget, on a clock that only `sleep` moves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Permanent, Reason, Stage, Transient
from pipeline.retry import RetryPolicy, retry


class Clock:
    """Stands still unless told to sleep."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def transient(detail: str = "down", retry_after: float | None = None) -> Transient:
    return Transient(Stage.DETECT, Reason.INFERENCE_UNAVAILABLE, detail, retry_after=retry_after)


def script(*outcomes: str | BaseException) -> Callable[[], Awaitable[str]]:
    """Each call takes the next outcome: returned, or raised."""
    steps = iter(outcomes)

    async def fn() -> str:
        outcome = next(steps)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return fn


async def test_returns_the_first_success_without_waiting() -> None:
    """A call that succeeds is made once."""
    clock = Clock()
    assert await retry(script("ok"), within=10, clock=clock, sleep=clock.sleep) == "ok"
    assert clock.slept == []


async def test_waits_grow_up_to_the_ceiling() -> None:
    """With the jitter at its top the waits double until the longest."""
    clock = Clock()
    policy = RetryPolicy(first=1, factor=2, longest=5)
    fn = script(*[transient()] * 5, "ok")
    assert await retry(fn, within=1000, policy=policy, clock=clock, sleep=clock.sleep, jitter=lambda: 1.0) == "ok"
    assert clock.slept == [1, 2, 4, 5, 5]


async def test_the_dependencys_wish_is_waited_out() -> None:
    """`retry_after` is a floor; the jitter lies on top of it."""
    clock = Clock()
    policy = RetryPolicy(first=1, factor=1, longest=1)
    fn = script(transient(retry_after=7), "ok")
    assert await retry(fn, within=60, policy=policy, clock=clock, sleep=clock.sleep, jitter=lambda: 0.5) == "ok"
    assert clock.slept == [7.5]


async def test_raises_the_last_trouble_when_time_is_up() -> None:
    """When the next attempt would begin too late, the latest error is raised without sleeping towards it."""
    clock = Clock()
    policy = RetryPolicy(first=4, factor=1, longest=4)
    last = transient("third")
    fn = script(transient("first"), transient("second"), last, "never")
    with pytest.raises(Transient) as caught:
        await retry(fn, within=10, policy=policy, clock=clock, sleep=clock.sleep, jitter=lambda: 1.0)
    assert caught.value is last
    assert clock.slept == [4, 4]


async def test_a_wish_beyond_the_budget_ends_at_once() -> None:
    """A dependency that asks for more time than there is left is not waited for."""
    clock = Clock()
    with pytest.raises(Transient):
        await retry(script(transient(retry_after=60), "never"), within=10, clock=clock, sleep=clock.sleep)
    assert clock.slept == []


async def test_there_is_always_one_attempt() -> None:
    """Even without any time left the call is made once."""
    clock = Clock()
    assert await retry(script("ok"), within=0, clock=clock, sleep=clock.sleep) == "ok"


@pytest.mark.parametrize(
    "error",
    [Permanent(Stage.DETECT, Reason.INFERENCE_REJECTED, "no"), asyncio.CancelledError(), ZeroDivisionError()],
)
async def test_other_errors_pass_straight_through(error: BaseException) -> None:
    """Permanent failures, cancellation and bugs are not retried."""
    clock = Clock()
    with pytest.raises(type(error)):
        await retry(script(error, "never"), within=100, clock=clock, sleep=clock.sleep)
    assert clock.slept == []


async def test_the_hook_hears_of_each_wait() -> None:
    """`on_retry` gets the error and the seconds, before the wait."""
    clock = Clock()
    heard: list[tuple[str, float, float]] = []
    policy = RetryPolicy(first=2, factor=1, longest=2)
    await retry(
        script(transient("a"), transient("b"), "ok"),
        within=100,
        policy=policy,
        clock=clock,
        sleep=clock.sleep,
        jitter=lambda: 1.0,
        on_retry=lambda error, wait: heard.append((error.detail, wait, clock.now)),
    )
    assert heard == [("a", 2, 1000.0), ("b", 2, 1002.0)]


@given(
    within=st.floats(0, 1000),
    first=st.floats(0.01, 10),
    factor=st.floats(1, 5),
    wishes=st.lists(st.none() | st.floats(0, 100), max_size=30),
    luck=st.floats(0, 1, exclude_max=True),
)
def test_no_attempt_begins_after_the_budget(
    within: float, first: float, factor: float, wishes: list[float | None], luck: float
) -> None:
    """Whatever the policy and the wishes, attempts after the first begin inside the budget."""
    clock = Clock()
    began: list[float] = []
    steps = iter(wishes)

    async def fn() -> None:
        began.append(clock.now)
        for wish in steps:
            raise transient(retry_after=wish)

    async def run() -> None:
        policy = RetryPolicy(first=first, factor=factor, longest=first * 10)
        with contextlib.suppress(Transient):
            await retry(fn, within=within, policy=policy, clock=clock, sleep=clock.sleep, jitter=lambda: luck)

    asyncio.run(run())
    assert all(start < 1000.0 + within for start in began[1:])
    assert all(seconds >= 0 for seconds in clock.slept)


def test_very_many_attempts_stay_at_the_ceiling() -> None:
    """The exponent cannot overflow."""
    assert RetryPolicy(first=0.1, factor=10, longest=3).ceiling(100_000) == 3


def test_a_senseless_policy_is_refused() -> None:
    """A back-off that cannot wait is a mistake of whoever wrote it."""
    with pytest.raises(ValueError, match="back-off"):
        RetryPolicy(first=0)
