"""Swapped and synthetic faces: heads on the middle of a CLIP encoder, asked about face crops.

The heads are lines on means over the inner face and on one number more: what a small network over the patches says of
a seam between them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.decode.port import RGB
from pipeline.detect.faces import FACE_SIZE, Crop, crop_face, face_crop
from pipeline.detect.frames import spread
from pipeline.detect.port import Face, ModelSpec, Probe, Score, Tensors, TensorSpec, View
from pipeline.events.values import Box, Family, Heat

GRID = 14
"""The encoder sees a crop as 14 × 14 patches of 16 pixels."""
FEATURES = 4609
"""What the heads read, the network's answer last; as in config.pbtxt."""


def reads(version: str) -> str:
    """What a version's features mean, as a number: only what has the same number may be read by one head.

    It is the version up to its first `.`, `-` or `+`: another encoder, mean or network over patches raises the first
    number (`7` to `8`); heads alone raise the one behind the dot (`7` to `7.1`), and what was stored stays of use.
    """
    return re.split(r"[.+-]", version, maxsplit=1)[0]


@dataclass(frozen=True, slots=True)
class FaceForgery:
    """One question per face crop.

    Every track is asked before any is asked twice: one forged face among many must not be missed for want of crops.
    A track whose faces are all too small, or that the crops do not suffice for, is a skipped probe; the second kind
    lowers the coverage.

    Args:
        crops: most crops asked about per clip.
        smallest_face: shorter side of a face's box, pixels of the keyframe, under which nothing can be said: the heads
            were trained on crops of 96 pixels and more.
    """

    crops: int = 16
    smallest_face: int = 64

    name: ClassVar[str] = "face_forgery"
    version: ClassVar[str] = "7"
    families: ClassVar[tuple[Family, ...]] = (Family.FACE_SWAP, Family.FACE_SYNTHESIS)
    needs_faces: ClassVar[bool] = True
    closer: ClassVar[bool] = False
    model: ClassVar[ModelSpec] = ModelSpec(
        "face_forgery",
        inputs=(TensorSpec("face", "UINT8", (FACE_SIZE, FACE_SIZE, 3)),),
        outputs=(
            TensorSpec("swap", "FP32", (1,)),
            TensorSpec("synthesis", "FP32", (1,)),
            TensorSpec("heat", "FP32", (GRID, GRID)),
            TensorSpec("features", "FP32", (FEATURES,)),
        ),
        max_batch=1,
    )

    def __post_init__(self) -> None:
        if self.crops < 1 or self.smallest_face < 1:
            raise ValueError("crops and smallest_face must be at least 1")

    def prepare(self, view: View) -> Sequence[Probe]:
        """One probe per crop, in the order of the clip; then one skipped probe per track that cannot be judged."""
        images = {frame.index: frame.image for frame in view.clip.keyframes}
        by_track: dict[int, list[Face]] = {}
        for i, face in enumerate(view.faces or ()):
            by_track.setdefault(-1 - i if face.track is None else face.track, []).append(face)
        fit: list[list[Face]] = []
        skipped: list[Probe] = []
        for faces in by_track.values():
            large = [face for face in faces if _side(face, images[face.frame]) >= self.smallest_face]
            if large:
                fit.append(large)
            else:
                side = max(_side(face, images[face.frame]) for face in faces)
                # Not due: a face that nobody could recognise harms nobody, and every crowd would count as half judged.
                why = f"a face of {side:.0f} pixels, fewer than {self.smallest_face}"
                skipped.append(replace(_skip(faces[0], why), due=False))
        # Larger faces first, where the crops do not suffice for all: they are whom the picture is about.
        fit.sort(key=lambda faces: -max(_side(face, images[face.frame]) for face in faces))
        skipped += [_skip(faces[0], f"more than {self.crops} people") for faces in fit[self.crops :]]
        fit = fit[: self.crops]
        chosen = [
            face
            for faces, n in zip(fit, shares([len(f) for f in fit], self.crops), strict=True)
            for face in spread(faces, n)
        ]
        chosen.sort(key=lambda face: (face.at, face.frame, face.track or 0))
        return [*(_probe(face, images[face.frame]) for face in chosen), *skipped]

    def interpret(self, probe: Probe, outputs: Tensors) -> Sequence[Score]:
        """A score per family, at the face, and where in the face it looks blended in."""
        read = outputs["features"][0].astype("<f2").tobytes()
        heat = None if probe.crop is None else heat_in_frame(outputs["heat"][0], probe.crop)

        def score(family: Family, head: str, heat: Heat | None) -> Score:
            value = float(outputs[head][0, 0])
            return Score(family, value, probe.at, probe.box, probe.track, heat=heat, features=read)

        return [score(Family.FACE_SWAP, "swap", heat), score(Family.FACE_SYNTHESIS, "synthesis", None)]


