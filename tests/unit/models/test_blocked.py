"""Operators written as convolutions of one pixel, against themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipeline.models.blocked import in_blocks


def test_parametric_relus_and_empty_channels_are_the_same_as_convolutions() -> None:
    """A slope for each channel, one slope for all, and channels of noughts after the others."""
    model = _network()
    changed = in_blocks(model)
    x = np.random.default_rng(0).normal(0, 2, (3, 2, 5, 4)).astype(np.float32)
    (wanted,), (found,) = _run(model, x), _run(changed, x)
    assert found == pytest.approx(wanted, abs=1e-6)
    assert wanted.shape[1] == 5
    assert (wanted[:, 3:] == 0).all()
    assert {node.op_type for node in changed.graph.node} == {"Conv", "Relu", "Add"}
    assert "pads" not in {tensor.name for tensor in changed.graph.initializer}


def test_padding_of_anything_else_stays_padding() -> None:
    """Rows are no channels, and neither are channels before the others."""
    for pads in ([0, 0, 1, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0, 0]):
        changed = in_blocks(_network(pads))
        assert [node.op_type for node in changed.graph.node].count("Pad") == 1


def _network(pads: list[int] | None = None) -> onnx.ModelProto:
    rng = np.random.default_rng(1)
    values = {
        "kernel": rng.normal(0, 1, (3, 2, 1, 1)).astype(np.float32),
        "each": np.array([0.1, -0.4, 1.5], np.float32).reshape(3, 1, 1),
        "all": np.array([0.3], np.float32).reshape(1, 1, 1),
        "pads": np.array(pads or [0, 0, 0, 0, 0, 2, 0, 0], np.int64),
    }
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["a"], "a"),
        helper.make_node("PRelu", ["a", "each"], ["b"], "b"),
        helper.make_node("Add", ["a", "b"], ["c"], "c"),
        helper.make_node("PRelu", ["c", "all"], ["d"], "d"),
        helper.make_node("Pad", ["d", "pads"], ["y"], "y"),
    ]
    taken = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", 2, 5, 4])
    given = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["b", "channels", "rows", "cols"])
    constants = [numpy_helper.from_array(value, name) for name, value in values.items()]
    graph = helper.make_graph(nodes, "network", [taken], [given], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _run(model: onnx.ModelProto, x: Any) -> list[Any]:
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {"x": x}))
