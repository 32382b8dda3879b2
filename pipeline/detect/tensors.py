"""Does a request or an answer fit its model? Pure: the one place that knows how shapes and types are compared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.detect.port import ModelSpec, Tensors, TensorSpec

DTYPES: dict[str, type[np.generic]] = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
}
"""Triton's names of the types that detectors may use, and NumPy's."""


def misfits(model: ModelSpec, specs: Sequence[TensorSpec], tensors: Tensors) -> list[str]:
    """Every way in which `tensors` are not what `specs` (the model's inputs or outputs) ask for; empty: they fit."""
    found = [f"{name}: not a tensor of {model.name}" for name in tensors if name not in {spec.name for spec in specs}]
    batches = set()
    for spec in specs:
        if (array := tensors.get(spec.name)) is None:
            found.append(f"{spec.name}: missing")
            continue
        if array.dtype != DTYPES[spec.dtype]:
            found.append(f"{spec.name}: {array.dtype}, wanted {spec.dtype}")
        shape = array.shape[1:] if model.max_batch else array.shape
        if len(array.shape) != len(spec.shape) + bool(model.max_batch) or not _matches(shape, spec.shape):
            wanted = (("batch",) if model.max_batch else ()) + spec.shape
            found.append(f"{spec.name}: shape {list(array.shape)}, wanted {list(wanted)}")
        elif model.max_batch:
            batches.add(array.shape[0])
    if len(batches) > 1:
        found.append(f"batch sizes differ: {sorted(batches)}")
    elif batches and not 1 <= min(batches) <= model.max_batch:
        found.append(f"batch of {min(batches)}, wanted 1 to {model.max_batch}")
    return found


def _matches(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return all(want in (-1, have) for have, want in zip(shape, wanted, strict=True))
