"""Reads a TensorFlow.js graph model and writes it as ONNX nodes, without TensorFlow. Pure: bytes in, nodes out.

TensorFlow lays pictures out as batch × height × width × channels, ONNX as batch × channels × height × width. Values
are written in the second layout throughout and only weights are turned round, so no transposition is left between two
layers. That is right for what acts on each pixel or on a neighbourhood; operators for which the layout matters
otherwise (reshaping, slicing) are not read: a caller takes the part of the graph before them and writes the rest
itself.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.models.graphs import _Graph as Writer

Array = NDArray[Any]
Operand = str | Array
"""An operator's input: the name of a value in the ONNX graph, or a constant in TensorFlow's layout."""


@dataclass(frozen=True, slots=True)
class Node:
    """One operator. `then`: what was fused onto it, in order (`BiasAdd`, `Relu`, `Prelu`)."""

    name: str
    operator: str
    inputs: tuple[str, ...]
    padding: str = ""
    strides: tuple[int, int] = (1, 1)
    window: tuple[int, int] = (1, 1)
    then: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A graph model: its operators by name, each after those that it reads, and its constants by name."""

    nodes: Mapping[str, Node]
    constants: Mapping[str, Array]


class _Quantization(msgspec.Struct, frozen=True):
    dtype: str
    scale: float = 1.0
    min: float = 0.0


class _Weight(msgspec.Struct, frozen=True):
    name: str
    shape: tuple[int, ...]
    dtype: str
    quantization: _Quantization | None = None


class _Group(msgspec.Struct, frozen=True):
    weights: tuple[_Weight, ...]


class _Node(msgspec.Struct, frozen=True):
    name: str
    op: str
    input: tuple[str, ...] = ()
    attr: dict[str, Any] = {}


class _Topology(msgspec.Struct, frozen=True):
    node: tuple[_Node, ...]


class _File(msgspec.Struct, frozen=True, rename="camel"):
    model_topology: _Topology
    weights_manifest: tuple[_Group, ...]


_DTYPES = {"float32": "<f4", "int32": "<i4", "bool": "|b1", "float16": "<f2", "uint8": "|u1", "uint16": "<u2"}


def read(topology: bytes, weights: bytes) -> Network:
    """Read `model.json` and its weight files, joined in their order. Raises ConfigError when they do not fit."""
    try:
        file = msgspec.json.decode(topology, type=_File)
    except msgspec.DecodeError as error:
        raise ConfigError(f"not a TensorFlow.js graph model: {error}") from error
    constants, at = {}, 0
    for weight in (weight for group in file.weights_manifest for weight in group.weights):
        constants[weight.name], at = _array(weight, weights, at)
    if at != len(weights):
        raise ConfigError(f"the weights have {len(weights)} bytes, the TensorFlow.js graph speaks of {at}")
    nodes: dict[str, Node] = {}
    for raw in file.model_topology.node:
        if raw.op == "Const":
            continue
        node = _node(raw)
        early = [name for name in node.inputs if name not in nodes and name not in constants]
        if early:
            raise ConfigError(f"{raw.name} reads {', '.join(early)}, which does not come before it")
        nodes[raw.name] = node
    return Network(nodes, constants)


def join_prelu(network: Network) -> Network:
    """The network with max(0, x) + slope · min(0, x), as exporters write it, as the one Prelu that it is."""
    nodes = dict(network.nodes)

    def bounded(name: str, operator: str) -> str | None:
        """x, where the node of that name is `operator`(0, x)."""
        node = network.nodes.get(name)
        if node is None or node.operator != operator:
            return None
        bound = network.constants.get(node.inputs[0])
        return node.inputs[1] if bound is not None and not bound.any() else None

    for name, node in network.nodes.items():
        scaled = network.nodes.get(node.inputs[1]) if node.operator == "AddV2" else None
        if scaled is None or scaled.operator != "Mul" or scaled.inputs[0] not in network.constants:
            continue
        source = bounded(node.inputs[0], "Maximum")
        if source is not None and bounded(scaled.inputs[1], "Minimum") == source:
            nodes[name] = Node(name, "Prelu", (source, scaled.inputs[0]))
    return Network(nodes, network.constants)


