"""Edits inside a picture: where noise, sharpness, block grid or compression history of a part departs from the rest.

The unscaled middle of the luminance is cut into cells. What a cell measures is brought to what its texture and
brightness would let one expect in this picture; a small head reads each cell with its neighbours, the cells make a map,
and a second head says how far the most suspicious connected part departs from the rest. It is evidence that points a
person somewhere: honest pictures have parts that differ too (a blurred background, a burnt-out sky).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.decode.port import RGB, Keyframe, Luma
from pipeline.detect import residual
from pipeline.detect.frames import spread
from pipeline.detect.head import read_head
from pipeline.detect.port import ModelSpec, Probe, Score, Tensors, View
from pipeline.events.values import Box, Family, Heat, MediaFacts

Table = NDArray[np.float64]

SMALLEST = 160
"""Pixels of the shorter side below which there are too few cells to compare."""
FINE_UP_TO = 512
"""Pictures up to so many pixels are cut into cells of 16 pixels, larger ones into cells of 32."""
QUALITIES = (50, 60, 70, 75, 80, 85, 90, 95)
"""JPEG qualities at which a ghost is looked for."""
LIMIT = 6.0
"""Deviations beyond which a cell counts no more."""

CELL_MEASURES = (
    *(
        "noise",
        "noise_flat",
        "sharpness",
        "slope",
        "fine",
        "zeros",
        "low_zeros",
        "grid",
        "shifted_grid",
        "chroma_noise",
    ),
    *("saturation", "error_level", *(f"ghost_{quality}" for quality in QUALITIES)),
)
CELL_NAMES = tuple(f"{name}{kind}" for kind in ("", "_far", "_near", "_near_far") for name in CELL_MEASURES)
"""Of a cell: how it deviates, how far; the same of the mean over its neighbours."""
PART_NAMES = (
    *("peak", "top", "strayed", "share", "contrast", "compact", "cells"),
    *(f"{name}_apart" for name in CELL_MEASURES),
)
WORDS = dict(
    zip(
        CELL_MEASURES,
        (
            *("noise", "noise in flat parts", "sharpness", "spectrum of the noise", "fine detail"),
            *("empty coefficients", "empty coefficients", "block grid", "a shifted block grid", "noise in colour"),
            *("saturation", "error level", *(f"a trace of JPEG quality {quality}" for quality in QUALITIES)),
        ),
        strict=True,
    )
)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The most suspicious connected part of a picture. `heat`: rows × columns of cells, 0–1; `inside`: the part."""

    heat: Table
    inside: NDArray[np.bool_]
    measures: Table
    apart: Table


