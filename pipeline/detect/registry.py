"""Which detectors run, and how: the one list of all that exist, and the file that chooses among them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from pipeline.detect.closer import LookCloser
from pipeline.detect.embed import Embed
from pipeline.detect.eyes_and_head import EyesAndHead
from pipeline.detect.face_forgery import FaceForgery
from pipeline.detect.find_faces import FindFaces
from pipeline.detect.follow_faces import FollowFaces
from pipeline.detect.generator_metadata import GeneratorMetadata
from pipeline.detect.hear_speech import HearSpeech
from pipeline.detect.lighting import Lighting
from pipeline.detect.lip_sync import LipSync
from pipeline.detect.local_edit import LocalEdit
from pipeline.detect.mesh import FACE_EMBEDDING
from pipeline.detect.nudity import Nudity
from pipeline.detect.port import Detector, Mode, ModelSpec
from pipeline.detect.provenance import Provenance
from pipeline.detect.reenactment import Reenactment
from pipeline.detect.refitted_faces import RefittedFaces
from pipeline.detect.splice import Splice
from pipeline.detect.voice_clone import VoiceClone
from pipeline.detect.whole_image import WholeImage
from pipeline.errors import ConfigError
from pipeline.events.values import Family

DETECTORS: Mapping[str, Callable[..., Detector]] = {
    made.name: made
    for made in (
        FaceForgery,
        Nudity,
        WholeImage,
        GeneratorMetadata,
        Provenance,
        LipSync,
        VoiceClone,
        EyesAndHead,
        Lighting,
        Reenactment,
        RefittedFaces,
        Splice,
        LocalEdit,
    )
}
"""Every detector that ships, by the name that the detectors file uses."""

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
    """Everything that is asked about a clip.

    `faces` and `speech` come before the detectors, `embed` beside them; `closer` says where to look closely, which may
    take the decoder `closer_deadline` seconds, and `follow` follows the faces there.
    """

    faces: FindFaces
    faces_deadline: float
    embed: Embed
    embed_deadline: float
    entries: tuple[Entry, ...]
    speech: HearSpeech = field(default_factory=HearSpeech)
    speech_deadline: float = 20.0
    closer: LookCloser = field(default_factory=LookCloser)
    closer_deadline: float = 40.0
    follow: FollowFaces = field(default_factory=FollowFaces)
    follow_deadline: float = 40.0

    @property
    def models(self) -> tuple[tuple[str, ModelSpec], ...]:
        """Who asks which model, in the order of asking."""
        asked = [(entry.detector.name, entry.detector.model) for entry in self.entries]
        known = [(name, model) for name, model in asked if model is not None]
        steps = (
            (self.faces.name, self.faces.model),
            (self.faces.name, FACE_EMBEDDING),
            (self.speech.name, self.speech.model),
            (self.follow.name, self.follow.model),
        )
        return (*steps, *known, (self.embed.name, self.embed.model))

    @property
    def versions(self) -> tuple[str, ...]:
        """`name@version` of all that is asked, sorted: the same clip under the same versions gets the same findings.

        So a version also tells options that are not the default (`+` and a digest of them) and the shadow mode.
        """
        steps = (self.faces, self.speech, self.embed, self.closer, self.follow)
        found = [_version(step.name, step.version, step) for step in steps]
        for entry in self.entries:
            shadow = "+shadow" if entry.mode is Mode.SHADOW else ""
            found.append(_version(entry.detector.name, entry.detector.version, entry.detector) + shadow)
        return tuple(sorted(found))


def _version(name: str, version: str, made: object) -> str:
    options = fields(made) if is_dataclass(made) else ()
    changed = [(one.name, getattr(made, one.name)) for one in options if getattr(made, one.name) != one.default]
    own = f"+{hashlib.sha256(repr(changed).encode()).hexdigest()[:8]}" if changed else ""
    return f"{name}@{version}{own}"


class _Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    deadline: float
    options: dict[str, Any] = {}


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    deadline: float
    mode: str = Mode.LIVE.value
    module: str | None = None
    options: dict[str, Any] = {}


class _File(msgspec.Struct, forbid_unknown_fields=True):
    find_faces: _Step
    embed: _Step
    detectors: list[_Line]
    hear_speech: _Step = _Step(deadline=20.0)
    closer: _Step = _Step(deadline=40.0)
    follow_faces: _Step = _Step(deadline=40.0)


def load(path: Path | None = None) -> Registry:
    """The detectors of a file; of default.yaml when None. Raises ConfigError that says what to change."""
    path = path or DEFAULT
    text = text_of(path)
    try:
        return parse(text)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def text_of(path: Path) -> str:
    """What a detectors file says. Raises ConfigError when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read the detectors file: {error}") from None


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
        speech=_made("hear_speech", HearSpeech, file.hear_speech.options),
        speech_deadline=_deadline("hear_speech", file.hear_speech.deadline),
        closer=_made("closer", LookCloser, file.closer.options),
        closer_deadline=_deadline("closer", file.closer.deadline),
        follow=_made("follow_faces", FollowFaces, file.follow_faces.options),
        follow_deadline=_deadline("follow_faces", file.follow_faces.deadline),
    )


def _entry(line: _Line) -> Entry:
    if line.module is None and line.name not in DETECTORS:
        raise ConfigError(
            f"unknown detector {line.name!r}; there are {', '.join(sorted(DETECTORS))}; "
            "one of your own is named by `module: package.module:Class`"
        )
    if line.mode not in set(Mode):
        raise ConfigError(f"{line.name}: unknown mode {line.mode!r}; a detector is {' or '.join(Mode)}")
    kind = DETECTORS[line.name] if line.module is None else _imported(line.name, line.module)
    detector = _made(line.name, kind, line.options)
    return Entry(detector, Mode(line.mode), _deadline(line.name, line.deadline))


def _imported(name: str, where: str) -> Callable[..., Detector]:
    """A detector from outside, `package.module:Class`: a file that Unmask does not ship needs no change to Unmask.

    Only what the operator's own file names is imported, at start-up; nothing is searched for.
    """
    if name in DETECTORS:
        raise ConfigError(f"{name}: Unmask has a detector of that name; give yours another")
    module, _, attribute = where.partition(":")
    if not (module and attribute):
        raise ConfigError(f"{name}: module is written package.module:Class, not {where!r}")
    try:
        found = getattr(import_module(module), attribute, None)
    except Exception as error:  # whatever a stranger's module raises while it is imported
        raise ConfigError(f"{name}: cannot import {module}: {type(error).__name__}: {error}") from error
    if not (isinstance(found, type) and is_dataclass(found)):
        raise ConfigError(f"{name}: {module} has no dataclass {attribute}")
    kind: Any = found
    if lacks := [each for each in _PORT if not hasattr(kind, each)]:
        raise ConfigError(f"{name}: {where} is no detector: it lacks {', '.join(lacks)}")
    if kind.name != name:
        raise ConfigError(f"{name}: {where} calls itself {kind.name!r}; the line's name must be the same")
    if not (isinstance(kind.families, tuple) and all(isinstance(family, Family) for family in kind.families)):
        raise ConfigError(f"{name}: {where}.families must be a tuple of Family")
    made: Callable[..., Detector] = kind
    return made


_PORT = ("name", "version", "families", "model", "needs_faces", "closer", "prepare", "interpret")


def _made(name: str, kind: Callable[..., T], options: Mapping[str, Any]) -> T:
    """A detector is a frozen dataclass; its fields are its options."""
    known = [one.name for one in fields(kind)]  # type: ignore[arg-type]
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
