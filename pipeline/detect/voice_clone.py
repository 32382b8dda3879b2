"""Cloned and generated voices: stretches of speech, measured for how pitch and loudness move, weighed by a small head.

The head learnt from speech of several generators (pipeline/learn/voice.py). What it is worth on generators that it has
never heard, its card says (docs/cards/voice_clone.md): a hint, no more.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pipeline.decode.port import SAMPLE_RATE, Audio
from pipeline.detect import sound
from pipeline.detect.head import Head, read_head
from pipeline.detect.port import ModelSpec, Probe, Score, Speech, Tensors, View
from pipeline.events.values import Family

SPEAKS = 0.5
"""Probability from which a moment counts as speech: Silero's own default."""
SECONDS = 4.0
"""Length of a stretch: long enough for steady statistics, short enough to point at."""
LEAST_SPEECH = 1.3
"""Seconds of speech in a stretch below which its statistics say more about the words than about the voice."""
_FRAMES = round(SECONDS * SAMPLE_RATE / sound.HOP)

_EVEN = 0.5
"""From here on a generator is likelier than not, and the note says why."""
_WIDE = 7000.0
"""Hz. A band that ends below is told: it hides what the head listens for, and a change between stretches is a
trace of editing."""
TOLD = 3
"""Kinds of measure that a note names."""
KINDS = {
    "range": "range of loudness within bands",
    "jump": "jumps of loudness within bands",
    "together": "how bands swell together",
    "swing": "rhythm of swelling and fading",
    "voiced": "share of voiced sounds",
    "waver": "wavering of the pitch",
    "breaks": "breaks of the pitch",
    "strength": "clearness of the pitch",
}
"""What a reviewer is told of a measure, by the first part of its name."""


@dataclass(frozen=True, slots=True)
class VoiceClone:
    """Listens to stretches of four seconds. `stretches`: how many at most, spread over all speech."""

    stretches: int = 4

    name: ClassVar[str] = "voice_clone"
    families: ClassVar[tuple[Family, ...]] = (Family.VOICE_CLONE,)
    needs_faces: ClassVar[bool] = False
    closer: ClassVar[bool] = False
    model: ClassVar[ModelSpec | None] = None

    @property
    def version(self) -> str:
        """The head's digest is part of it."""
        return f"1-{read_head('voice_clone').digest}"

    def prepare(self, view: View) -> Sequence[Probe]:
        """One probe per stretch that holds enough speech; none without sound or without enough speech."""
        audio = view.clip.audio
        if audio is None or not len(audio.samples):
            return []
        if view.speech is None:
            return [Probe({}, skipped="where somebody speaks is not known")]
        found = list(stretches(audio, view.speech))
        if len(found) > self.stretches:
            found = [found[round(i)] for i in np.linspace(0, len(found) - 1, self.stretches)]
        return [_probe(audio, first, spoken) for first, spoken in found]

    def interpret(self, probe: Probe, outputs: Tensors) -> Sequence[Score]:  # noqa: ARG002 - the tensors say where
        """How much a stretch sounds generated, and by which kinds of measure."""
        head = read_head(self.name)
        names = head.file.measures
        measures = dict(zip(names, (float(v) for v in outputs["measures"][0]), strict=True))
        # The head takes what is not known for usual; where nothing is, nobody knows anything.
        value = head(measures) if any(math.isfinite(measure) for measure in measures.values()) else math.nan
        start, until, spoken, limit, silent, length = (float(v) for v in outputs["stretch"][0])
        note = f"{spoken:.1f} s of speech from {start:.1f} to {until:.1f} s"
        if value >= _EVEN:
            note += f" sound generated, by {', '.join(speaking(head, measures))}"
        if limit < _WIDE:
            note += f"; nothing above {limit / 1000:.1f} kHz"
        if length > 0:
            note += f"; digital silence of {length:.2f} s at {silent:.1f} s"
        return [Score(Family.VOICE_CLONE, value, at=start, until=until, note=note)]


def stretches(audio: Audio, speech: Speech) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """Stretches with enough speech: the first sample of each, and per 10 ms whether somebody speaks.

    They follow each other without a gap from the first word on; a pause as long as a stretch starts the count anew.
    """
    spoken = spoken_frames(audio, speech)
    least = round(LEAST_SPEECH * SAMPLE_RATE / sound.HOP)
    first = 0
    while first < len(spoken):
        words = np.flatnonzero(spoken[first : first + _FRAMES])
        if not len(words):
            first += _FRAMES
            continue
        part = spoken[first : first + _FRAMES]
        if len(words) >= least:
            yield first * sound.HOP, part
        first += len(part)


def spoken_frames(audio: Audio, speech: Speech) -> NDArray[np.bool_]:
    """Per 10 ms of the sound, whether somebody speaks."""
    count = len(audio.samples) // sound.HOP
    if not len(speech.probability):
        return np.zeros(count, np.bool_)
    middles = audio.start + (np.arange(count) + 0.5) * sound.HOP / SAMPLE_RATE
    steps = np.floor((middles - speech.start) / speech.step).astype(int)
    inside = (steps >= 0) & (steps < len(speech.probability))
    chosen = speech.probability[np.clip(steps, 0, len(speech.probability) - 1)]
    return np.asarray(inside & (chosen > SPEAKS))


def measures_of(samples: sound.Samples, spoken: NDArray[np.bool_]) -> dict[str, float]:
    """What the head reads of one stretch."""
    return sound.voice_measures(samples, spoken)


def speaking(head: Head, measures: dict[str, float]) -> list[str]:
    """The kinds of measure that speak most for a generator, strongest first, in words. For a head of one layer."""
    file = head.file
    given = np.array([measures[name] for name in file.measures])
    shifted = np.clip(np.nan_to_num((given - file.mean) / file.spread), -file.clip, file.clip)
    sums: dict[str, float] = dict.fromkeys(KINDS, 0.0)
    for name, part in zip(file.measures, shifted * np.asarray(file.layers[0].weight[0]), strict=True):
        sums[name.partition("_")[0]] += float(part)
    ranked = sorted((kind for kind in sums if sums[kind] > 0), key=lambda kind: -sums[kind])
    return [KINDS[kind] for kind in ranked[:TOLD]]


def _probe(audio: Audio, first: int, spoken: NDArray[np.bool_]) -> Probe:
    samples = audio.samples[first : first + len(spoken) * sound.HOP]
    measures = measures_of(samples, spoken)
    names = read_head(VoiceClone.name).file.measures
    start = audio.start + first / SAMPLE_RATE
    seconds = float(spoken.sum()) * sound.HOP / SAMPLE_RATE
    silent, length = sound.digital_silence(samples) or (0.0, 0.0)
    told = [start, start + len(samples) / SAMPLE_RATE, seconds, sound.band_limit(samples), start + silent, length]
    return Probe({"measures": np.array([[measures[name] for name in names]]), "stretch": np.array([told])}, at=start)
