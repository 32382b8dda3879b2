"""What is made of one labelled picture before a head reads it: genuine and blended twins, and crops as they are."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.detect.faces import Image, crop_face
from pipeline.learn.augment import degrade, level
from pipeline.learn.blend import FaceBox, Floats, Part, blend_pair
from pipeline.learn.manifest import Picture
from pipeline.models.graphs import GRID

Kind = Literal["plain", "levelled", "degraded", "pair", "filmed"]
"""`plain`: as it is. `levelled`: at one size and codec. `degraded`: as platforms pass pictures on. `pair`: degraded and
its self-blended twin, both treated alike. `filmed`: such a pair, taken by another camera."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One thing to make of one picture. `copy` tells several of a kind apart: each is another draw.

    `part`: of a pair, what is blended in; drawn when it is None.
    """

    picture: Picture
    kind: Kind
    copy: int = 0
    part: Part | None = None

    @property
    def key(self) -> str:
        """What it is kept under."""
        return " ".join(filter(None, (self.kind, self.part, str(self.copy), self.picture.file)))


@dataclass(frozen=True, slots=True, eq=False)
class FaceCrop:
    """A crop for the encoder. `cells`: share of each of its 14 × 14 patches that was blended in; None when none was."""

    image: Image
    cells: Floats | None = None
    part: Part | None = None


def crops_of(
    sample: Sample, image: Image, box: FaceBox, landmarks: NDArray[np.float32], seed: int
) -> tuple[FaceCrop, ...]:
    """The crops of one sample: two of a pair, filmed or not (genuine first), one of the others.

    The same seed gives the same crops.
    """
    if sample.kind == "plain":
        return (FaceCrop(crop_face(image, box, landmarks)),)
    chance = draw(sample.key, seed)
    if sample.kind == "levelled":
        return (FaceCrop(level(crop_face(image, box, landmarks), np.random.default_rng(chance))),)
    twin = blend_pair(image, box, landmarks, chance, sample.part, filmed=sample.kind == "filmed")
    flip = bool(chance & 1)
    genuine = _cut(twin.genuine, twin.box, twin.landmarks, flip)
    first = FaceCrop(degrade(genuine, np.random.default_rng(chance + 1)))
    if sample.kind == "degraded":
        return (first,)
    mask = np.repeat(np.rint(twin.mask * 255).astype(np.uint8)[..., None], 3, axis=2)
    seen = _cut(mask, twin.box, twin.landmarks, flip)[..., 0].astype(np.float32) / 255
    cells = np.asarray(cv2.resize(seen, (GRID, GRID), interpolation=cv2.INTER_AREA), np.float32)
    blended = degrade(_cut(twin.blended, twin.box, twin.landmarks, flip), np.random.default_rng(chance + 1))
    return first, FaceCrop(blended, cells, twin.part)


def draw(text: str, seed: int) -> int:
    """A number that this text and seed always give."""
    return int.from_bytes(hashlib.sha256(f"{seed} {text}".encode()).digest()[:6], "big")


def _cut(image: Image, box: FaceBox, landmarks: NDArray[np.float32], flip: bool) -> Image:
    crop = crop_face(image, box, landmarks)
    return np.ascontiguousarray(crop[:, ::-1]) if flip else crop
