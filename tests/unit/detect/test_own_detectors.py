"""Detectors that a platform brings: named in the detectors file, imported, refused in clear words."""

from pathlib import Path

import pytest

from pipeline.detect.port import Mode
from pipeline.detect.registry import parse
from pipeline.errors import ConfigError

STEPS = "find_faces: {deadline: 1}\nembed: {deadline: 1}\n"

MODULE = '''
"""What a platform's own module may look like, and what may be wrong with it."""

from dataclasses import dataclass

from pipeline.detect.nudity import Nudity
from pipeline.events.values import Family


@dataclass(frozen=True, slots=True)
class Portraits:
    """One question per frame; `frames`: how many."""

    frames: int = 6

    name = "portraits"
    version = "1"
    families = (Family.FACE_SYNTHESIS,)
    needs_faces = False
    closer = False
    model = Nudity.model

    def prepare(self, view):
        return []

    def interpret(self, probe, outputs):
        return []


class Plain:
    """No dataclass."""


@dataclass(frozen=True)
class Half:
    """No detector."""

    name = "portraits"
    version = "1"


@dataclass(frozen=True)
class Words(Portraits):
    """Families in words of its own."""

    families = ("beauty_filter",)
'''


def file(line: str) -> str:
    return f"{STEPS}detectors:\n  - {line}\n"


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module that can be imported, of this test alone."""
    name = f"acme_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(MODULE)
    (tmp_path / f"{name}_broken.py").write_text("raise RuntimeError('no weights')\n")
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_a_detector_from_outside_runs_as_one_that_ships(beside: str):
    """Mode, deadline and options are those of any line, and its model is compared like any."""
    found = parse(
        file(f"{{name: portraits, module: '{beside}:Portraits', mode: shadow, deadline: 3, options: {{frames: 2}}}}")
    )
    (entry,) = found.entries
    assert (entry.detector.name, entry.detector.frames, entry.mode, entry.deadline) == ("portraits", 2, Mode.SHADOW, 3)
    assert ("portraits", entry.detector.model) in found.models
    assert any(version.startswith("portraits@1+") for version in found.versions)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{name: portraits, deadline: 1}", "unknown detector 'portraits'"),
        ("{name: portraits, deadline: 1}", "one of your own is named by `module: package.module:Class`"),
        ("{name: portraits, module: acme, deadline: 1}", "module is written package.module:Class, not 'acme'"),
        ("{name: portraits, module: 'ac_me:X', deadline: 1}", "cannot import ac_me: ModuleNotFoundError"),
        ("{name: portraits, module: 'BESIDE_broken:X', deadline: 1}", "RuntimeError: no weights"),
        ("{name: portraits, module: 'BESIDE:Portrait', deadline: 1}", "has no dataclass Portrait"),
        ("{name: portraits, module: 'BESIDE:Plain', deadline: 1}", "has no dataclass Plain"),
        ("{name: portraits, module: 'BESIDE:Half', deadline: 1}", "is no detector: it lacks families, model"),
        ("{name: faces, module: 'BESIDE:Portraits', deadline: 1}", "calls itself 'portraits'"),
        ("{name: nudity, module: 'BESIDE:Portraits', deadline: 1}", "Unmask has a detector of that name"),
        ("{name: portraits, module: 'BESIDE:Words', deadline: 1}", "families must be a tuple of Family"),
        (
            "{name: portraits, module: 'BESIDE:Portraits', deadline: 1, options: {crops: 3}}",
            "portraits: unknown option crops; there are frames",
        ),
    ],
)
def test_what_is_wrong_is_said(beside: str, line: str, words: str):
    """Every mistake stops the start with a sentence that says what to change."""
    with pytest.raises(ConfigError) as refused:
        parse(file(line.replace("BESIDE", beside)))
    assert words in str(refused.value)
