"""Lip-sync: whether the mouth moves as the sound says it must.

A small linear map, learnt from people who talk, foretells the mouth from the sound. What it foretells is compared with
the mouth that the mesh shows, at every shift of the sound within a second and a half: in genuine video the best match
stands at no shift and above all others; shifted sound has it elsewhere; another sound has it nowhere. The other shifts
are the measure's own null hypothesis, so that it needs little training and no absolute scale (the same idea, with a
network in place of the map: Chung & Zisserman, "Out of time", ACCV workshops 2016).

It says nothing of mouths that were painted to fit the sound, as lip-sync models do: there it finds a match, rightly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.decode.port import RGB, SAMPLE_RATE, Audio
from pipeline.detect import mesh, sound
from pipeline.detect.head import FOLDER, read_head
from pipeline.detect.port import ModelSpec, Probe, Score, Speech, Tensors, Track, View
from pipeline.detect.voice_clone import spoken_frames
from pipeline.errors import ConfigError
from pipeline.events.values import Family

Grid = NDArray[np.float64]

STEP = 0.04
"""Seconds from point to point: mouth and sound are brought to one clock of 25 Hz."""
MOUTH = ("opening", "jaw", "width", "lips")
BANDS = 20
TAPS = (-0.20, -0.12, -0.04, 0.04, 0.12, 0.20, 0.28)
"""Seconds round a moment whose sound foretells the mouth; more of them after it, since the mouth opens before it
sounds (by 100–300 ms: Chandrasekaran and others, PLoS Computational Biology 2009)."""
FARTHEST = 1.5
"""Largest shift that is tried, seconds: beyond it a viewer sees two different things anyway."""
NEAR = 0.2
"""A genuine track may be so far off: viewers notice 45 ms early or 125 ms late (ITU-R BT.1359), phones do worse."""
FAR = 0.28
"""From here on a shift counts as another one."""
SLOW = 2.0
"""Seconds over which a moving mean is taken off the mouth: posture and expression are slower than speech."""

LEAST = 2.0
"""Seconds of a track below which nothing can be said."""
LEAST_SPEECH = 1.0
STILL = 0.012
"""Spread of the opening, in eye distances, below which a mouth does not speak: the mesh trembles by about .008."""
SLOWEST = 8.0
"""Frames a second below which speech is undersampled: syllables come at 4–5 a second."""

MEASURES = ("match", "margin", "rise", "length")
SHARPNESS_FRAMES = 8


class MatchFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The map from sound to mouth. `weight`: for each of MOUTH, a number per tap and band.

    `match`, `match_spread`: mean and spread of the match in genuine video that the map had not seen. `soft`,
    `soft_spread`: the same of the mouth's sharpness against the rest of the face (log).
    """

    taps: tuple[float, ...]
    bands: int
    weight: tuple[tuple[float, ...], ...]
    match: float
    match_spread: float
    soft: float
    soft_spread: float
    trained: dict[str, str | int | float]

    def __post_init__(self) -> None:
        if len(self.weight) != len(MOUTH) or any(len(row) != len(self.taps) * self.bands for row in self.weight):
            raise ValueError("weights, taps and bands do not go together")


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """A map that is ready to be used. `digest` changes with its file."""

    file: MatchFile
    weight: Grid
    digest: str


@cache
def read_match(path: Path = FOLDER / "lip_sync_match.json") -> Match:
    """The map that ships. Raises ConfigError when it is missing or is none."""
    try:
        data = path.read_bytes()
        file = msgspec.json.decode(data, type=MatchFile)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{path.name}: {error}") from None
    return Match(file, np.array(file.weight).T, hashlib.sha256(data).hexdigest()[:8])


@dataclass(frozen=True, slots=True, eq=False)
class Talk:
    """One face through one window: `at` on the 25-Hz clock, and the mouth there (n × 4, as MOUTH), detrended."""

    at: Grid
    mouth: Grid
    moves: float


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """How well the mouth matches the sound at each of `LAGS` (NaN where there is no sound), over `seconds`."""

    match: Grid
    seconds: float


LAGS = np.round(np.arange(-FARTHEST, FARTHEST + STEP / 2, STEP), 3)
"""Seconds. At a positive lag the sound comes late."""


