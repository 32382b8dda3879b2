"""Train what tells whether a mouth moves to its sound: the map from sound to mouth, and the head on the match.

The map learns from genuine video of people who talk. The head then sees, for every clip, the matches by a map that did
not know that clip: of the clip as it is, with its sound moved by 0.3–1.2 s, and with the sound of another clip. No
manipulated video is needed.
"""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.decode.port import SAMPLE_RATE, Audio, Clip, Keyframe, Span, Window
from pipeline.detect import lip_sync, mesh, sound
from pipeline.detect.find_faces import FindFaces
from pipeline.detect.follow_faces import FollowFaces
from pipeline.detect.head import HeadFile, Layer
from pipeline.detect.hear_speech import HearSpeech
from pipeline.detect.lip_sync import (
    BANDS,
    LEAST_SPEECH,
    MEASURES,
    STEP,
    STILL,
    TAPS,
    Grid,
    Heard,
    MatchFile,
    Talk,
    bands_of,
    best_lag,
    context,
    measures_of,
    mouth_of,
    softness,
    talk_from,
)
from pipeline.detect.port import Infer, Speech
from pipeline.detect.voice_clone import SPEAKS, spoken_frames
from pipeline.errors import ConfigError
from pipeline.events.values import MediaFacts, MediaKind, Sampling
from pipeline.learn.heads import Estimate, auc, fit_lda, fit_platt
from pipeline.learn.inference import InProcess
from pipeline.learn.media import read_frames, read_sound
from pipeline.models.sources import Progress, sha256_of, write_atomically

MODELS = ("face_detector", "face_mesh", "face_embedding", "voice_activity")
VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi")
WINDOW = 6.0
"""Seconds: the longest window of the second look."""
LENGTHS = (3.0, 6.0)
"""Seconds of the stretches that the head learns from: as short and as long as windows are."""
SPOKEN = 0.4
"""Share of speech in a stretch: the second look goes where somebody speaks."""
RIDGE = 1000.0
"""Weight decay of the map, in samples of 25 a second. Chosen among 100, 1,000 and 3,000 on left-out clips."""
ALIGN = 0.3
"""Seconds by which a genuine clip's sound may be off: its container or camera did that; the map is spared it."""
SHIFTS = 6
SHIFT = (0.3, 1.2)
SHRINKAGE = 0.2
FEWEST = 3