def heat_in_frame(cells: NDArray[np.float32], crop: Crop) -> Heat | None:
    """A map over a crop as a map over the frame; None when nothing of the crop lies in the frame.

    Its box is the crop's square with sides along the frame's, less what lies beyond the frame. A crop is turned until
    the eyes are level, so each cell of the new map looks up where it lies in the turned one: 14 × 14 cells again,
    nothing where the turned square does not reach. `cells`: probabilities.
    """
    half = crop.side / 2
    x0, x1 = max(0.0, crop.x - half), min(float(crop.width), crop.x + half)
    y0, y1 = max(0.0, crop.y - half), min(float(crop.height), crop.y + half)
    if x1 - x0 < 1 or y1 - y0 < 1:
        return None
    middle = (np.arange(GRID) + 0.5) / GRID
    xs, ys = np.meshgrid(x0 + middle * (x1 - x0) - 0.5, y0 + middle * (y1 - y0) - 0.5)
    (a, b, c), (d, e, f) = crop.matrix(GRID)
    # Half a cell of rim, so that cells at the border keep their value.
    wide = np.pad(cells.astype(np.float32), 1, mode="edge")
    there = np.stack([a * xs + b * ys + c, d * xs + e * ys + f]).astype(np.float32)
    turned = cv2.remap(wide, there[0] + 1, there[1] + 1, cv2.INTER_LINEAR)
    outside = (np.abs(there - (GRID - 1) / 2) > GRID / 2).any(axis=0)
    shown = np.where(outside, 0, np.rint(np.clip(turned, 0, 1) * 255)).astype(np.uint8)
    place = Box(x0=x0 / crop.width, y0=y0 / crop.height, x1=x1 / crop.width, y1=y1 / crop.height)
    return Heat(box=place, rows=GRID, cols=GRID, cells=shown.tobytes())


def shares(sizes: Sequence[int], total: int) -> list[int]:
    """How many of each group, one each in turn until `total` are given out or all are taken."""
    given = [0] * len(sizes)
    left = total
    while left > 0 and any(g < s for g, s in zip(given, sizes, strict=True)):
        for i, size in enumerate(sizes):
            if given[i] < size and left > 0:
                given[i] += 1
                left -= 1
    return given


def _pixels(face: Face, image: RGB) -> tuple[float, float, float, float]:
    height, width = image.shape[:2]
    return face.box.x0 * width, face.box.y0 * height, face.box.x1 * width, face.box.y1 * height


def _side(face: Face, image: RGB) -> float:
    x0, y0, x1, y1 = _pixels(face, image)
    return min(x1 - x0, y1 - y0)


def _probe(face: Face, image: RGB) -> Probe:
    height, width = image.shape[:2]
    marks = np.array(face.landmarks, np.float32) * (width, height) if face.landmarks else None
    box = _pixels(face, image)
    place = face_crop(image, box, marks)
    return Probe({"face": crop_face(image, box, marks)[None]}, at=face.at, box=face.box, track=face.track, crop=place)


def _skip(face: Face, why: str) -> Probe:
    return Probe({}, at=face.at, box=face.box, track=face.track, skipped=why)
