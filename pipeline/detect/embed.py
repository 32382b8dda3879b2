"""What the clip looks like, as one vector: CLIP's embedding of its most telling keyframe, to find its like later."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pipeline.decode.port import Clip, Keyframe
from pipeline.detect.ask import left
from pipeline.detect.frames import resized, spread
from pipeline.detect.port import Infer, ModelSpec, TensorSpec

FRAME_SIDE = 224
SIZE = 512
"""Numbers per embedding; two bytes each."""
PATCH_MEANS = 7 * 768
"""Numbers in `features`: the mean over all patches after each of the blocks 4 to 10."""
CANDIDATES = 3
"""Frames of a clip that are looked at as a whole."""
FRAME_MODEL = ModelSpec(
    "clip_embedding",
    inputs=(TensorSpec("image", "UINT8", (FRAME_SIDE, FRAME_SIDE, 3)),),
    outputs=(TensorSpec("embedding", "FP32", (SIZE,)), TensorSpec("features", "FP32", (PATCH_MEANS,))),
    max_batch=1,
)
"""One question, whoever asks it: what is wanted of a frame is answered together."""


@dataclass(frozen=True, slots=True)
class Embed:
    """Asks for one embedding. `candidates`: keyframes compared, spread over the clip, for the most telling one."""

    candidates: int = CANDIDATES

    name: ClassVar[str] = "embed"
    version: ClassVar[str] = "1"
    model: ClassVar[ModelSpec] = FRAME_MODEL

    def __post_init__(self) -> None:
        if self.candidates < 1:
            raise ValueError("candidates must be at least 1")

    async def __call__(self, clip: Clip, infer: Infer, *, until: float) -> bytes:
        """SIZE half-precision numbers, little-endian, of unit length. Raises ItemError as `infer` does.

        `clip` must have a keyframe.
        """
        frame = await asyncio.to_thread(most_telling, spread(clip.keyframes, self.candidates))
        small = await asyncio.to_thread(resized, frame.image, FRAME_SIDE, FRAME_SIDE)
        outputs = await infer(self.model, {"image": small[None]}, within=left(until))
        return bytes(outputs["embedding"][0].astype("<f2").tobytes())


def most_telling(frames: Sequence[Keyframe]) -> Keyframe:
    """The frame with the most contrast: a black or blank one says nothing. The one nearest the middle when equal."""
    middle = (len(frames) - 1) / 2
    ranked = sorted(
        range(len(frames)), key=lambda i: (-round(float(np.std(frames[i].image[::8, ::8])), 3), abs(i - middle))
    )
    return frames[ranked[0]]
