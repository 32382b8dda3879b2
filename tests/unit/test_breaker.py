"""The circuit breaker, on a clock that the tests move."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.breaker import Breaker, BreakerPolicy, State
from pipeline.errors import Permanent, Reason, Stage, Transient, Unavailable


class Bench:
    """A breaker, its clock and what it announced."""

    def __init__(self, **policy: float) -> None:
        self.now = 50.0
        self.heard: list[tuple[str, State]] = []
        self.calls = 0
        self.breaker = Breaker(
            "triton",
            BreakerPolicy(**policy),  # type: ignore[arg-type]
            stage=Stage.DETECT,
            reason=Reason.INFERENCE_UNAVAILABLE,
            clock=lambda: self.now,
            on_state=lambda name, state: self.heard.append((name, state)),
        )

    async def run(self, outcome: str) -> str:
        """One call: "ok" succeeds, "down" and "bad" raise Transient and Permanent, "bug" anything else."""

        async def fn() -> str:
            self.calls += 1
            if outcome == "down":
                raise Transient(Stage.DETECT, Reason.INFERENCE_UNAVAILABLE, "down")
            if outcome == "bad":
                raise Permanent(Stage.DETECT, Reason.INFERENCE_REJECTED, "bad")
            if outcome == "bug":
                raise ZeroDivisionError
            return "fine"

        try:
            return await self.breaker.call(fn)
        except Unavailable:
            return "unavailable"
        except (Transient, Permanent, ZeroDivisionError) as error:
            return type(error).__name__


async def test_opens_after_failures_in_a_row() -> None:
    """The threshold opens it; then nothing is asked and the error tells how long."""
    bench = Bench(failures=3, open_seconds=10)
    for _ in range(3):
        assert await bench.run("down") == "Transient"
    bench.now += 4
    with pytest.raises(Unavailable) as caught:
        await bench.breaker.call(lambda: asyncio.sleep(0))
    assert (caught.value.retry_after, caught.value.stage, caught.value.reason) == (
        6,
        Stage.DETECT,
        Reason.INFERENCE_UNAVAILABLE,
    )
    assert bench.calls == 3
    assert bench.heard == [("triton", State.OPEN)]


async def test_a_success_in_between_resets_the_count() -> None:
    """Only failures in a row count."""
    bench = Bench(failures=2)
    for outcome in ("down", "ok", "down", "ok", "down"):
        await bench.run(outcome)
    assert bench.breaker.state is State.CLOSED


async def test_a_permanent_failure_shows_that_the_dependency_works() -> None:
    """`Permanent` resets the count like a success."""
    bench = Bench(failures=2)
    for outcome in ("down", "bad", "down", "bad"):
        await bench.run(outcome)
    assert bench.breaker.state is State.CLOSED


async def test_bugs_say_nothing_about_the_dependency() -> None:
    """Other exceptions neither count nor reset."""
    bench = Bench(failures=2)
    for outcome in ("bug", "bug", "bug", "down", "bug"):
        await bench.run(outcome)
    assert bench.breaker.state is State.CLOSED
    await bench.run("down")
    assert bench.breaker.state is State.OPEN


async def test_a_probe_that_succeeds_closes_it() -> None:
    """After its time one call goes through and closes it."""
    bench = Bench(failures=1, open_seconds=10)
    await bench.run("down")
    bench.now += 10
    assert await bench.run("ok") == "fine"
    assert [state for _, state in bench.heard] == [State.OPEN, State.HALF_OPEN, State.CLOSED]


async def test_a_probe_that_fails_opens_it_for_another_term() -> None:
    """One failure is enough when half-open, and the time starts anew."""
    bench = Bench(failures=3, open_seconds=10)
    for _ in range(3):
        await bench.run("down")
    bench.now += 10
    assert await bench.run("down") == "Transient"
    bench.now += 9
    assert await bench.run("ok") == "unavailable"
    bench.now += 1
    assert await bench.run("ok") == "fine"


async def test_as_many_probes_as_the_policy_wants() -> None:
    """With two probes it stays half-open after the first success."""
    bench = Bench(failures=1, open_seconds=10, probes=2)
    await bench.run("down")
    bench.now += 10
    await bench.run("ok")
    assert bench.breaker.state is State.HALF_OPEN
    await bench.run("ok")
    assert bench.breaker.state is State.CLOSED


async def test_only_one_probe_at_a_time() -> None:
    """While a probe is under way other calls are refused, without a time to wait for."""
    bench = Bench(failures=1, open_seconds=10)
    await bench.run("down")
    bench.now += 10
    gate = asyncio.Event()
    probe = asyncio.create_task(bench.breaker.call(gate.wait))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable) as caught:
        await bench.breaker.call(lambda: asyncio.sleep(0))
    assert caught.value.retry_after is None
    gate.set()
    await probe
    assert bench.breaker.state is State.CLOSED


async def test_a_cancelled_probe_makes_room_for_the_next() -> None:
    """Cancellation is no verdict and does not leave the breaker stuck."""
    bench = Bench(failures=1, open_seconds=10)
    await bench.run("down")
    bench.now += 10
    probe = asyncio.create_task(bench.breaker.call(asyncio.Event().wait))
    await asyncio.sleep(0)
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    assert bench.breaker.state is State.HALF_OPEN
    assert await bench.run("ok") == "fine"


async def test_calls_from_before_prove_nothing() -> None:
    """What began while it was closed neither prolongs nor ends a later state."""
    bench = Bench(failures=1, open_seconds=10)
    slow_ok, slow_down = asyncio.Event(), asyncio.Event()

    async def fail_late() -> None:
        await slow_down.wait()
        raise Transient(Stage.DETECT, Reason.INFERENCE_UNAVAILABLE, "late")

    good = asyncio.create_task(bench.breaker.call(slow_ok.wait))
    bad = asyncio.create_task(bench.breaker.call(fail_late))
    await asyncio.sleep(0)
    await bench.run("down")
    slow_ok.set()
    await good
    assert bench.breaker.state is State.OPEN
    bench.now += 10
    gate = asyncio.Event()
    probe = asyncio.create_task(bench.breaker.call(gate.wait))
    await asyncio.sleep(0)
    slow_down.set()
    with pytest.raises(Transient):
        await bad
    assert bench.breaker.state is State.HALF_OPEN
    assert await bench.run("ok") == "unavailable"
    gate.set()
    await probe
    assert bench.breaker.state is State.CLOSED


async def test_an_inner_breaker_is_not_a_failure() -> None:
    """`Unavailable` from further in means that nothing was asked, so nothing was learnt."""
    bench = Bench(failures=1)

    async def inner() -> None:
        raise Unavailable(Stage.DETECT, Reason.INFERENCE_UNAVAILABLE, "inner")

    with pytest.raises(Unavailable, match="inner"):
        await bench.breaker.call(inner)
    assert bench.breaker.state is State.CLOSED


@given(
    failures=st.integers(1, 4),
    probes=st.integers(1, 3),
    steps=st.lists(st.sampled_from(["ok", "down", "bad", "bug", "tick"]), max_size=60),
)
def test_whatever_happens_it_recovers(failures: int, probes: int, steps: list[str]) -> None:
    """After any history, enough time and enough successes close it; and it asks only when not open."""

    async def run() -> None:
        bench = Bench(failures=failures, open_seconds=10, probes=probes)
        for step in steps:
            if step == "tick":
                bench.now += 4
                continue
            calls, due = bench.calls, bench.now >= bench.breaker._now.open_until
            was_open = bench.breaker.state is State.OPEN
            await bench.run(step)
            assert bench.calls == calls + (0 if was_open and not due else 1)
        bench.now += 10
        for _ in range(probes):
            assert await bench.run("ok") == "fine"
        assert bench.breaker.state is State.CLOSED

    asyncio.run(run())


def test_a_senseless_policy_is_refused() -> None:
    """A breaker that opens after no failure at all is a mistake of whoever wrote it."""
    with pytest.raises(ValueError, match="breaker"):
        BreakerPolicy(failures=0)
