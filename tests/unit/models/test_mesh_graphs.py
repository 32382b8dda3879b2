from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from pipeline.detect import mesh as geometry
from pipeline.errors import ConfigError
from pipeline.models import mesh_graphs as subject
from pipeline.models.tfjs import Network, Node

OUTPUTS = ("mesh", "presence", "lips", "left_eye", "right_eye", "left_iris", "right_iris")
REGIONS = {
    "left_eye": ((33, 133), geometry.LEFT_EYE, "v2_1"),
    "lips": ((61, 291), geometry.LIPS, "v2"),
    "right_eye": ((362, 263), geometry.RIGHT_EYE, "v2_2"),
}


@pytest.mark.parametrize("turn", [0.0, 0.3, -1.2])
@pytest.mark.parametrize("region", REGIONS)
def test_a_region_is_read_where_its_points_are_written(region: str, turn: float) -> None:
    """What the second look sees at a place of its cut, and where it puts a point that it finds there, agree."""
    points = _points(turn)
    ends, around, _ = REGIONS[region]
    found = _run(_network(points, at=(5, 9)), _coordinates())
    # The little networks answer with what they see at cell (5, 9): the coordinates in the picture, and with that cell.
    placed = found[region][0, 0]
    # Pixel number n is coloured n, its middle lies at n + ½.
    assert placed == pytest.approx(found["seen"][region] + 0.5, abs=0.02)
    level = _turned(points[list(around), :2], -_angle(points, ends))
    low, high = level.min(axis=0), level.max(axis=0)
    share = (np.array([5.5, 9.5]) / 16 - 0.5) * 1.5 + 0.5
    assert placed == pytest.approx(_turned(low + share * (high - low), _angle(points, ends)), abs=0.01)


def test_what_lies_beyond_the_picture_is_nought() -> None:
    """A cut that reaches over the edge sees nothing there, as the published graph has it, not a fading edge."""
    points = _points(0.0) - (60, 0, 0)
    found = _run(_network(points, at=(0, 8)), np.full((1, 192, 192, 3), 255, np.uint8))
    assert found["left_eye"][0, 0, 0] < 0
    assert found["seen"]["left_eye"].tolist() == [0, 0]


def test_a_face_does_not_depend_on_its_neighbours_in_the_batch() -> None:
    """Bit for bit the same alone and between two others."""
    network = _network(_points(0.2), at=(3, 3))
    faces = np.random.default_rng(0).integers(0, 256, (3, 192, 192, 3)).astype(np.uint8)
    together, alone = _run(network, faces), _run(network, faces[1:2])
    for name in OUTPUTS:
        assert (together[name][1] == alone[name][0]).all(), name


def test_another_graph_is_refused() -> None:
    """Without the published lists of points the regions cannot be placed."""
    network = _network(_points(0.0), at=(0, 0))
    constants = {name: array for name, array in network.constants.items() if not name.endswith("indices")}
    with pytest.raises(ConfigError, match="the face mesh is not the graph that was expected"):
        subject.face_mesh(Network(network.nodes, constants))


def test_an_embedding_has_unit_length_and_its_last_layer_reads_channels_in_tensorflows_order() -> None:
    """The dense layer was trained on rows of height × width × channels."""
    rng = np.random.default_rng(1)
    shrink = np.zeros((28, 28, 3, 2), np.float32)
    shrink[0, 0, 0, 0] = shrink[0, 0, 1, 1] = 1 / 255
    dense = rng.normal(size=(4 * 4 * 2, 256)).astype(np.float32)
    gain, bias = (rng.normal(size=256).astype(np.float32) for _ in range(2))
    nodes = {
        "data": Node("data", "Placeholder", ()),
        "add_16": Node("add_16", "Conv2D", ("data", "kernel"), padding="VALID", strides=(28, 28)),
    }
    constants = {"kernel": shrink, "dense/kernel": dense, "batchnorm0/mul": gain, "batchnorm0/sub": bias}
    face = rng.integers(0, 256, (2, 112, 112, 3)).astype(np.uint8)
    session = _session(subject.face_embedding(Network(nodes, constants)))
    (found,) = session.run(["embedding"], {"face": face})
    wanted = (face[:, ::28, ::28, :2].reshape(2, -1) / 255 @ dense) * gain + bias
    assert found == pytest.approx(wanted / np.linalg.norm(wanted, axis=1, keepdims=True), abs=1e-5)
    assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-6)


