"""What every detector is tried on: a clip that has all that a file can have, and the means to ask a detector about it.

Made by code from photographs that come in a package: a face that sways and speaks as often as the sound swells, other
things between, unscaled luminance, packets, metadata and broken credentials. Whoever adds a detector that needs more
adds it here, for all.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import msgspec
import numpy as np

from pipeline.decode.port import RGB, SAMPLE_RATE, Audio, Clip, Packets, Span, Window
from pipeline.detect import ensemble
from pipeline.detect.frames import resized
from pipeline.detect.port import Closer, Detector, DetectorReport, Infer, Mode, Probe, Score, Speech, View
from pipeline.detect.registry import DETECTORS, Entry, Registry, load
from pipeline.events.values import Credentials, CredentialState, Sampling, TrackFacts
from pipeline.settings import Settings
from pipeline.testing import clip_of, windows_of

SECONDS = 120.0
"""For one clip. Machines that run tests are slow and busy."""
SIDE = 512
LENGTH = 10.0
SYLLABLES = 3.0
"""A second."""
MOUTH = 146
"""The row of the photograph between the lips."""
METADATA = (("Software", "ComfyUI"), ("Title", "a day at the sea"))
SPANS = (Span(0.0, 4.0, 25.0, "speech"), Span(6.0, 9.0, 12.5, "doubt"))

Film = Callable[[float], RGB]


def registry() -> Registry:
    """What UNMASK_DETECTORS_FILE names, the default without it."""
    return load(Settings().detectors_file)


def every_detector() -> Mapping[str, Detector]:
    """All that ship, with their own defaults, and those of a platform's own that the detectors file names."""
    own = {entry.detector.name: entry.detector for entry in registry().entries if entry.detector.name not in DETECTORS}
    return {**{name: made() for name, made in DETECTORS.items()}, **own}


def film_of(photographs: Mapping[str, RGB]) -> Film:
    """What the video shows at a moment of which a closer look is taken."""

    def shown(at: float) -> RGB:
        face = photographs["astronaut"].copy()
        gape = round(5 + 5 * math.sin(2 * math.pi * SYLLABLES * at))
        face[MOUTH + gape : MOUTH + 40, 192:256] = photographs["astronaut"][MOUTH : MOUTH + 40 - gape, 192:256]
        face[MOUTH : MOUTH + gape, 208:240] = (60, 20, 20)
        return np.roll(face, round(12 * math.sin(2 * at)), axis=1)

    return shown


def clip_from(film: Film, photographs: Mapping[str, RGB]) -> Clip:
    """Five keyframes, three of them with the face; sound; packets; what the file says of itself."""
    coffee, cat = (resized(photographs[name], SIDE, SIDE) for name in ("coffee", "chelsea"))
    made = clip_of(film(0), coffee, film(4), cat, film(8), metadata=METADATA)
    facts = msgspec.structs.replace(
        made.facts,
        tracks=(TrackFacts(kind="video", codec="h264", width=SIDE, height=SIDE, frame_rate=25.0),),
        credentials=Credentials(state=CredentialState.INVALID, codes=("assertion.dataHash.mismatch",)),
    )
    at = np.arange(0, LENGTH, 1 / 25)
    size = np.where(np.arange(len(at)) % 50, 900, 9000) + (np.arange(len(at)) * 37) % 101
    return Clip(
        facts,
        Sampling(decoder="fake", looked_at=made.sampling.looked_at, closer_budget=150, audio_seconds=LENGTH),
        with_native(made).keyframes,
        babble(LENGTH),
        Packets(at, size.astype(np.int32), np.arange(len(at)) % 50 == 0),
    )


def with_native(clip: Clip, side: int = 256) -> Clip:
    """The clip as if its frames had been decoded unscaled: the middle of their green is what luminance is mostly."""

    def middle(image: RGB) -> RGB:
        top, left = (max(0, (length - side) // 32 * 16) for length in image.shape[:2])
        return np.ascontiguousarray(image[top : top + side, left : left + side, 1])

    return replace(clip, keyframes=tuple(replace(frame, native=middle(frame.image)) for frame in clip.keyframes))


def babble(seconds: float) -> Audio:
    """Something like speech to what measures it: a buzz of harmonics that swells and fades."""
    at = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    pitch = 2 * np.pi * np.cumsum(130 + 20 * np.sin(2 * np.pi * 0.7 * at)) / SAMPLE_RATE
    formants = (sum(np.sin(n * pitch) / n * (1 + math.cos(n)) for n in range(1, 30))) * 0.1
    noise = np.random.default_rng(0).normal(scale=0.003, size=len(at))
    return Audio(
        np.clip(formants * (0.55 + 0.45 * np.sin(2 * np.pi * SYLLABLES * at)) + noise, -1, 1).astype(np.float32)
    )


async def view_of(clip: Clip, film: Film, infer: Infer) -> View:
    """The clip with the faces that the real models find in it, followed through two windows; somebody speaks."""
    steps, until = load(), asyncio.get_running_loop().time() + SECONDS
    found = await steps.faces(clip, infer, until=until)
    assert found.faces, "the face detector must find the astronaut's face"
    windows = windows_of(film, SPANS, len(clip.keyframes))
    followed = await steps.follow(windows, steps.faces, found.faces, found.known, infer, until=until)
    assert followed.tracks is not None
    assert [(track.window, track.person, len(track.faces)) for track in followed.tracks] == [(0, 0, 100), (1, 0, 38)]
    speech = Speech(np.full(int(LENGTH * SAMPLE_RATE / 512), 0.9, np.float32))
    return View(clip, found.faces, speech, windows, followed.tracks)


def closer_look(clip: Clip, film: Film) -> Closer:
    """A closer look as the decoder would take it."""

    async def closer(spans: Sequence[Span]) -> tuple[Window, ...]:
        return windows_of(film, spans, len(clip.keyframes))

    return closer


def sendable(detector: Detector, view: View) -> list[Probe]:
    """The questions that it puts."""
    return [probe for probe in detector.prepare(view) if not probe.skipped]


async def judge(detector: Detector, probes: Sequence[Probe], infer: Infer) -> list[list[Score]]:
    """The scores of each probe, asked one after the other."""
    found = []
    for probe in probes:
        outputs = await infer(detector.model, probe.tensors, within=SECONDS) if detector.model else probe.tensors
        found.append(list(detector.interpret(probe, outputs)))
    return found


async def report_of(detector: Detector, clip: Clip, infer: Infer, film: Film | None = None) -> DetectorReport:
    """The report of one detector in the whole flow of the stage; with a film it is looked at twice."""
    only = replace(load(), entries=(Entry(detector, Mode.LIVE, SECONDS),))
    closer = closer_look(clip, film) if film else None
    findings = await ensemble.detect(clip, only, infer, closer=closer, within=SECONDS)
    (report,) = findings.reports
    return report


async def report_on(detector: Detector, view: View, infer: Infer) -> DetectorReport:
    """The report of one detector on a view as it is: the stage's own step, without what comes before it."""
    until = asyncio.get_running_loop().time() + SECONDS
    return await ensemble._report(Entry(detector, Mode.LIVE, SECONDS), view, (1.0, None), infer, until)
