"""Leave a dead dependency alone until it had time to recover.

closed ──failures in a row──► open ──open_seconds──► half-open ──probes succeed──► closed
                                ▲                        │
                                └────────a probe fails───┘
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from pipeline.errors import Permanent, Reason, Stage, Transient, Unavailable

T = TypeVar("T")


class State(StrEnum):
    """A closed set: it labels metrics."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """`failures` in a row open it, for `open_seconds`; then `probes` successes in a row, one at a time, close it."""

    failures: int = 5
    open_seconds: float = 10.0
    probes: int = 1

    def __post_init__(self) -> None:
        if self.failures < 1 or self.open_seconds <= 0 or self.probes < 1:
            raise ValueError(f"a breaker needs failures >= 1, open_seconds > 0 and probes >= 1: {self}")


@dataclass(slots=True)
class BreakerState:
    """What changes. `generation` grows with every turn: a call that began in a former one proves nothing now."""

    state: State = State.CLOSED
    failures: int = 0
    successes: int = 0
    open_until: float = 0.0
    probing: bool = False
    generation: int = 0


class Breaker:
    """One dependency's breaker, for use within one event loop.

    Only `Transient` counts as a failure. `Permanent` means that the dependency works and dislikes the item. Anything
    else (cancellation, a bug, `Unavailable` of a breaker further in) says nothing about it and is not counted.
    `on_state(name, state)` hears every turn.
    """

    def __init__(
        self,
        name: str,
        policy: BreakerPolicy,
        *,
        stage: Stage,
        reason: Reason,
        clock: Callable[[], float] = time.monotonic,
        on_state: Callable[[str, State], None] | None = None,
    ) -> None:
        self.name = name
        self.policy = policy
        self._stage = stage
        self._reason = reason
        self._clock = clock
        self._on_state = on_state
        self._now = BreakerState()

    @property
    def state(self) -> State:
        """As of the last call; an open breaker turns half-open when the next call comes."""
        return self._now.state

    async def call(self, fn: Callable[[], Awaitable[T]]) -> T:
        """What `fn` returns. Raises `Unavailable` without calling `fn` while the dependency is left alone."""
        generation = self._admit()
        try:
            result = await fn()
        except Unavailable:
            raise
        except Permanent:
            self._succeeded(generation)
            raise
        except Transient:
            self._failed(generation)
            raise
        else:
            self._succeeded(generation)
            return result
        finally:
            if generation == self._now.generation:
                self._now.probing = False

    def _admit(self) -> int:
        now = self._now
        if now.state is State.OPEN:
            remaining = now.open_until - self._clock()
            if remaining > 0:
                raise self._unavailable("is left alone after repeated failures", remaining)
            self._turn(State.HALF_OPEN)
        if now.state is State.HALF_OPEN:
            if now.probing:
                raise self._unavailable("is being probed", None)
            now.probing = True
        return now.generation

    def _succeeded(self, generation: int) -> None:
        now = self._now
        if generation != now.generation:
            return
        now.failures = 0
        if now.state is State.HALF_OPEN:
            now.successes += 1
            if now.successes >= self.policy.probes:
                self._turn(State.CLOSED)

    def _failed(self, generation: int) -> None:
        now = self._now
        if generation != now.generation:
            return
        now.failures += 1
        if now.state is State.HALF_OPEN or now.failures >= self.policy.failures:
            now.open_until = self._clock() + self.policy.open_seconds
            self._turn(State.OPEN)

    def _turn(self, state: State) -> None:
        now = self._now
        now.state, now.failures, now.successes, now.probing = state, 0, 0, False
        now.generation += 1
        if self._on_state is not None:
            self._on_state(self.name, state)

    def _unavailable(self, why: str, retry_after: float | None) -> Unavailable:
        return Unavailable(self._stage, self._reason, f"{self.name} {why}", retry_after=retry_after)
