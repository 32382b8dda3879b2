"""The geometry of face meshes: how a face goes to the mesh model, what comes back, and what can be read off it.

Pure functions on arrays. A mesh has MediaPipe's 478 points: 468 of the face mesh, then five per iris (centre and four
on the rim). It is stored in shares of the frame (`MeshedFace.points`); what measures it wants equal units along both
axes, so `in_pixels` comes first. Every measure takes one mesh (478 × 3) or many (… × 478 × 3: a track at once).

"Left" and "right" are the picture's, not the person's. x runs to the right, y down, z away from the camera.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.decode.port import RGB
from pipeline.detect.port import ModelSpec, Tensors, TensorSpec
from pipeline.events.values import Box

Mesh = NDArray[np.floating[Any]]
"""… × 478 × 3."""
Affine = NDArray[np.float64]
"""2 × 3: a crop's (x, y, 1) to pixels of the frame. Positions, not indices: the first pixel's middle is (.5, .5)."""

POINTS, IRIS = 478, 468
CROP = 192
BOX_MARGIN = 1.35
"""Side of the crop over the longer side of the detector's box."""
MESH_MARGIN = 1.5
"""Side of the crop over the longer side of the bounds of the last mesh (MediaPipe's own value)."""
EMBEDDING = 112

FACE_MESH = ModelSpec(
    "face_mesh",
    inputs=(TensorSpec("face", "UINT8", (CROP, CROP, 3)),),
    outputs=(
        TensorSpec("mesh", "FP32", (IRIS, 3)),
        TensorSpec("lips", "FP32", (80, 2)),
        TensorSpec("left_eye", "FP32", (71, 2)),
        TensorSpec("right_eye", "FP32", (71, 2)),
        TensorSpec("left_iris", "FP32", (5, 2)),
        TensorSpec("right_iris", "FP32", (5, 2)),
        TensorSpec("presence", "FP32", (1,)),
    ),
    max_batch=16,
)
FACE_EMBEDDING = ModelSpec(
    "face_embedding",
    inputs=(TensorSpec("face", "UINT8", (EMBEDDING, EMBEDDING, 3)),),
    outputs=(TensorSpec("embedding", "FP32", (256,)),),
    max_batch=16,
)

# fmt: off
LIPS = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409,
    78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415,
    76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306, 184, 74, 73, 72, 11, 302, 303, 304, 408,
    62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292, 183, 42, 41, 38, 12, 268, 271, 272, 407,
)
LEFT_EYE = (
    33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173, 130, 25, 110, 24, 23, 22, 26, 112,
    243, 247, 30, 29, 27, 28, 56, 190, 226, 31, 228, 229, 230, 231, 232, 233, 244, 113, 225, 224, 223, 222, 221, 189,
    35, 124, 46, 53, 52, 65, 143, 111, 117, 118, 119, 120, 121, 128, 245, 156, 70, 63, 105, 66, 107, 55, 193,
)
RIGHT_EYE = (
    263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398, 359, 255, 339, 254, 253, 252, 256,
    341, 463, 467, 260, 259, 257, 258, 286, 414, 446, 261, 448, 449, 450, 451, 452, 453, 464, 342, 445, 444, 443, 442,
    441, 413, 265, 353, 276, 283, 282, 295, 372, 340, 346, 347, 348, 349, 350, 357, 465, 383, 300, 293, 334, 296, 336,
    285, 417,
)
"""Which points the model's second look at lips and eyes moves, in the order of its outputs (MediaPipe's)."""
RIMS = ((33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
        (362, 382, 381, 380, 374, 373, 390, 249, 263, 466, 388, 387, 386, 385, 384, 398))
"""The edges of the lids, left and right eye, once round."""
INNER_LIPS = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
OUTER_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149,
        150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)
"""Rings, once round: the opening of the mouth, the lips, the outline of the face."""
STABLE = (33, 133, 362, 263, 168, 6, 197, 195, 5, 4, 9, 151, 10, 129, 358, 127, 356, 21, 251)
"""Points that hardly move when the face does: corners of the eyes, nose, forehead, temples."""
# fmt: on

