"""Photographs with a free licence, for the demo and for tests that need a real picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.models.sources import Progress, fetch, read_sources

_PACKAGE = "scikit-image"


@dataclass(frozen=True, slots=True)
class SamplePhoto:
    """One photograph on disk. `about` says what it shows."""

    name: str
    path: Path
    licence: str
    about: str


def sample_photographs(
    home: Path, models_dir: Path = Path("models"), progress: Progress = lambda _: None
) -> tuple[SamplePhoto, ...]:
    """All photographs of sources.toml, fetched into `home` where they are not there yet. Raises ConfigError."""
    sources = read_sources(models_dir / "sources.toml")
    files = sources.wheels[_PACKAGE].files
    places = fetch(sources, files, home, progress)
    return tuple(SamplePhoto(name, places[name], file.licence, file.about) for name, file in files.items())
