"""Weights in, ONNX graphs out: the four models as Triton serves them. Pure: no files, no network.

Every graph takes pixels as a client has them (`uint8`, RGB, height × width × 3), so requests are small and no client
can scale or swap channels differently from how the model was trained.

The CLIP encoder is written anew rather than edited, for three reasons.
- Its published 8-bit graph quantises activations with one scale for the whole batch, so that a score depends on what
  else is in the batch. Here the scales are fixed (`spans.py`): a score is the same, bit for bit, in any company.
- Its 8-bit weights overflow the 16-bit accumulators of CPUs that have AVX2 without VNNI (255·127·2 > 32767). Here
  weights have seven bits (255·64·2 = 32640), which cannot.
- Fixed scales need no pass over the values to find them, and the product comes out scaled: a third faster than a scale
  for each token, and no further from the exact result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from pipeline.models import folded
from pipeline.models.clip_spans import CLIP_SPANS
from pipeline.models.seam import EPSILON, STEEP, SeamWeights
from pipeline.models.seam import HEADS as SEAM_HEADS
from pipeline.models.spans import Span

Floats = NDArray[np.float32]

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
OPEN_NSFW_MEAN_BGR = (104.0, 117.0, 123.0)

SIDE, PATCH, GRID, WIDTH, HEADS = 224, 16, 14, 768, 12
TOKENS = GRID * GRID + 1

FEATURE_BLOCKS = (5, 6, 7, 8, 9, 10)
"""Blocks (counted from 0) whose tokens the face heads read: traces of forgery are clearest there, not at the end."""
FEATURE_ROWS, FEATURE_COLS = slice(3, 12), slice(3, 11)
"""The patches inside the face, of 14 × 14."""
PATCH_BLOCKS = (6, 8, 10)
"""Blocks that the map of a face is read from, patch by patch."""
POOLED = "clip-b16 blocks 5-10 inner-face mean w7 fixed scales"
FEATURES = f"{POOLED}, and seam"
PATCH_FEATURES = "clip-b16 blocks 6, 8, 10 of a patch w7 fixed scales"
"""Name what a head was trained on. Change them when the encoder's arithmetic changes: heads must then be retrained.

