"""What decoding yields: frames as the models want them, sound, and what the file says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.events.values import MediaFacts, Sampling

RGB = NDArray[np.uint8]
"""An image: height × width × 3, RGB, 0–255, upright."""

SAMPLE_RATE = 16_000


@dataclass(frozen=True, slots=True, eq=False)
class Keyframe:
    """One frame that was looked at. `at`: presentation time in seconds (0 for a still image)."""

    index: int
    at: float
    image: RGB


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """Sound: float32 samples in −1…1, mono, `SAMPLE_RATE` per second, starting `start` seconds into the media."""

    samples: NDArray[np.float32]
    start: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """All that the detectors see of one upload. Frames are at most `DecodeBudget.max_side` pixels on the long side."""

    facts: MediaFacts
    sampling: Sampling
    keyframes: tuple[Keyframe, ...] = ()
    audio: Audio | None = None


@dataclass(frozen=True, slots=True)
class DecodeBudget:
    """What one item may cost. What is over it is refused as a bomb or sampled more thinly, never guessed at.

    `frames` keyframes are kept, spread over the whole duration. `max_pixels` is per frame before scaling;
    `max_duration` in seconds; `audio_seconds` of sound are decoded from the start. Where the keyframes are used
    up, frames are left and a stretch of more than `longest_gap` seconds has not been looked at, up to `forward_frames`
    are decoded from the keyframes on to look into it (0: keyframes only): one keyframe cannot hide the rest.
    """

    frames: int = 24
    max_side: int = 1280
    max_pixels: int = 120_000_000
    max_duration: float = 12 * 3600.0
    audio_seconds: float = 120.0
    longest_gap: float = 10.0
    forward_frames: int = 600
    memory_bytes: int = 3 * 1024**3
    cpu_seconds: int = 60
    wall_seconds: float = 90.0


class Decode(Protocol):
    """What `screen` needs. Raises `Permanent` with stage `decode` and a typed cause, within the budget's wall time."""

    async def __call__(self, path: Path) -> Clip:
        """Decode the file in a sandboxed child process."""
        ...
