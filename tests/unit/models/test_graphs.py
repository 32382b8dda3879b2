from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from pipeline.models import graphs
from pipeline.models.graphs import Affine, Block, Encoder, HeadWeights, Linear


def test_seven_bit_weights_cannot_overflow_sixteen_bits() -> None:
    """Two products of an unsigned byte and a weight fit 16 bits, in which AVX2 without VNNI adds them."""
    weight, _ = graphs.seven_bits(_linear(np.random.default_rng(0), 32, 16))
    assert 2 * 255 * int(np.abs(weight.astype(int)).max()) <= 32767


def test_seven_bit_weights_stay_close_to_the_given_ones() -> None:
    """No weight moves by more than half a step of its column."""
    given = _linear(np.random.default_rng(1), 48, 8)
    weight, scale = graphs.seven_bits(given)
    exact = given.weight.astype(np.float64) * given.scale
    assert (np.abs(weight * scale.astype(np.float64) - exact) <= scale * 0.501).all()


def test_a_column_of_zeros_survives() -> None:
    """A dead output must not become not-a-number."""
    weight, scale = graphs.seven_bits(
        Linear(np.zeros((4, 2), np.int8), np.ones(2, np.float32), np.zeros(2, np.float32))
    )
    assert not weight.any()
    assert np.isfinite(scale).all()


def test_the_inner_face_mean_weighs_seventy_two_patches_alike_and_no_class_token() -> None:
    """Rows 3–11 and columns 3–10 of 14 × 14, summing to one."""
    mean = graphs.inner_face_mean()
    assert mean.shape == (1, graphs.TOKENS)
    assert mean[0, 0] == 0
    assert np.count_nonzero(mean) == 72
    assert mean.sum() == pytest.approx(1)
    grid = mean[0, 1:].reshape(14, 14)
    assert grid[3, 3] > 0
    assert grid[11, 10] > 0
    assert grid[2, 3] == grid[12, 10] == grid[3, 2] == grid[11, 11] == 0


def test_a_baked_head_gives_what_numpy_gives_on_the_features() -> None:
    """The graph's probability is the sigmoid of the head on the same features."""
    rng = np.random.default_rng(2)
    heads = {name: HeadWeights(rng.normal(size=12).astype(np.float32), float(rng.normal())) for name in ("one", "two")}
    graph = graphs._Graph()
    graphs.bake_heads(graph, "features", heads)
    values = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", c])
        for n, c in (("features", 12), ("one", 1), ("two", 1))
    ]
    features = rng.normal(size=(5, 12)).astype(np.float32)
    found = _run(graph.model("heads", values[:1], values[1:]), ["one", "two"], {"features": features})
    for (_, head), answer in zip(heads.items(), found, strict=True):
        assert answer[:, 0] == pytest.approx(1 / (1 + np.exp(-(features @ head.weight + head.bias))), abs=1e-5)


def test_the_encoder_follows_the_arithmetic_of_the_transformer() -> None:
    """Against a plain numpy transformer with unrounded activations, the features differ by quantisation only."""
    encoder = _encoder(np.random.default_rng(3))
    pixels = np.random.default_rng(4).integers(0, 256, (2, 224, 224, 3)).astype(np.uint8)
    (found,) = _run(graphs.face_forgery(encoder, {}), ["features"], {"face": pixels})
    wanted = np.stack([_features(encoder, image) for image in pixels])
    assert found.shape == (2, graphs.FEATURE_COUNT)
    cosine = (found * wanted).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(wanted, axis=1)
    assert cosine.min() > 0.999


def test_a_score_does_not_depend_on_its_neighbours_in_the_batch() -> None:
    """A face gets the same features alone and beside a glaring white and a black one, bit for bit."""
    model = graphs.face_forgery(_encoder(np.random.default_rng(5)), {})
    face = np.random.default_rng(6).integers(0, 256, (1, 224, 224, 3)).astype(np.uint8)
    crowd = np.concatenate([np.full_like(face, 255), face, np.zeros_like(face)])
    (alone,) = _run(model, ["features"], {"face": face})
    (among,) = _run(model, ["features"], {"face": crowd})
    np.testing.assert_array_equal(alone[0], among[1])


def test_the_embedding_has_unit_length() -> None:
    """A dot product of two embeddings is their cosine."""
    pixels = np.random.default_rng(7).integers(0, 256, (1, 224, 224, 3)).astype(np.uint8)
    (found,) = _run(graphs.clip_embedding(_encoder(np.random.default_rng(8))), ["embedding"], {"image": pixels})
    assert found.shape == (1, 512)
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-5)


