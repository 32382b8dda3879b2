"""Pseudo-fakes of whole-face synthesis without a generator: a photograph rebuilt as a decoder builds a picture.

Generators make pictures by enlarging step by step, and each step leaves traces: periodic gains of the four phases of a
doubling (Odena, Dumoulin and Olah, "Deconvolution and Checkerboard Artifacts", 2016) and a wrong spectrum at high
frequencies (Durall, Keuper and Keuper, "Watch your Up-Convolution", CVPR 2020). Here a photograph is taken apart into a
pyramid and put together again with kernels, gains and noise of that kind: its content stays, the traces are new.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.detect.faces import Image

Floats = NDArray[np.float32]

_KERNELS = (
    np.array([1, 1], np.float32),
    np.array([1, 2, 1], np.float32) / 2,
    np.array([1, 3, 3, 1], np.float32) / 4,
    np.array([1, 4, 6, 4, 1], np.float32) / 8,
)
"""What a doubling is smoothed with after zeros were put between the pixels: nearest, linear, StyleGAN's, binomial."""


def upsampled(image: Image, rng: np.random.Generator) -> Image:
    """The same picture with the traces of one to three doublings. The same generator state gives the same picture."""
    steps = int(rng.integers(1, 4))
    levels = [image.astype(np.float32)]
    for _ in range(steps):
        height, width = levels[-1].shape[:2]
        size = (max(4, width // 2), max(4, height // 2))
        levels.append(np.asarray(cv2.resize(levels[-1], size, interpolation=cv2.INTER_AREA), np.float32))
    strength = rng.uniform(0.3, 1.0)
    x = levels[-1]
    for level in levels[-2::-1]:
        grown = _doubled(x, level.shape[1::-1], strength, rng)
        detail = level - cv2.resize(x, level.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        x = grown + _remade(detail, strength, rng)
    return np.asarray(np.clip(np.rint(x), 0, 255), np.uint8)


def _doubled(x: Floats, size: tuple[int, int], strength: float, rng: np.random.Generator) -> Floats:
    """Zeros between the pixels, a kernel whose four phases are not quite equal, and a colour mixing not quite even."""
    height, width = x.shape[:2]
    sparse = np.zeros((2 * height, 2 * width, 3), np.float32)
    sparse[::2, ::2] = x
    taps = _KERNELS[int(rng.integers(len(_KERNELS)))]
    kernel = np.outer(taps, taps)
    kernel = kernel * (1 + rng.normal(0, 0.06 * strength, kernel.shape))
    kernel = kernel * (4 / kernel.sum())
    grown = cv2.filter2D(sparse, -1, kernel.astype(np.float32), borderType=cv2.BORDER_REFLECT_101)
    mixing = np.eye(3) + rng.normal(0, 0.02 * strength, (3, 3))
    grown = grown @ (mixing / mixing.sum(axis=1, keepdims=True)).T.astype(np.float32)
    return np.asarray(cv2.resize(grown, size, interpolation=cv2.INTER_LINEAR), np.float32)


def _remade(detail: Floats, strength: float, rng: np.random.Generator) -> Floats:
    """Detail as a network would invent it: some of it lost, through a small random filter, with noise of its own."""
    kept = np.float32(1 - rng.uniform(0, 0.6) * strength)
    kernel = np.zeros((3, 3))
    kernel[1, 1] = 1
    kernel += rng.normal(0, 0.08 * strength, (3, 3))
    cut = np.float32(rng.uniform(0, 4) * strength)
    small = np.sign(detail) * np.maximum(np.abs(detail) - cut, 0)
    made = cv2.filter2D(small, -1, (kernel / kernel.sum()).astype(np.float32), borderType=cv2.BORDER_REFLECT_101) * kept
    noise = rng.normal(0, rng.uniform(0, 2.5) * strength, detail.shape[:2]).astype(np.float32)
    if rng.random() < 0.5:
        noise = cv2.GaussianBlur(noise, (0, 0), 0.7)
    return np.asarray(made + noise[..., None] * rng.uniform(0.5, 1.5, 3).astype(np.float32), np.float32)
