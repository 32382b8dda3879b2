"""Self-blended images: a face blended with an altered copy of itself, so that only the traces of blending are new.

Shiohara and Yamasaki, "Detecting Deepfakes with Self-Blended Images", CVPR 2022. A swap head that learns from them
sees no generator at all: what tells its positives from its negatives is the seam and the disagreement of the two sides
of it. Beyond the paper: masks of parts of a face (an edited mouth, eyes, one half) and gradient-domain blending besides
the linear kind. Outlines are templates laid on five landmarks (the paper uses 81).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.detect.faces import Image
from pipeline.learn.cameras import as_filmed

Floats = NDArray[np.float32]
FaceBox = tuple[float, float, float, float]
Part = Literal["face", "lower", "upper", "left", "right", "mouth", "eyes", "nose"]
"""What of a face is replaced. Left and right as the viewer sees them."""
PARTS: tuple[Part, ...] = get_args(Part)
PART_ODDS = (0.7, 0.06, 0.03, 0.03, 0.03, 0.06, 0.06, 0.03)
"""Mostly whole faces, as swaps are; the parts teach where to look, and edits."""

# Where eyes, nose and mouth corners lie in the usual 112 × 112 alignment of face recognition (ArcFace), and the outline
# of a face round them: jaw from ear to ear, then back over the brows.
_LANDMARKS = np.array([[38.3, 51.7], [73.5, 51.5], [56.0, 71.7], [41.5, 92.4], [70.7, 92.2]])
_JAW = [[17, 52], [18, 66], [22, 80], [30, 95], [41, 106], [56, 111], [71, 106], [82, 95], [90, 80], [94, 66], [95, 52]]
_BROWS = [[88, 38], [74, 33], [56, 36], [38, 33], [24, 38]]
_FOREHEAD = [[88, 26], [74, 17], [56, 14], [38, 17], [24, 26]]
_CHEEKS = [
    *([22, 60], [26, 78], [34, 92], [42, 102], [56, 106], [70, 102], [78, 92], [86, 78], [90, 60]),
    *([74, 54], [38, 54]),
]
_INNER = [
    *([26, 46], [30, 66], [34, 88], [44, 100], [56, 102], [68, 100], [78, 88], [82, 66], [86, 46]),
    *([72, 38], [40, 38]),
]
_WHOLE = tuple(np.array(shape, float) for shape in (_JAW + _BROWS, _JAW + _FOREHEAD, _CHEEKS, _INNER))
_WHOLE_ODDS = (0.45, 0.2, 0.15, 0.2)
_LOWER = [[18, 72], [22, 82], [30, 95], [41, 106], [56, 111], [71, 106], [82, 95], [90, 82], [94, 72], [56, 68]]
_UPPER = [[18, 70], [17, 52], [24, 36], [38, 30], [56, 32], [74, 30], [88, 36], [95, 52], [94, 70], [56, 74]]
_LEFT = [[56, 34], [38, 31], [24, 37], [17, 52], [18, 66], [22, 80], [30, 95], [41, 106], [56, 111]]
_MOUTH = [[32, 90], [40, 82], [56, 79], [72, 82], [80, 90], [74, 101], [56, 106], [38, 101]]
_EYES = [[22, 51], [27, 42], [40, 38], [56, 44], [72, 38], [85, 42], [90, 51], [85, 60], [72, 63], [56, 58], [40, 63]]
_NOSE = [[50, 46], [62, 46], [66, 62], [71, 76], [56, 82], [41, 76], [46, 62]]
_PARTS: dict[str, NDArray[np.float64]] = {
    "lower": np.array(_LOWER, float),
    "upper": np.array(_UPPER, float),
    "left": np.array(_LEFT, float),
    "right": np.array(_LEFT, float) * (-1, 1) + (112, 0),
    "mouth": np.array(_MOUTH, float),
    "eyes": np.array([*_EYES, [27, 60]], float),
    "nose": np.array(_NOSE, float),
}

_WORK_SIDE = 560
"""Longest side of the window that is worked on: the crop takes two thirds of it, and no head sees more than 224."""


@dataclass(frozen=True, slots=True, eq=False)
class Blend:
    """A window round a face twice: `genuine` and `blended` differ by the blend alone. `mask`: h × w, 0–1.

    `box` and `landmarks` are in pixels of the window.
    """

    genuine: Image
    blended: Image
    mask: Floats
    box: FaceBox
    landmarks: Floats
    part: Part


def self_blend(
    image: Image,
    box: FaceBox,
    landmarks: NDArray[np.float32],
    seed: int,
    part: Part = "face",
    *,
    strength: float | None = None,
    grain: np.random.Generator | None = None,
) -> tuple[Image, Floats]:
    """Blend one face of a frame with an altered copy of itself; returns the whole frame and the mask (h × w, 0–1).

    Outside the mask the frame is untouched, pixel for pixel. The same seed gives the same blend.

    Args:
        image, box, landmarks: the frame, and the face in pixels of it.
        seed: of what is drawn.
        part: what of the face is blended.
        strength: of the blend, 0–1; drawn when left out.
        grain: where noise comes from. With it a seed draws the same mask, colours, frequencies and shifts whatever the
            size of the face, so that the frames of a video are blended alike.
    """
    rng = np.random.default_rng(seed)
    x0, y0, x1, y1 = _window(image, box)
    target, marks = image[y0:y1, x0:x1], np.asarray(landmarks, np.float64) - (x0, y0)
    mixed, mask = _blend(target, target, marks, _side(box), part, rng, strength=strength, grain=grain)
    blended, whole = image.copy(), np.zeros(image.shape[:2], np.float32)
    blended[y0:y1, x0:x1], whole[y0:y1, x0:x1] = mixed, mask
    return blended, whole


def blend_pair(
    image: Image,
    box: FaceBox,
    landmarks: NDArray[np.float32],
    seed: int,
    part: Part | None = None,
    *,
    filmed: bool = False,
) -> Blend:
    """A genuine face and its self-blended twin, for training. `part` None: drawn with PART_ODDS.

    `filmed`: both as another camera would have taken them.

    Either the copy that is blended in is restyled, or the ground that it is blended into, and half of all pairs are
    restyled as a whole besides: a changed colour or a blur is then no sign of a fake, only a disagreement within the
    face is.
    """
    rng = np.random.default_rng(seed)
    x0, y0, x1, y1 = _window(image, box)
    shrink = min(1.0, _WORK_SIDE / max(y1 - y0, x1 - x0))
    window = np.ascontiguousarray(image[y0:y1, x0:x1])
    if shrink < 1:
        size = (max(8, round((x1 - x0) * shrink)), max(8, round((y1 - y0) * shrink)))
        window = np.asarray(cv2.resize(window, size, interpolation=cv2.INTER_AREA), np.uint8)
    marks = (np.asarray(landmarks, np.float64) - (x0, y0)) * shrink
    moved = tuple(float((v - o) * shrink) for v, o in zip(box, (x0, y0, x0, y0), strict=True))
    chosen = part or PARTS[int(rng.choice(len(PARTS), p=PART_ODDS))]
    if filmed:
        window = as_filmed(window, rng)
    if rng.random() < 0.5:
        window = restyle(window, rng)
    ground = window if rng.random() < 0.6 else restyle(window, rng)
    mixed, mask = _blend(ground, window, marks, _side(box) * shrink, chosen, rng, plain=ground is not window)
    return Blend(ground, mixed, mask, (moved[0], moved[1], moved[2], moved[3]), marks.astype(np.float32), chosen)


def _blend(
    ground: Image,
    face: Image,
    marks: NDArray[np.float64],
    side: float,
    part: Part,
    rng: np.random.Generator,
    *,
    plain: bool = False,
    strength: float | None = None,
    grain: np.random.Generator | None = None,
) -> tuple[Image, Floats]:
    """`face` restyled (unless `plain`), bent a little, and laid into `ground` under a soft mask of `part`."""
    mask = face_mask((ground.shape[0], ground.shape[1]), marks, side, rng, part)
    source = face if plain else restyle(face, rng, grain)
    source, mask = _jitter(source, mask, side, rng)
    # A rim of nothing, so that the window's own edge can never show.
    mask[:2], mask[-2:], mask[:, :2], mask[:, -2:] = 0, 0, 0, 0
    if part == "face" and rng.random() < 0.12 and strength is None:
        cloned = _gradient_blend(ground, source, mask)
        if cloned is not None:
            return cloned, mask
    drawn = rng.choice([0.25, 0.5, 0.75, 1, 1, 1, 1, 1])
    mask = mask * np.float32(drawn if strength is None else strength)
    mixed = ground + mask[..., None] * (source.astype(np.float32) - ground)
    blended = np.where(mask[..., None] > 0, np.rint(np.clip(mixed, 0, 255)), ground).astype(np.uint8)
    return blended, mask


def _gradient_blend(ground: Image, source: Image, mask: Floats) -> Image | None:
    """Pérez, Gangnet and Blake, "Poisson Image Editing", 2003: gradients of the source, colours of the ground's rim."""
    hard = (mask > 0.3).astype(np.uint8) * 255
    x, y, width, height = cv2.boundingRect(hard)
    if width < 8 or height < 8:
        return None
    mixed = cv2.seamlessClone(source, ground, hard, (x + width // 2, y + height // 2), cv2.NORMAL_CLONE)
    return np.where(mask[..., None] > 0, mixed, ground).astype(np.uint8)


def face_mask(
    shape: tuple[int, int],
    landmarks: NDArray[np.float64],
    side: float,
    rng: np.random.Generator,
    part: Part = "face",
) -> Floats:
    """A soft mask of a face or a part of it: h × w, 0–1. `side`: the longer side of the face's box."""
    height, width = shape
    outline = _WHOLE[int(rng.choice(len(_WHOLE), p=_WHOLE_ODDS))] if part == "face" else _PARTS[part]
    placed = np.hstack([outline, np.ones((len(outline), 1))]) @ _placement(landmarks)
    centre = placed.mean(axis=0)
    placed = centre + (placed - centre) * rng.uniform(0.9, 1.08, size=2) + rng.normal(0, 0.012 * side, placed.shape)
    mask = np.zeros((height, width), np.float32)
    cv2.fillPoly(mask, [np.rint(placed).astype(np.int32)], 1.0)
    soft: Any = _warp(mask, side, rng)
    # Blur, cut the faint rim off and blur again: the soft edge then lies inside the outline, as in a swap.
    small = 1.0 if part == "face" else 0.5
    first = _odd(side * rng.uniform(0.03, 0.1) * small)
    soft = np.clip((cv2.GaussianBlur(soft, (first, first), 0) - 0.5) * 2, 0, 1)
    second = _odd(side * rng.uniform(0.01, 0.09) * small)
    return np.asarray(np.clip(cv2.GaussianBlur(soft, (second, second), 0), 0, 1), np.float32)


def restyle(patch: Image, rng: np.random.Generator, grain: np.random.Generator | None = None) -> Image:
    """Shift colour and light, then change the frequencies: the two sides of a seam no longer agree.

    `grain`: where noise comes from; else from `rng` too, and what it draws afterwards depends on the patch's size.
    """
    x = _recolour(patch.astype(np.float32), rng, rng.uniform(0.15, 1.0))
    done = 0
    for change in rng.permutation(6):
        if done < 2 and rng.random() < 0.28:
            x = _refocus(x, int(change), rng, grain or rng)
            done += 1
    return np.asarray(np.clip(np.rint(x), 0, 255), np.uint8)


def _recolour(x: Any, rng: np.random.Generator, strength: float) -> Floats:
    """RGB shift, contrast, brightness, saturation, hue and gamma, each by a part of its range."""
    x = x + (rng.uniform(-20, 20, 3) * strength).astype(np.float32)
    x = (x - 128) * np.float32(1 + rng.uniform(-0.15, 0.15) * strength) + np.float32(
        128 + rng.uniform(-14, 14) * strength
    )
    if rng.random() < 0.5:
        hsv: Any = cv2.cvtColor(np.clip(x, 0, 255).astype(np.uint8), cv2.COLOR_RGB2HSV).astype(np.float32)
        hsv[..., 0] = (hsv[..., 0] + rng.uniform(-6, 6) * strength) % 180
        hsv[..., 1:] *= 1 + rng.uniform(-0.3, 0.3, 2) * strength * (1, 0.4)
        x = cv2.cvtColor(np.clip(np.rint(hsv), 0, 255).astype(np.uint8), cv2.COLOR_HSV2RGB).astype(np.float32)
    if rng.random() < 0.3:
        x = 255 * (np.clip(x, 0, 255) / 255) ** np.float32(1 + rng.uniform(-0.2, 0.25) * strength)
    return np.asarray(x, np.float32)


def _refocus(x: Floats, change: int, rng: np.random.Generator, grain: np.random.Generator) -> Floats:
    """One of: soften, sharpen, fewer pixels, JPEG, noise, smoothed skin."""
    height, width = x.shape[:2]
    if change == 0:
        x = cv2.GaussianBlur(x, (0, 0), rng.uniform(0.4, 1.6))
    elif change == 1:
        x = x + (x - cv2.GaussianBlur(x, (0, 0), rng.uniform(0.6, 1.8))) * np.float32(rng.uniform(0.3, 1.2))
    elif change == 2:
        factor = rng.uniform(0.25, 0.8)
        size = (max(8, round(width * factor)), max(8, round(height * factor)))
        down, up = (
            rng.choice([cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_NEAREST], p=[0.5, 0.4, 0.1]),
            rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4]),
        )
        x = cv2.resize(cv2.resize(x, size, interpolation=int(down)), (width, height), interpolation=int(up))
    elif change == 3:
        packed = recompress(np.clip(np.rint(x), 0, 255).astype(np.uint8), int(rng.integers(30, 90)))
        x = packed.astype(np.float32)
    elif change == 4:
        x = x + grain.normal(0, rng.uniform(1, 5), x.shape).astype(np.float32)
    else:
        smooth = cv2.bilateralFilter(np.clip(x, 0, 255), 7, rng.uniform(10, 40), rng.uniform(1.5, 4))
        x = x + (smooth - x) * np.float32(rng.uniform(0.4, 1.0))
    return np.asarray(x, np.float32)


