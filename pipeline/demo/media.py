"""Writes sample media. Only the demo writes media; the pipeline itself only reads them."""

from __future__ import annotations

import struct
import wave
import zlib
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

RGB = NDArray[np.uint8]
SAMPLE_RATE = 44_100


def write_jpeg(path: Path, image: RGB, quality: int = 92) -> None:
    """A still photograph; height × width × 3, RGB."""
    Image.fromarray(image).save(path, quality=quality)


def write_png_with_text(path: Path, image: RGB, texts: dict[str, str]) -> None:
    """A PNG with text chunks, as image generators write them."""
    chunks = PngImagePlugin.PngInfo()
    for name, text in texts.items():
        chunks.add_text(name, text)
    Image.fromarray(image).save(path, pnginfo=chunks)


def write_video(
    path: Path, stills: Iterable[tuple[RGB, float]], rate: int = 25, size: tuple[int, int] = (1280, 720)
) -> None:
    """H.264 and AAC: each still for so many seconds under a slow zoom, with a voice-like tone below."""
    width, height = size
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=rate, options={"preset": "veryfast", "crf": "20", "g": str(rate)})
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        sound = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        assert isinstance(sound, AudioStream)
        seconds = 0.0
        for still, length in stills:
            for n in range(round(length * rate)):
                picture = _zoomed(still, 1.0 + 0.04 * n / (length * rate), width, height)
                container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            seconds += length
        container.mux(video.encode(None))
        samples = tone(seconds)
        for start in range(0, samples.size, 1024):
            frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, start, Fraction(1, SAMPLE_RATE)
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))


def write_sound(path: Path, seconds: float) -> None:
    """A mono WAV with a modulated tone."""
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(SAMPLE_RATE)
        sound.writeframes((tone(seconds) * 32767).astype("<i2").tobytes())


def write_bomb(path: Path, side: int = 60_000) -> None:
    """A PNG of a few kilobytes that claims `side` × `side` pixels, and whose data unpack without end in sight."""
    rows = zlib.compressobj(9)
    data = b"".join(rows.compress(bytes(1 << 20)) for _ in range(64)) + rows.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b""))


def tone(seconds: float) -> NDArray[np.float32]:
    """A tone that swells and falls like speech, −1…1."""
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    swell = 0.5 + 0.5 * np.sin(2 * np.pi * 3.1 * t)
    return np.asarray(0.3 * swell * np.sin(2 * np.pi * 180 * t + 2 * np.sin(2 * np.pi * 0.7 * t)), np.float32)


def rendered(seed: int, height: int = 768, width: int = 1024) -> RGB:
    """A picture that no camera took: soft coloured waves with fine grain."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    layers = [np.sin(2 * np.pi * (rng.uniform(1, 5) * x + rng.uniform(1, 5) * y + rng.uniform())) for _ in range(3)]
    picture = 127 + 90 * np.stack(layers, axis=-1) + rng.normal(0, 6, (height, width, 3))
    return np.clip(picture, 0, 255).astype(np.uint8)


def _zoomed(still: RGB, factor: float, width: int, height: int) -> RGB:
    rows, columns = still.shape[:2]
    scale = max(width / columns, height / rows) * factor
    move = np.array([[scale, 0, width / 2 - scale * columns / 2], [0, scale, height / 2 - scale * rows / 2]])
    return np.asarray(cv2.warpAffine(still, move, (width, height), flags=cv2.INTER_AREA), np.uint8)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
