"""Try again what may succeed later, for as long as the item has time.

Why not a library: the waits honour what the dependency asks for (`Transient.retry_after`), the budget is the item's
own deadline, and the clock comes in, so that tests do not sleep.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from pipeline.errors import Transient

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off: the n-th wait is drawn evenly from 0 … min(longest, first × factorⁿ) seconds.

    Full jitter: workers that failed together do not come back together.
    """

    first: float = 0.2
    factor: float = 2.0
    longest: float = 10.0

    def __post_init__(self) -> None:
        if self.first <= 0 or self.factor < 1 or self.longest < self.first:
            raise ValueError(f"a back-off needs first > 0, factor >= 1 and longest >= first: {self}")

    def ceiling(self, attempt: int) -> float:
        """The longest wait, seconds, after `attempt` failures (1 is the first)."""
        try:
            return min(self.longest, self.first * self.factor ** (attempt - 1))
        except OverflowError:
            return self.longest


async def retry(
    fn: Callable[[], Awaitable[T]],
    *,
    within: float,
    policy: RetryPolicy = RetryPolicy(),
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    jitter: Callable[[], float] = random.random,
    on_retry: Callable[[Transient, float], None] | None = None,
) -> T:
    """Call `fn` until it returns, fails for good, or the next attempt would begin after `within` seconds.

    Then the last `Transient` is raised, at once: nobody sleeps towards an attempt that will not be made. There is
    always one attempt. `within` does not cut an attempt short; an attempt bounds itself. `retry_after` is waited out
    in full, with the jitter on top. `on_retry(error, wait)` hears of each wait before it begins. Permanent failures,
    cancellation and bugs pass straight through.
    """
    until = clock() + within
    attempt = 0
    while True:
        try:
            return await fn()
        except Transient as trouble:
            attempt += 1
            wait = (trouble.retry_after or 0.0) + jitter() * policy.ceiling(attempt)
            if clock() + wait >= until:
                raise
            if on_retry is not None:
                on_retry(trouble, wait)
        await sleep(wait)
