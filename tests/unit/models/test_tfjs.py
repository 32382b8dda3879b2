import base64
import itertools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from pipeline.errors import ConfigError
from pipeline.models import tfjs
from pipeline.models.graphs import _Graph as Writer


@pytest.mark.parametrize(
    ("padding", "stride", "side", "size"),
    [("SAME", 1, 6, 3), ("SAME", 2, 6, 3), ("SAME", 2, 7, 3), ("VALID", 1, 6, 1), ("VALID", 3, 9, 3)],
)
def test_a_convolution_pads_as_tensorflow_does(padding: str, stride: int, side: int, size: int) -> None:
    """With an even number of pixels and stride 2 the padding is all at the end; a symmetric one would shift by one."""
    x, kernel, bias = _normal(2, side, side, 3), _normal(size, size, 3, 4), _normal(4)
    node = _node("_FusedConv2D", ["x", "kernel", "bias"], padding=padding, stride=stride, fused=["BiasAdd"])
    found = _run([node], {"kernel": kernel, "bias": bias}, x)
    wanted = _convolved(x, kernel, stride, padding) + bias
    assert found == pytest.approx(wanted, abs=1e-4)


def test_a_depthwise_convolution_keeps_its_channels_apart() -> None:
    """Channel i of the answer comes from channel i alone, as a product of diagonal kernels."""
    x, kernel = _normal(1, 5, 5, 4), _normal(3, 3, 4, 1)
    full = np.zeros((3, 3, 4, 4), np.float32)
    full[:, :, range(4), range(4)] = kernel[..., 0]
    found = _run([_node("DepthwiseConv2dNative", ["x", "kernel"], padding="SAME")], {"kernel": kernel}, x)
    assert found == pytest.approx(_convolved(x, full, 1, "SAME"), abs=1e-4)


def test_what_is_fused_onto_a_convolution_follows_it() -> None:
    """Bias, then the parametric Relu with a slope per channel."""
    x, kernel, bias, slope = _normal(1, 4, 4, 2), _normal(1, 1, 2, 3), _normal(3), _normal(1, 1, 3)
    node = _node("_FusedConv2D", ["x", "k", "b", "s"], padding="VALID", fused=["BiasAdd", "Prelu"])
    found = _run([node], {"k": kernel, "b": bias, "s": slope}, x)
    y = _convolved(x, kernel, 1, "VALID") + bias
    assert found == pytest.approx(np.where(y < 0, slope * y, y), abs=1e-4)


def test_channels_are_padded_and_added_where_tensorflow_has_them() -> None:
    """A shortcut of a residual network that grows: pooled, filled up with empty channels, added."""
    x = _normal(1, 4, 4, 2)
    nodes = [
        _node("MaxPool", ["x"], name="pooled", padding="VALID", stride=2, window=2),
        _node("Pad", ["pooled", "pads"], name="padded"),
        _node("AddV2", ["padded", "gain"]),
    ]
    constants = {"pads": np.array([[0, 0], [0, 0], [0, 0], [0, 3]], np.int32), "gain": _normal(5)}
    pooled = x.reshape(1, 2, 2, 2, 2, 2).max(axis=(2, 4))
    wanted = np.concatenate([pooled, np.zeros((1, 2, 2, 3), np.float32)], axis=-1) + constants["gain"]
    assert _run(nodes, constants, x) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(
    ("operator", "wanted"),
    [("Relu", lambda x: np.maximum(x, 0)), ("Relu6", lambda x: np.clip(x, 0, 6)), ("Identity", lambda x: x)],
)
def test_an_operator_on_every_value_is_that_operator(operator: str, wanted: Any) -> None:
    """What does not look at neighbours needs no layout."""
    x = 5 * _normal(1, 3, 3, 2)
    assert _run([_node(operator, ["x"])], {}, x) == pytest.approx(wanted(x), abs=1e-6)


