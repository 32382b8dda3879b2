"""The seam head: a small attention network over the patches of a face crop, as it is served. Pure but for its file.

It answers with one number, the log-odds of a seam, which stands last among what the face heads read. Here are its
weights, where they are kept, and what they mean, in numpy; `graphs.py` writes the same as a part of `face_forgery`.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError

Floats = NDArray[np.float32]

HEADS = 4
"""Heads of attention, whatever the width."""
PATCHES, READ = 196, 2304
"""Patches of a crop, and numbers of each, as `face_features` gives them."""
EPSILON = 1e-5
STEEP = 1.702
"""x · sigmoid(1.702 x) stands for GELU, as in the encoder."""


@dataclass(frozen=True, slots=True, eq=False)
class SeamWeights:
    """The network's weights by name: those of `shapes`, and no others. Raises ValueError for anything else."""

    arrays: Mapping[str, Floats]

    def __post_init__(self) -> None:
        wanted = shapes(self.width, self.depth)
        for name in sorted(wanted.keys() ^ self.arrays.keys()):
            raise ValueError(f"{'no' if name in wanted else 'an unknown'} array {name!r}")
        for name, shape in wanted.items():
            if self.arrays[name].shape != shape:
                raise ValueError(f"{name} has the shape {self.arrays[name].shape}, not {shape}")
            if not np.isfinite(self.arrays[name]).all():
                raise ValueError(f"{name} holds what is no number")
        if self.width % HEADS:
            raise ValueError(f"a width of {self.width}, which {HEADS} heads cannot share")

    @property
    def width(self) -> int:
        """Numbers of a patch inside the network."""
        return self.arrays["place"].shape[-1] if "place" in self.arrays else 0

    @property
    def depth(self) -> int:
        """How many blocks there are."""
        return len({found[0] for name in self.arrays if (found := re.match(r"block\d+\.", name))})

    def __call__(self, patches: NDArray[np.floating]) -> Floats:
        """Patches (… × 196 × 2304, as `face_features` gives them) in, a logit for each crop (…) out."""
        of = self.arrays
        z = patches.astype(np.float32) @ of["project.weight"] + of["project.bias"] + of["place"]
        for i in range(self.depth):
            y = self._norm(f"block{i}.norm1", z) @ of[f"block{i}.qkv.weight"] + of[f"block{i}.qkv.bias"]
            q, k, v = (_apart(part) for part in np.split(y, 3, axis=-1))
            seen = _softmax(q @ k.swapaxes(-1, -2) * float(q.shape[-1] ** -0.5), axis=-1) @ v
            z = z + (seen.swapaxes(-2, -3).reshape(z.shape) @ of[f"block{i}.out.weight"] + of[f"block{i}.out.bias"])
            y = self._norm(f"block{i}.norm2", z) @ of[f"block{i}.up.weight"] + of[f"block{i}.up.bias"]
            y = y * (0.5 + 0.5 * np.tanh(0.5 * STEEP * y))
            z = z + (y @ of[f"block{i}.down.weight"] + of[f"block{i}.down.bias"])
        z = self._norm("norm", z)
        share = _softmax(z @ of["attend.weight"], axis=-2)
        pooled = np.concatenate([(share * z).sum(axis=-2), z.mean(axis=-2)], axis=-1)
        return np.asarray((pooled @ of["answer.weight"])[..., 0] + of["answer.bias"][0], np.float32)

    def _norm(self, name: str, x: NDArray[np.floating]) -> Floats:
        off = x - x.mean(axis=-1, keepdims=True)
        spread = np.sqrt(np.square(off).mean(axis=-1, keepdims=True) + EPSILON)
        return np.asarray(off / spread * self.arrays[f"{name}.gain"] + self.arrays[f"{name}.bias"], np.float32)


def shapes(width: int, depth: int) -> dict[str, tuple[int, ...]]:
    """Every array of a network, and its shape. Matrices are inputs × outputs; `qkv`: the three side by side."""
    wanted: dict[str, tuple[int, ...]] = {
        "project.weight": (READ, width),
        "project.bias": (width,),
        "place": (PATCHES, width),
    }
    for i in range(depth):
        maps = {"qkv": (width, 3 * width), "out": (width, width), "up": (width, 2 * width), "down": (2 * width, width)}
        for name, shape in maps.items():
            wanted |= {f"block{i}.{name}.weight": shape, f"block{i}.{name}.bias": shape[1:]}
        for name in ("norm1", "norm2"):
            wanted |= {f"block{i}.{name}.gain": (width,), f"block{i}.{name}.bias": (width,)}
    return wanted | {
        "norm.gain": (width,),
        "norm.bias": (width,),
        "attend.weight": (width, 1),
        "answer.weight": (2 * width, 1),
        "answer.bias": (1,),
    }


def read_seam(path: Path) -> SeamWeights:
    """Read the network's file (.npz, half precision). Raises ConfigError when it is missing or holds another."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            return SeamWeights({name: kept[name].astype(np.float32) for name in kept.files})
    except OSError as error:
        raise ConfigError(f"no trained network at {path}: {error}: unmask models train swap") from error
    except (ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{path}: no network over patches: {error}: unmask models train swap") from error


def _apart(x: Floats) -> Floats:
    """… × patches × width → … × heads × patches × width of a head."""
    return x.reshape(*x.shape[:-1], HEADS, -1).swapaxes(-2, -3)


def _softmax(x: Floats, axis: int) -> Floats:
    power = np.exp(x - x.max(axis=axis, keepdims=True))
    return np.asarray(power / power.sum(axis=axis, keepdims=True), np.float32)
