"""Heads that were fitted again to reviewers' decisions, on what the shipped model reads of a face. No new model.

It asks the same questions as `face_forgery`, so both cost one inference, and answers by heads from files: in shadow its
scores stand beside the live ones; to promote it, the two lines of the detectors file change places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.detect.face_forgery import FEATURES, FaceForgery, reads
from pipeline.detect.head import logistic
from pipeline.detect.port import ModelSpec, Probe, Score, Tensors, View
from pipeline.errors import ConfigError
from pipeline.events.values import Family

HEADS: Mapping[Family, str] = {Family.FACE_SWAP: "swap", Family.FACE_SYNTHESIS: "synthesis"}
"""The family that each head speaks of."""


class Refitted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A head on disk: probability = 1 / (1 + exp(−(features · weight + bias))). `digest`: of the numbers.

    `before`: the head that it was fitted from. `golden`, `learnt`: figures for whoever promotes it. `reads`: whose
    features it was fitted to (`face_forgery.reads`).
    """

    head: str
    features: str
    bias: float
    weight: tuple[float, ...]
    digest: str
    before: str
    learnt: dict[str, str | int | float]
    golden: dict[str, str | int | float | bool]
    reads: str = ""

    def __call__(self, features: NDArray[np.float64]) -> float:
        """The probability, 0–1."""
        return float(logistic(features @ np.array(self.weight) + self.bias))


def read_refitted(path: Path) -> Refitted:
    """Raises ConfigError when it is missing, no such head, or fitted to what another model read."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Refitted)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    if found.head not in HEADS.values() or len(found.weight) != FEATURES:
        raise ConfigError(f"{path}: not a head of face_forgery on {FEATURES} numbers")
    if found.reads != reads(FaceForgery.version):
        raise ConfigError(
            f"{path}: fitted to the features of face_forgery {found.reads or 'before 7'}, and this is "
            f"{FaceForgery.version}: its answers would mean nothing. `unmask models promote back` takes it out; "
            "then `unmask models refit`"
        )
    return found


@dataclass(frozen=True)
class RefittedFaces:
    """The questions of `face_forgery`, answered by other heads.

    Args:
        heads: files of `unmask models refit`; a head without a file answers as the shipped one.
        crops, smallest_face: as in face_forgery; the same numbers there and here, or every face is asked about twice.
    """

    heads: tuple[str, ...] = ()
    crops: int = 16
    smallest_face: int = 64

    name: ClassVar[str] = "refitted_faces"
    families: ClassVar[tuple[Family, ...]] = FaceForgery.families
    needs_faces: ClassVar[bool] = True
    closer: ClassVar[bool] = False
    model: ClassVar[ModelSpec] = FaceForgery.model

    def __post_init__(self) -> None:
        if len({each.head for each in self._read}) < len(self._read):
            raise ValueError("one file per head")

    @cached_property
    def _read(self) -> tuple[Refitted, ...]:
        return tuple(read_refitted(Path(path)) for path in self.heads)

    @cached_property
    def version(self) -> str:
        """The shipped model's, and the digests of the heads in use."""
        return "-".join((FaceForgery.version, *(each.digest for each in self._read)))

    def prepare(self, view: View) -> Sequence[Probe]:
        """The questions of face_forgery."""
        return FaceForgery(self.crops, self.smallest_face).prepare(view)

    def interpret(self, probe: Probe, outputs: Tensors) -> Sequence[Score]:
        """The shipped scores, with the values of the other heads where there are any."""
        own = {each.head: each for each in self._read}
        features = outputs["features"][0].astype(np.float64)
        scores = FaceForgery(self.crops, self.smallest_face).interpret(probe, outputs)
        return [_answered(score, own.get(HEADS[score.family]), features) for score in scores]


def _answered(score: Score, head: Refitted | None, features: NDArray[np.float64]) -> Score:
    return score if head is None else replace(score, value=head(features))
