"""Eyes and head: blinks, gaze, reflections and pose against what genuine video shows. A hint, never a verdict.

Blinking: Li, Chang and Lyu, 2018; pose of inner and outer face: Yang, Li and Lyu, 2019; reflections: Hu, Li and
Lyu, 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pipeline.detect.normal import read_ranges
from pipeline.detect.port import ModelSpec, Probe, Score, Tensors, View
from pipeline.detect.track_measures import probes, scores, take_eyes
from pipeline.events.values import Family

NORMAL = read_ranges("eyes_and_head")


@dataclass(frozen=True, slots=True)
class EyesAndHead:
    """One question per person, whose answer is its own measures."""

    name: ClassVar[str] = "eyes_and_head"
    version: ClassVar[str] = f"1-{NORMAL.digest}"
    families: ClassVar[tuple[Family, ...]] = (Family.EYES_AND_HEAD,)
    needs_faces: ClassVar[bool] = True
    closer: ClassVar[bool] = True
    model: ClassVar[ModelSpec | None] = None

    def prepare(self, view: View) -> Sequence[Probe]:
        """One probe per person that was followed long enough."""
        return probes(view, take_eyes, NORMAL)

    def interpret(self, probe: Probe, outputs: Tensors) -> Sequence[Score]:
        """How unusual the measures are, and which of them; nothing when too little could be measured."""
        return scores(Family.EYES_AND_HEAD, NORMAL, probe, outputs)
