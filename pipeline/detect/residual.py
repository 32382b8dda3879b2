"""What cameras and codecs leave in pixels: noise, sharpness, block grids, quantised coefficients. Pure.

All take luminance as coded, height × width; float32 or uint8. Sources: Immerkær, "Fast Noise Variance Estimation", CVIU
1996 (the noise mask); Fan & de Queiroz, "Identification of Bitmap Compression History", IEEE TIP 2003 (the block
grid); Farid, "Exposing Digital Forgeries from JPEG Ghosts", IEEE TIFS 2009 (ghosts); Gallagher, "Detection of Linear
and Cubic Interpolation in JPEG Compressed Images", CRV 2005 (interpolation).
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]

BLOCK = 8
_NOISE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_PEAK = np.array([[-0.5, 1, -0.5]], np.float32)
_NOISE_GAIN = math.sqrt(math.pi / 2) / 6
"""From the mean magnitude under `_NOISE` to the standard deviation of white noise."""

_DCT = np.array(
    [
        [
            math.sqrt((1 if u == 0 else 2) / BLOCK) * math.cos((2 * x + 1) * u * math.pi / (2 * BLOCK))
            for x in range(BLOCK)
        ]
        for u in range(BLOCK)
    ],
    np.float32,
)
_ORDER = np.add.outer(np.arange(BLOCK), np.arange(BLOCK))
LOW, MIDDLE, HIGH, TOP = (((a <= _ORDER) & (b >= _ORDER)).ravel() for a, b in ((1, 2), (3, 5), (6, 9), (10, 14)))
"""Bands of the 64 coefficients of a block, row by row."""

JPEG_LUMA = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.float32,
).ravel()
"""ITU-T T.81, table K.1: what encoders scale by their quality."""


def noise_map(luma: NDArray[Any]) -> Plane:
    """Magnitude of the noise residual, per pixel; its mean is the standard deviation of white noise."""
    return np.asarray(np.abs(cv2.filter2D(luma, cv2.CV_32F, _NOISE)) * np.float32(_NOISE_GAIN), np.float32)


def gradients(luma: NDArray[Any]) -> tuple[Plane, Plane]:
    """Magnitude of the gradient over one pixel and over two, per pixel: fine and coarse detail."""
    x = luma.astype(np.float32, copy=False)
    soft = cv2.boxFilter(x, cv2.CV_32F, (3, 3))
    return _slope(x, np.array([-0.5, 0, 0.5], np.float32)), _slope(soft, np.array([-0.5, 0, 0, 0, 0.5], np.float32))


def _slope(x: Plane, kernel: Plane) -> Plane:
    """Along rows and along columns together. Filters for one direction at a time are several times as fast."""
    one = np.ones(1, np.float32)
    along, across = cv2.sepFilter2D(x, cv2.CV_32F, kernel, one), cv2.sepFilter2D(x, cv2.CV_32F, one, kernel)
    return np.asarray(np.abs(along, out=along) + np.abs(across, out=across), np.float32)


def blocks(luma: NDArray[Any]) -> NDArray[np.float32]:
    """DCT coefficients of the 8 × 8 blocks on the coded grid: rows × columns × 64, JPEG's transform."""
    rows, cols = luma.shape[0] // BLOCK, luma.shape[1] // BLOCK
    x = luma[: rows * BLOCK, : cols * BLOCK].astype(np.float32) - 128
    x = x.reshape(rows, BLOCK, cols * BLOCK)
    x = np.matmul(_DCT, x).reshape(rows, BLOCK, cols, BLOCK)
    x = np.matmul(x.reshape(-1, BLOCK), _DCT.T).reshape(rows, BLOCK, cols, BLOCK)
    return np.ascontiguousarray(x.transpose(0, 2, 1, 3)).reshape(rows, cols, BLOCK * BLOCK)


def steps(luma: NDArray[Any], axis: int) -> Plane:
    """How much the step between a pixel and the next exceeds the steps beside it; along columns (1) or rows (0)."""
    x = luma if luma.dtype == np.uint8 else luma.astype(np.int16)
    d = cv2.absdiff(x[:, 1:], x[:, :-1]) if axis else cv2.absdiff(x[1:], x[:-1])
    excess = cv2.filter2D(d, cv2.CV_32F, _PEAK if axis else _PEAK.T)
    return np.asarray(excess[:, 1:-1] if axis else excess[1:-1], np.float32)


def grid_phases(luma: NDArray[Any]) -> NDArray[np.float64]:
    """Blockiness by phase, 16 values: the mean excess of a step at x mod 16, both directions together.

    Entry 7 and 15 lie on the coded 8 × 8 grid, 15 on the grid of macroblocks as well; the others speak of an earlier
    grid that was shifted or scaled. Each is clipped, so that edges of the picture do not count.
    """
    found = np.zeros(16)
    for axis in (0, 1):
        excess = np.clip(steps(luma, axis), -4, 4).mean(axis=1 - axis)
        whole = excess[: excess.size // 16 * 16].reshape(-1, 16).mean(axis=0)
        found += np.roll(whole, 1)  # the first excess is that of the step from pixel 1 to pixel 2
    return found / 2


def interpolation(luma: NDArray[Any]) -> float:
    """Strength of a period in the second derivative that is not the block grid's: a trace of enlargement. Log ratio."""
    strongest = 0.0
    x = luma.astype(np.float32)
    for axis in (0, 1):
        second = np.abs(np.diff(x, 2, axis=axis))
        profile = np.log1p(second.mean(axis=1 - axis))
        size = profile.size // BLOCK * BLOCK
        if size < 64:
            continue
        profile = profile[:size] - cv2.blur(profile[:size, None], (1, 9))[:, 0]
        spectrum = np.abs(np.fft.rfft(profile * np.hanning(size)))
        place = np.arange(spectrum.size)
        near_grid = np.abs((place * BLOCK / size) - np.rint(place * BLOCK / size)) < 3 * BLOCK / size
        usable = spectrum[~near_grid & (place > size // 8)]
        if usable.size:
            strongest = max(strongest, float(usable.max() / max(float(np.median(usable)), 1e-6)))
    return math.log(max(strongest, 1.0))


def jpeg_steps(quality: int) -> NDArray[np.float32]:
    """Quantisation steps of luminance at a quality 1–100, as the Independent JPEG Group scales table K.1."""
    scale = 5000 / quality if quality < 50 else 200 - 2 * quality
    return np.clip(np.floor((JPEG_LUMA * scale + 50) / 100), 1, 255).astype(np.float32)


def ghosts(coefficients: NDArray[np.float32], qualities: tuple[int, ...]) -> NDArray[np.float32]:
    """What another JPEG compression would change, rows × columns × qualities: mean square over the lower coefficients.

    A block that was compressed at one of these qualities before changes little at that one.
    """
    chosen = LOW | MIDDLE
    x = np.ascontiguousarray(coefficients[..., chosen])
    out = np.empty((*coefficients.shape[:2], len(qualities)), np.float32)
    for number, quality in enumerate(qualities):
        step = jpeg_steps(quality)[chosen]
        scaled = x / step
        scaled -= np.rint(scaled)
        scaled *= step
        out[..., number] = np.einsum("ijk,ijk->ij", scaled, scaled) / step.size
    return out


def robust_log(values: NDArray[Any], floor: float = 0.05) -> float:
    """Natural logarithm of the median, which single strong edges do not move."""
    return math.log(float(np.median(values)) + floor) if values.size else math.nan
