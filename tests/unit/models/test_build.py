from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pipeline.errors import ConfigError
from pipeline.models import build as subject
from pipeline.models import graphs
from pipeline.models.build import HEADS, HeadFile, build, read_head

REPOSITORY = Path(__file__).parents[3] / "models"


@pytest.mark.parametrize("head", HEADS)
def test_the_committed_heads_fit_the_encoder(head: str) -> None:
    """A checkout builds without training: each head was trained on the very features that the graph gives."""
    weights = read_head(REPOSITORY / "face_forgery" / f"{head}.json")
    assert weights.weight.shape == (graphs.FEATURE_COUNT,)
    assert np.isfinite(weights.weight).all()


def test_every_model_folder_has_a_config_and_a_card() -> None:
    """The server needs the one, people the other."""
    folders = {path.name for path in REPOSITORY.iterdir() if path.is_dir()}
    assert folders == {recipe.name for recipe in subject._RECIPES}
    for name in folders:
        config = (REPOSITORY / name / "config.pbtxt").read_text("utf-8")
        assert f'name: "{name}"' in config
        assert 'backend: "onnxruntime"' in config
        assert "kind:" not in config
        card = (REPOSITORY / name / "CARD.md").read_text("utf-8")
        for heading in ("Source", "Licence", "Training data", "Measured", "Known failures"):
            assert f"## {heading}" in card, f"{name}: {heading}"


def test_a_head_for_other_features_is_refused(tmp_path: Path) -> None:
    """After a change of the encoder an old head would give nonsense with confidence."""
    path = tmp_path / "swap.json"
    path.write_bytes(msgspec.json.encode(HeadFile("swap", "another encoder", 0.0, [0.0] * graphs.FEATURE_COUNT, {})))
    with pytest.raises(ConfigError, match="train it again"):
        read_head(path)


def test_a_missing_head_says_where_it_should_be(tmp_path: Path) -> None:
    """The operator learns the path."""
    with pytest.raises(ConfigError, match=r"no trained head at .*swap\.json"):
        read_head(tmp_path / "swap.json")


def test_a_second_build_leaves_everything_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is up to date is neither fetched nor written."""
    models, home = _repository(tmp_path, monkeypatch)
    assert [model.fresh for model in build(models, home).models] == [True]
    before = (models / "tiny" / "1" / "model.onnx").stat().st_mtime_ns
    (tmp_path / "source.onnx").unlink()
    assert [model.fresh for model in build(models, home).models] == [False]
    assert (models / "tiny" / "1" / "model.onnx").stat().st_mtime_ns == before


def test_two_builds_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build can be checked by its hash."""
    models, home = _repository(tmp_path, monkeypatch)
    (first,) = build(models, home).models
    first.path.unlink()
    (second,) = build(models, home).models
    assert second.fresh
    assert second.sha256 == first.sha256


@pytest.mark.parametrize("what", ["model", "head", "note"])
def test_a_change_brings_a_new_build(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged model, another head or a lost note: the model is built again."""
    models, home = _repository(tmp_path, monkeypatch)
    build(models, home)
    if what == "model":
        (models / "tiny" / "1" / "model.onnx").write_bytes(b"half")
    elif what == "head":
        (models / "tiny" / "head.json").write_text("other", "utf-8")
    else:
        (home / "built" / "tiny.json").write_text("{", "utf-8")
    (model,) = build(models, home).models
    assert model.fresh
    onnx.checker.check_model(onnx.load(model.path))


def test_an_unknown_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message lists what there is."""
    models, home = _repository(tmp_path, monkeypatch)
    with pytest.raises(ConfigError, match="no such model: tinny; there are tiny"):
        build(models, home, only=("tinny",))


def _repository(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A repository of one tiny model, whose source needs no network."""
    models, home = folder / "models", folder / "home"
    (models / "tiny").mkdir(parents=True)
    (models / "tiny" / "head.json").write_text("a head", "utf-8")
    (models / "sources.toml").write_text(
        '[wheels.a]\nversion = "1.0"\nsha256 = "00"\n'
        '[wheels.a.files.source]\nmember = "m.onnx"\nsha256 = "00"\nlicence = "MIT"\nabout = ""\n',
        "utf-8",
    )
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "tiny", value[:1], value[1:])
    source = folder / "source.onnx"
    onnx.save(helper.make_model(graph), source)
    monkeypatch.setattr(subject, "fetch", lambda *_: {"source": source})
    recipe = subject._Recipe("tiny", ("source",), lambda files, _: onnx.load(files[0]), ("head.json",))
    monkeypatch.setattr(subject, "_RECIPES", (recipe,))
    return models, home