def test_a_parametric_relu_in_four_parts_becomes_one() -> None:
    """max(0, x) + slope · min(0, x): the same values from one operator."""
    x, slope = _normal(1, 3, 3, 4), _normal(4)
    nodes = [
        _node("Maximum", ["nought", "x"], name="positive"),
        _node("Minimum", ["nought", "x"], name="negative"),
        _node("Mul", ["slope", "negative"], name="scaled"),
        _node("AddV2", ["positive", "scaled"]),
    ]
    constants = {"nought": np.zeros(1, np.float32), "slope": slope}
    joined = tfjs.join_prelu(tfjs.read(*_file(nodes, constants)))
    assert joined.nodes["y"] == tfjs.Node("y", "Prelu", ("x", "slope"))
    assert _run(nodes, constants, x) == pytest.approx(np.where(x < 0, slope * x, x), abs=1e-6)


@pytest.mark.parametrize("bound", [1.0, 0.5])
def test_another_bound_than_nought_is_no_relu(bound: float) -> None:
    """max(1, x) + slope · min(1, x) must not be taken for one."""
    nodes = [
        _node("Maximum", ["bound", "x"], name="positive"),
        _node("Minimum", ["bound", "x"], name="negative"),
        _node("Mul", ["slope", "negative"], name="scaled"),
        _node("AddV2", ["positive", "scaled"]),
    ]
    network = tfjs.read(*_file(nodes, {"bound": np.full(1, bound, np.float32), "slope": _normal(4)}))
    assert tfjs.join_prelu(network).nodes == network.nodes


def test_quantised_weights_are_widened() -> None:
    """16-bit floats as they are; bytes by their scale from their least value; integers untouched."""
    half = np.array([0.5, -2.25], np.float16)
    steps = np.array([0, 128, 255], np.uint8)
    whole = np.array([7, -3], np.int32)
    weights = [
        {"name": "half", "shape": [2], "dtype": "float32", "quantization": {"dtype": "float16"}},
        {
            "name": "steps",
            "shape": [3],
            "dtype": "float32",
            "quantization": {"dtype": "uint8", "scale": 0.5, "min": -1.0},
        },
        {"name": "whole", "shape": [2], "dtype": "int32"},
    ]
    file = {"modelTopology": {"node": []}, "weightsManifest": [{"paths": ["a.bin"], "weights": weights}]}
    constants = tfjs.read(json.dumps(file).encode(), half.tobytes() + steps.tobytes() + whole.tobytes()).constants
    assert constants["half"].tolist() == [0.5, -2.25]
    assert constants["half"].dtype == np.float32
    assert constants["steps"].tolist() == [-1.0, 63.0, 126.5]
    assert constants["whole"].tolist() == [7, -3]


@pytest.mark.parametrize("change", [-1, 1])
def test_weights_of_another_length_are_refused(change: int) -> None:
    """A truncated file, or one that belongs to another graph, must not become a model."""
    topology, weights = _file([_node("Relu", ["x"])], {"k": _normal(4)})
    with pytest.raises(ConfigError, match="the weights"):
        tfjs.read(topology, weights[:-1] if change < 0 else weights + b"0")


def test_what_is_no_graph_is_refused() -> None:
    """The message says what was expected."""
    with pytest.raises(ConfigError, match=r"not a TensorFlow\.js graph model"):
        tfjs.read(b"{}", b"")


def test_operators_that_cannot_be_written_are_all_named() -> None:
    """Whoever brings a model learns at once what is missing, and only of the part that is asked for."""
    nodes = [
        _node("Fancy", ["x"], name="a"),
        _node("Rare", ["a"], name="b"),
        _node("Relu", ["b"]),
        _node("Unasked", ["x"], name="c"),
    ]
    with pytest.raises(ConfigError, match=r"cannot be written as ONNX: Fancy, Rare$"):
        _run(nodes, {}, _normal(1, 2, 2, 1))


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ({"data_format": {"s": base64.b64encode(b"NCHW").decode()}}, "layout NCHW"),
        ({"dilations": {"list": {"i": ["1", "2", "2", "1"]}}}, "dilations"),
        ({"padding": {"s": base64.b64encode(b"EXPLICIT").decode()}}, "padding EXPLICIT"),
    ],
)
def test_a_convolution_of_another_kind_is_refused(attribute: dict[str, Any], message: str) -> None:
    """It would be written wrongly in silence."""
    node = {"name": "y", "op": "Conv2D", "input": ["x", "k"], "attr": attribute}
    with pytest.raises(ConfigError, match=message):
        tfjs.read(*_file([node], {"k": _normal(1, 1, 1, 1)}))


