"""Networks in fewer operators, against the networks as they were exported."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipeline.models import folded
from pipeline.models.graphs import _Graph

SIDE = 10


def test_a_network_with_channels_last_says_the_same_in_a_quarter_of_the_operators() -> None:
    """Rims, casts, turns, normalisation and a branch, as an exporter leaves them: the same values."""
    rng = np.random.default_rng(0)
    old = _exported(rng)
    x = rng.normal(0, 3, (2, SIDE, SIDE, 3)).astype(np.float32)
    (wanted,) = _run(_model(old), {"in": x})
    graph = _graph(old)
    (found,) = _run(_model(graph), {"x": x.transpose(0, 3, 1, 2)})
    assert found == pytest.approx(wanted, abs=1e-5)
    assert wanted.std() > 0.05
    kinds = [node.op_type for node in graph.node]
    assert len(kinds) < len(old.node) / 2
    assert not {"Cast", "Transpose", "Pad", "Mul", "Sub"} & set(kinds)


def test_what_the_first_convolution_reads_can_be_changed() -> None:
    """Its kernel alone is: turning its inputs is turning the colours of the picture."""
    rng = np.random.default_rng(1)
    old = _exported(rng)
    x = rng.normal(0, 3, (1, SIDE, SIDE, 3)).astype(np.float32)
    (wanted,) = _run(_model(old), {"in": x[..., ::-1]})
    (found,) = _run(_model(_graph(old, turned=True)), {"x": x.transpose(0, 3, 1, 2)})
    assert found == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize(("axis", "last"), [(3, True), (1, False)])
def test_a_rim_of_channels_is_refused(axis: int, last: bool) -> None:
    """Only height and width may have one: what is not understood is not left out in silence."""
    pads = np.zeros(8, np.int64)
    pads[axis] = 1
    nodes = [helper.make_node("Pad", ["in" if last else "front", "pads"], ["out"])]
    if not last:
        nodes.insert(0, helper.make_node("Transpose", ["in"], ["front"], perm=[0, 3, 1, 2]))
    graph = helper.make_graph(nodes, "old", [_floats("in", [1, 4, 4, 3])], [], [numpy_helper.from_array(pads, "pads")])
    with pytest.raises(ValueError, match="rim"):
        folded.write(_Graph(), graph, "x")


def _exported(rng: np.random.Generator) -> onnx.GraphProto:
    """Convolution, normalisation, pool and a residual block, with channels last between them."""
    values: dict[str, Any] = {
        "rim": np.array([0, 2, 1, 0, 0, 1, 2, 0]),
        "first": rng.normal(0, 0.3, (8, 3, 3, 3)),
        "again": rng.normal(0, 0.3, (8, 8, 1, 1)),
        "dense": rng.normal(0, 0.3, (8, 2)),
        **{name: rng.normal(1, 0.3, (1, 1, 1, 8)) for name in ("add", "less", "times", "shift")},
    }
    constants = [
        numpy_helper.from_array(value.astype(np.int64 if name == "rim" else np.float32), name)
        for name, value in values.items()
    ]

    def node(kind: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
        return helper.make_node(kind, inputs.split(), [output], output, **attributes)

    front, back = {"perm": [0, 3, 1, 2]}, {"perm": [0, 2, 3, 1]}
    nodes = [
        node("Cast", "in", "same", to=TensorProto.FLOAT),
        node("Pad", "same rim", "wider"),
        node("Transpose", "wider", "a", **front),
        node("Conv", "a first", "b", kernel_shape=[3, 3], strides=[1, 1]),
        node("Transpose", "b", "c", **back),
        node("Add", "c add", "d"),
        node("Sub", "d less", "e"),
        node("Mul", "e times", "f"),
        node("Add", "f shift", "g"),
        node("Relu", "g", "h"),
        node("Identity", "h", "h2"),
        node("Transpose", "h2", "i", **front),
        node("MaxPool", "i", "j", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", "j again", "k", kernel_shape=[1, 1]),
        node("Transpose", "k", "l", **back),
        node("Add", "l add", "m"),
        node("Cast", "m", "m2", to=TensorProto.FLOAT),
        node("Transpose", "j", "n", **back),
        node("Add", "m2 n", "o"),
        node("ReduceMean", "o", "p", axes=[1, 2], keepdims=0),
        node("MatMul", "p dense", "q"),
        node("Softmax", "q", "out"),
    ]
    return helper.make_graph(nodes, "old", [_floats("in", ["b", SIDE, SIDE, 3])], [_floats("out", ["b", 2])], constants)


def _graph(old: onnx.GraphProto, turned: bool = False) -> onnx.GraphProto:
    graph = _Graph()
    out = folded.write(graph, old, "x", (lambda kernel: kernel[:, ::-1]) if turned else (lambda kernel: kernel))
    taken, given = [_floats("x", ["b", 3, SIDE, SIDE])], [_floats(out, ["b", 2])]
    return graph.model("new", taken, given).graph


def _floats(name: str, shape: list[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _model(graph: onnx.GraphProto) -> onnx.ModelProto:
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _run(model: onnx.ModelProto, inputs: dict[str, Any]) -> list[Any]:
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {name: np.ascontiguousarray(value) for name, value in inputs.items()}))