_SYMMETRIC = {
    # MediaPipe's canonical face model (centimetres; x right, y up, z towards the viewer), left half and middle line.
    33: (-4.445859, 2.663991, 3.173422),
    133: (-1.856432, 2.585245, 3.757904),
    168: (0.0, 3.271027, 5.236015),
    6: (0.0, 2.473255, 5.788627),
    197: (0.0, 1.728369, 6.316750),
    195: (0.0, 1.059413, 6.774605),
    5: (0.0, 0.365669, 7.242870),
    4: (0.0, -0.463170, 7.586580),
    9: (0.0, 4.885979, 5.385258),
    151: (0.0, 6.545390, 5.027311),
    10: (0.0, 8.261778, 4.481535),
    129: (-1.785794, -0.978284, 4.850470),
    127: (-7.743095, 2.364999, -2.005167),
    21: (-7.087960, 5.434801, 0.099620),
}
_MIRRORED = {263: 33, 362: 133, 358: 129, 356: 127, 251: 21}
_CANONICAL = np.array(
    [
        np.array(_SYMMETRIC[i] if i in _SYMMETRIC else _SYMMETRIC[_MIRRORED[i]]) * (-1 if i in _MIRRORED else 1, -1, -1)
        for i in STABLE
    ]
)
"""STABLE in the axes of a picture: x right, y down, z away from the camera."""

_TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
"""Where eyes, nose and mouth corners lie in an aligned face of 112 pixels (ArcFace, Deng and others, CVPR 2019)."""


def mesh_crop(image: RGB, box: Box, landmarks: Sequence[tuple[float, float]] = ()) -> tuple[RGB, Affine]:
    """A face as the mesh model wants it (192 × 192), and the way back to pixels of the frame.

    `box`, `landmarks` (eyes first): as the face detector gives them, in shares of the frame. With landmarks the eyes
    are level in the crop. Beyond the frame its edge pixels are repeated.
    """
    height, width = image.shape[:2]
    wide, tall = (box.x1 - box.x0) * width, (box.y1 - box.y0) * height
    middle = np.array([(box.x0 + box.x1) / 2 * width, (box.y0 + box.y1) / 2 * height])
    turn = 0.0
    if len(landmarks) > 1:
        (x0, y0), (x1, y1) = landmarks[0], landmarks[1]
        turn = math.atan2((y1 - y0) * height, (x1 - x0) * width)
    return _cut(image, _square(middle, max(wide, tall, 1.0) * BOX_MARGIN, turn))


def mesh_crop_again(image: RGB, points: Mesh) -> tuple[RGB, Affine]:
    """The crop for the next frame of a face whose mesh is known (478 × 3, shares of the frame); else as `mesh_crop`."""
    height, width = image.shape[:2]
    flat = np.asarray(points[:IRIS, :2], np.float64) * (width, height)
    across = flat[263] - flat[33]
    turn = math.atan2(across[1], across[0])
    level = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    turned = flat @ level.T
    low, high = turned.min(axis=0), turned.max(axis=0)
    return _cut(image, _square(level.T @ ((low + high) / 2), max(*(high - low), 1.0) * MESH_MARGIN, turn))


def mesh_points(outputs: Tensors, to_frame: Affine, size: tuple[int, int], row: int = 0) -> NDArray[np.float32]:
    """One row of the model's answer as a mesh: 478 × 3 in shares of the frame, z in shares of its width.

    `to_frame`: from the crop's making; `size`: (height, width) of the frame. Lips, eyes and irises are the second
    look's; z of an iris, which the model does not give, is the mean over the edge of its lids.
    """
    mesh = outputs["mesh"][row].astype(np.float64)
    points = np.concatenate([mesh, np.zeros((POINTS - IRIS, 3))])
    for indices, name in ((LIPS, "lips"), (LEFT_EYE, "left_eye"), (RIGHT_EYE, "right_eye")):
        points[list(indices), :2] = outputs[name][row]
    for side, name in enumerate(("left_iris", "right_iris")):
        five = slice(IRIS + 5 * side, IRIS + 5 * side + 5)
        points[five, :2] = outputs[name][row]
        points[five, 2] = mesh[list(RIMS[side]), 2].mean()
    scale = math.hypot(to_frame[0, 0], to_frame[1, 0])
    height, width = size
    placed = points[:, :2] @ to_frame[:, :2].T + to_frame[:, 2]
    return np.column_stack([placed / (width, height), points[:, 2] * scale / width]).astype(np.float32)


def in_pixels(points: Mesh, size: tuple[int, int]) -> NDArray[np.float64]:
    """A mesh in pixels of the frame along all three axes. `size`: (height, width)."""
    height, width = size
    return np.asarray(points, np.float64) * (width, height, width)


