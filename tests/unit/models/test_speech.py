"""The cutting of a waveform; the real network is compared chunk by chunk in tests/conformance."""

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from pipeline.models.speech import voice_activity


@pytest.mark.parametrize("samples", [1, 511, 512, 513, 1024, 5000])
def test_every_chunk_is_seen_with_the_end_of_the_one_before(samples: int) -> None:
    """Row by row: 64 samples of the chunk before (silence at first), then 512, the last filled up with silence."""
    waveform = np.random.default_rng(samples).normal(size=samples).astype(np.float32)
    chunks = -(-samples // 512)
    line = np.concatenate([np.zeros(64), waveform, np.zeros(chunks * 512 - samples)])
    weights = np.arange(1, 577) / 576
    wanted = [line[512 * i : 512 * i + 576] @ weights for i in range(chunks)]
    assert _heard(waveform) == pytest.approx(wanted, abs=1e-3)


def _heard(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Through a stand-in for the network: the weighted sum of each row, plus a state that must be nought."""
    floats = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("rows", ["n", 576]), ("h", [1, 1, 128]), ("c", [1, 1, 128]), ("probs", ["n"]))
    ]
    nodes = [
        helper.make_node("MatMul", ["rows", "weights"], ["sums"]),
        helper.make_node("Add", ["h", "c"], ["states"]),
        helper.make_node("ReduceSum", ["states"], ["state"], keepdims=0),
        helper.make_node("Add", ["sums", "state"], ["probs"]),
    ]
    weights = helper.make_tensor("weights", TensorProto.FLOAT, [576], np.arange(1, 577) / 576)
    old = helper.make_graph(nodes, "stand-in", floats[:3], floats[3:], [weights])
    model = voice_activity(helper.make_model(old))
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (probability,) = session.run(["probability"], {"waveform": waveform})
    return np.asarray(probability, np.float32)
