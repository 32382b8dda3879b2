"""What is measured of a face that is followed from frame to frame: eyes, head, small movements, light. Pure.

Each function takes a track's meshes in pixels (frames × 478 × 3) and gives named numbers; NaN where something could not
be measured. What is usual for them is learnt from genuine video (pipeline/learn/normal_ranges.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.decode.port import RGB
from pipeline.detect import mesh

Points = NDArray[np.float64]
Series = NDArray[np.float64]
Measures = dict[str, float]

# Points that hardly move with expression: bridge and tip of the nose, corners of the eyes, temples, brow bone.
_STABLE = np.array([1, 4, 5, 6, 168, 197, 195, 33, 133, 362, 263, 127, 356, 10, 151, 9, 8])
_INNER = np.array([1, 4, 6, 33, 133, 362, 263, 61, 291, 199])
_OUTER = np.array([10, 109, 338, 67, 297, 127, 356, 132, 361, 58, 288, 152, 136, 365])
_SKIN = np.array([50, 101, 118, 205, 280, 330, 347, 425, 9, 151, 108, 337, 4, 195, 197, 18, 200, 187, 411, 36, 266])
"""Cheeks, forehead, nose and chin: where skin shows in most faces."""

_BLINK = 0.6
"""Share of the usual openness under which an eye is closed."""
_LEAST_FRAMES = 12
_LEAST_IRIS = 5.0
"""Pixels: the radius of an iris in which a reflection can be located."""
_TINY = 1e-9


def eyes_and_head(points: Points, at: Series, irises: Sequence[RGB] = ()) -> Measures:
    """Blinks, agreement of the two eyes, gaze, agreement of inner and outer face on the head's pose, reflections.

    Args:
        points: frames × 478 × 3, pixels.
        at: seconds of the frames.
        irises: a few frames, the picture round each iris: left, right, left, right …, as `iris_crops` cuts them.
    """
    if len(points) < _LEAST_FRAMES:
        return {}
    eyes = mesh.eye_openness(points)
    usual = np.maximum(np.median(eyes, axis=0), _TINY)
    shut = np.asarray((eyes / usual < _BLINK).all(axis=1))
    lengths = _runs(shut, at)
    seconds = max(float(at[-1] - at[0]), _TINY)
    gaze = mesh.gaze(points)
    open_ = ~shut
    poses = [mesh_pose(points, indices) for indices in (_INNER, _OUTER)]
    apart = _angle_between(poses[0], poses[1])
    return {
        "blinks_per_minute": 60 * len(lengths) / seconds,
        "blink_seconds": float(np.median(lengths)) if lengths else np.nan,
        "lids_apart": float(np.median(np.abs(np.diff(eyes / usual, axis=1)))),
        "lids_together": _correlation(eyes[:, 0], eyes[:, 1]),
        "gaze_apart": float(np.std(gaze[open_, 0, 0] - gaze[open_, 1, 0])) if open_.sum() > 4 else np.nan,
        "gaze_steady": float(np.median(np.abs(np.diff(gaze[open_].mean(axis=1), axis=0))))
        if open_.sum() > 4
        else np.nan,
        "pose_apart": float(np.median(np.abs(apart - np.median(apart)))),
        "reflections_apart": reflections_apart(irises),
    }


def small_movements(points: Points, at: Series, embeddings: NDArray[np.float32] | None) -> Measures:
    """Trembling of what should be stiff, of the outline and of the pose, and how steady the identity is.

    Accelerations are per squared second in eye distances (or degrees), so that size and frame rate matter little.
    """
    if len(points) < _LEAST_FRAMES:
        return {}
    step = float(np.median(np.diff(at)))
    unit = np.median(mesh.eye_distance(points))
    still = mesh.facing(points)
    pose = mesh.head_pose(points)
    lively = np.linalg.norm(np.diff(points[:, 4, :2], axis=0), axis=-1) / max(unit, _TINY)
    inner, outer = _tremble(still[:, _STABLE]), _tremble(still[:, _OUTER])
    steady = (
        1 - (embeddings[1:] * embeddings[:-1]).sum(axis=1) if embeddings is not None and len(embeddings) > 1 else None
    )
    return {
        "stiff_tremble": inner / step,
        "outline_tremble": outer / step,
        "pose_tremble": float(np.median(np.abs(np.diff(pose, n=2, axis=0)))) / step,
        "tremble_per_motion": inner / max(float(np.median(lively)), 1e-3),
        "identity_drift": float(np.mean(steady)) if steady is not None else np.nan,
        "identity_jump": float(np.max(steady)) if steady is not None else np.nan,
    }


def light(points: Points, frames: Sequence[RGB]) -> Measures:
    """Direction and colour of the light on the face against the rest of the frame, and over time.

    Args:
        points: one mesh per frame, pixels.
        frames: the pictures, spread over the track.

    The direction is that of the Lambertian fit of skin brightness to the mesh's normals (Johnson and Farid, 2005); of
    a head that turns under fixed lamps it stays where it is.
    """
    if len(frames) < 3:
        return {}
    found = [lit(mesh_points, image) for mesh_points, image in zip(points, frames, strict=True)]
    directions = np.array([d for d, _, _, _ in found])
    skin, around = np.array([s for _, s, _, _ in found]), np.array([a for _, _, a, _ in found])
    fit = np.array([f for _, _, _, f in found])
    turn = np.degrees(np.arccos(np.clip((directions[1:] * directions[:-1]).sum(axis=1), -1, 1)))
    tint = np.log(np.maximum(skin, 1)) - np.log(np.maximum(around, 1))
    tint = tint[:, [0, 2]] - tint[:, [1]]
    skin_change, around_change = (np.diff(np.log(np.maximum(x.mean(axis=1), 1))) for x in (skin, around))
    return {
        "light_turns": float(np.median(turn)),
        "light_fits": float(np.median(fit)),
        "tint_drift": float(np.abs(np.diff(tint, axis=0)).mean()),
        "red_apart": float(np.median(tint[:, 0])),
        "blue_apart": float(np.median(tint[:, 1])),
        "flicker_apart": float(np.abs(skin_change - around_change).mean()),
    }


def lit(points: Points, image: RGB) -> tuple[Points, Points, Points, float]:
    """(unit vector of the light, mean RGB of the skin, mean RGB round the face, R² of the fit) in one frame."""
    height, width = image.shape[:2]
    place = np.clip(np.rint(points[_SKIN, :2]).astype(int), 0, [width - 1, height - 1])
    size = max(1, int(mesh.eye_distance(points) / 20)) | 1
    smooth = cv2.blur(image, (size, size))
    skin = smooth[place[:, 1], place[:, 0]].astype(np.float64)
    normals = _normals(points)
    bright = np.log(np.maximum(skin.mean(axis=1), 1))
    table = np.hstack([normals, np.ones((len(normals), 1))])
    solved, *_ = np.linalg.lstsq(table, bright, rcond=None)
    spread = ((bright - bright.mean()) ** 2).sum()
    fit = 1 - ((bright - table @ solved) ** 2).sum() / max(spread, _TINY)
    length = max(float(np.linalg.norm(solved[:3])), _TINY)
    return solved[:3] / length, skin.mean(axis=0), _around(points, image), float(fit)


def iris_crops(points: Points, image: RGB) -> list[RGB]:
    """The picture round the left and the right iris, twice its radius each way; nothing when the eyes are too small."""
    found = []
    for x, y, radius in mesh.irises(points):
        if radius < _LEAST_IRIS:
            return []
        side = int(np.ceil(2 * radius))
        x0, y0 = int(x) - side, int(y) - side
        crop = image[max(0, y0) : y0 + 2 * side, max(0, x0) : x0 + 2 * side]
        if crop.shape[0] != 2 * side or crop.shape[1] != 2 * side:
            return []
        found.append(crop)
    return found


def reflections_apart(irises: Sequence[RGB]) -> float:
    """How far the brightest spots of the two irises lie apart, each from its centre, in radii: the median over frames.

    Both eyes see the same lamps: the spots lie alike (Hu, Li and Lyu, 2021). NaN without a clear spot in both eyes.
    """
    found = []
    for left, right in zip(irises[::2], irises[1::2], strict=True):
        spots = [_spot(left), _spot(right)]
        if spots[0] is not None and spots[1] is not None:
            found.append(float(np.linalg.norm(spots[0] - spots[1])))
    return float(np.median(found)) if found else np.nan


def mesh_pose(points: Points, indices: NDArray[np.int_]) -> NDArray[np.float64]:
    """Rotation that brings some points of the first frame to those of each frame: frames × 3 × 3 (Kabsch, 1976)."""
    chosen = points[:, indices]
    centred = chosen - chosen.mean(axis=1, keepdims=True)
    u, _, vt = np.linalg.svd(np.einsum("nk,tnl->tkl", centred[0], centred))
    sign = np.sign(np.linalg.det(u @ vt))
    fix = np.broadcast_to(np.eye(3), u.shape).copy()
    fix[:, 2, 2] = sign
    return np.asarray(u @ fix @ vt)


def windows_of(measures: Sequence[Mapping[str, float]], weights: Sequence[float]) -> Measures:
    """The measures of several windows of one person as one: their weighted means, of what could be measured."""
    names = dict.fromkeys(name for each in measures for name in each)
    found = {}
    for name in names:
        values = np.array([each.get(name, np.nan) for each in measures])
        known = np.isfinite(values)
        found[name] = float(np.average(values[known], weights=np.array(weights)[known])) if known.any() else np.nan
    return found


def _runs(flags: NDArray[np.bool_], at: Series) -> list[float]:
    """Seconds of each stretch of true flags that begins and ends inside the track."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(int)))
    starts, stops = edges[::2], edges[1::2]
    last = len(at) - 1
    return [float(at[min(b, last)] - at[a]) for a, b in zip(starts, stops, strict=True) if a > 0 and b <= last]