def test_a_node_that_is_not_there_is_named() -> None:
    """Another version of a model has other names."""
    network = tfjs.read(*_file([_node("Relu", ["x"])], {}))
    with pytest.raises(ConfigError, match="no node z"):
        tfjs.write(Writer(), network, {"x": "x"}, ["z"])


def test_a_fused_operator_that_is_not_known_is_named() -> None:
    """Dropping it would give other numbers."""
    node = _node("_FusedConv2D", ["x", "k", "b"], padding="SAME", fused=["BiasAdd", "LeakyRelu"])
    with pytest.raises(ConfigError, match="fused LeakyRelu"):
        _run([node], {"k": _normal(1, 1, 1, 1), "b": _normal(1)}, _normal(1, 2, 2, 1))


def _normal(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(shape).normal(size=shape).astype(np.float32)


def _node(
    operator: str,
    inputs: Sequence[str],
    *,
    name: str = "y",
    padding: str = "",
    stride: int = 1,
    window: int = 1,
    fused: Sequence[str] = (),
) -> dict[str, Any]:
    """As TensorFlow.js writes nodes: bytes in base 64, integers as text."""
    sides = {"strides": stride, "ksize": window}
    attr: dict[str, Any] = {k: {"list": {"i": ["1", str(n), str(n), "1"]}} for k, n in sides.items()}
    attr["fused_ops"] = {"list": {"s": [base64.b64encode(word.encode()).decode() for word in fused]}}
    attr["padding"] = {"s": base64.b64encode(padding.encode()).decode()}
    return {"name": name, "op": operator, "input": list(inputs), "attr": attr}


def _file(nodes: Sequence[dict[str, Any]], constants: dict[str, NDArray[Any]]) -> tuple[bytes, bytes]:
    given = [{"name": name, "op": op} for name, op in [("x", "Placeholder"), *((c, "Const") for c in constants)]]
    weights = [{"name": k, "shape": list(v.shape), "dtype": v.dtype.name} for k, v in constants.items()]
    file = {
        "format": "graph-model",
        "modelTopology": {"node": [*given, *nodes]},
        "weightsManifest": [{"paths": ["weights.bin"], "weights": weights}],
    }
    return json.dumps(file).encode(), b"".join(v.tobytes() for v in constants.values())


def _run(
    nodes: Sequence[dict[str, Any]], constants: dict[str, NDArray[Any]], x: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The node `y` for `x` (batch × height × width × channels), by way of ONNX."""
    writer = Writer()
    turned = writer("Transpose", "x", perm=[0, 3, 1, 2])
    network = tfjs.join_prelu(tfjs.read(*_file(nodes, constants)))
    (last,) = tfjs.write(writer, network, {"x": turned}, ["y"])
    writer.name_output("y", writer("Transpose", last, perm=[0, 2, 3, 1]))
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in ("x", "y")]
    model = writer.model("test", values[:1], values[1:])
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: NDArray[np.float32] = session.run(["y"], {"x": x})[0]
    return found


def _convolved(x: NDArray[np.float32], kernel: NDArray[np.float32], stride: int, padding: str) -> NDArray[np.float32]:
    """By the definition: each pixel of the answer is the kernel over a window of the picture."""
    size, side = kernel.shape[0], x.shape[1]
    out = -(-side // stride) if padding == "SAME" else (side - size) // stride + 1
    short = max((out - 1) * stride + size - side, 0)
    x = np.pad(x, ((0, 0), (short // 2, short - short // 2), (short // 2, short - short // 2), (0, 0)))
    y = np.zeros((x.shape[0], out, out, kernel.shape[3]), np.float32)
    for i, j in itertools.product(range(out), repeat=2):
        window = x[:, i * stride : i * stride + size, j * stride : j * stride + size]
        y[:, i, j] = np.einsum("bhwc,hwco->bo", window, kernel)
    return y