def _jitter(source: Image, mask: Floats, side: float, rng: np.random.Generator) -> tuple[Image, Floats]:
    """Move, scale and bend the source, and its mask with it, by a few per cent, as an imperfect fit would."""
    height, width = mask.shape
    ys, xs = np.nonzero(mask > 0.1)
    centre = (float(xs.mean()), float(ys.mean())) if len(xs) else (width / 2, height / 2)
    matrix = cv2.getRotationMatrix2D(centre, float(rng.uniform(-3, 3)), float(rng.uniform(0.95, 1.05)))
    matrix[:, 2] += rng.uniform(-0.03, 0.03, 2) * side
    size, edge = (width, height), cv2.BORDER_REFLECT
    moved = cv2.warpAffine(source, matrix, size, flags=cv2.INTER_LINEAR, borderMode=edge)
    mask = np.asarray(cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_LINEAR), np.float32)
    if rng.random() < 0.4:
        # Landmarks that were found a little elsewhere: the copy is bent, its mask is not.
        xs_, ys_ = _bent(height, width, 0.012 * side, rng)
        moved = cv2.remap(moved, xs_, ys_, cv2.INTER_LINEAR, borderMode=edge)
    return np.asarray(moved, np.uint8), mask


def _warp(mask: Floats, side: float, rng: np.random.Generator) -> Floats:
    """Bend the outline smoothly by a few per cent of the face, so that no two masks have one shape."""
    xs, ys = _bent(mask.shape[0], mask.shape[1], 0.025 * side, rng)
    return np.asarray(cv2.remap(mask, xs, ys, cv2.INTER_LINEAR), np.float32)


