from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipeline.models import graphs
from pipeline.models.graphs import Affine, Block, Encoder, HeadWeights, Linear
from pipeline.models.seam import SeamWeights
from pipeline.models.spans import Span
from tests.unit.models.test_seam import random_weights


@pytest.mark.parametrize("closest", [False, True])
def test_seven_bit_weights_cannot_overflow_sixteen_bits(closest: bool) -> None:
    """Two products of an unsigned byte and a weight fit 16 bits, in which AVX2 without VNNI adds them."""
    weight, _ = graphs.seven_bits(np.random.default_rng(0).normal(size=(32, 16)).astype(np.float32), closest=closest)
    assert 2 * 255 * int(np.abs(weight.astype(int)).max()) <= 32767


def test_seven_bit_weights_stay_close_to_the_given_ones() -> None:
    """No weight moves by more than half a step of its column."""
    exact = np.random.default_rng(1).normal(size=(48, 8)).astype(np.float32)
    weight, scale = graphs.seven_bits(exact)
    assert (np.abs(weight * scale.astype(np.float64) - exact) <= scale * 0.501).all()


def test_the_closest_seven_bits_cut_off_one_far_weight_for_the_sake_of_the_others() -> None:
    """With a single weight far out, the squared error of its column falls, and never rises elsewhere."""
    exact = np.random.default_rng(2).normal(size=(768, 4)).astype(np.float32)
    exact[5, 1] = 12
    (fit, fit_scale), (near, near_scale) = graphs.seven_bits(exact), graphs.seven_bits(exact, closest=True)
    before = np.square(fit * fit_scale - exact).sum(axis=0)
    after = np.square(near * near_scale - exact).sum(axis=0)
    assert (after <= before).all()


def test_a_column_of_zeros_survives() -> None:
    """A dead output must not become not-a-number."""
    weight, scale = graphs.seven_bits(np.zeros((4, 2), np.float32), closest=True)
    assert not weight.any()
    assert np.isfinite(scale).all()


def test_narrowing_changes_no_result() -> None:
    """What the layer norm divides a channel by, the product multiplies its weights by."""
    rng = np.random.default_rng(9)
    norm = Affine(np.ones(768, np.float32), np.zeros(768, np.float32))
    span = Span(-8, 8, {3: 4.0, 700: 2.0})
    by = norm.gain / graphs.narrowed(norm, span).gain
    assert {int(i): float(by[i]) for i in np.flatnonzero(by != 1)} == {3: 4.0, 700: 2.0}
    linear, x = replace(_linear(rng, 768, 8), span=span), rng.normal(size=(5, 768)).astype(np.float32)
    x[:, 3] = 30
    assert _through(linear, x / by) == pytest.approx(_exactly(linear, x), abs=0.05)


def test_channels_that_reach_far_go_round_the_scale() -> None:
    """A value a hundred times beyond the scale counts in full in an exact channel, and is cut off in any other."""
    rng = np.random.default_rng(10)
    linear, x = _linear(rng, 768, 8), rng.uniform(-1, 1, (5, 768)).astype(np.float32)
    x[:, 7] = 100
    wanted = _exactly(linear, x)
    assert _through(replace(linear, span=Span(-1, 1, exact=(7,))), x) == pytest.approx(wanted, abs=0.02)
    assert np.abs(_through(replace(linear, span=Span(-1, 1)), x) - wanted).max() > 0.1


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
    (found,) = _run(graphs.face_features(encoder), ["features"], {"face": pixels})
    wanted = np.stack([_features(encoder, image) for image in pixels])
    assert found.shape == (2, graphs.POOLED_COUNT)
    cosine = (found * wanted).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(wanted, axis=1)
    assert cosine.min() > 0.999


def test_what_is_served_is_what_training_read() -> None:
    """The live model judges by the very features and patches: its map and its last feature are those of its parts."""
    encoder, heat, seam = _encoder(np.random.default_rng(11)), _heat(), _seam()
    pixels = np.random.default_rng(12).integers(0, 256, (2, 224, 224, 3)).astype(np.uint8)
    model = graphs.face_forgery(encoder, {}, heat, seam)
    shown, features = _run(model, ["heat", "features"], {"face": pixels})
    read, patches = _run(graphs.face_features(encoder), ["features", "patches"], {"face": pixels})
    np.testing.assert_array_equal(features[:, :-1], read)
    assert features.shape == (2, graphs.FEATURE_COUNT)
    assert features[:, -1] == pytest.approx(seam(patches), abs=1e-4)
    assert patches.shape == (2, 196, graphs.PATCH_COUNT)
    wanted = 1 / (1 + np.exp(-(patches @ heat.weight + heat.bias)))
    assert shown == pytest.approx(wanted.reshape(2, 14, 14), abs=1e-4)


def test_a_score_does_not_depend_on_its_neighbours_in_the_batch() -> None:
    """A face gets the same features alone and beside a glaring white and a black one, bit for bit."""
    model = graphs.face_forgery(_encoder(np.random.default_rng(5)), {}, _heat(), _seam())
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


