"""What happens to a picture on its way to a platform: fewer pixels, JPEG, WebP, H.264, a screenshot.

Applied to real and fake alike: training sets differ in pixel size and codec, and without this a head learns those and
nothing else.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
from av.video.codeccontext import VideoCodecContext

from pipeline.detect.faces import FACE_SIZE, Image
from pipeline.learn.blend import recompress

SMALLEST = 96
"""Fewest pixels that a crop is brought to; smaller faces are not judged."""


def degrade(crop: Image, rng: np.random.Generator) -> Image:
    """Bring a crop to a random size (96–224 pixels) and through random codecs, and back to its size.

    A third as a photograph (JPEG 50–95), a third as a video frame (H.264, CRF 18–36), the rest WebP, a screenshot that
    was re-encoded, or pixels only. The same generator state does the same to any crop, so a face and its blended twin
    can be treated alike.
    """
    kernels = (cv2.INTER_AREA, cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)
    side = FACE_SIZE if rng.random() < 0.15 else int(rng.integers(SMALLEST, FACE_SIZE + 1))
    small = _resized(crop, side, kernels[int(rng.integers(len(kernels)))])
    route = rng.choice(["jpeg", "h264", "webp", "screenshot", "none"], p=[0.35, 0.32, 0.11, 0.12, 0.1])
    if route == "jpeg":
        small = recompress(small, int(rng.integers(50, 96)))
    elif route == "webp":
        small = recompress(small, int(rng.integers(45, 96)), ".webp")
    elif route == "h264":
        if rng.random() < 0.5:
            small = recompress(small, int(rng.integers(70, 96)))
        small = through_h264(small, int(rng.integers(18, 37)), rng)
    elif route == "screenshot":
        small = screenshot(small, rng)
    return _resized(small, FACE_SIZE, cv2.INTER_LINEAR)


def level(crop: Image, rng: np.random.Generator) -> Image:
    """To a random size (96–224 pixels) and JPEG quality (60–95) and back: the development test's one size and codec."""
    small = _resized(crop, int(rng.integers(SMALLEST, FACE_SIZE + 1)), cv2.INTER_AREA)
    return _resized(recompress(small, int(rng.integers(60, 96))), FACE_SIZE, cv2.INTER_LINEAR)


def screenshot(image: Image, rng: np.random.Generator) -> Image:
    """As shown on a screen and photographed off it by the system: scaled by no round number, sharpened, stored."""
    again = recompress(image, int(rng.integers(60, 96)))
    factor = rng.uniform(0.7, 1.5)
    shown: Any = _resized(again, max(SMALLEST, round(image.shape[0] * factor)), cv2.INTER_LINEAR).astype(np.float32)
    if rng.random() < 0.5:
        shown = shown + (shown - cv2.GaussianBlur(shown, (0, 0), 1.0)) * np.float32(rng.uniform(0.1, 0.5))
    shown = 255 * (np.clip(shown, 0, 255) / 255) ** np.float32(rng.uniform(0.92, 1.08))
    packed = np.asarray(np.rint(shown), np.uint8)
    return packed if rng.random() < 0.3 else recompress(packed, int(rng.integers(70, 97)))


def through_h264(image: Image, crf: int, rng: np.random.Generator) -> Image:
    """A picture as a frame of an H.264 video at this rate: the first of it, or the last of three that move a little."""
    side_y, side_x = (length // 2 * 2 for length in image.shape[:2])
    steps = [] if rng.random() < 0.4 else [tuple(rng.uniform(-2, 2, 2)) for _ in range(2)]
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = side_x, side_y, "yuv420p"
    encoder.framerate, encoder.thread_count = Fraction(25), 1
    encoder.options = {"preset": "veryfast", "crf": str(crf), "tune": "zerolatency", "x264-params": "log-level=-1"}
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.thread_count = 1
    frames: list[av.VideoFrame] = []
    for dx, dy in [*steps, (0.0, 0.0)]:
        move = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
        shifted = (
            cv2.warpAffine(image, move, image.shape[1::-1], borderMode=cv2.BORDER_REFLECT)
            if (dx, dy) != (0, 0)
            else image
        )
        packed = encoder.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(shifted[:side_y, :side_x]), "rgb24"))
        frames += [frame for packet in packed for frame in decoder.decode(packet)]
    for packet in encoder.encode(None):
        frames += decoder.decode(packet)
    frames += decoder.decode(None)
    seen = np.asarray(frames[-1].to_ndarray(format="rgb24"), np.uint8)
    return _resized(seen, image.shape[0], cv2.INTER_LINEAR) if seen.shape != image.shape else seen


def _resized(image: Image, side: int, kernel: int) -> Image:
    return np.asarray(cv2.resize(image, (side, side), interpolation=kernel), np.uint8)
