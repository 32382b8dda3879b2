"""Files of their own digest and the same content."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.demo.media import rendered, write_jpeg, write_sound
from pipeline.load.media import stamped, write_copies
from pipeline.load.mix import Kind, Planned
from pipeline.load.run import is_local


def test_a_stamped_picture_shows_the_same(tmp_path: Path) -> None:
    """Other bytes, the same pixels."""
    write_jpeg(tmp_path / "a.jpg", rendered(1, 64, 96))
    (tmp_path / "b.jpg").write_bytes(stamped((tmp_path / "a.jpg").read_bytes(), ".jpg", b"17"))
    first, second = (cv2.imread(str(tmp_path / name)) for name in ("a.jpg", "b.jpg"))
    assert (tmp_path / "a.jpg").read_bytes() != (tmp_path / "b.jpg").read_bytes()
    assert np.array_equal(first, second)


def test_a_stamped_sound_is_a_sound_whose_chunks_add_up(tmp_path: Path) -> None:
    """RIFF's size covers the new chunk, which is padded to an even length."""
    write_sound(tmp_path / "a.wav", 0.1)
    data = stamped((tmp_path / "a.wav").read_bytes(), ".wav", b"odd")
    assert int.from_bytes(data[4:8], "little") == len(data) - 8
    assert len(data) % 2 == 0


def test_every_first_upload_has_bytes_of_its_own_and_a_repeat_has_the_same(tmp_path: Path) -> None:
    """Two uploads from one original differ; a re-upload is the file that it repeats."""
    original = tmp_path / "sound.wav"
    write_sound(original, 0.1)
    plan = (Planned(Kind.AUDIO, 0), Planned(Kind.AUDIO, 1), Planned(Kind.REUPLOAD, 1, again=1))
    done: list[int] = []
    paths = write_copies(tmp_path / "run", {Kind.AUDIO: [original]}, plan, "s", lambda: done.append(1))
    assert paths[1] == paths[2]
    assert paths[0].read_bytes() != paths[1].read_bytes()
    assert len(done) == 3


@pytest.mark.parametrize(
    ("servers", "local"),
    [
        ("127.0.0.1:9092", True),
        ("localhost:1,127.0.0.2:2", True),
        ("[::1]:9092", True),
        ("PLAINTEXT://127.0.0.1:9092", True),
        ("127.0.0.1:9092,kafka.example:9092", False),
        ("10.0.0.1:9092", False),
        ("127.0.0.1.example:9092", False),
        ("", False),
    ],
)
def test_only_this_machine_counts_as_local(servers: str, local: bool) -> None:
    """One server elsewhere is enough to ask first."""
    assert is_local(servers) is local
