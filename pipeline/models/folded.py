"""A network of convolutions, however its exporter left it, in as few operators as it needs. Pure.

Exporters from frameworks that keep channels last leave a transposition on either side of each convolution, casts of
values to the type that they have, and a bias and a batch normalisation as four operators on all values. ONNX Runtime
cannot see through all of it: nearly half of Open-NSFW's time went there. Here channels come first from beginning to
end, and what a convolution's outputs are multiplied by and added to goes into its weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

Array = NDArray[Any]

_OPSET = 17
_TO_THE_FRONT, _TO_THE_BACK = [0, 3, 1, 2], [0, 2, 3, 1]


class Writer(Protocol):
    """Adds a node, or a constant, and returns its name."""

    def __call__(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """A node with one output."""
        ...

    def const(self, array: Array) -> str:
        """A constant."""
        ...


def write(writer: Writer, old: onnx.GraphProto, x: str, first: Callable[[Array], Array] = lambda kernel: kernel) -> str:
    """Write the network that `old` is, fed with `x`, whose channels come first; the name of its output.

    `old` takes channels last. `first` changes the kernel (outputs × inputs × height × width) of the convolution that
    reads `x`. Raises ValueError for what is no such network.
    """
    folding = _Folding(writer, _constants(old), x, first, {old.input[0].name: x}, {old.input[0].name})
    for node in old.node:
        if node.output[0] not in folding.constants:
            folding.take(node)
    return folding.done(old.output[0].name)


@dataclass(frozen=True, slots=True, eq=False)
class _Convolution:
    """One that is not written yet: what comes after it may still go into it. `bias`: per output channel."""

    x: str
    kernel: Array
    bias: Array
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Padded:
    """A value with a rim of noughts. `pads`: top, left, bottom, right."""

    x: str
    pads: list[int]


@dataclass(slots=True, eq=False)
class _Folding:
    """What is known while the old nodes are gone through, by the names of the old values.

    `made`: a name here, or what is still to be written; `last`: values with channels last; `called`: the name under
    which a value was first known.
    """

    writer: Writer
    constants: Mapping[str, Array]
    x: str
    first: Callable[[Array], Array]
    made: dict[str, str | _Convolution | _Padded]
    last: set[str]
    called: dict[str, str] = field(default_factory=dict)

    def take(self, node: onnx.NodeProto) -> None:
        """Write the node, or put it by for what it can be a part of."""
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        given = [self.constants.get(name) for name in node.input]
        source = self.made.get(self._first(node.input[0]))
        y = node.output[0]
        turn = attributes["perm"] if node.op_type == "Transpose" else None
        if turn == _TO_THE_BACK or (turn is None and node.input[0] in self.last):
            self.last.add(y)
        if node.op_type in ("Cast", "Identity") or turn in (_TO_THE_FRONT, _TO_THE_BACK):
            self.called[y] = self._first(node.input[0])
        elif node.op_type == "Pad":
            self.made[y] = self._padded(node, given[1])
        elif node.op_type == "Conv":
            self.made[y] = self._convolution(node, given, attributes)
        elif node.op_type == "MaxPool":
            # After a Relu it makes no odds whether the rim is nought or, as a pool has it, less than anything.
            x, attributes["pads"] = self._with_rim(node, attributes)
            self.made[y] = self.writer("MaxPool", x, **attributes)
        elif isinstance(source, _Convolution) and node.op_type in _FOLDS and given[1] is not None:
            each = np.broadcast_to(given[1].astype(np.float64).ravel(), source.bias.shape)
            self.made[y] = _FOLDS[node.op_type](source, each)
        elif node.op_type == "ReduceMean":
            self.made[y] = self.writer("Flatten", self.writer("GlobalAveragePool", self.done(node.input[0])))
        else:
            names = [
                self.done(n) if c is None else self.writer.const(c) for n, c in zip(node.input, given, strict=True)
            ]
            self.made[y] = self.writer(node.op_type, *names, **attributes)

    def done(self, name: str) -> str:
        """The value, now that no more can be folded into what makes it."""
        name = self._first(name)
        value = self.made[name]
        if isinstance(value, _Padded):
            raise ValueError(f"{name}: a rim before something else than a convolution or a pool")
        if isinstance(value, _Convolution):
            kernel, bias = (self.writer.const(part.astype(np.float32)) for part in (value.kernel, value.bias))
            value = self.made[name] = self.writer("Conv", value.x, kernel, bias, **value.attributes)
        return value

    def _first(self, name: str) -> str:
        return self.called.get(name, name)

    def _padded(self, node: onnx.NodeProto, pads: Array | None) -> _Padded:
        plane = [1, 2] if node.input[0] in self.last else [2, 3]
        if pads is None or np.delete(pads.reshape(2, 4), plane, axis=1).any():
            raise ValueError(f"{node.name}: a rim that is not known, or not of height and width")
        return _Padded(self.done(node.input[0]), pads.reshape(2, 4)[:, plane].ravel().tolist())

    def _with_rim(self, node: onnx.NodeProto, attributes: Mapping[str, Any]) -> tuple[str, list[int]]:
        """What a convolution or pool reads, and its rim."""
        source = self.made[self._first(node.input[0])]
        own = attributes.get("pads", [0, 0, 0, 0])
        if isinstance(source, _Padded):
            return source.x, [a + b for a, b in zip(own, source.pads, strict=True)]
        return self.done(node.input[0]), list(own)

    def _convolution(
        self, node: onnx.NodeProto, given: list[Array | None], attributes: Mapping[str, Any]
    ) -> _Convolution:
        x, pads = self._with_rim(node, attributes)
        kernel, bias = given[1], np.zeros(1) if len(given) < 3 else given[2]
        if kernel is None or bias is None:
            raise ValueError(f"{node.name}: weights that are computed, not given")
        kernel = (self.first(kernel) if x == self.x else kernel).astype(np.float64)
        each = np.broadcast_to(bias.astype(np.float64), len(kernel))
        return _Convolution(x, kernel, each, {**attributes, "pads": pads})


def _times(convolution: _Convolution, by: Array) -> _Convolution:
    kernel = convolution.kernel * by.reshape(-1, 1, 1, 1)
    return replace(convolution, kernel=kernel, bias=convolution.bias * by)


_FOLDS: Mapping[str, Callable[[_Convolution, Array], _Convolution]] = {
    "Add": lambda convolution, by: replace(convolution, bias=convolution.bias + by),
    "Sub": lambda convolution, by: replace(convolution, bias=convolution.bias - by),
    "Mul": _times,
}


def _constants(old: onnx.GraphProto) -> dict[str, Array]:
    """Every value that does not depend on the pixels, computed; what depends on how many there are too."""
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in old.initializer}
    shapes = _shapes(old)
    for node in old.node:
        if node.op_type == "Shape" and node.input[0] in shapes:
            found[node.output[0]] = np.array(shapes[node.input[0]], np.int64)
        elif all(name in found for name in node.input if name):
            values = ReferenceEvaluator(node).run(None, {name: found[name] for name in node.input if name})
            found |= dict(zip(node.output, values, strict=True))
    return found


def _shapes(old: onnx.GraphProto) -> dict[str, list[int]]:
    """Of each value, for a batch of one: no size of a batch is ever read, since only height and width have rims."""
    one = onnx.GraphProto()
    one.CopyFrom(old)
    one.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    known = onnx.shape_inference.infer_shapes(helper.make_model(one, opset_imports=[helper.make_opsetid("", _OPSET)]))
    return {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in known.graph.value_info}