def bounds(points: Mesh) -> Box:
    """The box round a mesh that is in shares of the frame, clipped to the frame.

    Raises ValueError (by `Box`) when the mesh lies outside.
    """
    x0, y0 = (float(low) for low in np.clip(points[:IRIS, :2].min(axis=0), 0, 1))
    x1, y1 = (float(high) for high in np.clip(points[:IRIS, :2].max(axis=0), 0, 1))
    return Box(x0, y0, x1, y1)


def five_points(points: Mesh) -> NDArray[np.float64]:
    """Eyes, tip of the nose, corners of the mouth, … × 5 × 2, in the mesh's unit: what aligns a face.

    An eye is the middle of its corners, not its iris: alignment must not follow the gaze.
    """
    points = np.asarray(points, np.float64)[..., :2]
    eyes = [(points[..., a, :] + points[..., b, :]) / 2 for a, b in ((33, 133), (362, 263))]
    return np.stack([*eyes, points[..., 4, :], points[..., 61, :], points[..., 291, :]], axis=-2)


def embedding_crop(image: RGB, five: NDArray[Any]) -> RGB:
    """A face as the embedding model wants it (112 × 112), from its five points in pixels of the frame."""
    return _warp(image, similarity(_TEMPLATE, np.asarray(five, np.float64)), EMBEDDING)


def similarity(source: NDArray[np.float64], target: NDArray[np.float64]) -> Affine:
    """The turn, scale and shift (2 × 3) that bring `source` (n × 2) closest to `target`, by least squares.

    Umeyama 1991, in the plane: with points as complex numbers it is one regression.
    """
    a, b = (points[:, 0] + 1j * points[:, 1] for points in (source, target))
    spread = a - a.mean()
    factor = np.vdot(spread, b - b.mean()) / max(np.vdot(spread, spread).real, 1e-12)
    shift = b.mean() - factor * a.mean()
    return np.array([[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]])


def eye_distance(points: Mesh) -> NDArray[np.float64]:
    """Between the outer corners of the eyes, in the mesh's unit, in space: it does not shrink when the head turns."""
    return _between(points, 33, 263)


def mouth_opening(points: Mesh) -> NDArray[np.float64]:
    """Between the inner lips at the middle, in eye distances: about 0 shut, .3 and more wide open."""
    return _between(points, 13, 14) / _unit(points)


def mouth_width(points: Mesh) -> NDArray[np.float64]:
    """Between the inner corners of the mouth, in eye distances."""
    return _between(points, 78, 308) / _unit(points)


def mouth_area(points: Mesh) -> NDArray[np.float64]:
    """Of the opening between the lips as the picture shows it, in squared eye distances."""
    return _area(points, INNER_LIPS) / _unit(points) ** 2


def lips_area(points: Mesh) -> NDArray[np.float64]:
    """Of lips and opening together as the picture shows them, in squared eye distances: small for a rounded mouth."""
    return _area(points, OUTER_LIPS) / _unit(points) ** 2


def jaw_opening(points: Mesh) -> NDArray[np.float64]:
    """From the base of the nose to the chin, in eye distances."""
    return _between(points, 2, 152) / _unit(points)


def eye_openness(points: Mesh) -> NDArray[np.float64]:
    """Left and right eye, … × 2: height over width of the lids' opening; about .3 open, under .2 in a blink.

    The eye aspect ratio of Soukupová and Čech, 2016.
    """
    ratios = [
        (_between(points, a, b) + _between(points, c, d)) / np.maximum(2 * _between(points, *ends), _TINY)
        for ends, a, b, c, d in (((33, 133), 160, 144, 158, 153), ((362, 263), 385, 380, 387, 373))
    ]
    return np.stack(ratios, axis=-1)


def gaze(points: Mesh) -> NDArray[np.float64]:
    """Where the iris lies in its eye, … × 2 eyes × 2, in shares of the eye's width, from the middle of its corners.

    First along the line of the corners, positive to the picture's right; then across it, positive down.
    """
    flat = np.asarray(points, np.float64)[..., :2]
    found = []
    for iris, start, stop in ((IRIS, 33, 133), (IRIS + 5, 362, 263)):
        along = flat[..., stop, :] - flat[..., start, :]
        away = flat[..., iris, :] - (flat[..., start, :] + flat[..., stop, :]) / 2
        square = np.maximum((along**2).sum(axis=-1), _TINY)
        across = along[..., 0] * away[..., 1] - along[..., 1] * away[..., 0]
        found.append(np.stack([(along * away).sum(axis=-1) / square, across / square], axis=-1))
    return np.stack(found, axis=-2)


