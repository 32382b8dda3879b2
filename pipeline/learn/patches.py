"""Where in a face: what a head says of each of the 14 × 14 patches, and how often it points at what was changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.learn.blend import Floats
from pipeline.models import graphs

TOUCHED = 0.25
"""A patch counts as changed from this share of the mask's own maximum on."""
TOP_SHARE = 0.05
INSIDE, OUTSIDE, GENUINE_INNER, GENUINE_RING = 10, 4, 5, 2
"""Patches taken of one pair of faces: inside the mask and well outside of it, and of the genuine twin."""


@dataclass(frozen=True, slots=True)
class Pointing:
    """The pointing game (Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016).

    `hits`: faces whose highest cell lies in the mask, dilated by a cell; `top`: the share of the highest 5 % of cells
    that do; `chance`: the share of cells that the dilated masks cover, which a map that says nothing would score.
    """

    hits: float
    top: float
    chance: float
    faces: int

    def __str__(self) -> str:
        return f"{self.hits:.3f} (highest 5 %: {self.top:.3f}; chance {self.chance:.3f}; n = {self.faces})"


def some_patches(blended: Floats | None, rng: np.random.Generator) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Which patches of a face to learn from, and whether each is blended in. None: a genuine face.

    Of a blended face, patches with at least half of the mask's own maximum against such as have nothing of it: what
    lies between is neither. A mask that no patch holds a fifth of teaches nothing.
    """
    if blended is None:
        inner = np.zeros((graphs.GRID, graphs.GRID), bool)
        inner[graphs.FEATURE_ROWS, graphs.FEATURE_COLS] = True
        face, ring = np.flatnonzero(inner), np.flatnonzero(~inner)
        at = np.concatenate([rng.choice(face, GENUINE_INNER, False), rng.choice(ring, GENUINE_RING, False)])
        return at, np.zeros(len(at), bool)
    share = blended.ravel()
    if share.max() <= 0.2:
        return np.zeros(0, np.intp), np.zeros(0, bool)
    inside, outside = np.flatnonzero(share > 0.5 * share.max()), np.flatnonzero(share < 0.01)
    taken = rng.choice(inside, min(INSIDE, len(inside)), False), rng.choice(outside, min(OUTSIDE, len(outside)), False)
    return np.concatenate(taken), np.repeat([True, False], [len(part) for part in taken])


def pointing(maps: Sequence[Floats], cells: Sequence[Floats]) -> Pointing:
    """How well maps point. `cells`: the share of each patch that was blended in. Raises ValueError without maps."""
    if not maps:
        raise ValueError("no maps")
    hits, tops, chances = [], [], []
    for heat, blended in zip(maps, cells, strict=True):
        inside = dilated(blended)
        order = np.argsort(-heat.ravel(), kind="stable")
        top = max(1, round(TOP_SHARE * heat.size))
        hits.append(bool(inside[order[0]]))
        tops.append(float(inside[order[:top]].mean()))
        chances.append(float(inside.mean()))
    return Pointing(float(np.mean(hits)), float(np.mean(tops)), float(np.mean(chances)), len(maps))


def dilated(blended: Floats) -> NDArray[np.bool_]:
    """The touched patches and their direct neighbours, as one row of cells."""
    touched = (blended > TOUCHED * max(float(blended.max()), 1e-6)).astype(np.uint8)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    return np.asarray(cv2.dilate(touched, cross), bool).ravel()
