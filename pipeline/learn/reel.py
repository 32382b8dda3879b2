"""Whole reels for training: read every frame of a short clip, write clips of any codec. Only training may.

Frames stay in YUV 4:2:0 as coded, so that no conversion wipes out the traces that the heads learn from.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import av
import cv2
import numpy as np
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.video.stream import VideoStream
from numpy.typing import NDArray

from pipeline.decode.port import SAMPLE_RATE

Planes = NDArray[np.uint8]
"""One frame, YUV 4:2:0 planar: height · 3/2 × width; both sides even."""


@dataclass(frozen=True, slots=True, eq=False)
class Reel:
    """Frames at a constant `rate`, and sound (mono, `SAMPLE_RATE`), if any."""

    frames: tuple[Planes, ...]
    rate: float
    sound: NDArray[np.float32] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.frames[0].shape[1], self.frames[0].shape[0] * 2 // 3

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.frames) / self.rate

    def cut(self, start: float, end: float) -> Reel:
        """The stretch from `start` to `end` seconds."""
        frames = self.frames[round(start * self.rate) : round(end * self.rate)]
        sound = None if self.sound is None else self.sound[int(start * SAMPLE_RATE) : int(end * SAMPLE_RATE)]
        return replace(self, frames=frames, sound=sound)


@dataclass(frozen=True, slots=True)
class Encoding:
    """A codec as FFmpeg calls it, and its options."""

    codec: str
    options: Mapping[str, str]


def read_reel(source: Path | IO[bytes], seconds: float, *, window: int = 4096) -> Reel | None:
    """The first `seconds` of a clip, unscaled: the middle, at most `window` pixels a side, its corner on the grid of
    macroblocks. None where there is no picture."""
    with av.open(source if not isinstance(source, Path) else str(source), "r") as container:
        video = next(iter(container.streams.video), None)
        if video is None:
            return None
        video.codec_context.thread_count = 1
        rate = float(video.average_rate or 25)
        width, height = (min(window, side) // 2 * 2 for side in (video.width, video.height))
        left, top = (video.width - width) // 32 * 16, (video.height - height) // 32 * 16
        half = np.s_[top // 2 : (top + height) // 2, left // 2 : (left + width) // 2]
        frames: list[Planes] = []
        for frame in container.decode(video):
            if len(frames) >= seconds * rate:
                break
            even = (frame.width // 2 * 2, frame.height // 2 * 2)
            y, u, v = split(np.asarray(frame.reformat(*even, "yuv420p").to_ndarray(), np.uint8))
            frames.append(join(y[top : top + height, left : left + width], u[half], v[half]))
    if not frames:
        return None
    sound = _sound(source, seconds) if isinstance(source, Path) else None
    return Reel(tuple(frames), rate, sound)


def _sound(path: Path, seconds: float) -> NDArray[np.float32] | None:
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return None
        resampler = AudioResampler("flt", "mono", SAMPLE_RATE)
        parts, count = [], 0
        with suppress(av.error.FFmpegError):  # what came before the damage is kept
            for frame in container.decode(audio=0):
                for part in resampler.resample(frame):
                    parts.append(part.to_ndarray()[0])
                    count += parts[-1].size
                if count >= seconds * SAMPLE_RATE:
                    break
    return np.concatenate(parts)[: int(seconds * SAMPLE_RATE)] if parts else None


def write_reel(out: Path | IO[bytes], reel: Reel, encoding: Encoding) -> None:
    """An MP4 of the frames as they are, with the sound as AAC."""
    width, height = reel.size
    rate = Fraction(reel.rate).limit_denominator(1001)
    with av.open(out if not isinstance(out, Path) else str(out), "w", format="mp4") as container:
        video = container.add_stream(encoding.codec, rate=rate, options=dict(encoding.options))
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.codec_context.thread_count = 1
        sound: Any = None
        if reel.sound is not None:
            sound = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
            assert isinstance(sound, AudioStream)
        for n, planes in enumerate(reel.frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(planes), format="yuv420p")
            frame.pts, frame.time_base = n, 1 / rate
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if sound is not None:
            for packet_frame in _chunks(reel.sound):
                container.mux(sound.encode(packet_frame))
            container.mux(sound.encode(None))


def _chunks(samples: NDArray[np.float32] | None) -> Iterator[Any]:
    assert samples is not None
    for start in range(0, samples.size, 1024):
        chunk = np.ascontiguousarray(samples[None, start : start + 1024], np.float32)
        frame = av.AudioFrame.from_ndarray(chunk, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, start, Fraction(1, SAMPLE_RATE)
        yield frame


def through(reel: Reel, encoding: Encoding) -> Reel:
    """The reel after it was encoded and decoded again; its sound is left as it is."""
    packed = io.BytesIO()
    write_reel(packed, replace(reel, sound=None), encoding)
    packed.seek(0)
    again = read_reel(packed, reel.seconds + 1)
    assert again is not None
    return replace(reel, frames=again.frames[: len(reel.frames)])


def scaled(planes: Planes, width: int, height: int, interpolation: int | None = None) -> Planes:
    """A frame at another size; both sides even."""
    rows = planes.shape[0] * 2 // 3
    shrinks = width * height < rows * planes.shape[1]
    how = interpolation if interpolation is not None else cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    y, u, v = split(planes)
    return join(
        np.asarray(cv2.resize(y, (width, height), interpolation=how), np.uint8),
        np.asarray(cv2.resize(u, (width // 2, height // 2), interpolation=how), np.uint8),
        np.asarray(cv2.resize(v, (width // 2, height // 2), interpolation=how), np.uint8),
    )


def split(planes: Planes) -> tuple[Planes, Planes, Planes]:
    """Y, U and V of a frame."""
    rows, width = planes.shape[0] * 2 // 3, planes.shape[1]
    chroma = planes[rows:].reshape(2, rows // 2, width // 2)
    return planes[:rows], chroma[0], chroma[1]


def join(y: Planes, u: Planes, v: Planes) -> Planes:
    """A frame of its three planes."""
    return np.concatenate([y, np.stack([u, v]).reshape(y.shape[0] // 2, y.shape[1])])


def of_rgb(image: NDArray[np.uint8]) -> Planes:
    """A frame of an RGB picture, cut to even sides."""
    height, width = (side // 2 * 2 for side in image.shape[:2])
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(image[:height, :width]), cv2.COLOR_RGB2YUV_I420), np.uint8)
