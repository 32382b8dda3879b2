"""Sizes and turns: how large a frame is handed on, and which way is up. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.decode.port import RGB


@dataclass(frozen=True, slots=True)
class Turn:
    """What makes a stored picture upright: swap rows with columns, then mirror. `degrees`: clockwise."""

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False
    degrees: int = 0

    def __call__(self, image: RGB) -> RGB:
        """The picture, upright."""
        if self.transpose:
            image = image.transpose(1, 0, 2)
        if self.flip_rows:
            image = image[::-1]
        if self.flip_columns:
            image = image[:, ::-1]
        return image


UPRIGHT = Turn()


def turn_of(matrix: Sequence[int]) -> Turn:
    """The turn of a display matrix (nine fixed-point numbers, row by row, as ISO base media has it).

    (x, y) is shown at (a·x + c·y, b·x + d·y); what is not a multiple of a quarter goes to the nearest one.
    """
    a, b, c, d = matrix[0], matrix[1], matrix[3], matrix[4]
    degrees = round(math.degrees(math.atan2(b, a)) / 90) * 90 % 360
    if abs(b) > abs(a):
        return Turn(transpose=True, flip_rows=b < 0, flip_columns=c < 0, degrees=degrees)
    return Turn(flip_rows=d < 0, flip_columns=a < 0, degrees=degrees)


def fit(width: int, height: int, max_side: int, aspect: float = 1.0) -> tuple[int, int]:
    """Width and height as shown (`aspect`: how much wider than high a pixel is), long side at most `max_side`."""
    shown = width * min(max(aspect, 0.25), 4.0) if aspect > 0 else float(width)
    scale = min(1.0, max_side / max(shown, height))
    return max(1, round(shown * scale)), max(1, round(height * scale))


def middle(width: int, height: int, side: int) -> tuple[int, int, int, int]:
    """The middle of a frame, at most `side` pixels each way: x0, y0, x1, y1.

    Its top left corner lies on a multiple of 16, so that the grid of the codec's blocks lies in it as in the frame.
    """
    wide, tall = min(width, side), min(height, side)
    x0, y0 = (width - wide) // 2 // 16 * 16, (height - tall) // 2 // 16 * 16
    return x0, y0, x0 + wide, y0 + tall


def solid(image: RGB) -> RGB:
    """The picture as contiguous bytes."""
    return np.ascontiguousarray(image)
