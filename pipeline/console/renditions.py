"""Pictures of evidence, from decoded pixels and sound: what reviewers see beside the original. Pure.

They are views to look at, not measurements: each is scaled to its own extremes, which is said beside it.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.decode.port import RGB, SAMPLE_RATE, Audio
from pipeline.events.values import Box
from pipeline.report import pictures

LONGEST = 1280
_QUALITY = 88


def jpeg(image: NDArray[Any]) -> bytes:
    """A picture for a reviewer."""
    return pictures.jpeg(image, _QUALITY)


def fitted(image: RGB, longest: int = LONGEST) -> RGB:
    """At most so many pixels on the long side."""
    return pictures.fitted(image, longest)


def cut(image: RGB, box: Box, margin: float = 0.3, side: int = 320) -> RGB:
    """A place with a margin around it, `side` pixels on its long side."""
    height, width = image.shape[:2]
    dx, dy = margin * (box.x1 - box.x0), margin * (box.y1 - box.y0)
    x0, x1 = int(max(0.0, box.x0 - dx) * width), int(np.ceil(min(1.0, box.x1 + dx) * width))
    y0, y1 = int(max(0.0, box.y0 - dy) * height), int(np.ceil(min(1.0, box.y1 + dy) * height))
    place = image[y0 : max(y0 + 1, y1), x0 : max(x0 + 1, x1)]
    return pictures.scaled(place, side)


def noise(image: RGB) -> RGB:
    """What is left when the smooth part is taken away, magnified: edits often carry noise of another strength.

    Source: median-filter noise residual, as in Mahdian and Saic, "Using noise inconsistencies for blind image
    forensics" (2009).
    """
    grey = cv2.cvtColor(fitted(image), cv2.COLOR_RGB2GRAY)
    rest = grey.astype(np.float32) - cv2.medianBlur(grey, 3).astype(np.float32)
    spread = max(1.0, float(np.percentile(np.abs(rest), 99)))
    shown = np.clip(128 + rest * (127 / spread), 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(shown, cv2.COLOR_GRAY2RGB), dtype=np.uint8)


def compression(image: RGB, quality: int = 90) -> RGB:
    """Error level analysis: how much each place changes when the picture is saved once more.

    Source: Krawetz, "A Picture's Worth" (2007). Edges light up in honest pictures too.
    """
    small = fitted(image)
    packed = np.frombuffer(pictures.jpeg(small, quality), np.uint8)
    again: Any = cv2.imdecode(packed, cv2.IMREAD_COLOR)
    changed: NDArray[Any] = np.abs(small.astype(np.float32) - again[..., ::-1].astype(np.float32))
    spread = max(1.0, float(np.percentile(changed, 99.5)))
    return np.asarray(np.clip(changed * (255 / spread), 0, 255), dtype=np.uint8)


def spectrum(image: RGB, side: int = 512) -> RGB:
    """The logarithm of the power spectrum of the noise residual: up-sampling leaves bright points in a grid.

    Source: Zhang, Karaman and Chang, "Detecting and Simulating Artifacts in GAN Fake Images" (2019).
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    take = min(side, height, width)
    top, left = (height - take) // 2, (width - take) // 2
    part = grey[top : top + take, left : left + take]
    rest = part.astype(np.float32) - cv2.medianBlur(part, 3).astype(np.float32)
    window = np.outer(np.hanning(take), np.hanning(take))
    power = np.log1p(np.abs(np.fft.fftshift(np.fft.fft2(rest * window))))
    low, high = np.percentile(power, (1, 99.8))
    shown = np.clip((power - low) / max(1e-6, high - low) * 255, 0, 255).astype(np.uint8)
    return np.asarray(cv2.applyColorMap(shown, cv2.COLORMAP_VIRIDIS)[..., ::-1], dtype=np.uint8)


def wave(audio: Audio, width: int = 1200, height: int = 160) -> RGB:
    """Loudest and quietest sample of each column of time, on a dark ground."""
    out = np.full((height, width, 3), 24, np.uint8)
    samples = audio.samples
    if not len(samples):
        return out
    edges = np.linspace(0, len(samples), width + 1).astype(int)
    middle = (height - 1) / 2
    for x in range(width):
        part = samples[edges[x] : max(edges[x] + 1, edges[x + 1])]
        y0 = round(middle - float(part.max()) * middle)
        y1 = round(middle - float(part.min()) * middle)
        out[max(0, y0) : min(height, y1 + 1), x] = (120, 180, 250)
    return out


def spectrogram(audio: Audio, width: int = 1200, height: int = 256) -> RGB:
    """Power over time and frequency (0 to 8 kHz, low at the bottom), 80 dB from the loudest down."""
    size, samples = 512, audio.samples
    if len(samples) < size:
        return np.full((height, width, 3), 0, np.uint8)
    starts = np.linspace(0, len(samples) - size, min(width, max(1, len(samples) // 128))).astype(int)
    frames = np.stack([samples[start : start + size] for start in starts]) * np.hanning(size).astype(np.float32)
    power = 20 * np.log10(np.abs(np.fft.rfft(frames, axis=1)).T + 1e-6)
    top = float(power.max())
    shown = np.clip((power - (top - 80)) / 80 * 255, 0, 255).astype(np.uint8)[::-1]
    scaled = cv2.resize(shown, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.applyColorMap(scaled, cv2.COLORMAP_MAGMA)[..., ::-1], dtype=np.uint8)


def seconds(audio: Audio) -> float:
    """How long the sound is that a picture of it spans."""
    return len(audio.samples) / SAMPLE_RATE