@dataclass(frozen=True, slots=True, eq=False)
class Speaker:
    """One clip of a talking person. `mouth`: n × 4 at `at` seconds, per run without a gap; `soft`: of its frames."""

    name: str
    audio: Audio
    speech: Speech
    runs: tuple[tuple[Grid, Grid], ...]
    soft: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One stretch with one sound. `kind`: genuine, shifted or replaced."""

    clip: str
    kind: str
    seconds: float
    measures: tuple[float, ...]
    lag: float


@dataclass(frozen=True, slots=True)
class LipSyncReport:
    """What came of training: areas under the curve on clips that neither map nor head had seen, and the match there."""

    path: Path
    clips: int
    rows: int
    figures: tuple[tuple[str, Estimate], ...]
    match: tuple[float, float]
    lag_error: float

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> Iterable[str]:
        """The report for people."""
        yield f"lip_sync: {self.clips} clips, {self.rows} stretches; {self.path}"
        yield f"  match of genuine clips {self.match[0]:.2f} ± {self.match[1]:.2f}"
        yield f"  a shift is told to within {self.lag_error:.2f} s (median)"
        yield from (f"  {name:40s}  {figure}" for name, figure in self.figures)


def train_lip_sync(
    manifest: Path,
    models_dir: Path,
    out: Path,
    *,
    home: Path,
    seed: int = 0,
    progress: Progress = lambda _: None,
) -> LipSyncReport:
    """Train head and map and write them to `out` and, beside it, `lip_sync_match.json`. Raises ConfigError.

    The same manifest and seed give the same files.
    """
    people = gather(manifest, models_dir, home, progress)
    speakers = [person for person in people if talks(person, WINDOW)]
    if len(speakers) < FEWEST:
        raise ConfigError(f"{manifest}: {len(speakers)} clips of people who talk; at least {FEWEST} are needed")
    progress(f"fitting on {len(speakers)} clips")
    offsets = align(speakers)
    rows = [row for i in range(len(speakers)) for row in rows_without(i, speakers, offsets, seed)]
    rng = np.random.default_rng(seed)
    figures = tuple(
        (f"{kind}, {seconds:g} s, leave clip out", _held_out(rows, kind, seconds, rng))
        for kind in ("shifted", "replaced")
        for seconds in LENGTHS
    )
    genuine = [row.measures[0] for row in rows if row.kind == "genuine"]
    soft = [float(np.median(person.soft)) for person in people if person.soft]
    moved = [abs(row.lag) for row in rows if row.kind == "shifted"]
    report = LipSyncReport(
        out,
        len(speakers),
        len(rows),
        figures,
        (float(np.mean(genuine)), float(np.std(genuine))),
        float(np.median(moved)),
    )
    trained: dict[str, str | int | float] = {
        "clips": len(speakers),
        "seconds": round(sum(len(at) for s in speakers for at, _ in s.runs) * STEP),
        "seed": seed,
        "manifest_sha256": hashlib.sha256(manifest.read_bytes()).hexdigest(),
        **{name: round(figure.value, 4) for name, figure in figures},
    }
    match = MatchFile(
        taps=TAPS,
        bands=BANDS,
        weight=tuple(tuple(float(f"{w:.6g}") for w in column) for column in fit_map(speakers, offsets).T),
        match=round(report.match[0], 4),
        match_spread=round(report.match[1], 4),
        soft=round(float(np.mean(soft)), 4) if soft else 0.0,
        soft_spread=round(float(np.std(soft)), 4) if len(soft) > 1 else 1.0,
        trained=trained,
    )
    write_atomically(out, msgspec.json.format(msgspec.json.encode(_head(rows, trained)), indent=1) + b"\n")
    write_atomically(
        out.with_name("lip_sync_match.json"), msgspec.json.format(msgspec.json.encode(match), indent=1) + b"\n"
    )
    return report


def fit_map(speakers: Sequence[Speaker], offsets: Sequence[float]) -> Grid:
    """Ridge regression from the sound round a moment to the mouth at it, (taps · bands) × 4."""
    inputs, targets = [], []
    for speaker, offset in zip(speakers, offsets, strict=True):
        at, bands = bands_of(speaker.audio)
        for talk in talks(speaker, WINDOW):
            inputs.append(context(at, bands, talk.at + offset))
            targets.append(talk.mouth / np.maximum(talk.mouth.std(axis=0), 1e-3))
    x, y = np.concatenate(inputs), np.concatenate(targets)
    return np.asarray(np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ y))


def align(speakers: Sequence[Speaker]) -> list[float]:
    """How late each genuine clip's sound is, by a map that does not know the clip; none beyond `ALIGN` is believed."""
    offsets = [0.0] * len(speakers)
    for i, speaker in enumerate(speakers):
        told = _heard(speaker.audio, _map_without(i, speakers, [0.0] * len(speakers)))
        lag, _ = best_lag([told.curve(talk) for talk in talks(speaker, WINDOW)])
        offsets[i] = lag if abs(lag) <= ALIGN else 0.0
    return offsets


def rows_without(i: int, speakers: Sequence[Speaker], offsets: Sequence[float], seed: int) -> list[Row]:
    """Clip i as it is, with shifted sound and with the others' sound, by a map that was fitted without it."""
    weight = _map_without(i, speakers, offsets)
    speaker = speakers[i]
    told = [_heard(each.audio, weight) for each in speakers]
    rng = np.random.default_rng([seed, i])
    rows = []
    for seconds in LENGTHS:
        for talk in talks(speaker, seconds):
            rows.append(_row(speaker, "genuine", seconds, talk, told[i], 0.0))
            shifts = rng.choice([-1, 1], SHIFTS) * rng.uniform(*SHIFT, SHIFTS)
            rows += [_row(speaker, "shifted", seconds, talk, told[i], float(shift)) for shift in shifts]
            for j, other in enumerate(speakers):
                spare = len(other.audio.samples) / SAMPLE_RATE - (talk.at[-1] - talk.at[0])
                if j != i and spare > 0:
                    start = other.audio.start + float(rng.uniform(0, spare)) - float(talk.at[0])
                    rows.append(_row(speaker, "replaced", seconds, talk, told[j], start))
    return [row for row in rows if np.isfinite(row.measures).all()]