def test_a_frame_s_features_are_mean_and_spread_over_its_patches() -> None:
    """Seven blocks of 768 each; a frame of one colour still has the spread of the patches' positions."""
    pixels = np.random.default_rng(11).integers(0, 256, (2, 224, 224, 3)).astype(np.uint8)
    encoder = _encoder(np.random.default_rng(12))
    features, spread = _run(graphs.clip_embedding(encoder), ["features", "spread"], {"image": pixels})
    assert features.shape == spread.shape == (2, graphs.FRAME_FEATURE_COUNT)
    tokens = [_tokens(encoder, image) for image in pixels]
    for found, of in ((features, np.mean), (spread, np.std)):
        wanted = np.stack([np.concatenate([of(x[i][1:], axis=0) for i in graphs.FRAME_BLOCKS]) for x in tokens])
        cosine = (found * wanted).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(wanted, axis=1)
        assert cosine.min() > 0.999


def test_only_the_wanted_tokens_of_the_last_block_are_finished_and_are_the_same() -> None:
    """Leaving tokens out of the last block changes no bit of the others."""
    encoder, x = _encoder(np.random.default_rng(13)), np.random.default_rng(14).normal(size=(2, 197, 768))
    found = []
    for only in (None, [0, 5]):
        graph = graphs._Graph()
        graph.name_output("out", graphs._block(graph, encoder.blocks[0], "in", only))
        model = graph.model("block", [_floats("in", ["b", 197, 768])], [_floats("out", ["b", "t", 768])])
        found.append(_run(model, ["out"], {"in": x.astype(np.float32)})[0])
    np.testing.assert_array_equal(found[0][:, [0, 5]], found[1])


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
    kernel = numpy_helper.from_array(np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1), "kernel")
    old = helper.make_graph(
        [
            helper.make_node("Transpose", ["in"], ["front"], perm=[0, 3, 1, 2]),
            helper.make_node("Conv", ["front", "kernel"], ["each"]),
            helper.make_node("Transpose", ["each"], ["back"], perm=[0, 2, 3, 1]),
            helper.make_node("ReduceMean", ["back"], ["out"], axes=[1, 2], keepdims=0),
        ],
        "old",
        [_floats("in", ["b", 224, 224, 3])],
        [_floats("out", ["b", 3])],
        [kernel],
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
        Span(-6, 6),
    )


def _through(linear: Linear, x: Any) -> Any:
    graph = graphs._Graph()
    graph.name_output("y", graphs._linear(graph, linear, "x"))
    inputs, outputs = linear.weight.shape
    model = graph.model("linear", [_floats("x", ["b", inputs])], [_floats("y", ["b", outputs])])
    return _run(model, ["y"], {"x": x.astype(np.float32)})[0]


def _exactly(linear: Linear, x: Any) -> Any:
    return x.astype(np.float64) @ (linear.weight * linear.scale.astype(np.float64)) + linear.bias


def _encoder(rng: np.random.Generator) -> Encoder:
    """An encoder of the real widths with random weights; all blocks share them, so that making it is cheap."""
    affine = Affine(np.ones(768, np.float32), np.zeros(768, np.float32))
    block = Block(
        before_attention=affine,
        q=_linear(rng, 768, 768),
        k=_linear(rng, 768, 768),
        v=_linear(rng, 768, 768),
        out=replace(_linear(rng, 768, 768), span=Span(-1, 1)),
        before_mlp=affine,
        up=_linear(rng, 768, 64),
        down=replace(_linear(rng, 64, 768), span=Span(-0.17, 3)),
    )
    return Encoder(
        patch=rng.normal(0, 0.02, (768, 3, 16, 16)).astype(np.float32),
        position=rng.normal(0, 0.1, (197, 768)).astype(np.float32),
        before=affine,
        blocks=(block,) * 12,
        after=affine,
        projection=rng.normal(0, 0.04, (768, 512)).astype(np.float32),
    )


def _features(encoder: Encoder, image: Any) -> Any:
    tokens = _tokens(encoder, image)
    return np.concatenate([graphs.inner_face_mean()[0] @ tokens[i] for i in graphs.FEATURE_BLOCKS])


def _tokens(encoder: Encoder, image: Any) -> Any:
    """The same encoder in numpy, in double precision: 197 × 768 after each of the first eleven blocks."""

    def norm(x: Any) -> Any:
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)

    x = (image / 255 - np.array(graphs.CLIP_MEAN)) / np.array(graphs.CLIP_STD)
    patches = x.reshape(14, 16, 14, 16, 3).transpose(0, 2, 4, 1, 3).reshape(196, -1)
    x = np.concatenate([np.zeros((1, 768)), patches @ encoder.patch.reshape(768, -1).T.astype(np.float64)])
    x = norm(x + encoder.position)
    after = []
    for block in encoder.blocks[:11]:
        q, k, v = (
            _exactly(linear, norm(x)).reshape(197, 12, 64).transpose(1, 0, 2) for linear in (block.q, block.k, block.v)
        )
        seen = np.exp(q @ k.transpose(0, 2, 1))
        y = (seen / seen.sum(-1, keepdims=True)) @ v
        x = x + _exactly(block.out, y.transpose(1, 0, 2).reshape(197, 768))
        y = _exactly(block.up, norm(x))
        x = x + _exactly(block.down, y / (1 + np.exp(-1.702 * y)))
        after.append(x)
    return after


def _heat() -> HeadWeights:
    return HeadWeights(np.random.default_rng(0).normal(0, 0.05, graphs.PATCH_COUNT).astype(np.float32), 0.3)


def _seam() -> SeamWeights:
    return random_weights(width=16, depth=1)
