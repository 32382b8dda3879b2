"""Light on a face against the rest of the frame and over time, against genuine video. A hint, never a verdict.

Direction by a Lambertian fit to the mesh (Johnson and Farid, 2005); colour as the ratio of skin to surroundings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pipeline.detect.normal import read_ranges
from pipeline.detect.port import ModelSpec, Probe, Score, Tensors, View
from pipeline.detect.track_measures import persons, probe_of, take_light
from pipeline.events.values import Family

NORMAL = read_ranges("lighting")
NAMES = tuple(usual.measure for usual in NORMAL.file.ranges)


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
        return [probe_of(person, NAMES) for person in persons(view, take_light)]

    def interpret(self, probe: Probe, outputs: Tensors) -> Sequence[Score]:
        """How unusual the measures are, and which of them; nothing when too little could be measured."""
        measures = dict(zip(NAMES, map(float, outputs["measures"]), strict=True))
        score = NORMAL.score(measures)
        if score is None:
            return []
        return [
            Score(Family.LIGHTING, score, at=probe.at, box=probe.box, track=probe.track, note=NORMAL.notes(measures))
        ]
