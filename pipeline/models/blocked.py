"""Operators that ONNX Runtime has only for plain tensors, written with such as it has for its blocked ones. Pure.

On CPUs its convolutions want channels in blocks of 8 or 16. The parametric Relu and padding have no such form: before
each of them values are put back into plain order and after it into blocks again, and the operator itself is slow. A
product per channel is a convolution of one pixel as well. The face mesh takes a third less time.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Floats = NDArray[np.float32]


def in_blocks(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with parametric Relus, and empty channels put after others, as convolutions of one pixel.

    The same but for rounding: a parametric Relu is slope · x + (1 − slope) · max(0, x).
    """
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    channels = _channels(model)
    nodes: list[onnx.NodeProto] = []
    kernels: list[onnx.TensorProto] = []

    def add(operator: str, inputs: list[str], output: str, **attributes: object) -> str:
        nodes.append(helper.make_node(operator, inputs, [output], output, **attributes))
        return output

    def convolved(x: str, kernel: Floats, output: str, group: int = 1) -> str:
        """`kernel`: outputs × inputs of a group."""
        kernels.append(numpy_helper.from_array(np.float32(kernel[..., None, None]), f"{output}_kernel"))
        return add("Conv", [x, kernels[-1].name], output, kernel_shape=[1, 1], group=group)

    for node in model.graph.node:
        x, y = node.input[0], node.output[0]
        count = channels.get(x, 0)
        if node.op_type == "PRelu" and count:
            slope = np.broadcast_to(constants[node.input[1]].ravel(), (count,))[:, None]
            above = convolved(add("Relu", [x], f"{y}_above"), 1 - slope, f"{y}_rest", count)
            add("Add", [convolved(x, slope, f"{y}_slope", count), above], y)
        elif node.op_type == "Pad" and count and (empty := _appended(node, constants)):
            convolved(x, np.eye(count + empty, count, dtype=np.float32), y)
        else:
            nodes.append(node)
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    changed.graph.ClearField("node")
    changed.graph.node.extend(nodes)
    read = {name for node in nodes for name in node.input}
    changed.graph.ClearField("initializer")
    changed.graph.initializer.extend(t for t in [*model.graph.initializer, *kernels] if t.name in read)
    return changed


def _channels(model: onnx.ModelProto) -> dict[str, int]:
    """How many channels a value has, for those that are batch × channels × height × width."""
    known = onnx.shape_inference.infer_shapes(model).graph.value_info
    shapes = {value.name: value.type.tensor_type.shape.dim for value in known}
    return {name: dims[1].dim_value for name, dims in shapes.items() if len(dims) == 4 and dims[1].dim_value}


def _appended(node: onnx.NodeProto, constants: dict[str, NDArray[np.generic]]) -> int:
    """How many channels of noughts a Pad puts after the others; 0 if it does anything else."""
    pads = constants.get(node.input[1])
    plain = len(node.input) == 2 and not node.attribute
    if pads is None or not plain or np.delete(pads, 5).any():
        return 0
    return int(pads[5])
