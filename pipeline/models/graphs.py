"""Weights in, ONNX graphs out: the four models as Triton serves them. Pure: no files, no network.

Every graph takes pixels as a client has them (`uint8`, RGB, height × width × 3), so requests are small and no client
can scale or swap channels differently from how the model was trained.

The CLIP encoder is written anew rather than edited, for two reasons.
- Its published 8-bit graph quantises activations with one scale for the whole batch, so that a score depends on what
  else is in the batch. Here every token has a scale of its own: a score is the same, bit for bit, in any company.
- Its 8-bit weights overflow the 16-bit accumulators of CPUs that have AVX2 without VNNI (255·127·2 > 32767). Here
  weights have seven bits (255·64·2 = 32640), which cannot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Floats = NDArray[np.float32]

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
OPEN_NSFW_MEAN_BGR = (104.0, 117.0, 123.0)

SIDE, PATCH, GRID, WIDTH, HEADS = 224, 16, 14, 768, 12
TOKENS = GRID * GRID + 1

FEATURE_BLOCKS = (7, 8, 9, 10)
"""Blocks (counted from 0) whose tokens the face heads read: traces of forgery are clearest there, not at the end."""
FEATURE_ROWS, FEATURE_COLS = slice(3, 12), slice(3, 11)
"""The patches inside the face, of 14 × 14."""
FEATURES = "clip-b16 blocks 7-10 inner-face mean w7"
"""Names what a head was trained on. Change it when the encoder's arithmetic changes: heads must then be retrained."""
FEATURE_COUNT = WIDTH * len(FEATURE_BLOCKS)

_OPSET, _IR = 17, 8
_MICROSOFT = "com.microsoft"


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """Gain and bias of a layer norm, each n."""

    gain: Floats
    bias: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """x @ (weight · scale) + bias. weight: int8, inputs × outputs; scale and bias per output."""

    weight: NDArray[np.int8]
    scale: Floats
    bias: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """One residual block. qkv: the three projections side by side, queries already divided by √(width of a head)."""

    before_attention: Affine
    qkv: Linear
    out: Linear
    before_mlp: Affine
    up: Linear
    down: Linear


@dataclass(frozen=True, slots=True, eq=False)
class Encoder:
    """CLIP's image tower. patch: width × 3 × 16 × 16; position: 197 × width, the class token in its first row."""

    patch: Floats
    position: Floats
    before: Affine
    blocks: tuple[Block, ...]
    after: Affine
    projection: Linear


@dataclass(frozen=True, slots=True, eq=False)
class HeadWeights:
    """A linear head on the features of FEATURES, calibrated: sigmoid(features · weight + bias) is its probability."""

    weight: Floats
    bias: float


