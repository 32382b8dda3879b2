"""Sound and frames of training files, and coded copies of sound: training's own door to PyAV.

The live decoder takes what a clip needs, in a sandbox, within a budget; training takes all of a file that the operator
trusts, and encodes sound as platforms and telephones would.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from pipeline.decode.port import RGB, SAMPLE_RATE
from pipeline.detect.sound import Samples


@dataclass(frozen=True, slots=True)
class Coding:
    """A codec as platforms use it: `rate` Hz at which it runs, `bits` per second (0: the codec's own)."""

    codec: str
    container: str
    rate: int
    bits: int = 0


CODINGS = (
    Coding("libmp3lame", "mp3", 24_000, 32_000),
    Coding("libmp3lame", "mp3", 44_100, 64_000),
    Coding("libmp3lame", "mp3", 44_100, 128_000),
    Coding("aac", "adts", 44_100, 64_000),
    Coding("aac", "adts", 44_100, 128_000),
    Coding("libopus", "ogg", 48_000, 16_000),
    Coding("libopus", "ogg", 48_000, 32_000),
    Coding("g722", "g722", 16_000),
    Coding("pcm_alaw", "wav", 8_000),
)


def read_sound(path: Path, limit: float = 120.0) -> tuple[Samples, float]:
    """Mono samples at 16 kHz of the first `limit` seconds and when they begin; none when the file has no sound."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return np.zeros(0, np.float32), 0.0
        return _sound(container, limit)


def coded(samples: Samples, coding: Coding) -> Samples:
    """The samples after having been through a codec; cut or padded to their length, the codec's delay taken off."""
    packed = io.BytesIO()
    with av.open(packed, "w", format=coding.container) as container:
        stream: Any = container.add_stream(coding.codec, rate=coding.rate)
        stream.layout = "mono"
        if coding.bits:
            stream.bit_rate = coding.bits
        resampler = av.AudioResampler(stream.format.name, "mono", coding.rate, stream.frame_size or 1024)
        whole = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="flt", layout="mono")
        whole.sample_rate = SAMPLE_RATE
        for frame in [*resampler.resample(whole), *resampler.resample(None)]:
            frame.pts = None
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    packed.seek(0)
    # A bare G.722 stream names itself by its file name alone.
    with av.open(packed, format="g722" if coding.container == "g722" else None) as container:
        back, _ = _sound(container, len(samples) / SAMPLE_RATE + 1)
    size = min(len(samples), len(back))
    if size < SAMPLE_RATE // 2:
        return np.asarray(np.pad(back[: len(samples)], (0, len(samples) - size)), np.float32)
    joint = np.fft.rfft(back, 2 * len(samples) + 4096) * np.conj(np.fft.rfft(samples, 2 * len(samples) + 4096))
    delay = int(np.fft.irfft(joint)[:4096].argmax())
    out = back[delay : delay + len(samples)]
    return np.asarray(np.pad(out, (0, len(samples) - len(out))), np.float32)


def read_frames(path: Path, rate: float = 25.0, longest: int = 960) -> Iterator[tuple[float, RGB]]:
    """(seconds, picture) of a video, at most `rate` a second, at most `longest` pixels on the long side."""
    with av.open(str(path)) as container:
        if not container.streams.video:
            return
        stream = container.streams.video[0]
        due = -1e9
        for frame in container.decode(stream):
            at = float(frame.time or 0.0)
            if at < due:
                continue
            due = max(due + 1 / rate, at + 0.5 / rate)
            scale = min(1.0, longest / max(frame.width, frame.height))
            size = (round(frame.width * scale / 2) * 2, round(frame.height * scale / 2) * 2)
            small = frame.reformat(width=size[0], height=size[1], format="rgb24")
            yield at, np.asarray(small.to_ndarray(), np.uint8)


def _sound(container: Any, limit: float) -> tuple[Samples, float]:
    resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE)
    parts: list[Samples] = []
    start: float | None = None
    for frame in container.decode(container.streams.audio[0]):
        if start is None:
            start = float(frame.time or 0.0)
        parts += [out.to_ndarray()[0] for out in resampler.resample(frame)]
        if sum(map(len, parts)) > limit * SAMPLE_RATE:
            break
    parts += [out.to_ndarray()[0] for out in resampler.resample(None)]
    samples = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    return np.asarray(samples[: int(limit * SAMPLE_RATE)], np.float32), start or 0.0
