"""Genuine videos whose faces were tampered with frame by frame: blended in, held eyes, other light, trembling.

What the detectors of swaps, eyes, light and small movements are measured by: each is one trace that they are meant to
see, put into a video by means of the video itself. The pixels of nobody else come into it, and nobody is made to say or
do anything. Whether real forgeries leave that trace as plainly is another question.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.decode.port import RGB, Clip, Keyframe, Span, Window
from pipeline.detect import mesh
from pipeline.detect.find_faces import FindFaces
from pipeline.detect.follow_faces import FollowFaces
from pipeline.detect.port import Infer, View
from pipeline.events.values import MediaFacts, MediaKind, Sampling
from pipeline.learn.blend import Part, self_blend
from pipeline.learn.manifest import VIDEOS
from pipeline.learn.reel import Reel, of_rgb, read_reel, scaled

SECONDS = 4.5
"""So much of a video is used: a window, as live detection looks at it, and a little."""
LEAST = 2.0
LONGEST = 640
"""Pixels of the longer side, to which larger videos are brought, honest ones as well."""

Pixels = NDArray[np.float32]
Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Face:
    """Where a face lies in one frame: points in pixels (478 × 2), and seconds since the beginning."""

    points: Points
    at: float

    @property
    def unit(self) -> float:
        """Between the outer corners of the eyes."""
        return max(float(mesh.eye_distance(self.points)), 1.0)

    @property
    def middle(self) -> Points:
        """The middle of the outline."""
        return np.asarray(self.points[list(mesh.OVAL)].mean(axis=0))


@dataclass(frozen=True, slots=True, eq=False)
class Followed:
    """A reel and the face in its frames: place → face. `open_eyes`: the place where the eyes are as usual."""

    reel: Reel
    faces: Mapping[int, Face]
    open_eyes: int


Change = Callable[[RGB, Face, "Scene"], RGB]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What a change may use beside the frame: the frame with usual eyes and its face, and chance."""

    usual: RGB
    usual_face: Face
    rng: np.random.Generator
    drawn: dict[str, Any]


def held_eyes(image: RGB, face: Face, scene: Scene) -> RGB:
    """Both eyes as they were in one frame: no blink, no gaze that moves."""
    return _held(_held(image, face, scene, mesh.LEFT_EYE), face, scene, mesh.RIGHT_EYE)


def one_eye_held(image: RGB, face: Face, scene: Scene) -> RGB:
    """One eye as it was in one frame, the other goes on."""
    return _held(image, face, scene, mesh.LEFT_EYE)


def moved_reflections(image: RGB, face: Face, scene: Scene) -> RGB:  # noqa: ARG001 - one shape for all changes
    """The inside of one iris mirrored: its reflections lie on the other side."""
    x, y, radius = mesh.irises(face.points)[0]
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    rim = np.column_stack([x + 0.9 * radius * np.cos(angles), y + 0.9 * radius * np.sin(angles)])

    def mirrored(crop: Pixels, corner: Points) -> Pixels:
        way = np.array([[-1.0, 0.0, 2 * (x - corner[0])], [0.0, 1.0, 0.0]])
        return _moved(crop, way)

    return within(image, rim, max(0.3, radius / 12), mirrored)


def relit_face(image: RGB, face: Face, scene: Scene) -> RGB:
    """Light from another side on the face alone: brightness doubles across it."""
    return _lit(image, face, _once(scene, "angle", lambda rng: rng.uniform(0, 2 * np.pi)), 0.4)


def turning_light(image: RGB, face: Face, scene: Scene) -> RGB:
    """Light on the face alone that goes round it in three seconds."""
    start = _once(scene, "angle", lambda rng: rng.uniform(0, 2 * np.pi))
    return _lit(image, face, start + 2 * np.pi * face.at / 3, 0.3)


def tinted_face(image: RGB, face: Face, scene: Scene) -> RGB:
    """Redder or bluer skin by 12 % each way, the rest as it was."""
    way = _once(scene, "way", lambda rng: float(rng.choice([-1, 1])))
    gains = np.array([1 + 0.12 * way, 1.0, 1 - 0.12 * way], np.float32)
    return _in_face(image, face, lambda crop, _: crop * gains)


def flickering_face(image: RGB, face: Face, scene: Scene) -> RGB:
    """The face brighter or darker by a new 5 % in each frame, as if each had been drawn for itself."""
    gain = np.float32(np.exp(scene.rng.normal(0, 0.05)))
    return _in_face(image, face, lambda crop, _: crop * gain)