def read_clip(model: onnx.ModelProto) -> Encoder:
    """Take the weights out of the published 8-bit graph. Raises KeyError or ValueError when it is another graph."""
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    matrices = {
        node.name.removesuffix("/MatMul_quant"): node for node in model.graph.node if node.op_type == "MatMulInteger"
    }

    def linear(where: str, bias: str | None) -> Linear:
        node = matrices[where]
        if arrays[node.input[3]].any():
            raise ValueError(f"{where}: weights with a zero point")
        scale = arrays[node.input[1].removesuffix("_quantized") + "_scale"]
        return Linear(arrays[node.input[1]], scale, arrays[bias] if bias else np.zeros_like(scale))

    def affine(name: str) -> Affine:
        return Affine(arrays[f"vision_model.{name}.weight"], arrays[f"vision_model.{name}.bias"])

    def block(i: int) -> Block:
        where, name = f"/vision_model/encoder/layers.{i}", f"vision_model.encoder.layers.{i}"
        q, k, v, out = (
            linear(f"{where}/self_attn/{p}_proj", f"{name}.self_attn.{p}_proj.bias") for p in ("q", "k", "v", "out")
        )
        shrink = np.float32((WIDTH // HEADS) ** -0.5)
        return Block(
            before_attention=affine(f"encoder.layers.{i}.layer_norm1"),
            qkv=Linear(
                np.concatenate([q.weight, k.weight, v.weight], axis=1),
                np.concatenate([q.scale * shrink, k.scale, v.scale]),
                np.concatenate([q.bias * shrink, k.bias, v.bias]),
            ),
            out=out,
            before_mlp=affine(f"encoder.layers.{i}.layer_norm2"),
            up=linear(f"{where}/mlp/fc1", f"{name}.mlp.fc1.bias"),
            down=linear(f"{where}/mlp/fc2", f"{name}.mlp.fc2.bias"),
        )

    position = arrays["vision_model.embeddings.position_embedding.weight"].copy()
    position[0] += arrays["vision_model.embeddings.class_embedding"]
    return Encoder(
        patch=arrays["vision_model.embeddings.patch_embedding.weight"],
        position=position,
        before=affine("pre_layrnorm"),
        blocks=tuple(block(i) for i in range(12)),
        after=affine("post_layernorm"),
        projection=linear("/visual_projection", None),
    )


def face_forgery(encoder: Encoder, heads: dict[str, HeadWeights]) -> onnx.ModelProto:
    """Face crops in (`face`, batch × 224 × 224 × 3), a probability per head out, and the `features` behind them."""
    graph = _Graph()
    x = _embed(graph, encoder, "face")
    pooled = []
    for i, block in enumerate(encoder.blocks[: max(FEATURE_BLOCKS) + 1]):
        x = _block(graph, block, x)
        if i in FEATURE_BLOCKS:
            pooled.append(graph("MatMul", graph.const(inner_face_mean()), x))
    features = graph("Reshape", graph("Concat", *pooled, axis=-1), graph.const(np.array([-1, FEATURE_COUNT])))
    graph.name_output("features", features)
    bake_heads(graph, features, heads)
    return graph.model(
        "face_forgery",
        inputs=[_pixels("face", SIDE, SIDE)],
        outputs=[*(_values(name, 1) for name in heads), _values("features", FEATURE_COUNT)],
    )


def bake_heads(graph: _Graph, features: str, heads: dict[str, HeadWeights]) -> None:
    """Append the heads: one output per head, batch × 1."""
    for name, head in heads.items():
        weight = graph.const(head.weight.astype(np.float32).reshape(-1, 1))
        logit = graph("Gemm", features, weight, graph.const(np.array([head.bias], np.float32)))
        graph.name_output(name, graph("Sigmoid", logit))


def inner_face_mean() -> Floats:
    """1 × 197: the weights that average the tokens inside the face; the class token has none."""
    inside = np.zeros((GRID, GRID), np.float32)
    inside[FEATURE_ROWS, FEATURE_COLS] = 1
    return np.concatenate([[0], inside.ravel() / inside.sum()]).astype(np.float32)[None]


def clip_embedding(encoder: Encoder) -> onnx.ModelProto:
    """Frames in (`image`, batch × 224 × 224 × 3), CLIP's embedding out, of unit length: a dot product is a cosine."""
    graph = _Graph()
    x = _embed(graph, encoder, "image")
    for block in encoder.blocks:
        x = _block(graph, block, x)
    whole = graph("Gather", x, graph.const(np.array(0)), axis=1)
    whole = _linear(graph, encoder.projection, _norm(graph, encoder.after, whole))
    graph.name_output("embedding", graph("LpNormalization", whole, axis=-1, p=2))
    return graph.model("clip_embedding", inputs=[_pixels("image", SIDE, SIDE)], outputs=[_values("embedding", 512)])


def face_detector(centerface: onnx.ModelProto) -> onnx.ModelProto:
    """CenterFace with free batch, height and width (multiples of 32), and outputs that say what they are."""
    graph = _Graph()
    x = graph("Transpose", graph("Cast", "image", to=TensorProto.FLOAT), perm=[0, 3, 1, 2])
    names = ("heatmap", "scale", "offset", "landmarks")
    old = centerface.graph
    renamed = {old.input[0].name: x, **{out.name: name for out, name in zip(old.output, names, strict=True)}}
    graph.take(old, renamed)
    channels = (1, 2, 2, 10)
    outputs = [_value(n, TensorProto.FLOAT, ("batch", c, "rows", "cols")) for n, c in zip(names, channels, strict=True)]
    # Published for operator set 9. The six operators it uses (Conv, ConvTranspose, BatchNormalization, Relu, Add,
    # Sigmoid) mean the same in set 17.
    return graph.model("face_detector", inputs=[_pixels("image", "height", "width")], outputs=outputs)


def nudity(open_nsfw: onnx.ModelProto) -> onnx.ModelProto:
    """Open-NSFW with its pre-processing inside: RGB to BGR, minus the means of its training set."""
    graph = _Graph()
    x = graph("Gather", graph("Cast", "image", to=TensorProto.FLOAT), graph.const(np.array([2, 1, 0])), axis=3)
    x = graph("Sub", x, graph.const(np.array(OPEN_NSFW_MEAN_BGR, np.float32)))
    old = open_nsfw.graph
    graph.take(old, {old.input[0].name: x, old.output[0].name: "probabilities"})
    return graph.model("nudity", inputs=[_pixels("image", SIDE, SIDE)], outputs=[_values("probabilities", 2)])


class _Graph:
    """Collects nodes and constants. Calling it adds a node and returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def __call__(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        output = f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], output, domain=domain, **attributes))
        return output

    def const(self, array: NDArray[Any]) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(array, order="C"), name))
        return name

    def name_output(self, name: str, value: str) -> None:
        self.nodes.append(helper.make_node("Identity", [value], [name], name))

    def take(self, old: onnx.GraphProto, renamed: dict[str, str]) -> None:
        """Append another graph's nodes and constants; `renamed` says what its inputs and outputs are called here."""
        self.constants.extend(old.initializer)
        for node in old.node:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.input[:] = [renamed.get(name, name) for name in node.input]
            copy.output[:] = [renamed.get(name, name) for name in node.output]
            self.nodes.append(copy)

    def model(
        self, name: str, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]
    ) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, name, list(inputs), list(outputs), self.constants)
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR, producer_name="unmask")


