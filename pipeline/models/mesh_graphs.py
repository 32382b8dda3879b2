"""Weights in, ONNX graphs out: the face mesh and the face embedding as Triton serves them. Pure: no files, no network.

Both come as TensorFlow.js graphs. Their layers are written by `tfjs.py`; what lies between them is written here.

The face mesh with attention (Grishchenko and others, "Attention Mesh", 2020) finds 468 points in a face crop, then
looks again at both eyes and at the lips: each region is turned level, cut out of an early feature map by bilinear
sampling, and given a small network of its own. As published, the cutting is some 700 operators of index arithmetic;
ONNX has one for it (GridSample).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import onnx
from onnx import TensorProto

from pipeline.errors import ConfigError
from pipeline.models import tfjs
from pipeline.models.graphs import _Graph as Writer
from pipeline.models.graphs import _pixels, _value, _values
from pipeline.models.tfjs import Network

MESH_SIDE, MESH_POINTS = 192, 468
EMBEDDING_SIDE, EMBEDDING_SIZE = 112, 256

_WHERE = "StatefulPartitionedCall/functional_1/"
_EARLY = _WHERE + "p_re_lu_3/Relu"
_MESH = _WHERE + "output_mesh/BiasAdd"
_PRESENCE = _WHERE + "activation_faceflag/Sigmoid"
_LAST, _DENSE, _GAIN, _BIAS = "add_16", "dense/kernel", "batchnorm0/mul", "batchnorm0/sub"
"""The embedding's last map (4 × 4 × 128), and what makes 256 numbers of it."""

_MAP, _CUT = 48, 16
"""Sides of the early feature map and of what is cut out of it; a cell of the map is four pixels of the crop."""
_MARGIN = 1.5
"""Side of the cut over the bounds of the region's points."""


@dataclass(frozen=True, slots=True)
class _Region:
    """A part of the face that is looked at again.

    `ends`: the two mesh points whose line is turned level. `published`: what the published graph calls the region's
    layers. `outputs`: the name of an output here, of its layer there, and how many points it has.
    """

    ends: tuple[int, int]
    published: str
    outputs: tuple[tuple[str, str, int], ...]


_REGIONS = (
    _Region((33, 133), "v2_1", (("left_eye", "conv_left_eye", 71), ("left_iris", "conv_left_iris", 5))),
    _Region((61, 291), "v2", (("lips", "conv_lips", 80),)),
    _Region((362, 263), "v2_2", (("right_eye", "conv_right_eye", 71), ("right_iris", "conv_right_iris", 5))),
)


def face_mesh(network: Network) -> onnx.ModelProto:
    """Face crops in (`face`, batch × 192 × 192 × 3); points of each crop out, in its pixels, and `presence`."""
    graph = Writer()
    pixels = graph("Transpose", graph("Cast", "face", to=TensorProto.FLOAT), perm=[0, 3, 1, 2])
    shares = graph("Mul", pixels, graph.const(np.array(1 / 255, np.float32)))
    early, mesh, presence = tfjs.write(graph, network, {"input_1": shares}, [_EARLY, _MESH, _PRESENCE])
    mesh = graph("Reshape", mesh, graph.const(np.array([-1, MESH_POINTS, 3])))
    graph.name_output("mesh", mesh)
    graph.name_output("presence", graph("Reshape", presence, graph.const(np.array([-1, 1]))))
    matrices, shifts = _placements(graph, network, mesh)
    cuts = _cuts(graph, early, matrices, shifts)
    known = {
        f"{_WHERE}transform_tensor_bilinear_{r.published}/SpatialTransformer/transform/Reshape_5": cut
        for r, cut in zip(_REGIONS, cuts, strict=True)
    }
    layers = [f"{_WHERE}{layer}/BiasAdd" for region in _REGIONS for _, layer, _ in region.outputs]
    found = iter(tfjs.write(graph, network, known, layers))
    for i, region in enumerate(_REGIONS):
        one = graph.const(np.array(i))
        matrix, shift = (graph("Gather", both, one, axis=1) for both in (matrices, shifts))
        for name, _, count in region.outputs:
            points = graph("Reshape", next(found), graph.const(np.array([-1, count, 2])))
            graph.name_output(name, _back(graph, points, matrix, shift))
    counts = [("mesh", MESH_POINTS, 3), *((name, n, 2) for region in _REGIONS for name, _, n in region.outputs)]
    points_out = [_value(name, TensorProto.FLOAT, ("batch", n, axes)) for name, n, axes in counts]
    return graph.model(
        "face_mesh", inputs=[_pixels("face", MESH_SIDE, MESH_SIDE)], outputs=[*points_out, _values("presence", 1)]
    )


def face_embedding(network: Network) -> onnx.ModelProto:
    """Aligned faces in (`face`, batch × 112 × 112 × 3), an embedding of unit length out: a dot product is a cosine."""
    graph = Writer()
    pixels = graph("Transpose", graph("Cast", "face", to=TensorProto.FLOAT), perm=[0, 3, 1, 2])
    (last,) = tfjs.write(graph, tfjs.join_prelu(network), {"data": pixels}, [_LAST])
    dense, gain, bias = _constants(network, "face embedding", (_DENSE, _GAIN, _BIAS))
    # Published for rows of height × width × channels; here channels come first.
    kernel = (dense * gain).reshape(4, 4, -1, EMBEDDING_SIZE).transpose(2, 0, 1, 3).reshape(-1, EMBEDDING_SIZE)
    flat = graph("Gemm", graph("Flatten", last), graph.const(kernel), graph.const(bias))
    graph.name_output("embedding", graph("LpNormalization", flat, axis=-1, p=2))
    return graph.model(
        "face_embedding",
        inputs=[_pixels("face", EMBEDDING_SIDE, EMBEDDING_SIDE)],
        outputs=[_values("embedding", EMBEDDING_SIZE)],
    )


