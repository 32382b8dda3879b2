"""Policy file (YAML) → `Policy`. Whatever is wrong with it is said with the file, the place and what to change."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import yaml

from pipeline.calibration import NONE, Calibration
from pipeline.errors import ConfigError
from pipeline.policy.rules import Policy, PolicyFile, versioned

__all__ = ["CALIBRATION", "DEFAULT", "Policy", "load", "parse", "read_calibration"]

DEFAULT = Path(__file__).with_name("default.yaml")
CALIBRATION = Path(__file__).with_name("calibration.json")


def load(path: Path | None, calibration: Path | None = None) -> Policy:
    """The policy in `path` with the calibration in `calibration`; those that ship when None.

    Raises:
        ConfigError: a file cannot be read, or is not sound.
    """
    path = path or DEFAULT
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"policy {path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"policy {path}: is not UTF-8 text") from None
    return parse(text, str(path), read_calibration(calibration or CALIBRATION))


def read_calibration(path: Path) -> Calibration:
    """A calibration file, as `unmask calibrate` writes it. Raises ConfigError when it is none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Calibration)
    except OSError as error:
        raise ConfigError(f"calibration {path}: cannot be read: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise ConfigError(f"calibration {path}: {error}") from None


def parse(text: str, origin: str, calibration: Calibration = NONE) -> Policy:
    """The policy that `text` describes; `origin` is named in errors.

    Raises:
        ConfigError: `text` is no sound policy.
    """
    try:
        content = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader, stricter
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigError(f"policy {origin}: {place}{error.problem}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"policy {origin}: {error}") from None
    if content is None:
        raise ConfigError(f"policy {origin}: is empty")
    try:
        file = msgspec.convert(content, PolicyFile)
    except msgspec.ValidationError as error:
        raise ConfigError(f"policy {origin}: {_placed(str(error), content)}") from None
    except RecursionError:
        raise ConfigError(f"policy {origin}: nested too deeply") from None
    try:
        return versioned(file, calibration)
    except ValueError as error:
        raise ConfigError(f"policy {origin}: {error}") from None


class _Loader(yaml.SafeLoader):
    """YAML without two of its traps: a key that is given twice, and `NO` (Norway) or `on` as a truth value."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping whose keys differ."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is given twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), ["t", "f"])

_PLACE = re.compile(r"^(?P<why>.*) - at (?:`key` in )?`\$\.?(?P<where>.*)`$", re.DOTALL)
_STEP = re.compile(r"^(rules|fail_modes)\[(\d+)\]")


def _placed(error: str, content: Any) -> str:
    """`rules[2].review.queue (likely-face-swap): why`: the name, because nobody counts rules."""
    found = _PLACE.match(error)
    if found is None:
        return error
    where, why = found["where"], found["why"]
    name = None
    if step := _STEP.match(where):
        entry = content[step[1]][int(step[2])]
        name = entry.get("name") if isinstance(entry, dict) else None
    return f"{where}{f' ({name})' if name else ''}: {why}"
