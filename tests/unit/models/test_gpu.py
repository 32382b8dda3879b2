"""The repository for GPUs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from pipeline.detect.registry import load
from pipeline.detect.triton import parse_config
from pipeline.errors import ConfigError
from pipeline.models import gpu, graphs
from pipeline.models.build import BuildReport, BuiltModel
from pipeline.models.graphs import Linear
from pipeline.models.spans import Span

REPOSITORY = Path(__file__).parents[3] / "models"


def whole_numbers(seed: int = 0) -> onnx.ModelProto:
    """Two products as the encoder has them; behind the second one a far-reaching channel goes round."""
    rng = np.random.default_rng(seed)

    def linear(inputs: int, outputs: int, span: Span) -> Linear:
        weight = rng.integers(-127, 128, (inputs, outputs)).astype(np.int8)
        scale = rng.uniform(0.5, 1.5, outputs).astype(np.float32) / (127 * inputs**0.5)
        return Linear(weight, scale, rng.normal(size=outputs).astype(np.float32), span)

    graph = graphs._Graph()
    x = graphs._linear(graph, linear(32, 48, Span(-4, 4)), "x")
    graph.name_output("y", graphs._linear(graph, linear(48, 16, Span(-4, 4, exact=(3, 7))), x))
    value = graphs._value
    kind = onnx.TensorProto.FLOAT
    return graph.model("tiny", [value("x", kind, ("batch", 5, 32))], [value("y", kind, ("batch", 5, 16))])


def run(model: onnx.ModelProto, x: Any) -> Any:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(["y"], {"x": x})
    return y


def test_products_in_floats_answer_as_those_of_whole_numbers_do() -> None:
    """Off by no more than rounding to eight bits is, and there is no operator left that GPUs lack."""
    model = whole_numbers()
    changed, products = gpu.in_floats(model)
    assert products == 2
    assert {node.domain for node in changed.graph.node} == {""}
    assert "QuantizeLinear" not in {node.op_type for node in changed.graph.node}
    x = np.random.default_rng(1).normal(size=(3, 5, 32)).astype(np.float32)
    one, other = run(model, x), run(changed, x)
    cosine = (one * other).sum() / np.sqrt((one**2).sum() * (other**2).sum())
    assert cosine > 0.999
    assert not np.array_equal(one, other)


def test_nothing_is_left_that_nobody_reads() -> None:
    """The eight-bit weights and the scales of values go."""
    changed, _ = gpu.in_floats(whole_numbers())
    read = {name for node in changed.graph.node for name in node.input}
    assert {tensor.name for tensor in changed.graph.initializer} <= read
    assert all(tensor.data_type != onnx.TensorProto.INT8 for tensor in changed.graph.initializer)


def test_a_model_without_whole_numbers_stays_as_it_is() -> None:
    """Most models have nothing to change."""
    changed, _ = gpu.in_floats(whole_numbers())
    again, products = gpu.in_floats(changed)
    assert products == 0
    assert again == changed


@pytest.mark.parametrize("name", sorted({model.name for _, model in load().models}))
def test_every_configuration_fits_its_detectors_still(name: str) -> None:
    """Tensors are the same, batches at least as large, and it says where it runs."""
    before = (REPOSITORY / name / "config.pbtxt").read_text("utf-8")
    after = gpu.for_gpu(name, before)
    one, other = parse_config(before), parse_config(after)
    assert (one.name, one.inputs, one.outputs) == (other.name, other.inputs, other.outputs)
    assert bool(one.max_batch) == bool(other.max_batch)
    assert other.max_batch >= one.max_batch
    assert after.count("instance_group") == 1
    assert after.count("dynamic_batching") == (1 if one.max_batch else 0)
    assert f"kind: KIND_{'CPU' if name in gpu.ON_CPU else 'GPU'}" in after


def test_a_repository_is_written_beside_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Model, configuration, card and labels; the one for CPUs stays as it is."""
    models, to = tmp_path / "models", tmp_path / "gpu"
    path = models / "tiny" / "1" / "model.onnx"
    path.parent.mkdir(parents=True)
    onnx.save(whole_numbers(), path)
    config = 'name: "tiny"\nmax_batch_size: 8\ninstance_group [ { count: 2 } ]\ndynamic_batching { }\n'
    (models / "tiny" / "config.pbtxt").write_text(config)
    (models / "tiny" / "CARD.md").write_text("# tiny")
    before = path.read_bytes()
    report = BuildReport((BuiltModel("tiny", path, "", 0, fresh=False, seconds=0.0),))
    monkeypatch.setattr(gpu, "build", lambda *_: report)
    (model,) = gpu.build_for_gpu(models, to, tmp_path)
    assert (model.name, model.products) == ("tiny", 2)
    assert path.read_bytes() == before
    assert (models / "tiny" / "config.pbtxt").read_text() == config
    assert sorted(str(p.relative_to(to)) for p in to.rglob("*") if p.is_file()) == [
        "tiny/1/model.onnx", "tiny/CARD.md", "tiny/config.pbtxt",
    ]  # fmt: skip
    assert "max_batch_size: 32" in (to / "tiny" / "config.pbtxt").read_text()


def test_the_repository_for_cpus_is_not_overwritten(tmp_path: Path) -> None:
    """The two answer alike and run on different machines."""
    with pytest.raises(ConfigError, match="name another folder"):
        gpu.build_for_gpu(tmp_path, tmp_path / "x" / "..", tmp_path)
