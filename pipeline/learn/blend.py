"""Self-blended images: a face blended with an altered copy of itself, so that only the traces of blending are new.

Shiohara and Yamasaki, "Detecting Deepfakes with Self-Blended Images", CVPR 2022. A swap head that learns from them
sees no generator at all: what tells its positives from its negatives is the seam and the disagreement of the two sides
of it. The outline of the face is a template laid on the five landmarks (the paper uses 81).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.detect.faces import Image

# Where eyes, nose and mouth corners lie in the usual 112 × 112 alignment of face recognition (ArcFace), and the outline
# of a face round them: jaw from ear to ear, then back over the brows.
_LANDMARKS = np.array([[38.3, 51.7], [73.5, 51.5], [56.0, 71.7], [41.5, 92.4], [70.7, 92.2]])
_JAW = [[17, 52], [18, 66], [22, 80], [30, 95], [41, 106], [56, 111], [71, 106], [82, 95], [90, 80], [94, 66], [95, 52]]
_BROWS = [[88, 38], [74, 33], [56, 36], [38, 33], [24, 38]]
_FOREHEAD = [[88, 26], [74, 17], [56, 14], [38, 17], [24, 26]]
_CHEEKS = [
    [22, 60],
    [26, 78],
    [34, 92],
    [42, 102],
    [56, 106],
    [70, 102],
    [78, 92],
    [86, 78],
    [90, 60],
    [74, 54],
    [38, 54],
]
_INNER = [
    [26, 46],
    [30, 66],
    [34, 88],
    [44, 100],
    [56, 102],
    [68, 100],
    [78, 88],
    [82, 66],
    [86, 46],
    [72, 38],
    [40, 38],
]
_SHAPES = tuple(np.array(shape, float) for shape in (_JAW + _BROWS, _JAW + _FOREHEAD, _CHEEKS, _INNER))
_SHAPE_ODDS = (0.45, 0.2, 0.15, 0.2)


def self_blend(
    image: Image, box: tuple[float, float, float, float], landmarks: NDArray[np.float32], seed: int
) -> tuple[Image, NDArray[np.float32]]:
    """Blend one face of a frame with a jittered copy of itself; returns the whole frame and the mask (h × w, 0–1).

    Outside the mask the frame is untouched, pixel for pixel. The same seed gives the same blend.
    """
    rng = np.random.default_rng(seed)
    x0, y0, x1, y1 = _window(image, box)
    target = image[y0:y1, x0:x1]
    marks = np.asarray(landmarks, np.float64) - (x0, y0)
    side = max(box[2] - box[0], box[3] - box[1])
    mask = face_mask(target.shape[:2], marks, side, rng)
    source = _restyle(target, rng)
    source, mask = _jitter(source, mask, side, rng)
    mask = mask * rng.choice([0.5, 0.75, 1.0, 1.0, 1.0])
    # A rim of nothing, so that the window's own edge can never show.
    mask[:1], mask[-1:], mask[:, :1], mask[:, -1:] = 0, 0, 0, 0
    mixed = target + mask[..., None] * (source.astype(np.float32) - target)
    blended, whole = image.copy(), np.zeros(image.shape[:2], np.float32)
    blended[y0:y1, x0:x1] = np.where(mask[..., None] > 0, np.rint(np.clip(mixed, 0, 255)), target).astype(np.uint8)
    whole[y0:y1, x0:x1] = mask
    return blended, whole


def face_mask(
    shape: tuple[int, int], landmarks: NDArray[np.float64], side: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """A soft mask of a face, or of its middle or lower part: h × w, 0–1. `side`: the longer side of the face's box."""
    height, width = shape
    outline = _SHAPES[rng.choice(len(_SHAPES), p=_SHAPE_ODDS)]
    placed = np.hstack([outline, np.ones((len(outline), 1))]) @ _placement(landmarks)
    centre = placed.mean(axis=0)
    placed = centre + (placed - centre) * rng.uniform(0.9, 1.08, size=2) + rng.normal(0, 0.012 * side, placed.shape)
    mask = np.zeros((height, width), np.float32)
    cv2.fillPoly(mask, [np.rint(placed).astype(np.int32)], 1.0)
    soft: Any = _warp(mask, side, rng)
    # Blur, cut the faint rim off and blur again: the soft edge then lies inside the outline, as in a swap.
    first = _odd(side * rng.uniform(0.03, 0.1))
    soft = np.clip((cv2.GaussianBlur(soft, (first, first), 0) - 0.5) * 2, 0, 1)
    second = _odd(side * rng.uniform(0.01, 0.09))
    return np.asarray(np.clip(cv2.GaussianBlur(soft, (second, second), 0), 0, 1), np.float32)


