"""Detectors against the model repository and the server."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.detect.port import ModelSpec, TensorSpec
from pipeline.detect.registry import load
from pipeline.errors import Reason, Stage, Transient
from pipeline.models.verify import differences, verify

NUDITY = ModelSpec(
    "nudity", (TensorSpec("image", "UINT8", (224, 224, 3)),), (TensorSpec("probabilities", "FP32", (2,)),), max_batch=8
)


class FakeServer:
    """Serves what it is told; away for every other model."""

    def __init__(self, *models: ModelSpec) -> None:
        self.models = {model.name: model for model in models}

    async def model_metadata(self, name: str) -> ModelSpec:
        if name not in self.models:
            raise Transient(Stage.DETECT, Reason.INFERENCE_UNAVAILABLE, f"{name}: unknown model")
        return self.models[name]


def write(folder: Path, model: ModelSpec) -> None:
    def tensors(side, specs):
        return "".join(
            f'{side} [ {{ name: "{s.name}" data_type: TYPE_{s.dtype} dims: {list(s.shape)} }} ]\n' for s in specs
        )

    (folder / model.name / "1").mkdir(parents=True)
    (folder / model.name / "config.pbtxt").write_text(
        f'name: "{model.name}"\nmax_batch_size: {model.max_batch}\n'
        + tensors("input", model.inputs)
        + tensors("output", model.outputs)
    )
    (folder / model.name / "1/model.onnx").write_bytes(b"onnx")
    (folder / model.name / "CARD.md").write_text("# what it is")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A folder per model, as the detectors want them."""
    for model in {model.name: model for _, model in load().models}.values():
        write(tmp_path, model)
    return tmp_path


async def test_a_fitting_repository_and_server_have_no_differences(repository: Path):
    """Everything was compared and nothing found."""
    registry = load()
    report = await verify(repository, registry, FakeServer(*(model for _, model in registry.models)))
    assert report.ok
    assert report.asked_server
    assert set(report.models) == {model.name for _, model in registry.models}


async def test_every_difference_is_listed(repository: Path):
    """Wrong shape, missing file, missing card, broken and missing configuration: all in one report."""
    config = repository / "nudity/config.pbtxt"
    config.write_text(config.read_text().replace("224, 224", "299, 299").replace("TYPE_FP32", "TYPE_FP16"))
    (repository / "face_detector/1/model.onnx").unlink()
    (repository / "face_detector/CARD.md").write_text("\n")
    (repository / "clip_embedding/config.pbtxt").unlink()
    (repository / "face_forgery/config.pbtxt").write_text("nonsense")
    report = await verify(repository, load())
    assert not report.ok
    assert not report.asked_server
    said = sorted(str(difference) for difference in report.differences)
    assert [line.partition(": ")[0] for line in said] == [
        "clip_embedding", "face_detector", "face_detector", "face_forgery", "nudity", "nudity",
    ]  # fmt: skip
    assert said[0] == "clip_embedding: config.pbtxt: is missing"
    assert said[1].startswith("face_detector: 1/model.onnx: is missing: run `unmask models build`")
    assert said[2].startswith("face_detector: CARD.md: is missing")
    assert said[3].startswith("face_forgery: config.pbtxt: not a model configuration")
    assert "input image: shape [299, 299, 3], the detector wants [224, 224, 3]" in said[4]
    assert "output probabilities: FP16, the detector wants FP32" in said[5]


async def test_the_server_is_compared_too(repository: Path):
    """A server with another model, or without one, differs although the files fit."""
    registry = load()
    there = [model for _, model in registry.models if model.name != "face_detector"]
    there = [replace(model, max_batch=0) if model.name == "nudity" else model for model in there]
    report = await verify(repository, registry, FakeServer(*there))
    assert [(difference.model, difference.where, difference.what) for difference in report.differences] == [
        ("face_detector", "server", "face_detector: unknown model"),
        ("nudity", "server", "nudity sends batches, the model takes no batches"),
    ]


async def test_a_folder_that_bears_another_name_is_a_difference(repository: Path):
    """Triton would not load it."""
    config = repository / "nudity/config.pbtxt"
    config.write_text(config.read_text().replace('name: "nudity"', 'name: "nude"'))
    report = await verify(repository, load())
    assert [difference.what for difference in report.differences] == ["names the model 'nude', its folder 'nudity'"]


def test_a_model_may_do_more_than_is_asked():
    """More outputs and larger batches do no harm."""
    more = replace(NUDITY, outputs=(*NUDITY.outputs, TensorSpec("features", "FP32", (9,))), max_batch=64)
    assert differences("nudity", NUDITY, more) == []


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (replace(NUDITY, max_batch=4), "nudity sends batches of 8, the model takes 4"),
        (replace(NUDITY, outputs=()), "output probabilities: not there; there are none"),
        (
            replace(NUDITY, inputs=(*NUDITY.inputs, TensorSpec("mask", "UINT8", (1,)))),
            "input mask: nudity does not send it",
        ),
    ],
)
def test_what_would_fail_is_a_difference(found, said):
    """Too small a batch, an output that is not there, an input that nobody sends."""
    assert differences("nudity", NUDITY, found) == [said]


@pytest.mark.parametrize(("file", "known"), [("1/model.plan", True), ("2/model.onnx", True), ("new/model.onnx", False)])
async def test_a_model_may_be_an_engine_or_a_later_version(repository: Path, file: str, known: bool):
    """Triton serves the highest number; a folder that is none is no version."""
    (repository / "nudity/1/model.onnx").unlink()
    (repository / "nudity" / file).parent.mkdir(exist_ok=True)
    (repository / "nudity" / file).write_bytes(b"model")
    report = await verify(repository, load())
    assert report.ok is known
