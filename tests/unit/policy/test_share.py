"""Shares with intervals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.policy.share import share


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    [(0, 10, 0.0, 0.277533), (10, 10, 0.722467, 1.0), (5, 10, 0.236593, 0.763407), (81, 100, 0.722208, 0.874852)],
)
def test_known_intervals(hits: int, of: int, low: float, high: float) -> None:
    """Wilson's bounds, as computed by other software."""
    found = share(hits, of)
    assert (found.low, found.high) == pytest.approx((low, high), abs=2e-5)


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_the_interval_holds_the_share(hits: int, more: int) -> None:
    """Inside 0–1, around the share; nothing counted says nothing."""
    found = share(hits, hits + more)
    if found.share is None:
        assert (hits + more, found.low, found.high) == (0, 0.0, 1.0)
    else:
        assert 0 <= found.low <= found.share <= found.high <= 1
