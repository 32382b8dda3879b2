"""Pictures that no camera took, and pictures in a painter's hand: two linear heads on what CLIP sees of a whole frame.

The encoder is asked once per frame, with the same tensors as `embed` asks it, so that a still costs one answer for
both. The heads are files beside this one: a platform that trains them again changes no model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.detect.embed import CANDIDATES, FRAME_MODEL, FRAME_SIDE, PATCH_MEANS, SIZE
from pipeline.detect.frames import resized, spread
from pipeline.detect.head import FOLDER, logistic
from pipeline.detect.port import ModelSpec, Probe, Score, Tensors, View
from pipeline.errors import ConfigError
from pipeline.events.values import Family

HEADS = {"image_synthesis": Family.IMAGE_SYNTHESIS, "style_transfer": Family.STYLE_TRANSFER}
"""Head → what it speaks of. Each is `heads/<head>.json`, made by `unmask models train`."""

FEATURES = "clip-b16 blocks 7-10 frame mean and embedding, w7 fixed spans"
"""What the heads read, by name: a head is only good for the features that it was trained on."""
_FROM = 3 * 768
PARTS = (slice(0, PATCH_MEANS - _FROM), slice(PATCH_MEANS - _FROM, PATCH_MEANS - _FROM + SIZE))
"""Blocks 7 to 10 carry traces of how a picture was made, the embedding what kind of picture it is."""
FEATURE_COUNT = PARTS[-1].stop


class FrameHeadFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A head on disk: sigmoid(features · weight + bias) is its probability. `features`: what it was trained on.

    `trained`: figures for the reader; nothing reads them back.
    """

    head: str
    features: str
    bias: float
    weight: list[float]
    trained: dict[str, str | float | int]


@dataclass(frozen=True, slots=True, eq=False)
class FrameHead:
    """A head that is ready to be asked. `digest`: eight characters that change with its file."""

    weight: NDArray[np.float64]
    bias: float
    digest: str

    def __call__(self, features: NDArray[np.float32]) -> float:
        """The probability, 0–1, of the features of one frame."""
        return float(logistic(features.astype(np.float64) @ self.weight + self.bias))


def frame_features(outputs: Tensors) -> NDArray[np.float32]:
    """What the heads read of the model's answer about one frame: FEATURE_COUNT numbers."""
    return np.concatenate([outputs["features"][0, _FROM:], outputs["embedding"][0]], dtype=np.float32)


@cache
def read_frame_head(name: str, folder: Path = FOLDER) -> FrameHead:
    """The head `<name>.json`. Raises ConfigError when it is missing, is none, or reads other features than these."""
    path = folder / f"{name}.json"
    try:
        data = path.read_bytes()
        file = msgspec.json.decode(data, type=FrameHeadFile)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{path.name}: {error}") from None
    if file.features != FEATURES or len(file.weight) != FEATURE_COUNT:
        raise ConfigError(
            f"{path.name} was trained on {file.features!r}; the encoder gives {FEATURES!r}: train it again"
        )
    return FrameHead(np.array(file.weight), file.bias, hashlib.sha256(data).hexdigest()[:8])


@dataclass(frozen=True, slots=True)
class WholeImage:
    """One question per frame; `frames`: how many, spread over the clip. A still has one."""

    frames: int = CANDIDATES

    name: ClassVar[str] = "whole_image"
    families: ClassVar[tuple[Family, ...]] = tuple(HEADS.values())
    needs_faces: ClassVar[bool] = False
    closer: ClassVar[bool] = False
    model: ClassVar[ModelSpec] = FRAME_MODEL

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise ValueError("frames must be at least 1")

    @property
    def version(self) -> str:
        """Changes with either head."""
        return "-".join(["1", *(read_frame_head(head).digest for head in HEADS)])

    def prepare(self, view: View) -> Sequence[Probe]:
        """One probe per frame, in the order of the clip: the whole frame, squeezed to a square."""
        return [
            Probe({"image": resized(frame.image, FRAME_SIDE, FRAME_SIDE)[None]}, at=frame.at)
            for frame in spread(view.clip.keyframes, self.frames)
        ]

    def interpret(self, probe: Probe, outputs: Tensors) -> Sequence[Score]:
        """A score per head, for the whole frame."""
        features = frame_features(outputs)
        return [Score(family, read_frame_head(head)(features), at=probe.at) for head, family in HEADS.items()]