def _value(name: str, kind: int, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, list(shape))


def _pixels(name: str, height: int | str, width: int | str) -> onnx.ValueInfoProto:
    return _value(name, TensorProto.UINT8, ("batch", height, width, 3))


def _values(name: str, count: int) -> onnx.ValueInfoProto:
    return _value(name, TensorProto.FLOAT, ("batch", count))


def _embed(graph: _Graph, encoder: Encoder, pixels: str) -> str:
    """Pixels to 197 tokens. Scaling to CLIP's mean and deviation is folded into the patch convolution, at no cost."""
    mean, std = np.array(CLIP_MEAN, np.float64), np.array(CLIP_STD, np.float64)
    weight = encoder.patch / (255 * std)[None, :, None, None]
    bias = -(encoder.patch * (mean / std)[None, :, None, None]).sum(axis=(1, 2, 3))
    x = graph("Transpose", graph("Cast", pixels, to=TensorProto.FLOAT), perm=[0, 3, 1, 2])
    kernel, add = graph.const(weight.astype(np.float32)), graph.const(bias.astype(np.float32))
    x = graph("Conv", x, kernel, add, kernel_shape=[PATCH, PATCH], strides=[PATCH, PATCH])
    x = graph("Transpose", graph("Reshape", x, graph.const(np.array([0, WIDTH, GRID * GRID]))), perm=[0, 2, 1])
    x = graph("Pad", x, graph.const(np.array([0, 1, 0, 0, 0, 0])))
    return _norm(graph, encoder.before, graph("Add", x, graph.const(encoder.position)))


def _block(graph: _Graph, block: Block, x: str) -> str:
    y = _linear(graph, block.qkv, _norm(graph, block.before_attention, x))
    heads = graph.const(np.array([0, TOKENS, 3, HEADS, WIDTH // HEADS]))
    y = graph("Transpose", graph("Reshape", y, heads), perm=[2, 0, 3, 1, 4])
    q, k, v = (graph("Gather", y, graph.const(np.array(i)), axis=0) for i in range(3))
    seen = graph("Softmax", graph("MatMul", q, graph("Transpose", k, perm=[0, 1, 3, 2])), axis=-1)
    y = graph("Transpose", graph("MatMul", seen, v), perm=[0, 2, 1, 3])
    y = graph("Reshape", y, graph.const(np.array([0, TOKENS, WIDTH])))
    x = graph("Add", x, _linear(graph, block.out, y))
    y = _linear(graph, block.up, _norm(graph, block.before_mlp, x))
    y = graph("Mul", y, graph("Sigmoid", graph("Mul", y, graph.const(np.array(1.702, np.float32)))))
    return graph("Add", x, _linear(graph, block.down, y))


def _norm(graph: _Graph, norm: Affine, x: str) -> str:
    return graph("LayerNormalization", x, graph.const(norm.gain), graph.const(norm.bias), axis=-1, epsilon=1e-5)


def _linear(graph: _Graph, linear: Linear, x: str) -> str:
    """Integer product: each token is brought to −127…127 by its own largest value, stored as 1…255 round 128."""
    weight, scale = seven_bits(linear)
    largest = graph("ReduceMax", graph("Abs", x), axes=[-1], keepdims=1)
    largest = graph("Max", largest, graph.const(np.array(1e-6, np.float32)))
    step = graph("Mul", largest, graph.const(np.array(1 / 127, np.float32)))
    # Adding a half and cutting rounds, since everything is positive; one pass less than Round.
    shifted = graph("Add", graph("Div", x, step), graph.const(np.array(128.5, np.float32)))
    whole = graph("Cast", shifted, to=TensorProto.UINT8)
    product = graph("MatMulInteger", whole, graph.const(weight), graph.const(np.array(128, np.uint8)))
    y = graph("Mul", graph("Cast", product, to=TensorProto.FLOAT), graph.const(scale))
    return graph("Add", graph("Mul", y, step), graph.const(linear.bias))


def seven_bits(linear: Linear) -> tuple[NDArray[np.int8], Floats]:
    """The weights again with a largest value of 64 per column, and the scale that belongs to them."""
    exact = linear.weight.astype(np.float32) * linear.scale
    scale = np.maximum(np.abs(exact).max(axis=0), 1e-12) / 64
    return np.rint(exact / scale).astype(np.int8), scale.astype(np.float32)