def _network(points: NDArray[np.float64], at: tuple[int, int]) -> Network:
    """A face mesh that always finds `points`, with regions that see the picture at one cell of their cut.

    The early map holds red and green, four pixels to a cell. A region's network answers with that cell's middle as its
    first point, in its own measure (64 to a side), and, in the tests' own output, with what it saw there.
    """
    nodes: dict[str, Node] = {"input_1": Node("input_1", "Placeholder", ())}
    constants: dict[str, NDArray[Any]] = {}

    def add(name: str, source: str, kernel: NDArray[Any], bias: NDArray[Any], stride: int) -> None:
        constants[f"{name}/k"], constants[f"{name}/b"] = kernel.astype(np.float32), bias.astype(np.float32)
        inputs = (source, f"{name}/k", f"{name}/b")
        nodes[name] = Node(name, "_FusedConv2D", inputs, "VALID", (stride, stride), then=("BiasAdd",))

    mean = np.zeros((4, 4, 3, 2))
    mean[:, :, 0, 0] = mean[:, :, 1, 1] = 1 / 16
    add(subject._EARLY, "input_1", mean, np.zeros(2), 4)
    nodes["pooled"] = Node("pooled", "MaxPool", ("input_1",), "VALID", (192, 192), (192, 192))
    add(subject._MESH, "pooled", np.zeros((1, 1, 3, 1404)), points.reshape(-1), 1)
    add("flag", "pooled", np.zeros((1, 1, 3, 1)), np.zeros(1), 1)
    nodes[subject._PRESENCE] = Node(subject._PRESENCE, "Sigmoid", ("flag",))
    cell = (np.array(at) + 0.5) * 4
    for region in subject._REGIONS:
        _, around, published = next(value for value in REGIONS.values() if value[2] == region.published)
        where = f"{subject._WHERE}landmarks_to_transform_matrix_{published}/GatherV2/indices"
        constants[where] = np.array(around, np.int32)
        cut = f"{subject._WHERE}transform_tensor_bilinear_{published}/SpatialTransformer/transform/Reshape_5"
        nodes[cut] = Node(cut, "Cut", ())
        for _, layer, count in region.outputs:
            kernel, bias = np.zeros((16, 16, 2, 2 * count)), np.zeros(2 * count)
            bias[:2] = cell
            # The second point carries what was seen; it is taken back out of the region's placement by the tests.
            kernel[at[1], at[0], 0, 2] = kernel[at[1], at[0], 1, 3] = 1
            add(f"{subject._WHERE}{layer}/BiasAdd", cut, kernel, bias, 16)
    return Network(nodes, constants)


def _run(network: Network, faces: NDArray[np.uint8]) -> dict[str, Any]:
    """All outputs by name; `seen`: what each region saw at its cell, in pixels (red and green × 255)."""
    found: dict[str, Any] = dict(
        zip(OUTPUTS, _session(subject.face_mesh(network)).run(OUTPUTS, {"face": faces}), strict=True)
    )
    seen = {}
    for region, (ends, around, _) in REGIONS.items():
        points = found["mesh"][0, :, :2].astype(np.float64)
        angle = _angle(points, ends)
        level = _turned(points[list(around)], -angle)
        sides = (level.max(axis=0) - level.min(axis=0)) * 1.5 / 64
        # Two points of a region differ by the turned and stretched difference of what its network said.
        first, second = found[region][0, 0], found[region][0, 1]
        cell = _cell_of(network)
        seen[region] = np.round((_turned((second - first)[None], -angle)[0] / (sides / 4) / 4 + cell) * 255, 3)
    found["seen"] = seen
    return found


def _cell_of(network: Network) -> NDArray[np.float64]:
    bias = network.constants[f"{subject._WHERE}conv_lips/BiasAdd/b"]
    return np.asarray(bias[:2], np.float64)


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    onnx.checker.check_model(model)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def _coordinates() -> NDArray[np.uint8]:
    """A picture whose red says x and whose green says y, in pixels."""
    steps = np.arange(192, dtype=np.uint8)
    return np.stack([*np.meshgrid(steps, steps), np.zeros((192, 192), np.uint8)], axis=-1)[None]


def _points(turn: float) -> NDArray[np.float64]:
    """468 points round the middle of the crop, the regions' where they belong, all turned by `turn`."""
    rng = np.random.default_rng(2)
    points = np.zeros((468, 3))
    for (start, stop), around, centre in (
        (*REGIONS["left_eye"][:2], (70, 80)),
        (*REGIONS["right_eye"][:2], (122, 80)),
        (*REGIONS["lips"][:2], (96, 130)),
    ):
        points[list(around), :2] = centre + rng.uniform(-1, 1, (len(around), 2)) * (16, 8)
        points[start, :2], points[stop, :2] = np.subtract(centre, (16, 0)), np.add(centre, (16, 0))
    points[:, :2] = _turned(points[:, :2] - 96, turn) + 96
    return points


def _angle(points: NDArray[Any], ends: tuple[int, int]) -> float:
    dx, dy = points[ends[1], :2] - points[ends[0], :2]
    return float(np.arctan2(dy, dx))


def _turned(points: NDArray[Any], angle: float) -> NDArray[np.float64]:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.asarray(points @ np.array([[cos, sin], [-sin, cos]]))
