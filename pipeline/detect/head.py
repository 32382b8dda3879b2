"""Small heads on measures that a detector takes itself: a file of numbers, and the sum that it stands for.

Whatever is larger than this is a model and runs on the inference server. A head's file is made by `unmask models train`
and is part of the package; its digest is part of the version of the detector that reads it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError

FOLDER = Path(__file__).with_name("heads")


class Layer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`weight`: outputs × inputs; `bias`: outputs."""

    weight: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...]


class HeadFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A head on disk: measures are brought to zero mean and unit spread, then go through the layers.

    Between layers negative values become 0. The last has one output, the log-odds of being manipulated. A measure that
    is missing (NaN) counts as its mean. `clip`: standard deviations beyond which a measure counts no more.
    `trained`: figures for the reader; nothing reads them back.
    """

    head: str
    measures: tuple[str, ...]
    mean: tuple[float, ...]
    spread: tuple[float, ...]
    layers: tuple[Layer, ...]
    trained: dict[str, str | int | float]
    clip: float = 5.0

    def __post_init__(self) -> None:
        if not len(self.measures) == len(self.mean) == len(self.spread) or not all(s > 0 for s in self.spread):
            raise ValueError(f"{self.head}: measures, means and spreads do not go together")
        width = len(self.measures)
        for layer in self.layers:
            if any(len(row) != width for row in layer.weight) or len(layer.bias) != len(layer.weight):
                raise ValueError(f"{self.head}: a layer does not fit the one before it")
            width = len(layer.bias)
        if not self.layers or width != 1:
            raise ValueError(f"{self.head}: the last layer must have one output")


@dataclass(frozen=True, slots=True)
class Head:
    """A head that is ready to be asked. `digest`: eight characters that change with its file."""

    file: HeadFile
    digest: str

    def __call__(self, measures: Mapping[str, float]) -> float:
        """The probability, 0–1. Raises KeyError when a measure is not given; NaN says that it could not be taken."""
        return float(self.many(np.array([[measures[name] for name in self.file.measures]], np.float64))[0])

    def many(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """The probability of each row; columns in the order of the file's measures."""
        file = self.file
        x: NDArray[np.float64] = (rows - file.mean) / file.spread
        x = np.clip(np.nan_to_num(x, nan=0.0, posinf=file.clip, neginf=-file.clip), -file.clip, file.clip)
        for i, layer in enumerate(file.layers):
            x = (np.maximum(x, 0) if i else x) @ np.asarray(layer.weight).T + layer.bias
        return logistic(x[:, 0])


def logistic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + e⁻ˣ), without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)), np.float64)


@cache
def read_head(name: str, folder: Path = FOLDER) -> Head:
    """The head `<name>.json`. Raises ConfigError when it is missing or is none."""
    path = folder / f"{name}.json"
    try:
        data = path.read_bytes()
        return Head(msgspec.json.decode(data, type=HeadFile), hashlib.sha256(data).hexdigest()[:8])
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{path.name}: {error}") from None