def _placements(graph: Writer, network: Network, mesh: str) -> tuple[str, str]:
    """Where the regions lie: p · matrix + shift takes a point of the cut to the feature map (as rows, x before y).

    batch × 3 × 2 × 2 and batch × 3 × 1 × 2. A cut is level with the line between the region's ends and half as large
    again as the bounds of its points, measured along that line.
    """
    cells = graph("Slice", mesh, *(graph.const(np.array([n])) for n in (0, 2, 2)))
    cells = graph("Mul", cells, graph.const(np.array(_MAP / MESH_SIDE, np.float32)))
    starts, stops = (graph.const(np.array([region.ends[i] for region in _REGIONS])) for i in (0, 1))
    along = graph("Sub", graph("Gather", cells, stops, axis=1), graph("Gather", cells, starts, axis=1))
    # The cosine and the sine of the turn, laid out as [[cos, −sin], [sin, cos]].
    level = graph("LpNormalization", along, axis=-1, p=2)
    layout = graph.const(np.array([[1, 0, 0, 1], [0, -1, 1, 0]], np.float32))
    turn = graph("Reshape", graph("MatMul", level, layout), graph.const(np.array([-1, len(_REGIONS), 2, 2])))
    turned = graph("MatMul", graph("Gather", cells, graph.const(_around(network)), axis=1), turn)
    low, high = (graph(operator, turned, axes=[2], keepdims=1) for operator in ("ReduceMin", "ReduceMax"))
    back = graph("Transpose", turn, perm=[0, 1, 3, 2])
    middle = graph("Mul", graph("Add", low, high), graph.const(np.array(0.5, np.float32)))
    centre = graph("MatMul", middle, back)
    stretch = graph("Mul", graph("Sub", high, low), graph.const(np.array(_MARGIN / _CUT, np.float32)))
    matrix = graph("Mul", back, graph("Transpose", stretch, perm=[0, 1, 3, 2]))
    half = graph.const(np.full((1, 2), _CUT / 2, np.float32))
    return matrix, graph("Sub", centre, graph("MatMul", half, matrix))


def _around(network: Network) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """The mesh points of each region, 3 × 80; shorter lists are filled up with their last point."""
    names = [f"{_WHERE}landmarks_to_transform_matrix_{region.published}/GatherV2/indices" for region in _REGIONS]
    lists = [indices.astype(np.int64) for indices in _constants(network, "face mesh", names)]
    longest = max(map(len, lists))
    return np.stack([np.pad(indices, (0, longest - len(indices)), mode="edge") for indices in lists])


def _constants(network: Network, what: str, names: Sequence[str]) -> list[tfjs.Array]:
    missing = [name for name in names if name not in network.constants]
    if missing:
        raise ConfigError(f"the {what} is not the graph that was expected: no {', '.join(missing)}")
    return [network.constants[name] for name in names]


def _cuts(graph: Writer, early: str, matrices: str, shifts: str) -> list[str]:
    """The regions, each batch × channels × 16 × 16. What lies outside the feature map is nought, as published."""
    steps = np.arange(_CUT, dtype=np.float32) + 0.5
    pixels = np.stack([np.tile(steps, _CUT), np.repeat(steps, _CUT)], axis=-1)
    places = graph("Add", graph("MatMul", graph.const(pixels), matrices), shifts)
    # GridSample takes −1 … 1 from the middle of the first cell to that of the last.
    spans = graph("Mul", places, graph.const(np.array(2 / (_MAP - 1), np.float32)))
    grid = graph("Sub", spans, graph.const(np.array(1 + 1 / (_MAP - 1), np.float32)))
    beyond = graph(
        "Greater",
        graph("ReduceMax", graph("Abs", grid), axes=[-1], keepdims=1),
        graph.const(np.array(1, np.float32)),
    )
    grid = graph("Where", beyond, graph.const(np.array(3, np.float32)), grid)
    grid = graph("Reshape", grid, graph.const(np.array([0, len(_REGIONS) * _CUT, _CUT, 2])))
    all_cuts = graph("GridSample", early, grid, mode="bilinear", padding_mode="zeros", align_corners=1)
    bounds = [np.array([i * _CUT]) for i in range(len(_REGIONS) + 1)]
    axis = graph.const(np.array([2]))
    return [graph("Slice", all_cuts, graph.const(first), graph.const(last), axis) for first, last in pairwise(bounds)]


def _back(graph: Writer, points: str, matrix: str, shift: str) -> str:
    """Points of a region's network to pixels of the crop: it counts 64 to a side of its cut, the crop 4 to a cell."""
    cell = graph.const(np.array(MESH_SIDE / _MAP, np.float32))
    return graph("Add", graph("MatMul", points, matrix), graph("Mul", shift, cell))
