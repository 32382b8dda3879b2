"""Videos through the sandboxed decoder into a bank, and found again."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.demo.media import write_video
from pipeline.match.banks import Kind
from pipeline.match.hash_files import Hashed, hash_files
from pipeline.match.match import match
from pipeline.settings import Settings
from tests.unit.match.made import bank
from tests.unit.match.waves import waves

SCENES = [(waves(360, 640, seed), 3.0) for seed in (1, 2, 3)]
OTHERS = [(waves(360, 640, seed), 3.0) for seed in (4, 5, 6)]


async def hashed(folder: Path, scenes, **how) -> Hashed:
    path = folder / "video.mp4"
    write_video(path, scenes, **how)
    (found,) = await hash_files([path], Settings())
    return found


@pytest.mark.slow
async def test_a_video_is_known_again_after_it_was_made_smaller(tmp_path: Path) -> None:
    """At half the size and another frame rate, whole or an excerpt; another video is not, and a long one in which it is
    hidden only where the bank asks for less of the upload."""
    original = await hashed(tmp_path, SCENES)
    codes = {"v": tuple(each.pdq for each in original.hashes)}
    videos = [bank("videos", codes, Kind.VPDQ), bank("parts", codes, Kind.VPDQ, query_share=0.2)]

    def known(found: Hashed) -> list[str]:
        return [one.bank for one in match(found.sha256, found.hashes, videos, "m")]

    small = {"rate": 10, "size": (640, 360)}
    assert known(await hashed(tmp_path, SCENES, **small)) == ["videos", "parts"]
    assert known(await hashed(tmp_path, SCENES[1:2], **small)) == ["videos", "parts"]
    assert known(await hashed(tmp_path, OTHERS, **small)) == []
    assert known(await hashed(tmp_path, [*OTHERS, *SCENES[:2]], **small)) == ["parts"]
