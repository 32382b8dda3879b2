"""Nudity: Open-NSFW on a few whole frames. Only sends possible intimate imagery to the right queue, decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pipeline.detect.frames import centre, resized, spread
from pipeline.detect.port import ModelSpec, Probe, Score, Tensors, TensorSpec, View
from pipeline.events.values import Family

_SQUEEZED, _SIDE = 256, 224
"""The model was trained on frames squeezed to 256 × 256 and cropped to their middle 224 × 224."""


@dataclass(frozen=True, slots=True)
class Nudity:
    """One question per frame; `frames`: how many, spread over the clip."""

    frames: int = 6

    name: ClassVar[str] = "nudity"
    version: ClassVar[str] = "1"
    families: ClassVar[tuple[Family, ...]] = (Family.NUDITY,)
    needs_faces: ClassVar[bool] = False
    closer: ClassVar[bool] = False
    model: ClassVar[ModelSpec] = ModelSpec(
        "nudity",
        inputs=(TensorSpec("image", "UINT8", (_SIDE, _SIDE, 3)),),
        outputs=(TensorSpec("probabilities", "FP32", (2,)),),
        max_batch=1,
    )

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise ValueError("frames must be at least 1")

    def prepare(self, view: View) -> Sequence[Probe]:
        """One probe per frame, in the order of the clip."""
        return [
            Probe({"image": centre(resized(frame.image, _SQUEEZED, _SQUEEZED), _SIDE)[None]}, at=frame.at)
            for frame in spread(view.clip.keyframes, self.frames)
        ]

    def interpret(self, probe: Probe, outputs: Tensors) -> Sequence[Score]:
        """The second probability: the first is that of a harmless frame."""
        return [Score(Family.NUDITY, float(outputs["probabilities"][0, 1]), at=probe.at)]
