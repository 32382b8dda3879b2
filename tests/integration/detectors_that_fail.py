"""Detectors for tests of fail modes, named by a detectors file: one that nobody answers, one that cannot tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pipeline.detect.port import ModelSpec, Probe, Score, Tensors, TensorSpec, View
from pipeline.events.values import Family


@dataclass(frozen=True, slots=True)
class Absent:
    """Asks a model that the server does not have."""

    name: ClassVar[str] = "absent"
    version: ClassVar[str] = "1"
    families: ClassVar[tuple[Family, ...]] = (Family.VOICE_CLONE,)
    needs_faces: ClassVar[bool] = False
    closer: ClassVar[bool] = False
    model: ClassVar[ModelSpec | None] = ModelSpec(
        "not_there", (TensorSpec("x", "FP32", (1,)),), (TensorSpec("y", "FP32", (1,)),)
    )

    def prepare(self, view: View) -> Sequence[Probe]:
        """One question."""
        return [Probe({"x": np.zeros(1, np.float32)})]

    def interpret(self, probe: Probe, outputs: Tensors) -> Sequence[Score]:
        """Nothing: it is never called."""
        raise AssertionError("a model that is not there has answered")


@dataclass(frozen=True, slots=True)
class Undecided:
    """Says of every face swap what it is told to say. Without a model."""

    score: float = 0.5

    name: ClassVar[str] = "undecided"
    version: ClassVar[str] = "1"
    families: ClassVar[tuple[Family, ...]] = (Family.FACE_SWAP, Family.FACE_SYNTHESIS)
    needs_faces: ClassVar[bool] = False
    closer: ClassVar[bool] = False
    model: ClassVar[ModelSpec | None] = None

    def prepare(self, view: View) -> Sequence[Probe]:
        """One question."""
        return [Probe({"x": np.zeros(1, np.float32)})]

    def interpret(self, probe: Probe, outputs: Tensors) -> Sequence[Score]:
        """The score, and that no face is synthetic."""
        return [Score(Family.FACE_SWAP, self.score), Score(Family.FACE_SYNTHESIS, 0.0)]
