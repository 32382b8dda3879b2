"""Does every detector fit the model repository, and the server that is running? Finds what would fail at run time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipeline.detect.port import ModelSpec, TensorSpec
from pipeline.detect.registry import Registry
from pipeline.detect.triton import parse_config
from pipeline.errors import ConfigError, Transient

CARD = "CARD.md"
MODEL_FILE = "1/model.onnx"
"""What `unmask models build` writes. Of a platform's own model the server takes any version and any of its formats."""


class Server(Protocol):
    """What is asked of the running server; `pipeline.detect.triton.Triton` is one."""

    async def model_metadata(self, name: str) -> ModelSpec:
        """The model as the server knows it. Raises Transient when it is away or lacks the model."""
        ...


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as a detector needs it. `where`: the file, or `server`."""

    model: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.model}: {self.where}: {self.what}"


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was compared, and every difference."""

    models: tuple[str, ...]
    differences: tuple[Difference, ...]
    asked_server: bool

    @property
    def ok(self) -> bool:
        """No difference."""
        return not self.differences


async def verify(models_dir: Path, registry: Registry, server: Server | None = None) -> VerifyReport:
    """Compare every model that the registry asks with its folder, and with `server` where one is given."""
    found: list[Difference] = []
    for asker, model in registry.models:
        found.extend(Difference(model.name, where, what) for where, what in _folder(models_dir / model.name, model))
        if server is not None:
            try:
                served = await server.model_metadata(model.name)
            except Transient as trouble:
                found.append(Difference(model.name, "server", trouble.detail))
            else:
                found.extend(Difference(model.name, "server", what) for what in differences(asker, model, served))
    models = tuple(dict.fromkeys(model.name for _, model in registry.models))
    return VerifyReport(models, tuple(dict.fromkeys(found)), server is not None)


def _folder(folder: Path, model: ModelSpec) -> Iterator[tuple[str, str]]:
    config = folder / "config.pbtxt"
    try:
        declared = parse_config(config.read_text(encoding="utf-8"))
    except OSError:
        yield "config.pbtxt", "is missing"
    except ConfigError as error:
        yield "config.pbtxt", str(error)
    else:
        if declared.name not in ("", folder.name):
            yield "config.pbtxt", f"names the model {declared.name!r}, its folder {folder.name!r}"
        yield from (("config.pbtxt", what) for what in differences("the detector", model, declared))
    if not any(path.parent.name.isdecimal() for path in folder.glob("*/model.*")):
        yield MODEL_FILE, "is missing: run `unmask models build`; a model of your own goes there (or model.plan)"
    card = folder / CARD
    if not card.is_file() or not card.read_text(encoding="utf-8").strip():
        yield CARD, "is missing: a model says what it was trained on, how good it is and where it fails"


def differences(asker: str, wanted: ModelSpec, found: ModelSpec) -> list[str]:
    """What `asker` needs of a model and does not find. A model may have more outputs and larger batches, not inputs."""
    said = [
        *_sides(asker, "input", wanted.inputs, found.inputs),
        *_sides(asker, "output", wanted.outputs, found.outputs),
    ]
    needless = {tensor.name for tensor in found.inputs} - {tensor.name for tensor in wanted.inputs}
    said += [f"input {name}: {asker} does not send it" for name in sorted(needless)]
    if bool(wanted.max_batch) != bool(found.max_batch):
        words = {True: "batches", False: "no batches"}
        said.append(f"{asker} sends {words[bool(wanted.max_batch)]}, the model takes {words[bool(found.max_batch)]}")
    elif wanted.max_batch > found.max_batch:
        said.append(f"{asker} sends batches of {wanted.max_batch}, the model takes {found.max_batch}")
    return said


def _sides(asker: str, side: str, wanted: Sequence[TensorSpec], found: Sequence[TensorSpec]) -> Iterator[str]:
    there = {tensor.name: tensor for tensor in found}
    for want in wanted:
        have = there.get(want.name)
        if have is None:
            yield f"{side} {want.name}: not there; there are {', '.join(there) or 'none'}"
            continue
        if have.dtype != want.dtype:
            yield f"{side} {want.name}: {have.dtype}, {asker} wants {want.dtype}"
        if have.shape != want.shape:
            yield f"{side} {want.name}: shape {list(have.shape)}, {asker} wants {list(want.shape)}"
