"""Sizes and turns."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decode.geometry import UPRIGHT, fit, middle, turn_of


@given(st.integers(1, 20_000), st.integers(1, 20_000), st.integers(64, 4000), st.floats(-1, 10))
def test_fit_keeps_within_the_side_and_never_enlarges(width: int, height: int, side: int, aspect: float) -> None:
    """The long side is at most the limit, no side vanishes and the height never grows."""
    w, h = fit(width, height, side, aspect)
    assert 1 <= w <= side
    assert 1 <= h <= min(side, height)


def test_fit_keeps_the_shape() -> None:
    """A frame is scaled in both directions alike, and pixels that are not square are made so."""
    assert fit(1920, 1080, 1280) == (1280, 720)
    assert fit(640, 480, 1280) == (640, 480)
    assert fit(720, 576, 1280, 64 / 45) == (1024, 576)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_turn_follows_the_matrix(degrees: int) -> None:
    """A quarter turn clockwise brings the left column to the top."""
    cosine, sine = round(math.cos(math.radians(degrees))), round(math.sin(math.radians(degrees)))
    turn = turn_of([cosine << 16, sine << 16, 0, -sine << 16, cosine << 16, 0, 0, 0, 1 << 30])
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    assert turn.degrees == degrees
    assert np.array_equal(turn(image), np.rot90(image, -degrees // 90))


def test_mirror_is_undone() -> None:
    """A matrix that mirrors left and right does so to the picture."""
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    assert np.array_equal(turn_of([-65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30])(image), image[:, ::-1])


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=9, max_size=9))
def test_any_matrix_is_some_turn(matrix: list[int]) -> None:
    """Nonsense matrices turn by some quarter and lose no pixel."""
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    turned = turn_of(matrix)(image)
    assert sorted(turned.flatten()) == sorted(image.flatten())


def test_upright_is_untouched() -> None:
    """No turn is no work."""
    image = np.zeros((2, 3, 3), np.uint8)
    assert UPRIGHT(image) is image


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 1000))
def test_the_middle_lies_on_the_grid(width: int, height: int, side: int) -> None:
    """Inside the frame, as large as asked where there is room, its corner on a multiple of 16."""
    x0, y0, x1, y1 = middle(width, height, side)
    assert x0 % 16 == y0 % 16 == 0
    assert (x1 - x0, y1 - y0) == (min(width, side), min(height, side))
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height