def talks(speaker: Speaker, seconds: float) -> list[Talk]:
    """Stretches of a clip in which the person speaks, of at most so many seconds, one after the other."""
    found = []
    spoken = spoken_frames(speaker.audio, speaker.speech)
    for at, mouth in speaker.runs:
        count = max(1, round((at[-1] - at[0]) / seconds))
        for part in np.array_split(np.arange(len(at)), count):
            talk = talk_from(at[part], mouth[part])
            if talk is None or talk.moves < STILL:
                continue
            first, last = (
                (moment - speaker.audio.start) * SAMPLE_RATE / sound.HOP for moment in (talk.at[0], talk.at[-1])
            )
            seen = spoken[max(0, int(first)) : max(0, int(last))]
            if len(seen) and seen.mean() >= SPOKEN and seen.sum() * sound.HOP / SAMPLE_RATE >= LEAST_SPEECH:
                found.append(talk)
    return found


def gather(manifest: Path, models_dir: Path, home: Path, progress: Progress) -> list[Speaker]:
    """The genuine clips of a manifest, whether or not anybody talks in them; kept under `home/learn/mouth/`."""
    try:
        with manifest.open(newline="", encoding="utf-8") as stream:
            files = [row["file"] for row in csv.DictReader(stream) if row["label"] == "real"]
    except (OSError, KeyError, csv.Error) as error:
        raise ConfigError(f"{manifest}: no manifest with file and label: {error!r}") from error
    chosen = sorted(file for file in files if Path(file).suffix.lower() in VIDEOS)
    code = [sha256_of(Path(str(module.__file__))) for module in (mesh, lip_sync)]
    models: InProcess | None = None
    people = []
    for file in chosen:
        told = f"{(manifest.parent / file).resolve()} {code}"
        store = home / "learn" / "mouth" / f"{hashlib.sha256(told.encode()).hexdigest()[:16]}.npz"
        if not store.is_file():
            models = models or InProcess(MODELS, models_dir, home, progress)
            progress(f"reading {file}")
            _save(store, asyncio.run(watch(manifest.parent / file, models)))
        people.append(_load(store, file))
    return people


