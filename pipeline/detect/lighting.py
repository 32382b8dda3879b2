"""Light on a face against the rest of the frame and over time, against genuine video. A hint, never a verdict.

Direction by a Lambertian fit to the mesh (Johnson and Farid, 2005); colour as the ratio of skin to surroundings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pipeline.detect.normal import read_ranges
from pipeline.detect.port import ModelSpec, Probe, Score, Tensors, View
from pipeline.detect.track_measures import probes, scores, take_light
from pipeline.events.values import Family

NORMAL = read_ranges("lighting")


@dataclass(frozen=True, slots=True)
class Lighting:
    """One question per person, whose answer is its own measures."""

    name: ClassVar[str] = "lighting"
    version: ClassVar[str] = f"1-{NORMAL.digest}"
    families: ClassVar[tuple[Family, ...]] = (Family.LIGHTING,)
    needs_faces: ClassVar[bool] = True
    closer: ClassVar[bool] = True
    model: ClassVar[ModelSpec | None] = None

    def prepare(self, view: View) -> Sequence[Probe]:
        """One probe per person that was followed long enough."""
        return probes(view, take_light, NORMAL)

    def interpret(self, probe: Probe, outputs: Tensors) -> Sequence[Score]:
        """How unusual the measures are, and which of them; nothing when too little could be measured."""
        return scores(Family.LIGHTING, NORMAL, probe, outputs)
