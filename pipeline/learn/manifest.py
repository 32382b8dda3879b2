"""The list of labelled pictures that a face head is trained from."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pipeline.errors import ConfigError

STILLS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
VIDEOS = frozenset({".mp4", ".mov", ".webm", ".mkv", ".avi", ".m4v"})
SOUNDS = frozenset({".wav", ".mp3", ".flac", ".ogg", ".m4a", ".opus", ".aac"})
"""What a file of a manifest is, by its ending."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One row of the manifest that training can use."""

    file: str
    fake: bool
    family: str
    source: str
    split: str


def read_manifest(path: Path) -> tuple[Picture, ...]:
    """The pictures of a manifest. Raises ConfigError when it is missing or lacks a column."""
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        return tuple(
            Picture(r["file"], r["label"] == "fake", r["family"], r["source"].partition(":")[0], r["split"])
            for r in rows
            if Path(r["file"]).suffix.lower() in STILLS
        )
    except (OSError, KeyError, csv.Error) as error:
        raise ConfigError(
            f"{path}: no manifest with file, label, family, source, licence and split: {error!r}"
        ) from error


def in_turn(pictures: Sequence[Picture], seed: int) -> list[Picture]:
    """Shuffled, and one of each source in turn: the first so many of them are as diverse as they can be."""
    taken: Counter[tuple[str, bool]] = Counter()
    turns = []
    for picture in sorted(pictures, key=lambda p: sha256(f"{seed} {p.file}".encode()).digest()):
        turns.append((taken[picture.source, picture.fake], picture))
        taken[picture.source, picture.fake] += 1
    return [picture for _, picture in sorted(turns, key=lambda turn: turn[0])]