def trembling_face(image: RGB, face: Face, scene: Scene) -> RGB:
    """The face put a little elsewhere in each frame: 1.5 % of the distance of the eyes, half a degree."""
    shift, turn = scene.rng.normal(0, 0.015 * face.unit, 2), np.radians(scene.rng.normal(0, 0.5))

    def moved(crop: Pixels, corner: Points) -> Pixels:
        c, s = np.cos(turn), np.sin(turn)
        rotation, middle = np.array([[c, -s], [s, c]]), face.middle - corner
        return _moved(crop, np.column_stack([rotation, middle - rotation @ middle + shift]))

    return _in_face(image, face, moved)


def warped_face(image: RGB, face: Face, scene: Scene) -> RGB:
    """The face bent a little otherwise in each frame: 1.5 % of the distance of the eyes."""
    return _bent(image, face, scene.rng.normal(0, 0.015 * face.unit, (5, 5, 2)))


def drifting_face(image: RGB, face: Face, scene: Scene) -> RGB:
    """A face whose shape comes and goes within four seconds: 5 % of the distance of the eyes."""
    shape = _once(scene, "shape", lambda rng: rng.normal(0, 0.05, (5, 5, 2)))
    return _bent(image, face, shape * face.unit * np.sin(2 * np.pi * face.at / 4))


def blended(part: Part = "face", strength: float | None = None) -> Change:
    """A change that lays an altered copy of the face into itself, as `self_blend` does to a still.

    Mask, colours, frequencies, resolution and strength (unless it is given) are drawn once for the video, as one swap
    has them; noise is new in each frame, and the landmarks tremble by .5 % of the distance of the eyes on top of what
    the mesh does by itself.
    """

    def blend(image: RGB, face: Face, scene: Scene) -> RGB:
        seed = _once(scene, "blend", lambda rng: int(rng.integers(2**32)))
        (x0, y0), (x1, y1) = face.points[: mesh.IRIS].min(axis=0), face.points[: mesh.IRIS].max(axis=0)
        marks = mesh.five_points(face.points) + scene.rng.normal(0, 0.005 * face.unit, (5, 2))
        box = (float(x0), float(y0), float(x1), float(y1))
        mixed, _ = self_blend(image, box, marks.astype(np.float32), seed, part, strength=strength, grain=scene.rng)
        return mixed

    return blend


def untouched(image: RGB, face: Face, scene: Scene) -> RGB:  # noqa: ARG001 - one shape for all changes
    """The frame as it is: what is only encoded again."""
    return image


CHANGES: Mapping[str, Mapping[str, Change]] = {
    "eyes_and_head": {
        "held_eyes": held_eyes,
        "one_eye_held": one_eye_held,
        "moved_reflections": moved_reflections,
    },
    "lighting": {
        "relit_face": relit_face,
        "turning_light": turning_light,
        "tinted_face": tinted_face,
        "flickering_face": flickering_face,
    },
    "reenactment": {
        "trembling_face": trembling_face,
        "warped_face": warped_face,
        "drifting_face": drifting_face,
    },
}
"""By the family that should see them."""


def tampered(source: Path, change: Change, seed: int, models_dir: Path, home: Path) -> Reel | None:
    """The first seconds of a video with its face changed; None without a face that can be followed for long enough."""
    followed = _followed(source, models_dir, home)
    if followed is None:
        return None
    frames = list(followed.reel.frames)
    usual = _rgb(frames[followed.open_eyes])
    scene = Scene(usual, followed.faces[followed.open_eyes], np.random.default_rng(seed), {})
    for place, face in sorted(followed.faces.items()):
        frames[place] = of_rgb(change(_rgb(frames[place]), face, scene))
    return replace(followed.reel, frames=tuple(frames))


def within(image: RGB, outline: Points, soft: float, change: Callable[[Pixels, Points], Pixels]) -> RGB:
    """A frame with what lies within an outline changed, its edge softened over about `soft` pixels.

    `change` is given the part of the frame and its corner (x, y), and returns the part, changed.
    """
    height, width = image.shape[:2]
    x0, y0 = np.clip(np.floor(outline.min(axis=0) - 3 * soft).astype(int), 0, [width, height])
    x1, y1 = np.clip(np.ceil(outline.max(axis=0) + 3 * soft).astype(int), 0, [width, height])
    if x1 - x0 < 4 or y1 - y0 < 4:
        return image
    corner = np.array([x0, y0], np.float64)
    crop = image[y0:y1, x0:x1].astype(np.float32)
    mask = np.zeros(crop.shape[:2], np.float32)
    hull = cv2.convexHull(np.rint((outline - corner) * 16).astype(np.int32))
    cv2.fillConvexPoly(mask, hull, (1.0,), shift=4)
    mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), soft), np.float32)[..., None]
    out = image.copy()
    out[y0:y1, x0:x1] = np.clip(np.rint(crop * (1 - mask) + change(crop, corner) * mask), 0, 255).astype(np.uint8)
    return out


def _in_face(image: RGB, face: Face, change: Callable[[Pixels, Points], Pixels]) -> RGB:
    return within(image, face.points[list(mesh.OVAL)], 0.08 * face.unit, change)