def _correlation(a: Series, b: Series) -> float:
    if np.std(a) < _TINY or np.std(b) < _TINY:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def _tremble(points: Points) -> float:
    """Median length of second differences: what steady motion does not have."""
    return float(np.median(np.linalg.norm(np.diff(points, n=2, axis=0), axis=-1)))


def _angle_between(a: Points, b: Points) -> Series:
    """Degrees between two series of rotations."""
    trace = np.einsum("tij,tij->t", a, b)
    return np.asarray(np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1))))


def _normals(points: Points) -> Points:
    """Outward directions at the skin points: from the middle of the head, which lies behind the eyes."""
    unit = mesh.eye_distance(points)
    middle = points[[127, 356]].mean(axis=0) + np.array([0, 0, 0.3 * unit])
    away = points[_SKIN] - middle
    return np.asarray(away / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), _TINY))


def _around(points: Points, image: RGB) -> Points:
    """Mean RGB of the frame without the face and what hangs on it."""
    height, width = image.shape[:2]
    (x0, y0), (x1, y1) = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    dx, dy = (x1 - x0) / 2, (y1 - y0) / 2
    mask = np.ones((height, width), bool)
    mask[max(0, int(y0 - dy)) : int(y1 + 2 * dy), max(0, int(x0 - dx)) : int(x1 + dx)] = False
    outside = np.flatnonzero(mask)
    if len(outside) <= 100:
        return np.full(3, np.nan)
    picked = image.reshape(-1, 3)[outside[:: max(1, len(outside) // 20_000)]]
    return np.asarray(picked.mean(axis=0), np.float64)


def _spot(iris: RGB) -> Points | None:
    """Where the brightest spot lies, in radii from the centre; None without one that stands out."""
    grey = iris.astype(np.float64).max(axis=2)
    radius = grey.shape[0] / 4
    ys, xs = np.mgrid[: grey.shape[0], : grey.shape[1]]
    inside = (xs - 2 * radius) ** 2 + (ys - 2 * radius) ** 2 <= (1.1 * radius) ** 2
    top = np.percentile(grey[inside], 98)
    if top < 120 or top - np.median(grey[inside]) < 50:
        return None
    bright = inside & (grey >= top)
    return np.array([xs[bright].mean() / radius - 2, ys[bright].mean() / radius - 2])