def _bent(height: int, width: int, spread: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Where each pixel is taken from when a picture is bent by about `spread` pixels, smoothly: x and y, h × w each."""
    coarse = rng.normal(0, spread, (2, 5, 5)).astype(np.float32)
    dx, dy = (cv2.resize(c, (width, height), interpolation=cv2.INTER_CUBIC) for c in coarse)
    xs, ys = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.asarray(xs + dx, np.float32), np.asarray(ys + dy, np.float32)


def _placement(landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
    """3 × 2: the affine map from the template to these landmarks, by least squares."""
    solved, *_ = np.linalg.lstsq(np.hstack([_LANDMARKS, np.ones((5, 1))]), landmarks, rcond=None)
    return np.asarray(solved, np.float64)


def _side(box: FaceBox) -> float:
    return max(box[2] - box[0], box[3] - box[1])


def _window(image: Image, box: FaceBox) -> tuple[int, int, int, int]:
    """The part of the frame to work on: a square of twice the face round it, inside the frame; the crop fits in."""
    x0, y0, x1, y1 = box
    x, y, half = (x0 + x1) / 2, (y0 + y1) / 2, _side(box)
    height, width = image.shape[:2]
    return max(0, int(x - half)), max(0, int(y - half)), min(width, int(x + half) + 1), min(height, int(y + half) + 1)


def recompress(image: Image, quality: int, kind: Literal[".jpg", ".webp"] = ".jpg") -> Image:
    """Through JPEG or WebP and back. Raises ValueError when the image cannot be encoded."""
    option = cv2.IMWRITE_JPEG_QUALITY if kind == ".jpg" else cv2.IMWRITE_WEBP_QUALITY
    done, packed = cv2.imencode(kind, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [option, quality])
    if not done:
        raise ValueError(f"cannot encode an image of shape {image.shape}")
    unpacked: Any = cv2.imdecode(packed, cv2.IMREAD_COLOR)
    return np.asarray(cv2.cvtColor(unpacked, cv2.COLOR_BGR2RGB), np.uint8)


def _odd(length: float) -> int:
    return max(1, int(length)) | 1
