"""Requests and answers against their model."""

import numpy as np
import pytest

from pipeline.detect.port import ModelSpec, TensorSpec
from pipeline.detect.tensors import misfits

BATCHED = ModelSpec("m", (TensorSpec("a", "FP32", (2, -1)), TensorSpec("b", "UINT8", (3,))), (), max_batch=4)
UNBATCHED = ModelSpec("m", (TensorSpec("a", "INT64", (2,)),), ())


def fits(a=(1, 2, 7), b=(1, 3), a_type=np.float32, **more):
    return {"a": np.zeros(a, a_type), "b": np.zeros(b, np.uint8), **more}


def test_what_fits_has_no_misfits():
    """Names, types, shapes and batch as asked for: nothing to say."""
    assert misfits(BATCHED, BATCHED.inputs, fits()) == []
    assert misfits(UNBATCHED, UNBATCHED.inputs, {"a": np.zeros(2, np.int64)}) == []


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"a": np.zeros((1, 2, 7), np.float32)}, "b: missing"),
        (fits(c=np.zeros(1)), "c: not a tensor of m"),
        (fits(a_type=np.float64), "a: float64, wanted FP32"),
        (fits(a=(1, 3, 7)), "a: shape [1, 3, 7], wanted ['batch', 2, -1]"),
        (fits(a=(2, 7)), "a: shape [2, 7], wanted ['batch', 2, -1]"),
        (fits(a=(2, 2, 7)), "batch sizes differ: [1, 2]"),
        (fits(a=(5, 2, 7), b=(5, 3)), "batch of 5, wanted 1 to 4"),
        (fits(a=(0, 2, 7), b=(0, 3)), "batch of 0, wanted 1 to 4"),
    ],
)
def test_each_misfit_is_said(tensors, said):
    """Every way not to fit has words of its own."""
    assert misfits(BATCHED, BATCHED.inputs, tensors) == [said]
