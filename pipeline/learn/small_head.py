"""Small heads on a detector's own measures: fitting them, writing them, and decoding samples as the worker does."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.decode import decoder, handover
from pipeline.decode.handover import Refusal
from pipeline.decode.port import Clip, DecodeBudget
from pipeline.detect.head import HeadFile, Layer
from pipeline.learn.heads import Estimate, Labels, Vector
from pipeline.models.sources import write_atomically

Table = NDArray[np.float64]

CLIP = 5.0
"""Standard deviations beyond which a measure counts no more, in training as in the head."""


@dataclass(frozen=True, slots=True)
class SmallHeadReport:
    """What came of training: areas under the curve, each with what it was measured on."""

    head: str
    path: Path
    figures: tuple[tuple[str, Estimate | float], ...]

    def __str__(self) -> str:
        width = max(len(name) for name, _ in self.figures)
        lines = (
            f"  {name:{width}s}  {figure if isinstance(figure, Estimate) else f'{figure:.3f}'}"
            for name, figure in self.figures
        )
        return "\n".join((f"{self.head}: {self.path}", *lines))


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """Brings measures to zero mean and unit spread; a missing one to its mean."""

    mean: Vector
    spread: Vector

    def __call__(self, rows: Table) -> Table:
        return np.clip(np.nan_to_num((rows - self.mean) / self.spread, nan=0.0), -CLIP, CLIP)


def scale_of(rows: Table) -> Scale:
    """The scale of these measures."""
    known = np.where(np.isfinite(rows), rows, np.nan)
    counts = np.isfinite(known).sum(axis=0)
    filled = np.where(counts == 0, 0.0, np.nan_to_num(known).sum(axis=0) / np.maximum(counts, 1))
    spread = np.sqrt(np.nan_to_num((known - filled) ** 2).sum(axis=0) / np.maximum(counts, 1))
    return Scale(filled, np.maximum(spread, 1e-3))


def write_head(
    path: Path,
    name: str,
    measures: tuple[str, ...],
    scale: Scale,
    layers: tuple[tuple[Table, Vector], ...],
    trained: dict[str, str | int | float],
) -> HeadFile:
    """Write a head; seven digits, so that the file reads the same everywhere."""

    def tidy(values: Vector) -> tuple[float, ...]:
        return tuple(float(f"{x:.7g}") for x in values)

    head = HeadFile(
        head=name,
        measures=measures,
        mean=tidy(scale.mean),
        spread=tidy(scale.spread),
        layers=tuple(Layer(tuple(tidy(row) for row in weight), tidy(bias)) for weight, bias in layers),
        trained=trained,
        clip=CLIP,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, msgspec.json.format(msgspec.json.encode(head), indent=1) + b"\n")
    return head


def decoded(path: Path, budget: DecodeBudget) -> Clip | None:
    """A file through the real decoder, in this process: for files that were made here. None where it is refused."""
    size = handover.capacity(budget)
    memory, file = handover.create(size), os.open(path, os.O_RDONLY)
    try:
        outbox = handover.Outbox(memory, size)
        outbox.file(decoder.decode(file, budget, outbox))
        clip = handover.collect(memory, size)
    finally:
        os.close(file)
        os.close(memory)
    return None if isinstance(clip, Refusal) else clip


def tpr_at(scores: Vector, fake: Labels, fpr: float) -> float:
    """The share of fakes above the threshold that this share of reals exceeds."""
    if fake.all() or not fake.any():
        return float("nan")
    return float((scores[fake] > np.quantile(scores[~fake], 1 - fpr)).mean())