@dataclass(frozen=True, slots=True)
class LipSync:
    """Compares every speaking face with the sound. `speakers`: how many people at most."""

    speakers: int = 4

    name: ClassVar[str] = "lip_sync"
    families: ClassVar[tuple[Family, ...]] = (Family.LIP_SYNC,)
    needs_faces: ClassVar[bool] = True
    closer: ClassVar[bool] = True
    model: ClassVar[ModelSpec | None] = None

    @property
    def version(self) -> str:
        """The digests of the head and of the map are part of it."""
        return f"1-{read_head('lip_sync').digest}-{read_match().digest}"

    def prepare(self, view: View) -> Sequence[Probe]:
        """One probe per speaker, over all windows that show the same person; none without sound, speech or a face."""
        audio, tracks = view.clip.audio, view.tracks
        if audio is None or not len(audio.samples) or not tracks:
            return []
        if view.speech is None:
            return [Probe({}, skipped="where somebody speaks is not known")]
        if not spoken_frames(audio, view.speech).any():
            return []
        match = read_match()
        heard = Heard.of(audio, match)
        by_person: dict[tuple[str, int], list[tuple[Track, Talk, Curve]]] = {}
        for window in sorted({track.window for track in tracks}):
            talks = [
                (track, talk, heard.curve(talk))
                for track in tracks
                if track.window == window and (talk := talk_of(track, view)) and _speaks(talk, audio, view.speech)
            ]
            # Where several faces are in view, the sound belongs to the one that it fits best; the others listen.
            best = max(talks, key=lambda found: measures_of([found[2]])["match"], default=None)
            if best is not None:
                track = best[0]
                who = ("track", track.number) if track.person is None else ("person", track.person)
                by_person.setdefault(who, []).append(best)
        return [_probe(found, view) for found in list(by_person.values())[: self.speakers]]

    def interpret(self, probe: Probe, outputs: Tensors) -> Sequence[Score]:
        """How surely mouth and sound do not belong together, and what a reviewer should look at."""
        measures = dict(zip(MEASURES, (float(v) for v in outputs["measures"][0]), strict=True))
        start, until, lag, peak, soft = (float(v) for v in outputs["found"][0])
        value = read_head(self.name)(measures)
        note = words(measures, lag, peak, soft, read_match().file)
        return [Score(Family.LIP_SYNC, value, at=start, until=until, box=probe.box, track=probe.track, note=note)]


def talk_of(track: Track, view: View) -> Talk | None:
    """A track on the 25-Hz clock, in the proportions of its frames; None when it is too short or too thinly sampled."""
    if len(track.faces) < LEAST * SLOWEST:
        return None
    height, width = view.image(track.faces[0].frame).shape[:2]
    points = mesh.in_pixels(np.stack([face.points for face in track.faces]), (height, width))
    return talk_from(np.array([face.at for face in track.faces]), mouth_of(points))


def mouth_of(points: mesh.Mesh) -> Grid:
    """The four measures of the mouth, n × 4, from meshes in pixels (n × 478 × 3)."""
    taken = (mesh.mouth_opening, mesh.jaw_opening, mesh.mouth_width, mesh.lips_area)
    return np.stack([measure(points) for measure in taken], axis=-1)


def talk_from(at: Grid, mouth: Grid) -> Talk | None:
    """The mouth on the 25-Hz clock, without its slow part; None when it is too short or too thinly sampled."""
    if len(at) < 2 or at[-1] - at[0] < LEAST or (len(at) - 1) / (at[-1] - at[0]) < SLOWEST:
        return None
    clock = np.arange(at[0], at[-1], STEP)
    even = np.stack([np.interp(clock, at, column) for column in mouth.T], axis=1)
    return Talk(clock, detrended(even), float(even[:, 0].std()))


