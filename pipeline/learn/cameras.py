"""What another camera would have made of a picture: light, noise, denoising, sharpening, tone and colour.

Applied to a face before it is blended, so to genuine and blended alike. Faces of a few research sets look much the
same; a webcam that smooths skin, sharpens edges and overdoes red looks edited to a head that never saw one.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.detect.faces import Image

Floats = NDArray[np.float32]

_SIDE = 400
"""Blurs are drawn for a picture of so many pixels and scaled to its longer side."""


def as_filmed(image: Image, rng: np.random.Generator) -> Image:
    """The picture as another camera would have taken it. The same generator state gives the same picture."""
    return _coloured(_sharpened(_denoised(_noisy(_soft(image.astype(np.float32), rng), rng), rng), rng), rng)


def _soft(x: Floats, rng: np.random.Generator) -> Floats:
    """A smaller sensor, or a lens that does not quite focus."""
    height, width = x.shape[:2]
    if rng.random() < 0.25:
        factor = rng.uniform(0.3, 0.8)
        size = max(8, round(width * factor)), max(8, round(height * factor))
        enlarged = int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC]))
        small = cv2.resize(x, size, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(small, (width, height), interpolation=enlarged), np.float32)
    if rng.random() < 0.2:
        return _blurred(x, rng.uniform(0.3, 1.5) * max(height, width) / _SIDE)
    return x


def _noisy(x: Floats, rng: np.random.Generator) -> Floats:
    """Noise of brightness and less of colour, fine or in blotches."""
    if rng.random() >= 0.35:
        return x
    noise: Any = rng.standard_normal((*x.shape[:2], 1), np.float32) + rng.standard_normal(x.shape, np.float32) / 2
    blotches = rng.uniform(0, 1.2)
    if blotches > 0.3:
        noise = _blurred(noise, blotches)
    return np.asarray(x + noise / noise.std() * np.float32(rng.uniform(1, 5)), np.float32)


def _denoised(x: Floats, rng: np.random.Generator) -> Floats:
    if rng.random() >= 0.35:
        return x
    smooth = cv2.bilateralFilter(np.clip(x, 0, 255), 7, rng.uniform(10, 50), rng.uniform(1.5, 5))
    return np.asarray(smooth, np.float32)


def _sharpened(x: Floats, rng: np.random.Generator) -> Floats:
    if rng.random() >= 0.35:
        return x
    return np.asarray(x + (x - _blurred(x, rng.uniform(0.8, 3))) * np.float32(rng.uniform(0.4, 1.8)), np.float32)


def _coloured(x: Floats, rng: np.random.Generator) -> Image:
    """Exposure, contrast, light from one side, saturation, colours that bleed, and white balance."""
    height, width = x.shape[:2]
    planes: Any = cv2.cvtColor(np.clip(x, 0, 255) / np.float32(255), cv2.COLOR_RGB2YCrCb)
    light, colour = np.clip(planes[..., 0], 0, 1), planes[..., 1:] - np.float32(0.5)
    if rng.random() < 0.4:
        colour = _blurred(colour, rng.uniform(0.8, 5) * max(height, width) / _SIDE)
    colour = colour * np.float32(np.exp(rng.uniform(-0.7, 0.6)))
    light = light ** np.float32(np.exp(rng.uniform(-0.45, 0.45)))
    contrast = np.float32(np.exp(rng.uniform(-0.4, 0.5)))
    light = (light - np.float32(0.5)) * contrast
    if contrast > 1:  # an S-curve: the ends of the range are squeezed, not cut off
        light = np.tanh(2 * light) / (2 * np.tanh(contrast))
    light = light + np.float32(0.5)
    if rng.random() < 0.3:
        angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 1.2)
        ys, xs = np.mgrid[:height, :width].astype(np.float32)
        along = (xs / width - 0.5) * np.float32(np.cos(angle)) + (ys / height - 0.5) * np.float32(np.sin(angle))
        light = light * np.exp(np.float32(strength) * along)
    joined = np.clip(np.dstack([light, colour + np.float32(0.5)]), 0, 1).astype(np.float32)
    balance = np.exp(rng.normal(0, 0.08, 3) * (1, 0.3, 1)).astype(np.float32)
    rgb: Any = cv2.cvtColor(joined, cv2.COLOR_YCrCb2RGB) * balance
    return np.asarray(np.clip(np.rint(rgb * 255), 0, 255), np.uint8)


def _blurred(x: Floats, sigma: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(x, (0, 0), sigma), np.float32)