def _held(image: RGB, face: Face, scene: Scene, eye: tuple[int, ...]) -> RGB:
    """The region of an eye from the frame with usual eyes, laid on by what round it hardly moves."""
    fixed = [33, 133, 362, 263, 168, 6, 197]
    way = mesh.similarity(scene.usual_face.points[fixed], face.points[fixed])
    outline = (face.points[list(eye)] - face.points[list(eye)].mean(axis=0)) * 0.75
    outline = outline + face.points[list(eye)].mean(axis=0)

    def held(crop: Pixels, corner: Points) -> Pixels:
        there = way - np.array([[0, 0, corner[0]], [0, 0, corner[1]]])
        size = (crop.shape[1], crop.shape[0])
        laid = cv2.warpAffine(scene.usual, there, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(laid, np.float32)

    return within(image, outline, 0.03 * face.unit, held)


def _lit(image: RGB, face: Face, angle: float, strength: float) -> RGB:
    direction = np.array([np.cos(angle), np.sin(angle)])

    def lit(crop: Pixels, corner: Points) -> Pixels:
        ys, xs = np.mgrid[: crop.shape[0], : crop.shape[1]]
        x0, y0 = face.middle - corner
        along = ((xs - x0) * direction[0] + (ys - y0) * direction[1]) / face.unit
        return np.asarray(crop * np.exp(strength * along)[..., None], np.float32)

    return _in_face(image, face, lit)


def _bent(image: RGB, face: Face, offsets: Points) -> RGB:
    def bent(crop: Pixels, corner: Points) -> Pixels:  # noqa: ARG001 - bends the part as a whole
        rows, columns = crop.shape[:2]
        smooth = cv2.resize(offsets.astype(np.float32), (columns, rows), interpolation=cv2.INTER_CUBIC)
        ys, xs = np.mgrid[:rows, :columns].astype(np.float32)
        moved = cv2.remap(
            crop, xs + smooth[..., 0], ys + smooth[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(moved, np.float32)

    return _in_face(image, face, bent)


def _moved(crop: Pixels, way: Points) -> Pixels:
    size = (crop.shape[1], crop.shape[0])
    return np.asarray(
        cv2.warpAffine(crop, way, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32
    )


def _once(scene: Scene, name: str, draw: Callable[[np.random.Generator], Any]) -> Any:
    """What is drawn by chance once for the whole video."""
    if name not in scene.drawn:
        scene.drawn[name] = draw(scene.rng)
    return scene.drawn[name]


def _rgb(planes: NDArray[np.uint8]) -> RGB:
    return np.asarray(cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_I420), np.uint8)


@lru_cache(maxsize=1)  # the next change is of the same video
def _followed(source: Path, models_dir: Path, home: Path) -> Followed | None:
    from pipeline.learn.inference import InProcess

    reel = read_reel(source, SECONDS) if source.suffix.lower() in VIDEOS else None
    if reel is None or reel.seconds < LEAST:
        return None
    reel = _smaller(reel)
    infer = InProcess(("face_detector", "face_mesh", "face_embedding"), models_dir, home)
    faces = asyncio.run(_faces(reel, infer))
    if len(faces) < LEAST * reel.rate:
        return None
    places = sorted(faces)
    openness = np.array([mesh.eye_openness(faces[p].points).mean() for p in places])
    usual = places[int(np.abs(openness - np.median(openness)).argmin())]
    return Followed(reel, faces, usual)


def _smaller(reel: Reel) -> Reel:
    width, height = reel.size
    share = LONGEST / max(width, height)
    if share >= 1:
        return reel
    size = round(width * share / 2) * 2, round(height * share / 2) * 2
    return replace(reel, frames=tuple(scaled(frame, *size) for frame in reel.frames))


async def _faces(reel: Reel, infer: Infer) -> dict[int, Face]:
    """The face that is seen longest: place → where it lies."""
    frames = tuple(Keyframe(n, n / reel.rate, _rgb(planes)) for n, planes in enumerate(reel.frames))
    window = Window(Span(0.0, reel.seconds, reel.rate, "tampering"), frames)
    until = asyncio.get_running_loop().time() + 3600
    followed = await FollowFaces(faces=1)([window], FindFaces(), (), {}, infer, until=until)
    clip = Clip(MediaFacts(kind=MediaKind.VIDEO, container=""), Sampling(decoder="tampering"))
    view = View(clip, windows=(window,), tracks=followed.tracks)
    longest = max(view.tracks or (), key=lambda track: len(track.faces), default=None)
    if longest is None:
        return {}
    size = frames[0].image.shape[:2]
    return {face.frame: Face(mesh.in_pixels(face.points, (size[0], size[1]))[:, :2], face.at) for face in longest.faces}
