"""Pools of real children, warm for a whole module, and a way to decode bytes."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import pytest
import pytest_asyncio

from pipeline.decode.pool import DecodePool
from pipeline.decode.port import Clip, DecodeBudget

DecodeBytes: TypeAlias = Callable[[bytes], Awaitable[Clip]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[DecodePool]:
    """The real decoders in real children."""
    budget = DecodeBudget(cpu_seconds=30, wall_seconds=40.0)
    async with DecodePool(2, budget) as pool:
        yield pool


@pytest.fixture
def decode(pool: DecodePool, tmp_path: Path) -> DecodeBytes:
    """Decode bytes as a file without a telling name."""

    async def decode(data: bytes) -> Clip:
        path = tmp_path / "upload"
        path.write_bytes(data)
        return await pool(path)

    return decode
