"""The geometry of faces: how a frame goes to the face detector, what comes back, and how a face is cut out.

Training and live detection use these same functions: a head that was trained on one crop and asked about another
measures the crop, not the forgery. Pure functions on arrays; coordinates are pixels, x to the right and y down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.detect.crop import Crop as Crop

Image = NDArray[np.uint8]
"""RGB, height × width × 3."""

FACE_SIZE = 224
FACE_MARGIN = 1.35
"""Side of the crop over the longer side of the box: forehead, chin and the seam of a swap lie inside."""

_STRIDE = 4
_MULTIPLE = 32


@dataclass(frozen=True, slots=True, eq=False)
class Letterbox:
    """A frame as CenterFace wants it: shrunk (never enlarged), padded with black at the right and at the bottom.

    `scale`: pixels of `image` per pixel of the frame; `size`: (height, width) of the frame.
    """

    image: Image
    scale: float
    size: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Faces, best first. boxes n×4 (x0, y0, x1, y1), scores n, landmarks n×5×2 (eyes, nose, mouth corners; x, y)."""

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    landmarks: NDArray[np.float32]


def letterbox(image: Image, longest: int = 640) -> Letterbox:
    """Fit a frame into `longest` pixels with both sides multiples of 32, which the detector's graph needs."""
    height, width = image.shape[:2]
    scale = min(1.0, longest / max(height, width))
    small_h, small_w = max(1, round(height * scale)), max(1, round(width * scale))
    small = image if scale == 1.0 else cv2.resize(image, (small_w, small_h), interpolation=cv2.INTER_AREA)
    canvas = np.zeros((_up(small_h), _up(small_w), 3), np.uint8)
    canvas[:small_h, :small_w] = small
    return Letterbox(canvas, scale, (height, width))


def decode_centerface(
    heatmap: NDArray[np.float32],
    scale: NDArray[np.float32],
    offset: NDArray[np.float32],
    landmarks: NDArray[np.float32],
    boxed: Letterbox,
    *,
    min_score: float = 0.5,
    max_overlap: float = 0.3,
) -> Detections:
    """Turn one image's four output maps (1×h×w, 2×h×w, 2×h×w, 10×h×w; a cell is 4 pixels) into faces of the frame.

    The maps store y before x. Box sides are exp(scale) cells; landmarks lie relative to the box's unclipped corner, in
    shares of its sides. Boxes are clipped to the frame; a face whose box is clipped to nothing is dropped.
    """
    rows, cols = np.nonzero(heatmap[0] > min_score)
    scores = heatmap[0, rows, cols]
    tall, wide = np.exp(scale[:, rows, cols]) * _STRIDE
    top = (rows + offset[0, rows, cols] + 0.5) * _STRIDE - tall / 2
    left = (cols + offset[1, rows, cols] + 0.5) * _STRIDE - wide / 2
    marks = landmarks[:, rows, cols].reshape(5, 2, -1)
    points = np.stack([marks[:, 1] * wide + left, marks[:, 0] * tall + top], axis=-1).transpose(1, 0, 2)
    height, width = boxed.size
    limit = np.array([width, height, width, height], np.float32)
    boxes = np.clip(np.stack([left, top, left + wide, top + tall], axis=1) / boxed.scale, 0, limit)
    keep = [
        i for i in non_maximum(boxes, scores, max_overlap) if boxes[i, 2] > boxes[i, 0] and boxes[i, 3] > boxes[i, 1]
    ]
    return Detections(
        boxes[keep].astype(np.float32), scores[keep].astype(np.float32), (points[keep] / boxed.scale).astype(np.float32)
    )


def non_maximum(boxes: NDArray[Any], scores: NDArray[Any], max_overlap: float) -> list[int]:
    """Indices of the boxes to keep, best first: a box that overlaps a better one by more than `max_overlap` goes."""
    order = np.argsort(-scores, kind="stable")
    area = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1)
    keep: list[int] = []
    while order.size:
        best, rest = int(order[0]), order[1:]
        keep.append(best)
        corner0 = np.maximum(boxes[best, :2], boxes[rest, :2])
        corner1 = np.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = np.clip(corner1 - corner0, 0, None).prod(axis=1)
        order = rest[shared <= max_overlap * np.maximum(area[best] + area[rest] - shared, 1e-9)]
    return keep


def face_crop(
    image: Image,
    box: tuple[float, float, float, float],
    landmarks: NDArray[np.float32] | None = None,
    margin: float = FACE_MARGIN,
) -> Crop:
    """A square of `margin` × the longer side of `box` round its centre, turned so that the eyes are level."""
    x0, y0, x1, y1 = box
    height, width = image.shape[:2]
    turn = 0.0 if landmarks is None else _eye_angle(landmarks)
    return Crop((x0 + x1) / 2, (y0 + y1) / 2, max(x1 - x0, y1 - y0, 1.0) * margin, turn, width, height)


def crop_face(
    image: Image,
    box: tuple[float, float, float, float],
    landmarks: NDArray[np.float32] | None = None,
    *,
    size: int = FACE_SIZE,
    margin: float = FACE_MARGIN,
) -> Image:
    """Cut `face_crop` out and bring it to size × size.

    Beyond the frame its edge pixels are repeated. Shrinking averages (a plain sampler would alias and invent the very
    traces that the heads look for).
    """
    place = face_crop(image, box, landmarks, margin)
    # Work on a window at the source's own resolution, so that the shrink below is a true area average.
    work = max(size, round(place.side))
    matrix = place.matrix(work)
    window = cv2.warpAffine(image, matrix, (work, work), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    crop = window if work == size else cv2.resize(window, (size, size), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(crop, dtype=np.uint8)


def _eye_angle(landmarks: NDArray[np.float32]) -> float:
    """How far the line between the eyes is turned, in radians; 0 where the eyes coincide."""
    dx, dy = (float(v) for v in landmarks[1] - landmarks[0])
    return math.atan2(dy, dx) if (dx, dy) != (0.0, 0.0) else 0.0


def _up(length: int) -> int:
    return math.ceil(length / _MULTIPLE) * _MULTIPLE
