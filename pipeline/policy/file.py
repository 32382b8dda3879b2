"""Policy file (YAML) → `Policy`. Whatever is wrong with it is said with the file, the place and what to change."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pipeline.calibration import NONE, Calibration
from pipeline.errors import ConfigError
from pipeline.policy import places
from pipeline.policy.places import Places
from pipeline.policy.rules import Policy, PolicyFile, UnsoundPolicy, versioned

__all__ = [
    "CALIBRATION",
    "DEFAULT",
    "Policy",
    "Sourced",
    "calibration_of",
    "load",
    "parse",
    "read",
    "read_calibration",
    "sourced",
]

DEFAULT = Path(__file__).with_name("default.yaml")
CALIBRATION = Path(__file__).with_name("calibration.json")


@dataclass(frozen=True, slots=True)
class Sourced:
    """A policy with the text that it was read from, for tools that point into it or change it."""

    policy: Policy
    text: str
    origin: str
    places: Places


def load(path: Path | None, calibration: Path | None = None) -> Policy:
    """The policy in `path` with the calibration in `calibration`; those that ship when None.

    Raises:
        ConfigError: a file cannot be read, or is not sound.
    """
    return read(path, calibration).policy


def read(path: Path | None, calibration: Path | None = None) -> Sourced:
    """Like `load`, with the text and its places."""
    path = path or DEFAULT
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"policy {path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"policy {path}: is not UTF-8 text") from None
    return sourced(text, str(path), read_calibration(calibration or CALIBRATION))


def read_calibration(path: Path) -> Calibration:
    """A calibration file, as `unmask calibrate` writes it. Raises ConfigError when it is none."""
    try:
        return calibration_of(path.read_bytes(), str(path))
    except OSError as error:
        raise ConfigError(f"calibration {path}: cannot be read: {error.strerror}") from None


def calibration_of(words: bytes, origin: str) -> Calibration:
    """The calibration that a file's words describe. Raises ConfigError when they describe none."""
    try:
        return msgspec.json.decode(words, type=Calibration)
    except msgspec.DecodeError as error:
        raise ConfigError(f"calibration {origin}: {error}") from None


def parse(text: str, origin: str, calibration: Calibration = NONE) -> Policy:
    """The policy that `text` describes; `origin` is named in errors.

    Raises:
        ConfigError: `text` is no sound policy.
    """
    return sourced(text, origin, calibration).policy


def sourced(text: str, origin: str, calibration: Calibration = NONE) -> Sourced:
    """Like `parse`, with the text and its places."""
    where = Places(text, origin)
    if where.content is None:
        raise ConfigError(f"policy {origin}: is empty")
    try:
        file = msgspec.convert(where.content, PolicyFile)
    except msgspec.ValidationError as error:
        raise ConfigError(f"policy {origin}: {_placed(str(error), where)}") from None
    except RecursionError:
        raise ConfigError(f"policy {origin}: nested too deeply") from None
    try:
        policy = versioned(file, calibration)
    except UnsoundPolicy as error:
        said = []
        for wrong in error.wrongs:
            place = where.of(wrong.path, wrong.offset)
            said.append(f"{f'{place}: ' if place else ''}{spoken(wrong.path, file)}{wrong.why}")
        raise ConfigError("\n".join(f"policy {origin}: {line}" for line in said)) from None
    return Sourced(policy, text, origin, where)


def spoken(path: places.Path, file: PolicyFile) -> str:
    """`rules[2].when (likely-face-swap): `: with the name, because nobody counts rules."""
    if not path:
        return ""
    shown = str(path[0]) + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path[1:])
    if len(path) > 1 and isinstance(path[1], int):
        steps = file.rules if path[0] == "rules" else file.fail_modes
        shown = f"{shown} ({steps[path[1]].name})"
    return f"{shown}: "


_PLACE = re.compile(r"^(?P<why>.*) - at (?:`key` in )?`\$\.?(?P<where>.*)`$", re.DOTALL)
_STEPS = re.compile(r"([^.\[\]]+)|\[(\d+|\.\.\.)\]")


def _placed(error: str, where: Places) -> str:
    """`line 12, column 5: rules[2].review.queue (likely-face-swap): why`."""
    found = _PLACE.match(error)
    if found is None:
        return error
    why = found["why"]
    path: places.Path = ()
    for name, index in _STEPS.findall(found["where"]):
        if index == "...":  # a value of some key: the library does not say of which
            break
        path = (*path, int(index) if index else name)
    if unknown := re.search(r"unknown field `([^`]+)`", why):
        path = (*path, unknown[1])
    place = where.of(path)
    entry = where.content
    for step in path[:2]:
        try:
            entry = entry[step]
        except (KeyError, IndexError, TypeError):
            entry = None
            break
    name = entry.get("name") if isinstance(entry, dict) and len(path) > 1 else None
    at = f"{place}: " if place else ""
    return f"{at}{found['where']}{f' ({name})' if name else ''}: {why}" if found["where"] else f"{at}{why}"
