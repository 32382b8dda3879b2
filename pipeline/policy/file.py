"""Policy file (YAML) → `Policy`. Whatever is wrong with it is said with the file, the place and what to change."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import msgspec

from pipeline.calibration import NONE, Calibration
from pipeline.errors import ConfigError
from pipeline.events.values import Region
from pipeline.moments import Duration
from pipeline.policy import places
from pipeline.policy.condition import closest
from pipeline.policy.places import BadPolicy, Places, Problem
from pipeline.policy.rules import (
    FailMode,
    Name,
    Place,
    Policy,
    PolicyFile,
    Review,
    Rule,
    UnsoundPolicy,
    Word,
    versioned,
)

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
        raise BadPolicy(origin, (Problem("is empty"),))
    try:
        file = msgspec.convert(where.content, PolicyFile)
    except msgspec.ValidationError as error:
        raise BadPolicy(origin, tuple(_misshapen(where, error))) from None
    except RecursionError:
        raise BadPolicy(origin, (Problem("nested too deeply"),)) from None
    try:
        policy = versioned(file, calibration)
    except UnsoundPolicy as error:
        problems = [Problem(w.why, where.of(w.path, w.offset), spoken(w.path, where)) for w in error.wrongs]
        raise BadPolicy(origin, tuple(problems)) from None
    return Sourced(policy, text, origin, where)


def spoken(path: places.Path, where: Places) -> str:
    """`rules[2].when (likely-face-swap)`: with the name, because nobody counts rules."""
    if not path:
        return ""
    shown = str(path[0]) + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path[1:])
    entry = where.content
    for step in path[:2]:
        try:
            entry = entry[step]
        except (KeyError, IndexError, TypeError):
            return shown
    name = entry.get("name") if isinstance(entry, dict) and len(path) > 1 else None
    return f"{shown} ({name})" if name else shown


_LISTS: Mapping[str, type] = {"rules": Rule, "fail_modes": FailMode}
_TABLES: Mapping[str, Any] = {
    field.name: field.type.__args__[1]
    for field in msgspec.structs.fields(PolicyFile)
    if getattr(field.type, "__origin__", None) is dict
}
_KEYS = tuple(
    dict.fromkeys(
        field.encode_name for kind in (Rule, FailMode, Review, PolicyFile) for field in msgspec.structs.fields(kind)
    )
)
_WORDS = {
    get_args(kind)[1].pattern: words
    for kind, words in (
        (Name, "lower case, digits and single dashes"),
        (Word, "lower case, digits and single underscores, a letter first"),
        (Duration, "a duration such as 30m, 4h or 2d"),
        (Region, "a country's two letters, as in ISO 3166"),
        (Place, "a country's two letters or the name of a jurisdiction, in capitals"),
    )
}
"""What is said instead of a pattern."""
_PLACE = re.compile(r"^(?P<why>.*) - at (?:`key` in )?`\$\.?(?P<where>.*)`$", re.DOTALL)
_STEPS = re.compile(r"([^.\[\]]+)|\[(\d+|\.\.\.)\]")


def _misshapen(where: Places, first: msgspec.ValidationError) -> Iterator[Problem]:
    """What does not look like a policy. The library stops at the first thing, so entries are looked at one by one."""
    said = False
    content = where.content if isinstance(where.content, dict) else {}
    for section, kind in (*_LISTS.items(), *_TABLES.items()):
        entries = content.get(section)
        pairs = (
            enumerate(entries) if isinstance(entries, list) else entries.items() if isinstance(entries, dict) else ()
        )
        if isinstance(entries, list) is (section not in _LISTS):
            continue
        for key, entry in pairs:
            try:
                msgspec.convert(entry, kind)
            except msgspec.ValidationError as error:
                said = True
                yield _placed(str(error), where, (section, key))
    if not said:
        yield _placed(str(first), where, ())


def _placed(error: str, where: Places, begin: places.Path) -> Problem:
    found = _PLACE.match(error)
    why, steps = (found["why"], found["where"]) if found else (error, "")
    path = begin
    for name, index in _STEPS.findall(steps):
        if index == "...":  # a value of some key: the library does not say of which
            break
        path = (*path, int(index) if index else name)
    if unknown := re.search(r"unknown field `([^`]+)`", why):
        path = (*path, unknown[1])
        meant = closest(unknown[1], _KEYS)
        why = f"there is no key {unknown[1]!r} here" + (f"; did you mean {meant!r}?" if meant else "")
    for pattern, words in _WORDS.items():
        why = why.replace(f"`str` matching regex {pattern!r}", words)
    return Problem(why, where.of(path), spoken(path, where))