def test_the_face_detector_takes_pixels_of_any_size_and_names_its_outputs() -> None:
    """Fixed shapes go, weights stop being inputs, outputs say what they are."""
    weight = helper.make_tensor("w", TensorProto.FLOAT, [1, 3, 1, 1], [1.0, 0.0, 0.0])
    nodes = [helper.make_node("Conv", ["in", "w"], [str(n)], strides=[4, 4]) for n in range(4)]
    inputs = [_floats("in", [10, 3, 32, 32]), _floats("w", [1, 3, 1, 1])]
    old = helper.make_graph(nodes, "old", inputs, [_floats(str(n), [10, 1, 8, 8]) for n in range(4)], [weight])
    model = graphs.face_detector(helper.make_model(old, opset_imports=[helper.make_opsetid("", 9)]))
    assert [value.name for value in model.graph.input] == ["image"]
    pixels = np.zeros((2, 64, 96, 3), np.uint8)
    pixels[1, :, :, 0] = 7
    heatmap, *_ = _run(model, ["heatmap", "scale", "offset", "landmarks"], {"image": pixels})
    assert heatmap.shape == (2, 1, 16, 24)
    assert (heatmap[0] == 0).all()
    assert (heatmap[1] == 7).all()


def test_the_nudity_model_is_given_blue_first_and_less_the_mean() -> None:
    """The channel order and the means of the old training set are inside the graph."""
    old = helper.make_graph(
        [helper.make_node("ReduceMean", ["in"], ["out"], axes=[1, 2], keepdims=0)],
        "old",
        [_floats("in", ["b", 224, 224, 3])],
        [_floats("out", ["b", 3])],
    )
    model = graphs.nudity(helper.make_model(old, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    pixels = np.zeros((1, 224, 224, 3), np.uint8) + np.array([10, 20, 30], np.uint8)
    (found,) = _run(model, ["probabilities"], {"image": pixels})
    assert found[0] == pytest.approx([30 - 104, 20 - 117, 10 - 123], abs=0.01)


def _floats(name: str, shape: list[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _run(model: onnx.ModelProto, outputs: list[str], inputs: dict[str, Any]) -> list[Any]:
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(outputs, inputs))


def _linear(rng: np.random.Generator, inputs: int, outputs: int) -> Linear:
    return Linear(
        rng.integers(-127, 128, (inputs, outputs)).astype(np.int8),
        np.full(outputs, 0.6 / 127 / np.sqrt(inputs), np.float32),
        rng.normal(0, 0.02, outputs).astype(np.float32),
    )


def _encoder(rng: np.random.Generator) -> Encoder:
    """An encoder of the real widths with random weights; all blocks share them, so that making it is cheap."""
    affine = Affine(np.ones(768, np.float32), np.zeros(768, np.float32))
    block = Block(
        affine, _linear(rng, 768, 3 * 768), _linear(rng, 768, 768), affine, _linear(rng, 768, 64), _linear(rng, 64, 768)
    )
    return Encoder(
        patch=rng.normal(0, 0.02, (768, 3, 16, 16)).astype(np.float32),
        position=rng.normal(0, 0.1, (197, 768)).astype(np.float32),
        before=affine,
        blocks=(block,) * 12,
        after=affine,
        projection=_linear(rng, 768, 512),
    )


def _features(encoder: Encoder, image: Any) -> Any:
    """The same encoder in numpy, in double precision."""

    def norm(x: Any) -> Any:
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)

    def through(linear: Linear, x: Any) -> Any:
        weight, scale = graphs.seven_bits(linear)
        return x @ (weight * scale.astype(np.float64)) + linear.bias

    x = (image / 255 - np.array(graphs.CLIP_MEAN)) / np.array(graphs.CLIP_STD)
    patches = x.reshape(14, 16, 14, 16, 3).transpose(0, 2, 4, 1, 3).reshape(196, -1)
    x = np.concatenate([np.zeros((1, 768)), patches @ encoder.patch.reshape(768, -1).T.astype(np.float64)])
    x = norm(x + encoder.position)
    pooled = []
    for i, block in enumerate(encoder.blocks[:11]):
        q, k, v = through(block.qkv, norm(x)).reshape(197, 3, 12, 64).transpose(1, 2, 0, 3)
        seen = np.exp(q @ k.transpose(0, 2, 1))
        y = (seen / seen.sum(-1, keepdims=True)) @ v
        x = x + through(block.out, y.transpose(1, 0, 2).reshape(197, 768))
        y = through(block.up, norm(x))
        x = x + through(block.down, y / (1 + np.exp(-1.702 * y)))
        if i in graphs.FEATURE_BLOCKS:
            pooled.append(graphs.inner_face_mean()[0] @ x)
    return np.concatenate(pooled)
