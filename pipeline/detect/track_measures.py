"""From tracks to measures per person: what the detectors of eyes, light and small movements share. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.decode.port import RGB
from pipeline.detect import mesh
from pipeline.detect.face_motion import eyes_and_head, iris_crops, light, small_movements, windows_of
from pipeline.detect.frames import spread
from pipeline.detect.normal import Normal
from pipeline.detect.port import Probe, Score, Tensors, Track, View
from pipeline.events.values import Family

Points = NDArray[np.float64]
Take = Callable[[View, Track], Mapping[str, float]]
"""Measures of one track."""


_PICTURES = 8
"""Frames of a track whose pixels are measured: what costs is the picture, not the mesh."""


@dataclass(frozen=True, slots=True)
class Person:
    """One person over all windows: measures, and where the longest of their tracks lies."""

    measures: Mapping[str, float]
    longest: Track
    frames: int


def persons(view: View, take: Take) -> list[Person]:
    """Measures per person, of those that anything could be measured of; tracks that are nobody's stand alone."""
    groups: dict[tuple[bool, int], list[Track]] = {}
    for track in view.tracks or ():
        key = (True, track.person) if track.person is not None else (False, track.number)
        groups.setdefault(key, []).append(track)
    found = []
    for tracks in groups.values():
        measured = [(dict(take(view, track)), track) for track in tracks]
        measured = [(measures, track) for measures, track in measured if measures]
        if measured:
            weights = [track.faces[-1].at - track.faces[0].at for _, track in measured]
            joined = windows_of([measures for measures, _ in measured], [max(w, 1e-3) for w in weights])
            longest = max((track for _, track in measured), key=lambda track: len(track.faces))
            found.append(Person(joined, longest, sum(len(track.faces) for _, track in measured)))
    return found


def in_pixels(view: View, track: Track) -> Points:
    """The meshes of a track in pixels of its frames: frames × 478 × 3."""
    size = view.image(track.faces[0].frame).shape[:2]
    return mesh.in_pixels(np.stack([face.points for face in track.faces]), (size[0], size[1]))


def pictures(view: View, track: Track, count: int) -> tuple[list[int], list[RGB]]:
    """(places in the track, pictures) of a few frames, spread over it."""
    places = spread(range(len(track.faces)), count)
    return places, [view.image(track.faces[place].frame) for place in places]


def take_eyes(view: View, track: Track) -> Mapping[str, float]:
    """Blinks, gaze, pose and reflections of one track; nothing when it is too short."""
    points = in_pixels(view, track)
    places, frames = pictures(view, track, _PICTURES)
    irises = [crop for place, frame in zip(places, frames, strict=True) for crop in iris_crops(points[place], frame)]
    return eyes_and_head(points, _times(track), irises)


def take_movements(view: View, track: Track) -> Mapping[str, float]:
    """Trembling and identity of one track; nothing when it is too short."""
    return small_movements(in_pixels(view, track), _times(track), track.embeddings)


def take_light(view: View, track: Track) -> Mapping[str, float]:
    """Light on one track; nothing when it is too short."""
    places, frames = pictures(view, track, _PICTURES)
    return light(in_pixels(view, track)[places], frames)


def probes(view: View, take: Take, usual: Normal) -> list[Probe]:
    """One question per person that was followed long enough, which is its own answer: the measures, in their order.

    It points at the middle of the person's longest track.
    """
    found = []
    for person in persons(view, take):
        middle = person.longest.faces[len(person.longest.faces) // 2]
        values = np.array([person.measures.get(name, np.nan) for name in usual.measures])
        found.append(Probe({"measures": values}, at=middle.at, box=middle.box, track=person.longest.person))
    return found


def scores(family: Family, usual: Normal, probe: Probe, outputs: Tensors) -> list[Score]:
    """How unusual a person's measures are, and which of them; nothing when too little could be measured."""
    measures = dict(zip(usual.measures, map(float, outputs["measures"]), strict=True))
    score = usual.score(measures)
    if score is None:
        return []
    return [Score(family, score, at=probe.at, box=probe.box, track=probe.track, note=usual.notes(measures))]


def _times(track: Track) -> Points:
    return np.array([face.at for face in track.faces])