def detrended(series: Grid) -> Grid:
    """Less its mean over two seconds round each point; beyond the ends the series is mirrored."""
    size = min(round(SLOW / STEP), 2 * len(series) - 1)
    padded = np.pad(series, ((size // 2, size - 1 - size // 2), (0, 0)), mode="reflect")
    slow = np.stack([np.convolve(column, np.ones(size) / size, "valid") for column in padded.T], axis=1)
    return np.asarray(series - slow)


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """What the sound foretells of the mouth: `foretold` n × 4, at `at` seconds, every 10 ms."""

    at: Grid
    foretold: Grid

    @classmethod
    def of(cls, audio: Audio, match: Match) -> Heard:
        """By the map that ships."""
        at, bands = bands_of(audio)
        return cls(at, context(at, bands, at) @ match.weight)

    def curve(self, talk: Talk) -> Curve:
        """The match at every lag: the mean over the four measures of their correlation with what was foretold."""
        found = np.full(len(LAGS), np.nan)
        first, last = (self.at[0], self.at[-1]) if len(self.at) else (np.inf, -np.inf)
        for i, lag in enumerate(LAGS):
            clock = talk.at + lag
            inside = (clock >= first) & (clock <= last)
            if inside.sum() * STEP >= LEAST * 0.8:
                told = np.stack([np.interp(clock[inside], self.at, column) for column in self.foretold.T], axis=1)
                found[i] = _correlation(talk.mouth[inside], told).mean()
        return Curve(found, len(talk.at) * STEP)


def bands_of(audio: Audio) -> tuple[Grid, Grid]:
    """The sound as the map reads it: seconds (n), and loudness in mel bands (n × BANDS), each of mean 0, spread 1."""
    spectrum = sound.power(audio.samples)
    at = audio.start + (np.arange(len(spectrum)) * sound.HOP + sound.FRAME / 2) / SAMPLE_RATE
    if len(spectrum) < 2 * len(_SMOOTH):
        return np.zeros(0), np.zeros((0, BANDS))
    bands = sound.log_bands(spectrum, BANDS, "mel")
    # What lies far below the voice is the room, not the speaker.
    bands = np.maximum(bands, np.percentile(bands, 95) - _DEPTH)
    smooth = np.stack([np.convolve(column, _SMOOTH, "same") for column in bands.T], axis=1)
    return at, (smooth - smooth.mean(axis=0)) / (smooth.std(axis=0) + 0.3)


_DEPTH = 9.0
"""Natural logarithm of power: 39 dB."""
_SMOOTH = np.hanning(11)[1:-1] / np.hanning(11).sum()
"""Over 90 ms: faster than that no mouth moves."""


def context(at: Grid, bands: Grid, moments: Grid) -> Grid:
    """The bands at every tap round each moment, n × (taps · bands)."""
    return np.concatenate(
        [np.stack([np.interp(moments + tap, at, column) for column in bands.T], axis=1) for tap in TAPS], axis=1
    )


def pooled(curves: Sequence[Curve]) -> Curve:
    """One curve over several windows, each by its length: a shift is the same in all of them."""
    table = np.stack([curve.match for curve in curves])
    weight = np.where(np.isfinite(table), np.array([[curve.seconds] for curve in curves]), 0)
    whole = weight.sum(axis=0)
    mean = np.where(whole > 0, (np.nan_to_num(table) * weight).sum(axis=0) / np.maximum(whole, 1e-9), np.nan)
    return Curve(mean, sum(curve.seconds for curve in curves))


def measures_of(curves: Sequence[Curve]) -> dict[str, float]:
    """What the head reads.

    `match`: the best correlation at hardly any lag. `margin`: how far it stands above the best at any other lag,
    `rise`: above their mean, in their spreads. `length`: logarithm of the seconds compared. NaN without sound.
    """
    curve = pooled(curves)
    near, far = curve.match[np.abs(LAGS) <= NEAR], curve.match[np.abs(LAGS) >= FAR]
    near, far = near[np.isfinite(near)], far[np.isfinite(far)]
    nothing = float("nan")
    match = float(near.max()) if len(near) else nothing
    enough = len(near) > 0 and len(far) >= _LEAST_LAGS
    return {
        "match": match,
        "margin": match - float(far.max()) if enough else nothing,
        "rise": (match - float(far.mean())) / max(float(far.std()), 1e-6) if enough else nothing,
        "length": float(np.log(curve.seconds)),
    }


_LEAST_LAGS = 12


def best_lag(curves: Sequence[Curve]) -> tuple[float, float]:
    """Where mouth and sound fit best: the lag, seconds, and the match there. (NaN, NaN) without sound."""
    match = pooled(curves).match
    if not np.isfinite(match).any():
        return float("nan"), float("nan")
    i = int(np.nanargmax(match))
    return float(LAGS[i]), float(match[i])


def softness(image: RGB, points: mesh.Mesh) -> float:
    """Sharpness of the mouth against that of the face round it (log): negative where the mouth is the softer.

    `points`: one mesh in shares of the frame. Both are measured in the same crop, at the same scale. NaN for a face of
    fewer than 96 pixels, which has no detail to compare.
    """
    height, width = image.shape[:2]
    box = mesh.bounds(points)
    if min((box.x1 - box.x0) * width, (box.y1 - box.y0) * height) < _SMALLEST_FACE:
        return float("nan")
    crop, to_frame = mesh.mesh_crop_again(image, points)
    level = np.linalg.inv(to_frame[:, :2])
    placed = (np.asarray(points[: mesh.IRIS, :2], np.float64) * (width, height) - to_frame[:, 2]) @ level.T
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
    detail = np.square(cv2.Laplacian(grey, cv2.CV_32F))
    face, mouth, eyes = (np.zeros(grey.shape, np.uint8) for _ in range(3))
    cv2.fillPoly(face, [placed[list(mesh.OVAL)].astype(np.int32)], 1)
    lips = placed[list(mesh.OUTER_LIPS)]
    cv2.fillPoly(mouth, [((lips - lips.mean(axis=0)) * 1.15 + lips.mean(axis=0)).astype(np.int32)], 1)
    for rim in mesh.RIMS:
        cv2.fillPoly(eyes, [placed[list(rim)].astype(np.int32)], 1)
    face = cv2.erode(face, np.ones((9, 9), np.uint8))
    eyes = np.asarray(cv2.dilate(eyes, np.ones((5, 5), np.uint8)), np.uint8)
    inside, rest = (face & mouth) > 0, (face & (1 - mouth) & (1 - eyes)) > 0
    if inside.sum() < 50 or rest.sum() < 500:
        return float("nan")
    return float(np.log(detail[inside].mean() + 1) - np.log(detail[rest].mean() + 1))


_SMALLEST_FACE = 96


def words(measures: dict[str, float], lag: float, peak: float, soft: float, known: MatchFile) -> str:
    """What was found, for a reviewer."""
    if not np.isfinite(measures["match"]):
        return "no sound where the mouth was seen"
    usual = f"genuine video has {known.match:.2f} ± {known.match_spread:.2f}"
    told = f"mouth and sound match by {measures['match']:.2f} ({usual})"
    if FAR <= abs(lag) < FARTHEST and peak > max(
        known.match - known.match_spread, measures["match"] + known.match_spread
    ):
        told += f"; they fit best, {peak:.2f}, when the sound is moved by {-lag:+.2f} s"
    elif measures["match"] < known.match - 2 * known.match_spread:
        told += "; they fit at no shift of the sound"
    if soft < known.soft - 3 * known.soft_spread:
        told += "; the mouth is much softer than the face round it"
    return told


def _speaks(talk: Talk, audio: Audio, speech: Speech) -> bool:
    """Whether there is speech while this mouth is seen, and the mouth moves."""
    if talk.moves < STILL:
        return False
    frames = spoken_frames(audio, speech)
    first, last = ((moment - audio.start) * SAMPLE_RATE / sound.HOP for moment in (talk.at[0], talk.at[-1]))
    seen = frames[max(0, int(first)) : max(0, int(last))]
    return float(seen.sum()) * sound.HOP / SAMPLE_RATE >= LEAST_SPEECH


def _probe(found: Sequence[tuple[Track, Talk, Curve]], view: View) -> Probe:
    curves = [curve for _, _, curve in found]
    measures = measures_of(curves)
    lag, peak = best_lag(curves)
    middle = found[0][0].faces[len(found[0][0].faces) // 2]
    soft = [value for track, _, _ in found for value in _softness_of(track, view)]
    start, until = min(float(talk.at[0]) for _, talk, _ in found), max(float(talk.at[-1]) for _, talk, _ in found)
    told = [start, until, lag, peak, float(np.median(soft)) if soft else float("nan")]
    tensors = {"measures": np.array([[measures[name] for name in MEASURES]]), "found": np.array([told])}
    return Probe(tensors, at=start, box=middle.box, track=found[0][0].person)


def _softness_of(track: Track, view: View) -> Iterator[float]:
    chosen = np.unique(np.linspace(0, len(track.faces) - 1, SHARPNESS_FRAMES).round().astype(int))
    for i in chosen:
        face = track.faces[i]
        value = softness(view.image(face.frame), face.points)
        if np.isfinite(value):
            yield value


def _correlation(seen: Grid, told: Grid) -> Grid:
    """Pearson's, per column."""
    seen, told = seen - seen.mean(axis=0), told - told.mean(axis=0)
    return np.asarray((seen * told).sum(axis=0) / np.sqrt((seen**2).sum(axis=0) * (told**2).sum(axis=0) + 1e-12))
