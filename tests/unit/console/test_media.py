"""Ranges and places that browsers ask for; pictures made of evidence."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from fastapi import HTTPException

from pipeline.console import renditions
from pipeline.console.media import _box, _one, _range
from pipeline.decode.port import Audio
from pipeline.events.values import Box

GREY = np.full((60, 100, 3), 128, np.uint8)


@pytest.mark.parametrize(
    ("header", "size", "found"),
    [
        (None, 10, (0, 9)),
        ("bytes=0-", 10, (0, 9)),
        ("bytes=2-4", 10, (2, 4)),
        ("bytes=2-99", 10, (2, 9)),
        ("bytes=-3", 10, (7, 9)),
        ("bytes=-99", 10, (0, 9)),
        ("bytes=10-", 10, None),
        ("bytes=-0", 10, None),
        ("bytes=0-", 0, None),
        ("bytes=0-1,4-5", 10, (0, 9)),
        ("bytes=-", 10, (0, 9)),
        ("bytes=5-2", 10, (0, 9)),
        ("items=0-1", 10, (0, 9)),
        ("bytes=" + "9" * 30 + "-", 10, (0, 9)),
    ],
)
def test_one_range_is_served(header: str | None, size: int, found: tuple[int, int] | None) -> None:
    """RFC 9110, §14: the end is cut to what there is, a suffix counts from the end, what begins after the end cannot be
    had; several, and what is no range, mean the whole."""
    assert _range(header, size) == found


def test_only_a_range_is_answered_as_a_part() -> None:
    """What is ignored is answered as a whole, with 200; `bytes=0-` is a range, which players insist on."""
    assert _one("bytes=0-") == ("0", "")
    for ignored in (None, "", "bytes=0-1,4-5", "bytes=5-2", "items=0-1", "bytes=-"):
        assert _one(ignored) is None


def test_places_lie_within_the_frame() -> None:
    """Shares beyond it are cut; an empty place and nonsense are refused."""
    assert _box("-1,0,0.5,inf") == Box(x0=0.0, y0=0.0, x1=0.5, y1=1.0)
    for odd in ("", "1,2,3", "a,b,c,d", "0.5,0,0.5,1", "0,nan,1,nan", "0,0,1,1,1"):
        with pytest.raises(HTTPException):
            _box(odd)


def test_pictures_keep_their_shape() -> None:
    """Large ones are made smaller, small ones stay; a place is as large as asked for, also in a corner."""
    assert renditions.fitted(GREY, 50).shape == (30, 50, 3)
    assert renditions.fitted(GREY) is GREY
    corner = renditions.cut(GREY, Box(x0=0.99, y0=0.99, x1=1.0, y1=1.0), side=64)
    assert max(corner.shape[:2]) == 64
    for view in (renditions.noise, renditions.compression):
        assert view(GREY).shape == GREY.shape
    assert renditions.spectrum(GREY).shape == (60, 60, 3)


def test_noise_of_another_strength_shows() -> None:
    """What was pasted in, and carries noise where the rest has none, is what is bright."""
    image = GREY.copy()
    image[20:40, 30:60] += np.random.default_rng(7).integers(0, 20, (20, 30, 3), dtype=np.uint8)
    shown = renditions.noise(image).astype(int)
    assert np.abs(shown[22:38, 32:58] - 128).mean() > 10 * max(0.1, np.abs(shown[:15] - 128).mean())


def test_sound_is_drawn() -> None:
    """A tone is a bright line at its height; silence and nothing at all are drawn too."""
    tone = np.sin(2 * np.pi * 2000 * np.arange(16_000) / 16_000).astype(np.float32)
    drawn = cv2.cvtColor(renditions.spectrogram(Audio(tone)), cv2.COLOR_RGB2GRAY)
    assert abs(int(drawn.mean(axis=1).argmax()) - 192) <= 3  # a quarter of 8 kHz, from below, of 256 rows
    for samples in (tone, np.zeros(16_000, np.float32), np.zeros(0, np.float32)):
        assert renditions.wave(Audio(samples)).shape == (160, 1200, 3)
        assert renditions.spectrogram(Audio(samples)).shape == (256, 1200, 3)
        assert renditions.jpeg(renditions.wave(Audio(samples)))[:2] == b"\xff\xd8"