POOLED: means over patches, all that is read of a face as a whole. FEATURES: these and, last, the seam head's logit.
"""
POOLED_COUNT = WIDTH * len(FEATURE_BLOCKS)
FEATURE_COUNT = POOLED_COUNT + 1
PATCH_COUNT = WIDTH * len(PATCH_BLOCKS)

FRAME_BLOCKS = (4, 5, 6, 7, 8, 9, 10)
"""Blocks whose patches heads on whole frames read."""
FRAME_FEATURE_COUNT = WIDTH * len(FRAME_BLOCKS)

_OPSET, _IR = 17, 8
_MICROSOFT = "com.microsoft"


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """Gain and bias of a layer norm, each n."""

    gain: Floats
    bias: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """x @ (weight · scale) + bias. weight: int8, inputs × outputs; scale, bias: per output; span: how far x reaches."""

    weight: NDArray[np.int8]
    scale: Floats
    bias: Floats
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """One residual block. q: already divided by √(width of a head)."""

    before_attention: Affine
    q: Linear
    k: Linear
    v: Linear
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
    projection: Floats


@dataclass(frozen=True, slots=True, eq=False)
class HeadWeights:
    """A linear head on FEATURES or PATCH_FEATURES, calibrated: sigmoid(features · weight + bias) is its probability."""

    weight: Floats
    bias: float


def read_clip(model: onnx.ModelProto) -> Encoder:
    """Take the weights out of the published 8-bit graph. Raises KeyError or ValueError when it is another graph."""
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    matrices = {
        node.name.removesuffix("/MatMul_quant"): node for node in model.graph.node if node.op_type == "MatMulInteger"
    }

    def weights(where: str) -> tuple[NDArray[np.int8], Floats]:
        node = matrices[where]
        if arrays[node.input[3]].any():
            raise ValueError(f"{where}: weights with a zero point")
        return arrays[node.input[1]], arrays[node.input[1].removesuffix("_quantized") + "_scale"]

    def affine(name: str) -> Affine:
        return Affine(arrays[f"vision_model.{name}.weight"], arrays[f"vision_model.{name}.bias"])

    def block(i: int) -> Block:
        spans = CLIP_SPANS[i]

        def linear(name: str, span: Span, shrink: float = 1) -> Linear:
            weight, scale = weights(f"/vision_model/encoder/layers.{i}/{name}")
            bias = arrays[f"vision_model.encoder.layers.{i}.{name.replace('/', '.')}.bias"]
            return Linear(weight, scale * np.float32(shrink), bias * np.float32(shrink), span)

        return Block(
            before_attention=affine(f"encoder.layers.{i}.layer_norm1"),
            q=linear("self_attn/q_proj", spans.qkv, shrink=(WIDTH // HEADS) ** -0.5),
            k=linear("self_attn/k_proj", spans.qkv),
            v=linear("self_attn/v_proj", spans.qkv),
            out=linear("self_attn/out_proj", spans.out),
            before_mlp=affine(f"encoder.layers.{i}.layer_norm2"),
            up=linear("mlp/fc1", spans.up),
            down=linear("mlp/fc2", spans.down),
        )

    position = arrays["vision_model.embeddings.position_embedding.weight"].copy()
    position[0] += arrays["vision_model.embeddings.class_embedding"]
    projection, scale = weights("/visual_projection")
    return Encoder(
        patch=arrays["vision_model.embeddings.patch_embedding.weight"],
        position=position,
        before=affine("pre_layrnorm"),
        blocks=tuple(block(i) for i in range(12)),
        after=affine("post_layernorm"),
        projection=projection.astype(np.float32) * scale,
    )


def face_forgery(
    encoder: Encoder, heads: dict[str, HeadWeights], heat: HeadWeights, seam: SeamWeights
) -> onnx.ModelProto:
    """Face crops in (`face`, batch × 224 × 224 × 3), a probability per head out, and the `features` behind them.

    `features`: what the encoder gives of the whole face, and what `seam` says of its patches as the last number.
    `heat` (batch × 14 × 14): what a head on patches says of each patch, as a probability.
    """
    graph = _Graph()
    pooled, tokens = _face(graph, encoder)
    features = graph("Concat", pooled, _seam(graph, seam, tokens), axis=-1)
    graph.name_output("features", features)
    bake_heads(graph, features, heads)
    logits = graph("MatMul", tokens, graph.const(heat.weight.astype(np.float32).reshape(-1, 1)))
    shown = graph("Sigmoid", graph("Add", logits, graph.const(np.array(heat.bias, np.float32))))
    graph.name_output("heat", graph("Reshape", _patches(graph, shown), graph.const(np.array([-1, GRID, GRID]))))
    return graph.model(
        "face_forgery",
        inputs=[_pixels("face", SIDE, SIDE)],
        outputs=[
            *(_values(name, 1) for name in heads),
            _value("heat", TensorProto.FLOAT, ("batch", GRID, GRID)),
            _values("features", FEATURE_COUNT),
        ],
    )


def face_features(encoder: Encoder) -> onnx.ModelProto:
    """What heads are trained on: `features`, the pooled ones alone, and `patches` (batch × 196 × PATCH_COUNT)."""
    graph = _Graph()
    pooled, tokens = _face(graph, encoder)
    graph.name_output("features", pooled)
    graph.name_output("patches", _patches(graph, tokens))
    shape = ("batch", GRID * GRID, PATCH_COUNT)
    outputs = [_values("features", POOLED_COUNT), _value("patches", TensorProto.FLOAT, shape)]
    return graph.model("face_features", inputs=[_pixels("face", SIDE, SIDE)], outputs=outputs)


def _face(graph: _Graph, encoder: Encoder) -> tuple[str, str]:
    """From `face` to what is read of the whole face (batch × POOLED_COUNT), and of each token (… × PATCH_COUNT)."""
    x = _embed(graph, encoder, "face")
    pooled, tokens = [], []
    for i, block in enumerate(encoder.blocks[: max(*FEATURE_BLOCKS, *PATCH_BLOCKS) + 1]):
        x = _block(graph, block, x)
        if i in FEATURE_BLOCKS:
            pooled.append(graph("MatMul", graph.const(inner_face_mean()), x))
        if i in PATCH_BLOCKS:
            tokens.append(x)
    means = graph("Reshape", graph("Concat", *pooled, axis=-1), graph.const(np.array([-1, POOLED_COUNT])))
    return means, graph("Concat", *tokens, axis=-1)


def _patches(graph: _Graph, x: str) -> str:
    """All tokens but the class token."""
    return graph("Slice", x, *(graph.const(np.array([n])) for n in (1, TOKENS, 1)))


def _seam(graph: _Graph, seam: SeamWeights, tokens: str) -> str:
    """What `SeamWeights` computes, batch × 1, from all tokens. No sum runs over more than one crop."""
    apart_from = {"place", "project.bias", "answer.weight"}
    of = {name: graph.const(array) for name, array in seam.arrays.items() if name not in apart_from}
    apart = graph.const(np.array([0, -1, 3 * SEAM_HEADS, seam.width // SEAM_HEADS]))
    together = graph.const(np.array([0, -1, seam.width]))
    shrink = graph.const(np.array((seam.width // SEAM_HEADS) ** -0.5, np.float32))

    def norm(name: str, x: str) -> str:
        return graph("LayerNormalization", x, of[f"{name}.gain"], of[f"{name}.bias"], axis=-1, epsilon=EPSILON)

    def linear(name: str, x: str) -> str:
        return graph("Add", graph("MatMul", x, of[f"{name}.weight"]), of[f"{name}.bias"])

    # The class token goes after the product: leaving it out before would copy many times as much.
    z = _patches(graph, graph("MatMul", tokens, of["project.weight"]))
    z = graph("Add", z, graph.const(seam.arrays["place"] + seam.arrays["project.bias"]))
    for i in range(seam.depth):
        qkv = graph("Reshape", linear(f"block{i}.qkv", norm(f"block{i}.norm1", z)), apart)
        q, k, v = graph.split(graph("Transpose", qkv, perm=[0, 2, 1, 3]), 3, axis=1)
        near = graph("MatMul", graph("Mul", q, shrink), graph("Transpose", k, perm=[0, 1, 3, 2]))
        seen = graph("MatMul", graph("Softmax", near, axis=-1), v)
        seen = graph("Reshape", graph("Transpose", seen, perm=[0, 2, 1, 3]), together)
        z = graph("Add", z, linear(f"block{i}.out", seen))
        y = linear(f"block{i}.up", norm(f"block{i}.norm2", z))
        y = graph("Mul", y, graph("Sigmoid", graph("Mul", y, graph.const(np.array(STEEP, np.float32)))))
        z = graph("Add", z, linear(f"block{i}.down", y))
    z = norm("norm", z)
    flat = graph("Reshape", graph("MatMul", z, of["attend.weight"]), graph.const(np.array([0, 1, GRID * GRID])))
    looked = graph("MatMul", graph("Softmax", flat, axis=-1), z)
    # Each sum in the form that adds up one crop in the same order as several: the mean as a product of matrices, the
    # answer not.
    mean = graph("MatMul", graph.const(np.full((1, GRID * GRID), GRID**-2, np.float32)), z)
    pooled = graph("Concat", looked, mean, axis=-1)
    weighed = graph("Mul", pooled, graph.const(seam.arrays["answer.weight"].reshape(-1)))
    summed = graph("ReduceSum", weighed, graph.const(np.array([2])), keepdims=0)
    return graph("Add", summed, of["answer.bias"])


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
    """Frames in (`image`, batch × 224 × 224 × 3), CLIP's embedding out, of unit length: a dot product is a cosine.

    `features`: the mean over all patches of each of FRAME_BLOCKS, one after another; `spread`: their standard
    deviation.
    """
    graph = _Graph()
    x = _embed(graph, encoder, "image")
    means, spreads = [], []
    for i, block in enumerate(encoder.blocks[:-1]):
        x = _block(graph, block, x)
        if i in FRAME_BLOCKS:
            patches = _patches(graph, x)
            mean = graph("ReduceMean", patches, axes=[1], keepdims=1)
            off = graph("Sub", patches, mean)
            means.append(graph("Squeeze", mean, graph.const(np.array([1]))))
            spreads.append(graph("Sqrt", graph("ReduceMean", graph("Mul", off, off), axes=[1], keepdims=0)))
    whole = _block(graph, encoder.blocks[-1], x, only=[0])
    whole = _norm(graph, encoder.after, graph("Squeeze", whole, graph.const(np.array([1]))))
    whole = graph("MatMul", whole, graph.const(encoder.projection))
    graph.name_output("embedding", graph("LpNormalization", whole, axis=-1, p=2))
    graph.name_output("features", graph("Concat", *means, axis=-1))
    graph.name_output("spread", graph("Concat", *spreads, axis=-1))
    sizes = {"embedding": 512, "features": FRAME_FEATURE_COUNT, "spread": FRAME_FEATURE_COUNT}
    return graph.model(
        "clip_embedding",
        inputs=[_pixels("image", SIDE, SIDE)],
        outputs=[_values(name, count) for name, count in sizes.items()],
    )


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
    """Open-NSFW with its pre-processing inside: minus the means of its training set, and RGB to BGR.

    The network is folded into half as many operators (`folded.py`); its first convolution takes the colours turned.
    """
    graph = _Graph()
    x = graph("Transpose", graph("Cast", "image", to=TensorProto.FLOAT), perm=[0, 3, 1, 2])
    x = graph("Sub", x, graph.const(np.array(OPEN_NSFW_MEAN_BGR[::-1], np.float32).reshape(3, 1, 1)))
    graph.name_output("probabilities", folded.write(graph, open_nsfw.graph, x, lambda kernel: kernel[:, ::-1]))
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

    def split(self, x: str, parts: int, axis: int) -> list[str]:
        """Equal parts of `x`, side by side along `axis`."""
        outputs = [f"Split_{len(self.nodes)}_{i}" for i in range(parts)]
        self.nodes.append(helper.make_node("Split", [x], outputs, axis=axis))
        return outputs

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


def _block(graph: _Graph, block: Block, x: str, only: Sequence[int] | None = None) -> str:
    """`only`: the tokens wanted of the last block; no other is finished."""
    normed = _norm(graph, narrowed(block.before_attention, block.q.span), x)
    k, v = (_linear(graph, part, normed) for part in (block.k, block.v))
    if only is not None:
        wanted = graph.const(np.array(only))
        x, normed = graph("Gather", x, wanted, axis=1), graph("Gather", normed, wanted, axis=1)
    heads = graph.const(np.array([0, -1, HEADS, WIDTH // HEADS]))
    q, k, v = (
        graph("Transpose", graph("Reshape", part, heads), perm=[0, 2, 1, 3])
        for part in (_linear(graph, block.q, normed), k, v)
    )
    # Turned a second time, since ONNX Runtime makes that a part of the product.
    near = graph("MatMul", q, graph("Transpose", k, perm=[0, 1, 3, 2]))
    seen = graph("MatMul", graph("Softmax", near, axis=-1), v)
    y = graph("Reshape", graph("Transpose", seen, perm=[0, 2, 1, 3]), graph.const(np.array([0, -1, WIDTH])))
    x = graph("Add", x, _linear(graph, block.out, y))
    y = _linear(graph, block.up, _norm(graph, narrowed(block.before_mlp, block.up.span), x))
    y = graph("Mul", y, graph("Sigmoid", graph("Mul", y, graph.const(np.array(1.702, np.float32)))))
    # Here a few weights of a column are far larger than the rest; elsewhere the largest meet the largest values.
    return graph("Add", x, _linear(graph, block.down, y, closest=True))


def _norm(graph: _Graph, norm: Affine, x: str) -> str:
    return graph("LayerNormalization", x, graph.const(norm.gain), graph.const(norm.bias), axis=-1, epsilon=1e-5)


def narrowed(norm: Affine, span: Span) -> Affine:
    """A layer norm whose far-reaching channels are divided as `span` says; `_linear` multiplies their weights."""
    by = np.ones_like(norm.gain)
    by[list(span.narrow)] = list(span.narrow.values())
    return Affine(norm.gain / by, norm.bias / by)


def _linear(graph: _Graph, linear: Linear, x: str, *, closest: bool = False) -> str:
    """Integer product with fixed scales. ONNX Runtime's own operator, since it gives back scaled 32-bit values."""
    exact = linear.weight.astype(np.float32) * linear.scale
    exact[list(linear.span.narrow)] *= np.array(list(linear.span.narrow.values()), np.float32)[:, None]
    apart = list(linear.span.exact)
    rest = exact.copy()
    rest[apart] = 0
    weight, scale = seven_bits(rest, closest=closest)
    step = np.float32((linear.span.high - linear.span.low) / 255)
    at, zero = graph.const(np.array(step)), graph.const(np.array(round(-linear.span.low / float(step)), np.uint8))
    whole = graph("QuantizeLinear", x, at, zero)
    inputs = whole, graph.const(weight), at, graph.const(scale), zero, "", graph.const(linear.bias)
    y = graph("MatMulIntegerToFloat", *inputs, domain=_MICROSOFT)
    if not apart:
        return y
    far = graph("Gather", x, graph.const(np.array(apart)), axis=-1)
    return graph("Add", y, graph("MatMul", far, graph.const(exact[apart])))


def seven_bits(exact: Floats, *, closest: bool = False) -> tuple[NDArray[np.int8], Floats]:
    """inputs × outputs → whole numbers from −64 to 64, and a scale per column.

    The scale fits a column's largest value, or, with `closest`, is the one with the least squared error, where the
    largest values may be cut off.
    """
    largest = np.maximum(np.abs(exact).max(axis=0), 1e-12)
    tries = [(largest * share / 64).astype(np.float32) for share in (np.linspace(0.6, 1, 9) if closest else (1.0,))]
    errors = [np.square(_whole(exact, scale) * scale - exact).sum(axis=0) for scale in tries]
    scale = np.take_along_axis(np.stack(tries), np.argmin(errors, axis=0)[None], axis=0)[0]
    return _whole(exact, scale).astype(np.int8), scale


def _whole(exact: Floats, scale: Floats) -> Floats:
    return np.asarray(np.clip(np.rint(exact / scale), -64, 64), np.float32)
