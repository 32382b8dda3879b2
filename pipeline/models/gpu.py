"""The model repository for a Triton server with GPUs: the same models and answers, in the way that suits a GPU.

For CPUs the CLIP encoder multiplies whole numbers, by an operator of ONNX Runtime's own that it has for CPUs alone
(MatMulIntegerToFloat). On a GPU each of those products would go to the CPU and back. Here they become products of
32-bit numbers, with the very weights that the heads were trained on: seven bits times their scale.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from pipeline.errors import ConfigError
from pipeline.models.build import build
from pipeline.models.sources import Progress, write_atomically

BATCH = 32
"""Rows in one batch at most: face crops of 224 pixels fill a GPU from some sixteen on."""
DELAY = 2000
"""Microseconds that a request may wait for others: little beside what fetching and decoding an upload take."""
ON_CPU = ("voice_activity",)
"""One long recurrence over a few numbers at a time: a GPU would wait for itself."""
ANY_SIZE = ("face_detector",)
"""Pictures of any size. cuDNN by default tries every algorithm anew for each; a rule of thumb does."""
_LEFT_OUT = ("instance_group", "dynamic_batching")
_COPIED = ("CARD.md", "labels.txt")


@dataclass(frozen=True, slots=True)
class GpuModel:
    """One model of the repository. `products`: how many were brought from whole numbers to 32 bits."""

    name: str
    path: Path
    products: int


def build_for_gpu(models_dir: Path, to: Path, home: Path, progress: Progress = lambda _: None) -> tuple[GpuModel, ...]:
    """Bring `models_dir` up to date and write it into the folder `to` for GPUs. Raises ConfigError.

    Folders in `models_dir` that Unmask does not build are the platform's own, and so is their configuration.
    """
    if to.resolve() == models_dir.resolve():
        raise ConfigError(f"{to}: the repository for CPUs lies there; name another folder")
    found = []
    for built in build(models_dir, home, progress).models:
        progress(f"writing {built.name} for GPUs")
        folder, place = models_dir / built.name, to / built.name
        model, products = in_floats(onnx.load(built.path))
        write_atomically(place / "1" / "model.onnx", model.SerializeToString(deterministic=True))
        text = (folder / "config.pbtxt").read_text(encoding="utf-8")
        write_atomically(place / "config.pbtxt", for_gpu(built.name, text).encode())
        for beside in _COPIED:
            if (folder / beside).is_file():
                shutil.copyfile(folder / beside, place / beside)
        found.append(GpuModel(built.name, place / "1" / "model.onnx", products))
    return tuple(found)


def in_floats(model: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    """The model with each product of whole numbers as one of 32-bit numbers, and how many there were.

    A span's ends no longer cut values off. Nothing else changes: names, shapes and all other operators stay.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    makers = {node.output[0]: node for node in model.graph.node}
    nodes: list[onnx.NodeProto] = []
    exact: list[onnx.TensorProto] = []
    for node in model.graph.node:
        if node.op_type != "MatMulIntegerToFloat":
            nodes.append(node)
            continue
        whole, weight, _, scale, _, _, bias = node.input
        values = numpy_helper.to_array(constants[weight]) * numpy_helper.to_array(constants[scale])
        exact.append(numpy_helper.from_array(values.astype(np.float32), f"{node.name}_weight"))
        product = f"{node.name}_product"
        nodes.append(helper.make_node("MatMul", [makers[whole].input[0], exact[-1].name], [product], product))
        nodes.append(helper.make_node("Add", [product, bias], [node.output[0]], node.name))
    used = set(_read(nodes)) | {output.name for output in model.graph.output}
    kept = [node for node in nodes if used & set(node.output)]
    read = set(_read(kept))
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for field, values in (("node", kept), ("initializer", [*model.graph.initializer, *exact])):
        changed.graph.ClearField(field)
        getattr(changed.graph, field).extend(v for v in values if field == "node" or v.name in read)
    onnx.checker.check_model(changed)
    return changed, len(exact)


def for_gpu(name: str, config: str) -> str:
    """A model's config.pbtxt for GPUs: larger batches that wait for company, one instance for each GPU."""
    kept = "\n".join(line for line in config.splitlines() if not line.startswith(_LEFT_OUT))
    if name in ON_CPU:
        return f"{kept}\ninstance_group [ {{ count: 2 kind: KIND_CPU }} ]\n"
    batched = re.sub(r"^max_batch_size: [1-9]\d*$", f"max_batch_size: {BATCH}", kept, flags=re.MULTILINE)
    more = ["instance_group [ { count: 1 kind: KIND_GPU } ]"]
    if batched != kept or f"max_batch_size: {BATCH}" in kept:
        sizes = f"preferred_batch_size: [ {BATCH // 4}, {BATCH} ]"
        more.append(f"dynamic_batching {{ {sizes} max_queue_delay_microseconds: {DELAY} }}")
    if name in ANY_SIZE:
        more.append('parameters { key: "cudnn_conv_algo_search" value: { string_value: "1" } }')
    return "\n".join([batched, *more, ""])


def _read(nodes: list[onnx.NodeProto]) -> Iterator[str]:
    for node in nodes:
        yield from node.input
