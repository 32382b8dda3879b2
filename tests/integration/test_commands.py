"""Commands as a user runs them: the demo, and files without Kafka."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.demo.media import write_jpeg, write_sound, write_video
from pipeline.models.samples import sample_photographs
from tests.integration.conftest import REPOSITORY


def unmask(*arguments: str, home: Path, timeout: float = 850) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "UNMASK_HOME": str(home), "COLUMNS": "160"},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.mark.timeout(900)
def test_the_demo_answers_everything_as_it_should(home: Path) -> None:
    """Exit status 0: every sample came to what it should, and the audit holds."""
    done = unmask("demo", home=home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the invariant holds" in done.stdout


@pytest.fixture(scope="module")
def samples(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    photo = next(p for p in sample_photographs(home, REPOSITORY / "models") if p.name == "astronaut")
    with Image.open(photo.path) as image:
        portrait = np.asarray(image.convert("RGB"), np.uint8)
    write_jpeg(folder / "photo.jpg", portrait)
    write_video(folder / "video.mp4", [(portrait, 3.0)], size=(640, 360))
    write_sound(folder / "sound.wav", 3.0)
    (folder / "broken.mp4").write_bytes((folder / "video.mp4").read_bytes()[:2000])
    return folder


def test_screen_judges_a_photograph_a_video_sound_and_a_broken_file(home: Path, samples: Path) -> None:
    """The genuine ones are allowed with what was looked at; the broken one is held with its cause."""
    names = ("photo.jpg", "video.mp4", "sound.wav", "broken.mp4")
    done = unmask("screen", "--json", *(str(samples / name) for name in names), home=home)
    assert done.returncode == 0, done.stderr
    found = {each["media_id"]: each for each in json.loads(done.stdout)}
    assert {name: found[name]["decision"]["action"] for name in names} == {
        "photo.jpg": "allow",
        "video.mp4": "allow",
        "sound.wav": "allow",
        "broken.mp4": "hold",
    }
    assert found["video.mp4"]["facts"]["kind"] == "video"
    assert len(found["video.mp4"]["sampling"]["looked_at"]) >= 3
    assert found["sound.wav"]["sampling"]["audio_seconds"] > 2
    assert found["broken.mp4"]["failure"]["reason"] in ("media_corrupt", "media_unsupported")


def test_screen_prints_a_table_for_people(home: Path, samples: Path) -> None:
    """Without --json: a table with the file, the action and the reason in words."""
    done = unmask("screen", str(samples / "photo.jpg"), home=home)
    assert done.returncode == 0, done.stderr
    assert "photo.jpg" in done.stdout
    assert "allow" in done.stdout
