"""What decoding yields: frames as the models want them, sound, and what the file says of itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.events.values import MediaFacts, Sampling

RGB = NDArray[np.uint8]
"""An image: height × width × 3, RGB, 0–255, upright."""

SAMPLE_RATE = 16_000


Luma = NDArray[np.uint8]
"""Brightness as it was coded: height × width, 0–255, neither scaled nor turned."""


@dataclass(frozen=True, slots=True, eq=False)
class Keyframe:
    """One frame that was looked at. `at`: presentation time in seconds (0 for a still image).

    `native`: brightness of the middle of the frame, unscaled: compression and noise leave traces in the coded pixels
    that any change of size wipes out. Its top left corner lies on a multiple of 16 pixels. None where it is not kept.
    """

    index: int
    at: float
    image: RGB
    native: Luma | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """Sound: float32 samples in −1…1, mono, `SAMPLE_RATE` per second, starting `start` seconds into the media."""

    samples: NDArray[np.float32]
    start: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Packets:
    """The video track's packets in the order of the file, as the container tells them, without decoding any.

    `at`: presentation times, seconds, float64 (decoding times, a few frames earlier at most, where the container lists
    only those); `size`: bytes, int32; `key`: bool. Only the first `DecodeBudget.packets` are told.
    """

    at: NDArray[np.float64]
    size: NDArray[np.int32]
    key: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch to look at closely: seconds from `start` to `end`, at about `rate` frames a second, and what for."""

    start: float
    end: float
    rate: float
    why: str


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """The frames of one span, in order; `Keyframe.index` counts on from where the clip's own frames end.

    `note`: why there are fewer than asked for.
    """

    span: Span
    frames: tuple[Keyframe, ...]
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """All that the detectors see of one upload. Frames are at most `DecodeBudget.max_side` pixels on the long side."""

    facts: MediaFacts
    sampling: Sampling
    keyframes: tuple[Keyframe, ...] = ()
    audio: Audio | None = None
    packets: Packets | None = None


@dataclass(frozen=True, slots=True)
class DecodeBudget:
    """What one item may cost. What is over it is refused as a bomb or sampled more thinly, never guessed at.

    `frames` keyframes are kept, spread over the whole duration. `max_pixels` is per frame before scaling;
    `max_duration` in seconds; `audio_seconds` of sound are decoded from the start. Where the keyframes are used
    up, frames are left and a stretch of more than `longest_gap` seconds has not been looked at, up to `forward_frames`
    are decoded from the keyframes on to look into it (0: keyframes only): one keyframe cannot hide the rest.
    In what lasts up to `short` seconds, more than `short_gap` is such a stretch: a splice shows only where a few looks
    lie on either side of it.
    `closer_frames` more may be asked for in spans, for which at most `closer_decoded` frames are decoded; those of more
    than `closer_side`² pixels are scaled to `closer_side` on the long side. `native_side`: longest side of the unscaled
    part of a frame (0: none is kept). `trust_anchors`, `identity_anchors`: PEM files of those who may vouch for Content
    Credentials, and for identities in them; in a child, what they say.
    """

    frames: int = 24
    max_side: int = 1280
    max_pixels: int = 120_000_000
    max_duration: float = 12 * 3600.0
    audio_seconds: float = 120.0
    longest_gap: float = 10.0
    short: float = 60.0
    short_gap: float = 1.5
    forward_frames: int = 600
    closer_frames: int = 150
    closer_side: int = 960
    closer_decoded: int = 900
    native_side: int = 768
    packets: int = 200_000
    trust_anchors: str | None = None
    identity_anchors: str | None = None
    memory_bytes: int = 3 * 1024**3
    cpu_seconds: int = 60
    wall_seconds: float = 90.0


class Decode(Protocol):
    """What `screen` needs. Raises `Permanent` with stage `decode` and a typed cause, within the budget's wall time."""

    async def __call__(self, path: Path) -> Clip:
        """Decode the file in a sandboxed child process."""
        ...

    async def closer(self, path: Path, spans: Sequence[Span], first_index: int) -> tuple[Window, ...]:
        """Look closely at stretches of a video, in another sandboxed child; frames are numbered from `first_index`.

        A span without a frame that can be decoded yields a window without frames.
        """
        ...
