"""Re-enactment and face-by-face synthesis: trembling of what should be stiff, and of identity. A hint, never a verdict.

A generator that draws each frame anew places a nose a little differently each time; skulls do not do that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pipeline.detect.normal import read_ranges
from pipeline.detect.port import ModelSpec, Probe, Score, Tensors, View
from pipeline.detect.track_measures import probes, scores, take_movements
from pipeline.events.values import Family

NORMAL = read_ranges("reenactment")


@dataclass(frozen=True, slots=True)
class Reenactment:
    """One question per person, whose answer is its own measures."""

    name: ClassVar[str] = "reenactment"
    version: ClassVar[str] = f"1-{NORMAL.digest}"
    families: ClassVar[tuple[Family, ...]] = (Family.REENACTMENT,)
    needs_faces: ClassVar[bool] = True
    closer: ClassVar[bool] = True
    model: ClassVar[ModelSpec | None] = None

    def prepare(self, view: View) -> Sequence[Probe]:
        """One probe per person that was followed long enough."""
        return probes(view, take_movements, NORMAL)

    def interpret(self, probe: Probe, outputs: Tensors) -> Sequence[Score]:
        """How unusual the measures are, and which of them; nothing when too little could be measured."""
        return scores(Family.REENACTMENT, NORMAL, probe, outputs)