def write(writer: Writer, network: Network, known: Mapping[str, str], wanted: Sequence[str]) -> list[str]:
    """Write all that leads from the nodes in `known` to those in `wanted`; the ONNX names of the latter, in order.

    `known`: node of the network → name in the ONNX graph of what stands in for it, batch × channels × height × width.
    Raises ConfigError that names every operator on the way that cannot be written.
    """
    needed = _needed(network, known, wanted)
    strange = sorted({node.operator for node in needed if node.operator not in _OPERATORS})
    if strange:
        raise ConfigError(f"TensorFlow.js operators that cannot be written as ONNX: {', '.join(strange)}")
    values: dict[str, Operand] = {**network.constants, **known}
    for node in needed:
        values[node.name] = _OPERATORS[node.operator](writer, node, [values[name] for name in node.inputs])
    return [_value(writer, values[name]) for name in wanted]


def _array(weight: _Weight, blob: bytes, at: int) -> tuple[Array, int]:
    """One weight and where the next begins. 16-bit floats widen; bytes and shorts are steps of a scale from a least."""
    packed = weight.quantization
    kind = _DTYPES.get(packed.dtype if packed else weight.dtype)
    if kind is None:
        raise ConfigError(f"{weight.name}: weights of type {packed.dtype if packed else weight.dtype}")
    count = int(np.prod(weight.shape, dtype=np.int64))
    end = at + count * np.dtype(kind).itemsize
    if end > len(blob):
        raise ConfigError(f"{weight.name}: the weights end before it does")
    array: Array = np.frombuffer(blob, kind, count, at).reshape(weight.shape).astype(_DTYPES[weight.dtype])
    if packed and packed.dtype != "float16":
        array = (array * packed.scale + packed.min).astype(_DTYPES[weight.dtype])
    return array, end


def _node(raw: _Node) -> Node:
    """The attributes that matter. Raises ConfigError for a layout, a dilation or a padding that is not read here."""
    layout = _text(raw, "data_format")
    padding = _text(raw, "padding")
    if layout not in ("", "NHWC") or any(step != 1 for step in _numbers(raw, "dilations")):
        raise ConfigError(f"{raw.name}: layout {layout}, dilations {_numbers(raw, 'dilations')} cannot be written")
    if padding not in ("", "SAME", "VALID"):
        raise ConfigError(f"{raw.name}: padding {padding} cannot be written")
    strides = _numbers(raw, "strides") or [1, 1, 1, 1]
    window = _numbers(raw, "ksize") or [1, 1, 1, 1]
    fused = raw.attr.get("fused_ops", {}).get("list", {}).get("s") or []
    return Node(
        raw.name,
        raw.op,
        tuple(name.removesuffix(":0") for name in raw.input if not name.startswith("^")),
        padding=padding,
        strides=(strides[1], strides[2]),
        window=(window[1], window[2]),
        then=tuple(base64.b64decode(word).decode() for word in fused),
    )


def _text(raw: _Node, key: str) -> str:
    return base64.b64decode(raw.attr.get(key, {}).get("s") or "").decode()


def _numbers(raw: _Node, key: str) -> list[int]:
    return [int(number) for number in raw.attr.get(key, {}).get("list", {}).get("i") or []]


def _needed(network: Network, known: Mapping[str, str], wanted: Iterable[str]) -> list[Node]:
    """The nodes between `known` and `wanted`, in the network's order."""
    found: set[str] = set()
    todo = list(wanted)
    while todo:
        name = todo.pop()
        if name in found or name in known or name in network.constants:
            continue
        if name not in network.nodes:
            raise ConfigError(f"the TensorFlow.js graph has no node {name}")
        found.add(name)
        todo.extend(network.nodes[name].inputs)
    return [node for name, node in network.nodes.items() if name in found]


def _value(writer: Writer, operand: Operand) -> str:
    """A name for the operand. A constant per channel stands before height and width in ONNX, after them here."""
    if isinstance(operand, str):
        return operand
    if operand.size != 1 and operand.size != operand.shape[-1]:
        raise ConfigError(f"a constant of shape {operand.shape} is neither one number nor one per channel")
    return writer.const(operand.reshape(-1, 1, 1) if operand.size > 1 else operand.reshape(()))


def _constant(node: Node, operand: Operand) -> Array:
    if isinstance(operand, str):
        raise ConfigError(f"{node.name}: weights that are computed, not given")
    return operand


