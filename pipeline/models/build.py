"""Assembles `models/<name>/1/model.onnx` from the pinned sources and the committed heads.

Idempotent: what a model was built from is noted under `home/built/`, and one whose inputs and output are unchanged is
left alone. The same inputs give the same bytes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import msgspec
import numpy as np
import onnx

from pipeline.errors import ConfigError
from pipeline.models import blocked, clip_spans, folded, graphs, mesh_graphs, seam, spans, speech, tfjs
from pipeline.models.sources import Progress, fetch, read_sources, sha256_of, write_atomically

HEADS = ("swap", "synthesis")
"""The heads of face_forgery, in the order of its outputs. Each is `models/face_forgery/<head>.json`."""
HEAT = "heat"
"""Its head on patches, in the same folder."""
SEAM = "seam.npz"
"""Its network over patches, in the same folder."""


class HeadFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A trained head on disk. `trained`: figures for the reader, in words; nothing reads them back."""

    head: str
    features: str
    bias: float
    weight: list[float]
    trained: dict[str, str | float | int]


@dataclass(frozen=True, slots=True)
class BuiltModel:
    """One model of the repository. `fresh`: it was built now; otherwise it was already as it should be."""

    name: str
    path: Path
    sha256: str
    size: int
    fresh: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What `build` did, in the order of the recipes."""

    models: tuple[BuiltModel, ...]


@dataclass(frozen=True, slots=True)
class _Recipe:
    """How one model comes about.

    `sources`: names in sources.toml; `make` gets them as files, in that order, and the model's folder. `beside`:
    committed files that go into it. `code`: the modules that write it.
    """

    name: str
    sources: tuple[str, ...]
    make: Callable[[Sequence[Path], Path], onnx.ModelProto]
    beside: tuple[str, ...] = ()
    code: tuple[ModuleType, ...] = (graphs,)


def read_head(path: Path, features: str = graphs.FEATURES, count: int = graphs.FEATURE_COUNT) -> graphs.HeadWeights:
    """Read a head on `count` numbers called `features`.

    Raises ConfigError when it is missing, malformed, or trained on other features than these.
    """
    try:
        head = msgspec.json.decode(path.read_bytes(), type=HeadFile)
    except OSError as error:
        raise ConfigError(f"no trained head at {path}: {error}") from error
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path}: {error}") from error
    if head.features != features or len(head.weight) != count:
        raise ConfigError(f"{path} was trained on {head.features!r}; the encoder gives {features!r}: train it again")
    return graphs.HeadWeights(np.array(head.weight, np.float32), head.bias)


def build(
    models_dir: Path, home: Path, progress: Progress = lambda _: None, *, only: tuple[str, ...] | None = None
) -> BuildReport:
    """Bring every model (or those named in `only`) up to date. Raises ConfigError with what to change."""
    unknown = sorted(set(only or ()) - {recipe.name for recipe in _RECIPES})
    if unknown:
        raise ConfigError(f"no such model: {', '.join(unknown)}; there are {', '.join(r.name for r in _RECIPES)}")
    recipes = [recipe for recipe in _RECIPES if only is None or recipe.name in only]
    sources = read_sources(models_dir / "sources.toml")
    pins = {name: file.sha256 for name, file in sources.files.items()}
    models = []
    for recipe in recipes:
        started = time.monotonic()
        place, note = models_dir / recipe.name / "1" / "model.onnx", home / "built" / f"{recipe.name}.json"
        inputs = _inputs(recipe, models_dir / recipe.name, pins)
        made = _as_noted(place, note, inputs)
        fresh = made is None
        if made is None:
            files = fetch(sources, recipe.sources, home, progress)
            progress(f"building {recipe.name}")
            model = recipe.make([files[name] for name in recipe.sources], models_dir / recipe.name)
            onnx.checker.check_model(model)
            write_atomically(place, model.SerializeToString(deterministic=True))
            made = sha256_of(place)
            write_atomically(note, json.dumps({"inputs": inputs, "sha256": made}, sort_keys=True).encode())
        size = place.stat().st_size
        models.append(BuiltModel(recipe.name, place, made, size, fresh, time.monotonic() - started))
    return BuildReport(tuple(models))


def _inputs(recipe: _Recipe, folder: Path, pins: Mapping[str, str]) -> dict[str, str]:
    """Everything that decides what the built file holds, as hashes: the sources, our own code, the committed heads."""
    missing = [name for name in recipe.sources if name not in pins]
    if missing:
        raise ConfigError(f"sources.toml does not name {', '.join(missing)}, which {recipe.name} is built from")
    weights = {name: pins[name] for name in recipe.sources}
    own = {f"{module.__name__}.py": sha256_of(Path(str(module.__file__))) for module in recipe.code}
    heads = {name: sha256_of(folder / name) for name in recipe.beside if (folder / name).is_file()}
    return {**weights, **own, "onnx": onnx.__version__, **heads}


def _as_noted(place: Path, note: Path, inputs: Mapping[str, str]) -> str | None:
    """The SHA-256 of the file in place if it is what these inputs gave the last time, else None."""
    try:
        noted = json.loads(note.read_bytes())
    except (OSError, ValueError):
        return None
    if noted.get("inputs") != dict(inputs) or not place.is_file():
        return None
    now = sha256_of(place)
    return now if now == noted.get("sha256") else None


def _clip(source: Path) -> graphs.Encoder:
    try:
        return graphs.read_clip(onnx.load(source))
    except (KeyError, ValueError) as error:
        raise ConfigError(f"the CLIP source is not the graph that was expected: {error}") from error


def _face_forgery(files: Sequence[Path], folder: Path) -> onnx.ModelProto:
    heads = {name: read_head(folder / f"{name}.json") for name in HEADS}
    heat = read_head(folder / f"{HEAT}.json", graphs.PATCH_FEATURES, graphs.PATCH_COUNT)
    return graphs.face_forgery(_clip(files[0]), heads, heat, seam.read_seam(folder / SEAM))


def _network(files: Sequence[Path]) -> tfjs.Network:
    topology, *weights = (file.read_bytes() for file in files)
    return tfjs.read(topology, b"".join(weights))


_CLIP = (graphs, clip_spans, spans)
_TFJS = (graphs, tfjs, mesh_graphs, blocked)
_RECIPES = (
    _Recipe("face_detector", ("centerface",), lambda files, _: graphs.face_detector(onnx.load(files[0]))),
    _Recipe(
        "face_forgery",
        ("clip-vit-b16",),
        _face_forgery,
        beside=(*(f"{name}.json" for name in (*HEADS, HEAT)), SEAM),
        code=(*_CLIP, seam),
    ),
    _Recipe("clip_embedding", ("clip-vit-b16",), lambda files, _: graphs.clip_embedding(_clip(files[0])), code=_CLIP),
    _Recipe(
        "nudity",
        ("open-nsfw",),
        lambda files, _: graphs.nudity(onnx.load(files[0])),
        code=(graphs, folded),
    ),
    _Recipe(
        "face_mesh",
        ("face-mesh", "face-mesh-weights"),
        lambda files, _: blocked.in_blocks(mesh_graphs.face_mesh(_network(files))),
        code=_TFJS,
    ),
    _Recipe(
        "face_embedding",
        ("mobileface", "mobileface-weights"),
        lambda files, _: blocked.in_blocks(mesh_graphs.face_embedding(_network(files))),
        code=_TFJS,
    ),
    _Recipe(
        "voice_activity",
        ("silero-vad",),
        lambda files, _: speech.voice_activity(onnx.load(files[0])),
        code=(graphs, speech),
    ),
)
