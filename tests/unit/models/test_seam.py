"""The seam head: its file, its arithmetic in numpy, and the same as a part of a graph."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from pipeline.errors import ConfigError
from pipeline.models import graphs
from pipeline.models import seam as subject
from pipeline.models.build import SEAM
from pipeline.models.seam import SeamWeights, read_seam, shapes

REPOSITORY = Path(__file__).parents[3] / "models"


def random_weights(width: int = 16, depth: int = 2, seed: int = 0) -> SeamWeights:
    """A network that says something: no weight is nought, no gain one."""
    rng = np.random.default_rng(seed)

    def drawn(name: str, shape: tuple[int, ...]) -> Any:
        size = shape[0] ** -0.5 if name.endswith(".weight") else 0.3
        return (rng.normal(0, size, shape) + name.endswith("gain")).astype(np.float16).astype(np.float32)

    return SeamWeights({name: drawn(name, shape) for name, shape in shapes(width, depth).items()})


def patches_of(count: int, seed: int = 1) -> Any:
    """Random patches of `count` crops."""
    return np.random.default_rng(seed).normal(0, 1, (count, subject.PATCHES, subject.READ)).astype(np.float32)


def write(path: Path, arrays: dict[str, Any]) -> Path:
    """The file as training writes it, in half precision."""
    np.savez(path, **{name: array.astype(np.float16) for name, array in arrays.items()})
    return path


def test_the_network_reads_what_the_encoder_gives_of_patches() -> None:
    """196 patches, 2,304 numbers each."""
    assert (subject.PATCHES, subject.READ) == (graphs.GRID**2, graphs.PATCH_COUNT)


def test_the_committed_network_is_sound() -> None:
    """A checkout builds without training."""
    assert read_seam(REPOSITORY / "face_forgery" / SEAM).depth >= 1


def test_a_network_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Every array comes back, widened; width and depth are told by the file."""
    weights = random_weights(width=8, depth=3)
    found = read_seam(write(tmp_path / SEAM, dict(weights.arrays)))
    assert (found.width, found.depth) == (8, 3)
    assert found.arrays.keys() == weights.arrays.keys()
    for name, array in found.arrays.items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, weights.arrays[name])


@pytest.mark.parametrize(
    ("name", "array", "told"),
    [
        ("block1.out.bias", None, r"no array 'block1\.out\.bias'"),
        ("place", None, "no array 'place'"),
        ("where.weight", np.zeros(3), r"an unknown array 'where\.weight'"),
        ("answer.weight", np.zeros((16, 1)), r"answer\.weight has the shape \(16, 1\), not \(32, 1\)"),
        ("norm.gain", np.full(16, np.inf), r"norm\.gain holds what is no number"),
    ],
)
def test_a_malformed_network_is_refused(tmp_path: Path, name: str, array: Any, told: str) -> None:
    """What is missing, unknown, misshapen or overflown is named, with what to do."""
    arrays = {other: kept for other, kept in random_weights().arrays.items() if other != name}
    if array is not None:
        arrays[name] = array
    with pytest.raises(ConfigError, match=rf"{told}: unmask models train swap"):
        read_seam(write(tmp_path / SEAM, arrays))


def test_heads_share_the_width_evenly(tmp_path: Path) -> None:
    """Four heads cannot share ten numbers."""
    arrays = {name: np.zeros(shape) for name, shape in shapes(10, 1).items()}
    with pytest.raises(ConfigError, match="a width of 10, which 4 heads cannot share"):
        read_seam(write(tmp_path / SEAM, arrays))


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 cut off", b"{}", b"\x93NUMPY"])
def test_what_is_no_such_file_says_how_to_get_one(tmp_path: Path, content: bytes | None) -> None:
    """Missing, empty, cut off or something else: the operator learns the path and the command."""
    path = tmp_path / SEAM
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"seam\.npz.*unmask models train swap"):
        read_seam(path)


def test_a_single_array_is_no_network(tmp_path: Path) -> None:
    """A .npy file under the name of the network."""
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(ConfigError, match="unmask models train swap"):
        read_seam((tmp_path / "one.npy").rename(tmp_path / SEAM))


def test_the_arithmetic_is_that_of_a_transformer() -> None:
    """One crop, patch by patch and head by head in double precision, gives the same logit."""
    weights, (patches,) = random_weights(width=8, depth=1), patches_of(1)
    of = {name: array.astype(np.float64) for name, array in weights.arrays.items()}

    def norm(name: str, x: Any) -> Any:
        rows = [(row - row.mean()) / np.sqrt(row.var() + 1e-5) for row in x]
        return np.array(rows) * of[f"{name}.gain"] + of[f"{name}.bias"]

    z = patches @ of["project.weight"] + of["project.bias"] + of["place"]
    y = norm("block0.norm1", z) @ of["block0.qkv.weight"] + of["block0.qkv.bias"]
    seen = np.zeros_like(z)
    for head in range(4):
        q, k, v = (y[:, start + 2 * head : start + 2 * head + 2] for start in (0, 8, 16))
        for patch in range(196):
            power = np.exp(q[patch] @ k.T / np.sqrt(2))
            seen[patch, 2 * head : 2 * head + 2] = power @ v / power.sum()
    z = z + seen @ of["block0.out.weight"] + of["block0.out.bias"]
    y = norm("block0.norm2", z) @ of["block0.up.weight"] + of["block0.up.bias"]
    z = z + y / (1 + np.exp(-1.702 * y)) @ of["block0.down.weight"] + of["block0.down.bias"]
    z = norm("norm", z)
    power = np.exp(z @ of["attend.weight"])[:, 0]
    pooled = np.concatenate([power @ z / power.sum(), z.mean(axis=0)])
    assert weights(patches) == pytest.approx(pooled @ of["answer.weight"][:, 0] + of["answer.bias"][0], abs=1e-4)


def test_one_crop_and_many_keep_their_shape() -> None:
    """Whatever stands before the patches stands before the answers."""
    weights, crops = random_weights(), patches_of(4)
    many = weights(crops.reshape(2, 2, *crops.shape[1:]))
    assert many.shape == (2, 2)
    assert weights(crops[3]).shape == ()
    assert float(weights(crops[3])) == pytest.approx(float(many[1, 1]), abs=1e-5)


def test_the_graph_says_what_numpy_says() -> None:
    """On random patches, whatever the class token: to a ten-thousandth, and not the same for every crop."""
    weights, crops = random_weights(width=32), patches_of(3)
    found = _served(weights, crops)
    assert found.shape == (3, 1)
    assert np.ptp(found) > 0.01
    assert found[:, 0] == pytest.approx(weights(crops), abs=1e-4)


def test_an_answer_does_not_depend_on_its_neighbours_in_the_batch() -> None:
    """A crop gets the same logit alone and beside glaring ones, bit for bit."""
    weights, crops = random_weights(width=32), patches_of(4)
    crops[::2] *= 50
    np.testing.assert_array_equal(_served(weights, crops[1:2])[0], _served(weights, crops)[1])


def _served(weights: SeamWeights, crops: Any) -> Any:
    """The part of the graph, run on patches behind a class token that it must not read."""
    graph = graphs._Graph()
    graph.name_output("logit", graphs._seam(graph, weights, "tokens"))
    shapes = {"tokens": ["batch", graphs.TOKENS, graphs.PATCH_COUNT], "logit": ["batch", 1]}
    given, told = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items())
    model = graph.model("seam", [given], [told])
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    tokens = np.pad(crops, ((0, 0), (1, 0), (0, 0)), constant_values=9)
    return session.run(["logit"], {"tokens": tokens})[0]