def _convolve(writer: Writer, node: Node, inputs: list[Operand]) -> str:
    """_FusedConv2D, Conv2D: kernel height × width × in × out."""
    kernel = _constant(node, inputs[1])
    return _windowed(writer, node, inputs, kernel.transpose(3, 2, 0, 1), group=1)


def _convolve_depthwise(writer: Writer, node: Node, inputs: list[Operand]) -> str:
    """FusedDepthwiseConv2dNative, DepthwiseConv2dNative: kernel height × width × channels × multiplier."""
    kernel = _constant(node, inputs[1])
    rows, cols, channels, times = kernel.shape
    turned = kernel.transpose(2, 3, 0, 1).reshape(channels * times, 1, rows, cols)
    return _windowed(writer, node, inputs, turned, group=channels)


def _windowed(writer: Writer, node: Node, inputs: list[Operand], kernel: Array, group: int) -> str:
    """A convolution and what is fused onto it, which takes its operands from the inputs after the kernel."""
    rest, then = list(inputs[2:]), list(node.then)
    given = [_value(writer, inputs[0]), writer.const(kernel)]
    if then[:1] == ["BiasAdd"]:
        given.append(writer.const(_constant(node, rest.pop(0)).reshape(-1)))
        then.pop(0)
    y = writer(
        "Conv",
        *given,
        kernel_shape=list(kernel.shape[2:]),
        strides=list(node.strides),
        auto_pad=_PADDING[node.padding],
        group=group,
    )
    for operator in then:
        if operator not in _UNARY and operator != "Prelu":
            raise ConfigError(f"{node.name}: fused {operator} cannot be written as ONNX")
        step = replace(node, operator=operator)
        y = _OPERATORS[operator](writer, step, [y, rest.pop(0)] if operator == "Prelu" else [y])
    return y


def _prelu(writer: Writer, node: Node, inputs: list[Operand]) -> str:
    slope = _constant(node, inputs[1])
    return writer("PRelu", _value(writer, inputs[0]), writer.const(slope.reshape(-1, 1, 1)))


def _pool(writer: Writer, node: Node, inputs: list[Operand]) -> str:
    return writer(
        "MaxPool",
        _value(writer, inputs[0]),
        kernel_shape=list(node.window),
        strides=list(node.strides),
        auto_pad=_PADDING[node.padding],
    )


def _pad(writer: Writer, node: Node, inputs: list[Operand]) -> str:
    """Zeros before and after, per axis; the axes change places."""
    before, after = _constant(node, inputs[1])[[0, 3, 1, 2]].astype(np.int64).T
    return writer("Pad", _value(writer, inputs[0]), writer.const(np.concatenate([before, after])))


def _unary(writer: Writer, node: Node, inputs: list[Operand]) -> str:
    return writer(_UNARY[node.operator], _value(writer, inputs[0]))


def _relu6(writer: Writer, _: Node, inputs: list[Operand]) -> str:
    low, high = (writer.const(np.array(limit, np.float32)) for limit in (0, 6))
    return writer("Clip", _value(writer, inputs[0]), low, high)


def _binary(writer: Writer, node: Node, inputs: list[Operand]) -> str:
    return writer(_BINARY[node.operator], *(_value(writer, operand) for operand in inputs))


def _same(writer: Writer, _: Node, inputs: list[Operand]) -> str:
    return _value(writer, inputs[0])


_PADDING = {"SAME": "SAME_UPPER", "VALID": "VALID"}
"""TensorFlow puts the odd pixel of padding at the end."""
_UNARY = {"Relu": "Relu", "Sigmoid": "Sigmoid", "Abs": "Abs", "Neg": "Neg", "Elu": "Elu", "Tanh": "Tanh"}
_BINARY = {"Add": "Add", "AddV2": "Add", "Sub": "Sub", "Mul": "Mul", "Maximum": "Max", "Minimum": "Min"}
_OPERATORS: dict[str, Callable[[Writer, Node, list[Operand]], str]] = {
    "Conv2D": _convolve,
    "_FusedConv2D": _convolve,
    "DepthwiseConv2dNative": _convolve_depthwise,
    "FusedDepthwiseConv2dNative": _convolve_depthwise,
    "Prelu": _prelu,
    "MaxPool": _pool,
    "Pad": _pad,
    "Relu6": _relu6,
    "Identity": _same,
    **dict.fromkeys(_UNARY, _unary),
    **dict.fromkeys(_BINARY, _binary),
}
