"""Where somebody speaks: Silero's voice activity detector on the sound. Asked beside the faces, before detectors."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pipeline.decode.port import SAMPLE_RATE, Clip
from pipeline.detect.ask import ask, left
from pipeline.detect.port import Infer, ModelSpec, Speech, TensorSpec

STEP = 512
"""Samples per probability, as the model was trained."""


@dataclass(frozen=True, slots=True)
class HearSpeech:
    """Asks where somebody speaks. `seconds`: of the sound, from its start on."""

    seconds: float = 120.0

    name: ClassVar[str] = "hear_speech"
    version: ClassVar[str] = "1"
    model: ClassVar[ModelSpec] = ModelSpec(
        "voice_activity",
        inputs=(TensorSpec("waveform", "FP32", (-1,)),),
        outputs=(TensorSpec("probability", "FP32", (-1,)),),
    )

    def __post_init__(self) -> None:
        if self.seconds <= 0:
            raise ValueError("seconds must be above 0")

    async def __call__(self, clip: Clip, infer: Infer, *, until: float) -> Speech | None:
        """Where somebody speaks; None without sound, and when it cannot be judged by the loop's time `until`.

        Raises for cancellation only.
        """
        if clip.audio is None or len(clip.audio.samples) < STEP:
            return None
        samples = np.ascontiguousarray(clip.audio.samples[: int(self.seconds * SAMPLE_RATE)], np.float32)
        answers = await ask([partial(self._hear, samples, infer, until)], until=until)
        probability = answers.given[0]
        return None if probability is None else Speech(probability, clip.audio.start, STEP / SAMPLE_RATE)

    async def _hear(self, samples: NDArray[np.float32], infer: Infer, until: float) -> NDArray[np.float32]:
        outputs = await infer(self.model, {"waveform": samples}, within=left(until))
        return await asyncio.to_thread(_usable, outputs["probability"])


def _usable(probability: NDArray[np.float32]) -> NDArray[np.float32]:
    if not np.isfinite(probability).all():
        raise ValueError("a probability of speech that is no number")
    return np.clip(probability, 0, 1)