async def watch(path: Path, infer: Infer) -> Speaker:
    """Sound, speech and the mouth of the largest face of a clip, through the models and steps of live detection.

    Where nobody speaks the first window alone is watched, for how sharp a mouth is.
    """
    samples, start = read_sound(path)
    audio = Audio(samples, start)
    until = asyncio.get_running_loop().time() + 3600
    clip = Clip(MediaFacts(MediaKind.VIDEO, path.suffix), Sampling("training"), audio=audio)
    speech = await HearSpeech()(clip, infer, until=until)
    silent = speech is None or (speech.probability > SPEAKS).mean() < SPOKEN / 4
    runs, soft = [], []
    for window in islice(_windows(path), 1 if silent else None):
        followed = await FollowFaces(faces=1)([window], FindFaces(), (), {}, infer, until=until)
        for track in followed.tracks or ():
            size = window.frames[0].image.shape[:2]
            points = np.stack([face.points for face in track.faces])
            runs.append((np.array([face.at for face in track.faces]), mouth_of(mesh.in_pixels(points, size))))
            images = {frame.index: frame.image for frame in window.frames}
            soft += [
                softness(images[face.frame], face.points) for face in track.faces[:: max(1, len(track.faces) // 4)]
            ]
    heard = Speech(np.zeros(0, np.float32)) if speech is None else speech
    return Speaker(path.name, audio, heard, tuple(runs), tuple(value for value in soft if np.isfinite(value)))


def _windows(path: Path) -> Iterable[Window]:
    frames: list[Keyframe] = []
    for index, (at, image) in enumerate(read_frames(path, 25.0)):
        if frames and at - frames[0].at >= WINDOW:
            yield Window(Span(frames[0].at, frames[-1].at, 25.0, "training"), tuple(frames))
            frames = []
        frames.append(Keyframe(index, at, image))
    if len(frames) > 1:
        yield Window(Span(frames[0].at, frames[-1].at, 25.0, "training"), tuple(frames))


def _map_without(i: int, speakers: Sequence[Speaker], offsets: Sequence[float]) -> Grid:
    rest = [j for j in range(len(speakers)) if j != i]
    return fit_map([speakers[j] for j in rest], [offsets[j] for j in rest])


def _heard(audio: Audio, weight: Grid) -> Heard:
    at, bands = bands_of(audio)
    return Heard(at, context(at, bands, at) @ weight)


def _row(speaker: Speaker, kind: str, seconds: float, talk: Talk, told: Heard, shift: float) -> Row:
    """The stretch with a sound that is played `shift` seconds early."""
    curve = Heard(told.at - shift, told.foretold).curve(talk)
    measures = measures_of([curve])
    lag, _ = best_lag([curve])
    return Row(speaker.name, kind, seconds, tuple(measures[name] for name in MEASURES), lag + shift)


def _held_out(rows: Sequence[Row], kind: str, seconds: float, rng: np.random.Generator) -> Estimate:
    """Area under the curve of genuine against one kind; the head, too, was fitted without the clip.

    The interval is a bootstrap over clips: stretches of one clip are no independent trials.
    """
    clips = sorted({row.clip for row in rows})
    scores: dict[str, tuple[NDArray[np.float64], NDArray[np.bool_]]] = {}
    for clip in clips:
        test = [row for row in rows if row.clip == clip and row.seconds == seconds and row.kind in ("genuine", kind)]
        rest = [row for row in rows if row.clip != clip]
        if not test or not {row.kind for row in rest} > {"genuine"}:
            continue
        weight, bias, mean, spread = _line(rest)
        table = (np.array([row.measures for row in test]) - mean) / spread
        scores[clip] = (table @ weight + bias, np.array([row.kind != "genuine" for row in test]))
    if not scores:
        return Estimate(float("nan"), float("nan"), float("nan"), 0, 0)

    def area(chosen: Sequence[str]) -> float:
        return auc(np.concatenate([scores[c][0] for c in chosen]), np.concatenate([scores[c][1] for c in chosen]))

    names = list(scores)
    drawn = [area([names[k] for k in rng.integers(0, len(names), len(names))]) for _ in range(1000)]
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    fake = np.concatenate([scores[name][1] for name in names])
    return Estimate(area(names), float(low), float(high), int((~fake).sum()), int(fake.sum()))


def _line(rows: Sequence[Row]) -> tuple[NDArray[np.float64], float, NDArray[np.float64], NDArray[np.float64]]:
    """Weights, bias, means and spreads of the head; calibrated on its own rows: four measures do not overfit."""
    table = np.array([row.measures for row in rows])
    fake = np.array([row.kind != "genuine" for row in rows])
    mean, spread = table.mean(axis=0), np.maximum(table.std(axis=0), 1e-6)
    scaled = ((table - mean) / spread).astype(np.float32)
    line = fit_lda(scaled, fake, SHRINKAGE)
    a, b = fit_platt(line(scaled), fake)
    return a * line.weight, a * line.bias + b, mean, spread


def _head(rows: Sequence[Row], trained: dict[str, str | int | float]) -> HeadFile:
    weight, bias, mean, spread = _line(rows)
    return HeadFile(
        head="lip_sync",
        measures=MEASURES,
        mean=tuple(float(f"{v:.6g}") for v in mean),
        spread=tuple(float(f"{v:.6g}") for v in spread),
        layers=(Layer((tuple(float(f"{w:.6g}") for w in weight),), (float(f"{bias:.6g}"),)),),
        trained=trained,
    )


def _save(store: Path, speaker: Speaker) -> None:
    packed = io.BytesIO()
    runs = {f"at{i}": at for i, (at, _) in enumerate(speaker.runs)}
    runs |= {f"mouth{i}": mouth for i, (_, mouth) in enumerate(speaker.runs)}
    np.savez_compressed(
        packed,
        allow_pickle=False,
        samples=speaker.audio.samples,
        start=np.array(speaker.audio.start),
        speech=speaker.speech.probability,
        soft=np.array(speaker.soft),
        count=np.array(len(speaker.runs)),
        **runs,
    )
    write_atomically(store, packed.getvalue())


def _load(store: Path, name: str) -> Speaker:
    with np.load(store, allow_pickle=False) as kept:
        start = float(kept["start"])
        runs = tuple((kept[f"at{i}"], kept[f"mouth{i}"]) for i in range(int(kept["count"])))
        return Speaker(
            name,
            Audio(kept["samples"], start),
            Speech(kept["speech"], start),
            runs,
            tuple(float(v) for v in kept["soft"]),
        )
