"""Which keyframes a detector looks at, and how it sees them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.decode.port import RGB

T = TypeVar("T")


def spread(items: Sequence[T], count: int) -> list[T]:
    """At most `count` of `items`, in order, evenly over the whole: the middles of `count` equal stretches."""
    if len(items) <= count:
        return list(items)
    return [items[int((i + 0.5) * len(items) / count)] for i in range(count)]


def resized(image: RGB, width: int, height: int) -> RGB:
    """The image at another size. Shrinking averages; a plain sampler would alias."""
    shrinks = width * height < image.shape[0] * image.shape[1]
    return _rgb(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR))


def centre(image: RGB, side: int) -> RGB:
    """The middle `side` × `side` pixels. Both sides of the image must be at least that long."""
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    return _rgb(image[top : top + side, left : left + side])


def _rgb(image: NDArray[Any]) -> RGB:
    return np.ascontiguousarray(image, dtype=np.uint8)