def irises(points: Mesh) -> NDArray[np.float64]:
    """Left and right iris, … × 2 × 3: centre and radius as the picture shows them, in the mesh's unit."""
    flat = np.asarray(points, np.float64)[..., :2]
    centres = flat[..., [IRIS, IRIS + 5], :]
    rims = np.stack([flat[..., IRIS + 1 : IRIS + 5, :], flat[..., IRIS + 6 : IRIS + 10, :]], axis=-3)
    radius = np.linalg.norm(rims - centres[..., None, :], axis=-1).mean(axis=-1)
    return np.concatenate([centres, radius[..., None]], axis=-1)


def head_pose(points: Mesh) -> NDArray[np.float64]:
    """Yaw, pitch and roll, … × 3, in degrees; 0 looks into the camera.

    Yaw is positive to the picture's right, pitch up, roll clockwise. From the turn that fits the canonical face to the
    points that hardly move with its expression. The camera is taken to be far away: a face at the edge of a wide
    picture looks turned by some degrees more than it is.
    """
    turn, _, _ = _fit(points)
    yaw = np.arcsin(np.clip(turn[..., 2, 0], -1, 1))
    pitch = -np.arctan2(turn[..., 2, 1], turn[..., 2, 2])
    roll = np.arctan2(turn[..., 1, 0], turn[..., 0, 0])
    return np.asarray(np.degrees(np.stack([yaw, pitch, roll], axis=-1)))


def facing(points: Mesh) -> NDArray[np.float64]:
    """The mesh brought back to the canonical pose and size (centimetres of a mean face): expression without motion."""
    turn, scale, shift = _fit(points)
    centred = np.asarray(points, np.float64) - shift[..., None, :]
    return np.asarray(centred @ turn / np.maximum(scale, _TINY)[..., None, None])


_TINY = 1e-9


def _fit(points: Mesh) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The turn (… × 3 × 3), scale (…) and shift (… × 3) from the canonical face to the mesh (Umeyama 1991)."""
    seen = np.asarray(points, np.float64)[..., list(STABLE), :]
    middle, home = seen.mean(axis=-2), _CANONICAL.mean(axis=0)
    away, canonical = seen - middle[..., None, :], _CANONICAL - home
    left, sizes, right = np.linalg.svd(np.swapaxes(away, -1, -2) @ canonical)
    signs = np.ones(sizes.shape)
    signs[..., 2] = np.where(np.linalg.det(left @ right) < 0, -1, 1)
    turn = (left * signs[..., None, :]) @ right
    scale = (sizes * signs).sum(axis=-1) / (canonical**2).sum()
    return turn, scale, middle - scale[..., None] * (turn @ home)


def _between(points: Mesh, a: int, b: int) -> NDArray[np.float64]:
    points = np.asarray(points, np.float64)
    distance: NDArray[np.float64] = np.linalg.norm(points[..., a, :] - points[..., b, :], axis=-1)
    return distance


def _unit(points: Mesh) -> NDArray[np.float64]:
    return np.maximum(eye_distance(points), _TINY)


def _area(points: Mesh, ring: tuple[int, ...]) -> NDArray[np.float64]:
    """Of a polygon in the picture's plane (Gauss)."""
    x, y = np.moveaxis(np.asarray(points, np.float64)[..., list(ring), :2], -1, 0)
    twice = (x * np.roll(y, -1, axis=-1) - y * np.roll(x, -1, axis=-1)).sum(axis=-1)
    return np.asarray(np.abs(twice) / 2)


def _square(middle: NDArray[np.float64], side: float, turn: float) -> Affine:
    """The way from a crop of 192 pixels to a turned square of the frame."""
    step = side / CROP
    cos, sin = math.cos(turn) * step, math.sin(turn) * step
    matrix = np.array([[cos, -sin], [sin, cos]])
    return np.column_stack([matrix, middle - matrix @ (CROP / 2, CROP / 2)])


def _cut(image: RGB, to_frame: Affine) -> tuple[RGB, Affine]:
    return _warp(image, to_frame, CROP), to_frame


def _warp(image: RGB, to_frame: Affine, size: int) -> RGB:
    """Sample `size` × `size` pixels. A larger face is sampled at its own resolution first, and averaged."""
    finer = max(1, round(math.hypot(to_frame[0, 0], to_frame[1, 0])))
    matrix = to_frame.copy()
    matrix[:, :2] /= finer
    # OpenCV counts pixels by their index, which lies half a pixel before their middle.
    matrix[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    crop = cv2.warpAffine(
        image,
        matrix,
        (size * finer, size * finer),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    if finer > 1:
        crop = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(crop, dtype=np.uint8)