@dataclass(frozen=True, slots=True)
class LocalEdit:
    """Looks at stills, and at `frames` frames of what moves."""

    frames: int = 3

    name: ClassVar[str] = "local_edit"
    families: ClassVar[tuple[Family, ...]] = (Family.LOCAL_EDIT,)
    needs_faces: ClassVar[bool] = False
    closer: ClassVar[bool] = False
    model: ClassVar[ModelSpec | None] = None

    @property
    def version(self) -> str:
        """The digests of both heads are part of it."""
        return f"1+{read_head('local_edit_cells').digest}{read_head('local_edit').digest}"

    def prepare(self, view: View) -> Sequence[Probe]:
        """A probe per frame, with its map. What is too small to compare cells is not due."""
        facts = view.clip.facts
        seen = [frame for frame in view.clip.keyframes if frame.native is not None]
        return [self._probe(frame, facts) for frame in spread(seen, self.frames)]

    def _probe(self, frame: Keyframe, facts: MediaFacts) -> Probe:
        assert frame.native is not None
        if min(frame.native.shape) < SMALLEST:
            return Probe({}, at=frame.at, skipped="the picture is too small to compare its parts", due=False)
        part = find(frame.native, frame.image, facts)
        value = read_head("local_edit").many(part.measures[None])[0]
        box = native_box(frame, facts)
        tensors = {
            "heat": np.rot90(part.heat, -facts.rotation // 90),
            "inside": np.rot90(part.inside, -facts.rotation // 90),
            "value": np.array([value]),
            "differs": np.array([describe(part)]),
        }
        return Probe(tensors, at=frame.at, box=box)

    def interpret(self, probe: Probe, outputs: Tensors) -> Sequence[Score]:
        """The score, with the part's box and the map of the whole middle."""
        assert probe.box is not None
        heat, inside = outputs["heat"], outputs["inside"]
        rows, cols = heat.shape
        cells = np.clip(np.rint(heat * 255), 0, 255).astype(np.uint8).tobytes()
        return [
            Score(
                Family.LOCAL_EDIT,
                float(outputs["value"][0]),
                at=probe.at,
                box=_box_of(inside, probe.box),
                note=str(outputs["differs"][0]),
                heat=Heat(box=probe.box, rows=rows, cols=cols, cells=cells),
            )
        ]


def find(native: Luma, image: RGB, facts: MediaFacts) -> Part:
    """Map a frame and find the part that departs most."""
    table = cell_table(native, beside(native, image, facts))
    chance = read_head("local_edit_cells").many(table.reshape(-1, table.shape[2])).reshape(table.shape[:2])
    return most_suspicious(table, chance)


# Cells


def cell_table(luma: Luma, colour: RGB) -> Table:
    """Rows × columns × `CELL_NAMES`: how each cell deviates from what its texture and brightness let one expect."""
    raw, texture, level = cell_measures(luma, colour)
    z = _deviations(raw, texture, level)
    near = cv2.blur(z, (3, 3), borderType=cv2.BORDER_REFLECT)
    return np.concatenate([z, np.abs(z), near, np.abs(near)], axis=2)


def cell_side(luma: Luma) -> int:
    """Pixels of a cell's side."""
    return 16 if max(luma.shape) <= FINE_UP_TO else 32


def cell_measures(luma: Luma, colour: RGB) -> tuple[Table, Table, Table]:
    """What is measured (rows × columns × `CELL_MEASURES`), and texture and brightness (rows × columns).

    `colour`: the same part of the picture, at whatever scale.
    """
    side = cell_side(luma)
    rows, cols = (length // side for length in luma.shape)
    luma = np.ascontiguousarray(luma[: rows * side, : cols * side])
    per = side // residual.BLOCK
    coefficients = residual.blocks(luma)

    def cells(blockwise: NDArray[Any]) -> Table:
        return np.asarray(blockwise.reshape(rows, per, cols, per, -1).mean(axis=(1, 3), dtype=np.float64))

    def pooled(plane: NDArray[np.float32]) -> Table:
        return np.asarray(cv2.resize(plane, (cols, rows), interpolation=cv2.INTER_AREA), np.float64)

    magnitudes = np.abs(coefficients)
    low, middle, high, top = (
        magnitudes @ (band / band.sum()).astype(np.float32)
        for band in (residual.LOW, residual.MIDDLE, residual.HIGH, residual.TOP)
    )
    noise = cv2.resize(residual.noise_map(luma), (cols * per, rows * per), interpolation=cv2.INTER_AREA)
    quiet = noise.reshape(rows, per, cols, per).min(axis=(1, 3))
    fine, coarse = residual.gradients(luma)
    empty = magnitudes < 0.5
    ghost = np.log(cells(residual.ghosts(coefficients, QUALITIES)) + 0.02)
    levels = ghost.mean(axis=2, keepdims=True)
    grid, shifted = _grids(luma, side)
    small = cv2.resize(colour, (cols * 8, rows * 8), interpolation=cv2.INTER_AREA)
    ycc = cv2.cvtColor(np.asarray(small, np.uint8), cv2.COLOR_RGB2YCrCb)
    chroma = residual.noise_map(np.ascontiguousarray(ycc[..., 1])) + residual.noise_map(
        np.ascontiguousarray(ycc[..., 2])
    )
    strength = np.abs(ycc[..., 1:].astype(np.float32) - 128).sum(axis=2)

    def log(values: NDArray[np.floating], floor: float = 0.1) -> Table:
        return np.log(values.astype(np.float64) + floor)

    stacked = [
        log(pooled(noise)),
        log(quiet),
        log(pooled(fine)) - log(pooled(coarse)),
        log(cells(top)[..., 0]) - log(cells(middle)[..., 0]),
        log(cells(high)[..., 0]) - log(cells(middle)[..., 0]),
        cells(empty @ (residual.HIGH / residual.HIGH.sum()).astype(np.float32))[..., 0],
        cells(empty @ (residual.MIDDLE / residual.MIDDLE.sum()).astype(np.float32))[..., 0],
        grid,
        shifted,
        log(pooled(chroma)),
        log(pooled(strength), 1.0),
        levels[..., 0],
        *np.moveaxis(ghost - levels, 2, 0),
    ]
    return np.stack(stacked, axis=2), log(cells(low)[..., 0], 0.5), cells(coefficients[..., 0] / 8 + 128)[..., 0]


def _grids(luma: Luma, side: int) -> tuple[Table, Table]:
    """Per cell: blockiness on the coded grid, and the strongest off it, above the median of the phases."""
    rows, cols = luma.shape[0] // side, luma.shape[1] // side
    phases = np.zeros((rows, cols, residual.BLOCK))
    for axis in (0, 1):
        excess = np.zeros(luma.shape, np.float32)
        inner = np.clip(residual.steps(luma, axis), -6, 6)
        if axis:
            excess[:, 1:-2] = inner
        else:
            excess[1:-2] = inner
            excess = np.ascontiguousarray(excess.T)
        # Whole rows are summed several times as fast as pieces of them.
        wide = luma.shape[axis]
        strips = excess.reshape(-1, side, wide).sum(axis=1)
        mean = strips.reshape(-1, wide // side, side // 8, 8).sum(axis=2) / (side * side / 8)
        phases += mean if axis else mean.transpose(1, 0, 2)
    middle = np.median(phases, axis=2)
    return phases[..., 7] - middle, phases[..., :7].max(axis=2) - middle


def _deviations(raw: Table, texture: Table, level: Table) -> Table:
    """Each measure less what texture and brightness explain of it in this picture, in robust deviations."""
    rows, cols, count = raw.shape
    t = texture.ravel() - texture.mean()
    dim = np.abs(level.ravel() - 128) / 128
    x = np.column_stack([np.ones_like(t), t, t**2, level.ravel() / 128 - 1, dim**4])
    y = raw.reshape(-1, count)
    weight = np.ones((len(x), 1))
    for _ in range(2):
        xw = x * weight
        solved = np.linalg.solve(xw.T @ x + 1e-3 * len(x) * np.diag([1e-6, 1, 1, 1, 1]), xw.T @ y)
        rest = y - x @ solved
        stray = np.median(np.abs(rest), axis=0)
        # The second fit leaves out cells that stray in several measures: they may be what is looked for.
        far = (np.abs(rest) > 3.5 * stray + 1e-6).mean(axis=1, keepdims=True)
        weight = np.where(far > 0.25, 0.1, 1.0)
    deviations = np.clip((rest - np.median(rest, axis=0)) / (1.4826 * stray + 0.02), -LIMIT, LIMIT)
    return np.asarray(deviations.reshape(rows, cols, count), np.float64)


# The part that departs most


def most_suspicious(table: Table, chance: Table) -> Part:
    """The connected part with the most evidence in it, and how it differs from the rest."""
    rows, cols = chance.shape
    logit = np.log(np.clip(chance, 1e-4, 1 - 1e-4) / np.clip(1 - chance, 1e-4, 1))
    smooth = cv2.blur(logit, (3, 3), borderType=cv2.BORDER_REFLECT)
    middle = float(np.median(smooth))
    stray = float(np.median(np.abs(smooth - middle))) + 0.1
    best, inside = -math.inf, np.zeros((rows, cols), bool)
    for height in (1.5, 3.0):
        over = smooth > middle + height * stray
        count, labels = cv2.connectedComponents(over.astype(np.uint8), connectivity=4)
        for label in range(1, count):
            found = labels == label
            size = int(found.sum())
            if size < 4 or size > 0.5 * rows * cols:
                continue
            evidence = float((smooth[found] - middle).mean()) * math.sqrt(size)
            if evidence > best:
                best, inside = evidence, found
    if not inside.any():
        inside = smooth >= np.sort(smooth.ravel())[-4]
    z = table[..., : len(CELL_MEASURES)]
    apart = z[inside].mean(axis=0) - z[~inside].mean(axis=0)
    size = int(inside.sum())
    high = np.sort(smooth.ravel())[::-1]
    ys, xs = np.nonzero(inside)
    hull = (int(np.ptp(ys)) + 1) * (int(np.ptp(xs)) + 1)
    measures = [
        float(high[0]),
        float(high[: max(1, high.size // 20)].mean()),
        math.log(stray),
        math.log(size / inside.size),
        float(smooth[inside].mean() - smooth[~inside].mean()),
        size / hull,
        math.log(inside.size),
        *np.abs(apart),
    ]
    heat = 1 / (1 + np.exp(-np.clip(smooth, -30, 30)))
    return Part(heat, inside, np.array(measures), apart)


def describe(part: Part) -> str:
    """Where the part differs most, in words."""
    order = np.argsort(-np.abs(part.apart))[:3]
    told = [f"{WORDS[CELL_MEASURES[i]]} {'above' if part.apart[i] > 0 else 'below'} the rest" for i in order]
    return f"{part.inside.mean():.0%} of what was looked at: {', '.join(dict.fromkeys(told))}"


# Places


def native_box(frame: Keyframe, facts: MediaFacts) -> Box:
    """Where the unscaled part lies in the upright frame."""
    assert frame.native is not None
    high, wide = frame.native.shape if facts.rotation % 180 == 0 else frame.native.shape[::-1]
    width, height = facts.width or wide, facts.height or high
    # Scaled pixels (an aspect that is not 1) are wider than they are coded; the part is the middle all the same.
    w, h = min(1.0, wide / max(width, 1)), min(1.0, high / max(height, 1))
    return Box(x0=(1 - w) / 2, y0=(1 - h) / 2, x1=(1 + w) / 2, y1=(1 + h) / 2)


def beside(native: Luma, image: RGB, facts: MediaFacts) -> RGB:
    """The part of the shown frame that the unscaled luminance shows, turned as it is coded."""
    turned = np.rot90(image, facts.rotation // 90) if facts.rotation else image
    height, width = turned.shape[:2]
    coded_width, coded_height = facts.width or width, facts.height or height
    if facts.rotation % 180:
        coded_width, coded_height = coded_height, coded_width
    wide = max(8, round(width * min(1.0, native.shape[1] / coded_width)))
    high = max(8, round(height * min(1.0, native.shape[0] / coded_height)))
    left, top = max(0, (width - wide) // 2), max(0, (height - high) // 2)
    return np.ascontiguousarray(turned[top : top + high, left : left + wide])


def _box_of(inside: NDArray[np.bool_], box: Box) -> Box:
    ys, xs = np.nonzero(inside)
    rows, cols = inside.shape
    wide, high = box.x1 - box.x0, box.y1 - box.y0
    return Box(
        x0=box.x0 + wide * float(xs.min()) / cols,
        y0=box.y0 + high * float(ys.min()) / rows,
        x1=min(1.0, box.x0 + wide * float(xs.max() + 1) / cols),
        y1=min(1.0, box.y0 + high * float(ys.max() + 1) / rows),
    )
