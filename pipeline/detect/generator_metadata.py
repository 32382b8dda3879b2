"""What the file says of its own making: entries of image generators, programs, IPTC's digital source type.

Needs no model. It is a claim and no proof, and nothing found says nothing: most generators write nothing, and every
messenger strips what they write.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

import msgspec
import numpy as np
import yaml

from pipeline.detect.port import ModelSpec, Probe, Score, Tensors, View
from pipeline.errors import ConfigError
from pipeline.events.values import Family

KNOWN = Path(__file__).with_suffix(".yaml")

_READ = 1_000_000
"""Characters of one entry that are looked at."""

_PREFIX = re.compile(r"^.*[:./]")
_SOURCE_TYPE = re.compile(r"digitalsourcetype/(\w{1,60})", re.IGNORECASE)
_XMP_TOOL = re.compile(r"\b(?:CreatorTool|softwareAgent|Software)\s*(?:=\s*[\"']|>)([^<\"']{1,200})", re.IGNORECASE)


class SourceType(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One value of IPTC's vocabulary."""

    type: str
    score: float
    says: str


class KnownEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry that a generator writes: under one of `keys`, with all of `holds` in its value."""

    keys: tuple[str, ...]
    holds: tuple[str, ...]
    score: float
    says: str


class Software(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Names of generators, and the keys under which programs write their own name."""

    keys: tuple[str, ...]
    score: float
    names: tuple[str, ...]


class Known(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that is known about what generators write."""

    source_types: tuple[SourceType, ...]
    entries: tuple[KnownEntry, ...]
    software: Software


@cache
def known() -> Known:
    """The file beside this one."""
    try:
        return msgspec.convert(yaml.safe_load(KNOWN.read_text(encoding="utf-8")), Known)
    except (OSError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise ConfigError(f"{KNOWN.name}: {error}") from None


@dataclass(frozen=True, slots=True)
class GeneratorMetadata:
    """Reads the metadata that the decoder found. Not applicable where there is none."""

    name: ClassVar[str] = "generator_metadata"
    version: ClassVar[str] = "1"
    families: ClassVar[tuple[Family, ...]] = (Family.GENERATOR_METADATA,)
    needs_faces: ClassVar[bool] = False
    closer: ClassVar[bool] = False
    model: ClassVar[ModelSpec | None] = None

    def prepare(self, view: View) -> Sequence[Probe]:
        """One probe that carries all entries, n × 2: key, value."""
        entries = view.clip.facts.metadata
        if not entries:
            return []
        table = np.empty((len(entries), 2), dtype=object)
        table[:] = [(key, value[:_READ]) for key, value in entries]
        return [Probe({"metadata": table})]

    def interpret(self, probe: Probe, outputs: Tensors) -> Sequence[Score]:  # noqa: ARG002 - metadata has no place
        """A score per thing found, strongest first; a single 0 where nothing names a generator."""
        found = dict.fromkeys(clue for key, value in outputs["metadata"] for clue in clues(key, value, known()))
        if not found:
            return [Score(Family.GENERATOR_METADATA, 0.0, note="no entry of the metadata names a generator")]
        ranked = sorted(found, key=lambda clue: (-clue[0], clue[1]))
        return [Score(Family.GENERATOR_METADATA, score, note=note) for score, note in ranked]


def clues(key: str, value: str, known: Known) -> Iterator[tuple[float, str]]:
    """What one entry gives away: how sure, and in what words."""
    short = _PREFIX.sub("", key.strip()).lower()
    lower = value.lower()
    said = {match.lower() for match in _SOURCE_TYPE.findall(value)}
    if short == "digitalsourcetype":
        said.add(_PREFIX.sub("", value.strip()).lower())
    for source in known.source_types:
        if source.type.lower() in said:
            yield source.score, f"the digital source type {source.type} says: {source.says}"
    for entry in known.entries:
        if short in entry.keys and all(word in lower for word in entry.holds):
            yield entry.score, f"the entry {_quoted(short)} holds {entry.says}"
    tools = [value] if short in known.software.keys else _XMP_TOOL.findall(value)
    for tool in tools:
        for name in known.software.names:
            if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", tool, re.IGNORECASE):
                yield known.software.score, f"written by {_quoted(tool)}"
                break


def _quoted(text: str) -> str:
    """A stranger's words, short and on one line."""
    plain = "".join(c if c.isprintable() else " " for c in text.strip())
    return f"“{plain[:80]}…”" if len(plain) > 80 else f"“{plain}”"
