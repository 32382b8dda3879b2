"""Which detectors run, and how: the one list of all that exist, and the file that chooses among them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from pipeline.detect.embed import Embed
from pipeline.detect.face_forgery import FaceForgery
from pipeline.detect.find_faces import FindFaces
from pipeline.detect.generator_metadata import GeneratorMetadata
from pipeline.detect.nudity import Nudity
from pipeline.detect.port import Detector, Mode, ModelSpec
from pipeline.errors import ConfigError

DETECTORS: Mapping[str, Callable[..., Detector]] = {
    made.name: made
    for made in (
        FaceForgery,
        Nudity,
        GeneratorMetadata,
    )
}
"""Every detector there is, by the name that the detectors file uses."""

DEFAULT = Path(__file__).with_name("default.yaml")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry:
    """One detector that runs. `deadline`: seconds for one clip, all its questions together."""

    detector: Detector
    mode: Mode
    deadline: float


@dataclass(frozen=True, slots=True)
class Registry:
    """Everything that is asked about a clip. `faces` and `embed` come before and beside the detectors."""

    faces: FindFaces
    faces_deadline: float
    embed: Embed
    embed_deadline: float
    entries: tuple[Entry, ...]

    @property
    def models(self) -> tuple[tuple[str, ModelSpec], ...]:
        """Who asks which model, in the order of asking."""
        asked = [(entry.detector.name, entry.detector.model) for entry in self.entries]
        known = [(name, model) for name, model in asked if model is not None]
        return ((self.faces.name, self.faces.model), *known, (self.embed.name, self.embed.model))

    @property
    def versions(self) -> tuple[str, ...]:
        """`name@version` of all that is asked, sorted: the same clip under the same versions gets the same findings.

        So a version also tells options that are not the default (`+` and a digest of them) and the shadow mode.
        """
        found = [_version(self.faces.name, self.faces.version, self.faces)]
        found.append(_version(self.embed.name, self.embed.version, self.embed))
        for entry in self.entries:
            shadow = "+shadow" if entry.mode is Mode.SHADOW else ""
            found.append(_version(entry.detector.name, entry.detector.version, entry.detector) + shadow)
        return tuple(sorted(found))


def _version(name: str, version: str, made: object) -> str:
    options = fields(made) if is_dataclass(made) else ()
    changed = [
        (field.name, getattr(made, field.name)) for field in options if getattr(made, field.name) != field.default
    ]
    own = f"+{hashlib.sha256(repr(changed).encode()).hexdigest()[:8]}" if changed else ""
    return f"{name}@{version}{own}"


class _Step(msgspec.Struct, forbid_unknown_fields=True):
    deadline: float
    options: dict[str, Any] = {}


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    deadline: float
    mode: str = Mode.LIVE.value
    options: dict[str, Any] = {}


class _File(msgspec.Struct, forbid_unknown_fields=True):
    find_faces: _Step
    embed: _Step
    detectors: list[_Line]


def load(path: Path | None = None) -> Registry:
    """The detectors of a file; of default.yaml when None. Raises ConfigError that says what to change."""
    path = path or DEFAULT
    try:
        return parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the detectors file: {error}") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def parse(text: str) -> Registry:
    """The detectors that a file's text names. Raises ConfigError that says what to change."""
    try:
        file = msgspec.convert(yaml.safe_load(text), _File)
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise ConfigError(f"not a detectors file: {error}") from None
    names = [line.name for line in file.detectors]
    if not names:
        raise ConfigError("no detector is listed: nothing would be judged")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"listed more than once: {', '.join(twice)}")
    return Registry(
        faces=_made("find_faces", FindFaces, file.find_faces.options),
        faces_deadline=_deadline("find_faces", file.find_faces.deadline),
        embed=_made("embed", Embed, file.embed.options),
        embed_deadline=_deadline("embed", file.embed.deadline),
        entries=tuple(map(_entry, file.detectors)),
    )


def _entry(line: _Line) -> Entry:
    if line.name not in DETECTORS:
        raise ConfigError(f"unknown detector {line.name!r}; there are {', '.join(sorted(DETECTORS))}")
    if line.mode not in set(Mode):
        raise ConfigError(f"{line.name}: unknown mode {line.mode!r}; a detector is {' or '.join(Mode)}")
    detector = _made(line.name, DETECTORS[line.name], line.options)
    return Entry(detector, Mode(line.mode), _deadline(line.name, line.deadline))


def _made(name: str, kind: Callable[..., T], options: Mapping[str, Any]) -> T:
    """A detector is a frozen dataclass; its fields are its options."""
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    if unknown := sorted(set(options) - set(known)):
        raise ConfigError(f"{name}: unknown option {', '.join(unknown)}; there are {', '.join(known) or 'none'}")
    try:
        made: T = msgspec.convert(options, kind)
    except (msgspec.ValidationError, ValueError) as error:
        raise ConfigError(f"{name}: {error}") from None
    return made


def _deadline(name: str, seconds: float) -> float:
    if not 0 < seconds < float("inf"):
        raise ConfigError(f"{name}: deadline must be a number of seconds above 0, not {seconds}")
    return seconds
