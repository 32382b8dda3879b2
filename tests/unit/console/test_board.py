"""What many people watch, computed once."""

from __future__ import annotations

import asyncio
import time

import pytest

from pipeline.console.board import Board
from pipeline.console.models import QueueView


async def test_one_view_serves_all_for_a_while() -> None:
    """It is computed again when it is too old, and nothing is kept of what failed."""
    now, made = [0.0], []

    def compute() -> dict[str, QueueView]:
        made.append(now[0])
        if len(made) == 2:
            raise OSError("away")
        return {}

    board = Board[dict[str, QueueView]](1.0, clock=lambda: now[0])
    for _ in range(3):
        await board.view(compute)
    now[0] = 1.0
    with pytest.raises(OSError, match="away"):
        await board.view(compute)
    await board.view(compute)
    assert made == [0.0, 1.0, 1.0]


async def test_who_asks_meanwhile_waits() -> None:
    """Ten people at once: it is computed once."""
    made = []

    def compute() -> dict[str, QueueView]:
        made.append(1)
        time.sleep(0.05)
        return {}

    board = Board[dict[str, QueueView]](60.0)
    await asyncio.gather(*(board.view(compute) for _ in range(10)))
    assert len(made) == 1


async def test_what_takes_long_is_computed_less_often() -> None:
    """A tenth of a second of computing is followed by three of rest, an hour of it by ten."""
    now, took, made = [0.0], [0.1], []

    def compute() -> dict[str, QueueView]:
        made.append(round(now[0], 1))
        now[0] += took[0]
        return {}

    board = Board[dict[str, QueueView]](2.0, clock=lambda: now[0])
    await board.view(compute)
    for now[0] in (2.9, 3.0, 3.2):
        await board.view(compute)
    took[0] = 3600.0
    now[0] = 7.0
    await board.view(compute)
    for now[0] in (3616.0, 3617.0):
        await board.view(compute)
    assert made == [0.0, 3.2, 7.0, 3617.0]
