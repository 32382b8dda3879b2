"""Put many questions side by side under one deadline, and keep what was answered when some fail or are late."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pipeline import log
from pipeline.errors import ItemError

T = TypeVar("T")

_MARGIN = 0.05
_JUST_LATE = 2 * _MARGIN
"""Seconds before the deadline from which a failure counts as lateness: whoever was told `left` gives up then."""

_log = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Answers(Generic[T]):
    """`given`: one entry per question, in their order, None where no answer came. `troubles`: why, each reason once."""

    given: tuple[T | None, ...]
    troubles: tuple[str, ...] = ()
    late: bool = False

    @property
    def answered(self) -> int:
        """How many questions were answered."""
        return sum(answer is not None for answer in self.given)

    @property
    def detail(self) -> str:
        """All troubles in one line."""
        return "; ".join(self.troubles)


async def ask(
    questions: Sequence[Callable[[], Awaitable[T]]], *, until: float, at_once: int | None = None
) -> Answers[T]:
    """Ask everything, `at_once` at a time (None: all), until the loop's time `until`. Raises for cancellation only.

    A question that raises, whatever it is, is a question without an answer: one detector's bug must not take the
    others' answers with it. A bug is logged with its traceback.
    """
    loop = asyncio.get_running_loop()
    given: list[T | None] = [None] * len(questions)
    troubles = [""] * len(questions)
    late = False
    slots = asyncio.Semaphore(at_once or max(1, len(questions)))

    async def put(i: int, question: Callable[[], Awaitable[T]]) -> None:
        nonlocal late
        try:
            async with slots:
                given[i] = await question()
        except ItemError as error:
            late = late or loop.time() >= until - _JUST_LATE
            troubles[i] = f"{error.reason}: {error.detail}"
        except Exception as error:  # noqa: BLE001 - reported and logged, see above
            _log.error("detector_bug", exception="".join(traceback.format_exception(error)))
            troubles[i] = f"{type(error).__name__}: {error}"

    try:
        async with asyncio.timeout_at(until), asyncio.TaskGroup() as group:
            for i, question in enumerate(questions):
                group.create_task(put(i, question))
    except TimeoutError:
        late = True
    return Answers(tuple(given), tuple(dict.fromkeys(filter(None, troubles))), late)


def left(until: float) -> float:
    """Seconds to tell whom one asks: a little less than there is, so that it gives up, and its breaker hears of it,
    before it is cut off."""
    return until - _MARGIN - asyncio.get_running_loop().time()