def _placement(landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
    """3 × 2: the affine map from the template to these landmarks, by least squares."""
    solved, *_ = np.linalg.lstsq(np.hstack([_LANDMARKS, np.ones((5, 1))]), landmarks, rcond=None)
    return np.asarray(solved, np.float64)


def _window(image: Image, box: tuple[float, float, float, float]) -> tuple[int, int, int, int]:
    """The part of the frame to work on: the box and half its sides round it, inside the frame."""
    x0, y0, x1, y1 = box
    dx, dy = (x1 - x0) / 2, (y1 - y0) / 2
    height, width = image.shape[:2]
    return max(0, int(x0 - dx)), max(0, int(y0 - dy)), min(width, int(x1 + dx) + 1), min(height, int(y1 + dy) + 1)


def _restyle(patch: Image, rng: np.random.Generator) -> Image:
    """Shift colour and light a little, then either soften, sharpen or re-compress: the two sides no longer agree."""
    strength = rng.uniform(0.15, 1.0)
    x: Any = patch.astype(np.float32)
    x = x + rng.uniform(-18, 18, 3) * strength
    x = (x - 128) * (1 + rng.uniform(-0.12, 0.12) * strength) + 128 + rng.uniform(-12, 12) * strength
    grey = x.mean(axis=2, keepdims=True)
    x = grey + (x - grey) * (1 + rng.uniform(-0.25, 0.25) * strength)
    kind = rng.choice(["soften", "sharpen", "shrink", "compress", "none"], p=[0.2, 0.25, 0.25, 0.15, 0.15])
    if kind == "soften":
        x = cv2.GaussianBlur(x, (0, 0), rng.uniform(0.4, 1.2))
    elif kind == "sharpen":
        x = x + (x - cv2.GaussianBlur(x, (0, 0), rng.uniform(0.6, 1.5))) * rng.uniform(0.3, 1.0)
    elif kind == "shrink":
        height, width = x.shape[:2]
        factor = rng.uniform(0.4, 0.8)
        small = cv2.resize(
            x, (max(8, round(width * factor)), max(8, round(height * factor))), interpolation=cv2.INTER_AREA
        )
        x = cv2.resize(small, (width, height), interpolation=int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC])))
    styled: Image = np.clip(np.rint(x), 0, 255).astype(np.uint8)
    return recompress(styled, int(rng.integers(35, 85))) if kind == "compress" else styled


def _jitter(
    source: Image, mask: NDArray[np.float32], side: float, rng: np.random.Generator
) -> tuple[Image, NDArray[np.float32]]:
    """Move and scale the source and its mask by a few per cent, as an imperfect fit would."""
    height, width = mask.shape
    ys, xs = np.nonzero(mask > 0.1)
    centre = (float(xs.mean()), float(ys.mean())) if len(xs) else (width / 2, height / 2)
    matrix = cv2.getRotationMatrix2D(centre, float(rng.uniform(-3, 3)), float(rng.uniform(0.95, 1.05)))
    matrix[:, 2] += rng.uniform(-0.03, 0.03, 2) * side
    size, edge = (width, height), cv2.BORDER_REFLECT
    moved = cv2.warpAffine(source, matrix, size, flags=cv2.INTER_LINEAR, borderMode=edge)
    return np.asarray(moved, np.uint8), cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_LINEAR)


def _warp(mask: NDArray[np.float32], side: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Bend the outline smoothly by a few per cent of the face, so that no two masks have one shape."""
    height, width = mask.shape
    coarse = rng.normal(0, 0.025 * side, (2, 5, 5)).astype(np.float32)
    dx, dy = (cv2.resize(c, (width, height), interpolation=cv2.INTER_CUBIC) for c in coarse)
    xs, ys = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.asarray(cv2.remap(mask, xs + dx, ys + dy, cv2.INTER_LINEAR), np.float32)


def recompress(image: Image, quality: int) -> Image:
    """Through JPEG and back. Raises ValueError when the image cannot be encoded."""
    done, packed = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"cannot encode an image of shape {image.shape}")
    unpacked: Any = cv2.imdecode(packed, cv2.IMREAD_COLOR)
    return np.asarray(cv2.cvtColor(unpacked, cv2.COLOR_BGR2RGB), np.uint8)


def _odd(length: float) -> int:
    return max(1, int(length)) | 1
