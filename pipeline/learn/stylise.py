"""Photographs made to look painted or drawn, by image processing alone: what a style head learns from.

No generator and no painter's work is needed. Each way is a classical one: strokes after Hertzmann, "Painterly Rendering
with Curved Brush Strokes of Multiple Sizes", SIGGRAPH 1998 (straight strokes here); smoothing and pencil after Gastal &
Oliveira, "Domain Transform for Edge-Aware Image and Video Processing", SIGGRAPH 2011 (OpenCV's `stylization` and
`pencilSketch`); oil as the mean of the most frequent brightness of a neighbourhood; flat colours by k-means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np

from pipeline.detect.faces import Image

LONGEST = 640
"""Pixels of the longer side that pictures are stylised at: brushes have sizes in pixels."""


def stylise(image: Image, seed: int) -> Image:
    """`image`, at most LONGEST pixels long, in one of the ways of WAYS, chosen and set by `seed`."""
    rng = np.random.default_rng(seed)
    scale = min(1.0, LONGEST / max(image.shape[:2]))
    size = max(16, round(image.shape[1] * scale)), max(16, round(image.shape[0] * scale))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    names = sorted(WAYS)
    painted = WAYS[names[int(rng.integers(len(names)))]](small, rng)
    return np.ascontiguousarray(_tint(painted, rng), dtype=np.uint8)


def strokes(image: Image, rng: np.random.Generator) -> Image:
    """Brush strokes along the edges, large ones first, each in one colour of the picture."""
    height, width = image.shape[:2]
    canvas: Any = np.full(image.shape, image.mean(axis=(0, 1)).astype(np.uint8), np.uint8)
    brush = max(height, width) * rng.uniform(0.02, 0.04)
    for radius in (brush, brush / 2, brush / 4):
        soft: Any = cv2.GaussianBlur(image, (0, 0), max(0.6, radius / 2))
        grey = cv2.cvtColor(soft, cv2.COLOR_RGB2GRAY).astype(np.float32)
        dx, dy = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
        count = int(height * width / max(radius, 1) ** 2 * 0.5)
        ys, xs = rng.integers(0, height, count), rng.integers(0, width, count)
        if radius < brush:  # finer brushes only where the coarser one missed something
            missed = np.abs(canvas[ys, xs].astype(int) - soft[ys, xs]).sum(axis=1) > 40
            ys, xs = ys[missed], xs[missed]
        angles = np.arctan2(dx[ys, xs], -dy[ys, xs]) + rng.normal(0, 0.2, len(ys))
        lengths = radius * rng.uniform(1.5, 4.0, len(ys))
        colours = np.clip(soft[ys, xs] + rng.normal(0, 10, (len(ys), 3)), 0, 255)
        for x, y, angle, length, colour in zip(xs, ys, angles, lengths, colours, strict=True):
            reach = np.array([np.cos(angle), np.sin(angle)]) * length / 2
            start, end = (int(x - reach[0]), int(y - reach[1])), (int(x + reach[0]), int(y + reach[1]))
            cv2.line(canvas, start, end, colour.tolist(), max(1, round(radius)), cv2.LINE_AA)
    return np.asarray(canvas, np.uint8)


def oil(image: Image, rng: np.random.Generator) -> Image:
    """Per pixel the mean colour of the most frequent brightness round it."""
    side, levels = int(rng.integers(2, 6)) * 2 + 1, int(rng.integers(6, 16))
    level = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(int) * levels // 256
    most = np.full(image.shape[:2], -1.0, np.float32)
    painted = np.zeros(image.shape, np.float32)
    for i in range(levels):
        here = (level == i).astype(np.float32)
        count: Any = cv2.boxFilter(here, cv2.CV_32F, (side, side), normalize=False)
        total: Any = cv2.boxFilter(image * here[..., None], cv2.CV_32F, (side, side), normalize=False)
        better = count > most
        most[better] = count[better]
        painted[better] = total[better] / np.maximum(count[better], 1)[:, None]
    return np.asarray(np.clip(painted, 0, 255), np.uint8)


def watercolour(image: Image, rng: np.random.Generator) -> Image:
    """Smooth areas, dark edges."""
    return np.asarray(cv2.stylization(image, sigma_s=rng.uniform(20, 100), sigma_r=rng.uniform(0.25, 0.6)), np.uint8)


def pencil(image: Image, rng: np.random.Generator) -> Image:
    """Coloured or grey pencil on paper."""
    grey, colour = cv2.pencilSketch(
        image, sigma_s=rng.uniform(20, 80), sigma_r=rng.uniform(0.05, 0.12), shade_factor=rng.uniform(0.02, 0.06)
    )
    return np.asarray(colour if rng.random() < 0.6 else cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)


def flat_colours(image: Image, rng: np.random.Generator) -> Image:
    """A handful of colours in flat areas, with or without inked outlines, as in comics and prints."""
    soft: Any = cv2.medianBlur(cv2.bilateralFilter(image, 9, 75, 9), 2 * int(rng.integers(1, 4)) + 1)
    count = int(rng.integers(5, 14))
    sample = soft.reshape(-1, 3)[rng.integers(0, soft.shape[0] * soft.shape[1], 3000)].astype(np.float32)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 15, 1.0)
    cv2.setRNGSeed(int(rng.integers(2**31 - 1)))
    start = np.zeros((len(sample), 1), np.int32)
    _, _, palette = cv2.kmeans(sample, count, start, stop, 1, cv2.KMEANS_PP_CENTERS)
    nearest = np.argmin(((soft.reshape(-1, 1, 3).astype(np.float32) - palette[None]) ** 2).sum(axis=2), axis=1)
    flat = palette[nearest].reshape(image.shape).astype(np.uint8)
    if rng.random() < 0.6:
        grey = cv2.cvtColor(soft, cv2.COLOR_RGB2GRAY)
        edges = cv2.adaptiveThreshold(grey, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, 9, 4)
        flat = np.where(edges[..., None] == 0, (flat * 0.15).astype(np.uint8), flat)
    return np.asarray(flat, np.uint8)


WAYS: Mapping[str, Callable[[Image, np.random.Generator], Image]] = {
    made.__name__: made for made in (strokes, oil, watercolour, pencil, flat_colours)
}


def _tint(image: Image, rng: np.random.Generator) -> Image:
    """Pull the colours towards a palette, half of the time: styles bring their own."""
    if rng.random() < 0.5:
        return image
    x: Any = image.astype(np.float32)
    grey = x.mean(axis=2, keepdims=True)
    x = grey + (x - grey) * rng.uniform(0.6, 1.8)
    x = x * rng.uniform(0.8, 1.2, 3) + rng.uniform(-20, 20, 3)
    return np.asarray(np.clip(x, 0, 255), np.uint8)
