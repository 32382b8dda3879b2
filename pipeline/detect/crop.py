"""Where a crop lies in its frame: plain geometry, so that who reads scores needs no image library."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Crop:
    """Where a face crop lies in a frame of `width` × `height` pixels: a square of `side` pixels round (x, y), turned.

    `turn`: radians; the crop's rows run along this direction of the frame.
    """

    x: float
    y: float
    side: float
    turn: float
    width: int
    height: int

    def matrix(self, pixels: int) -> NDArray[np.float64]:
        """2 × 3: from pixels of the frame to pixels of the crop when it is `pixels` wide and high."""
        zoom = pixels / self.side
        cos, sin = math.cos(self.turn) * zoom, math.sin(self.turn) * zoom
        x, y, middle = self.x - 0.5, self.y - 0.5, pixels / 2 - 0.5
        return np.array([[cos, sin, middle - cos * x - sin * y], [-sin, cos, middle + sin * x - cos * y]])
