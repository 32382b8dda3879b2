"""What is usual: follow faces through genuine videos and write down the range of each measure.

`unmask models train eyes_and_head | reenactment | lighting --manifest …`. Manipulated videos of the manifest, and
copies of the genuine ones with a tampered face (`face_reels.py`), are used to say how well the measures tell them
apart, and for nothing else: a copy is judged by ranges without the source of its original. A video is watched once for
all three.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from pipeline.decode.port import Clip, Keyframe, Span, Window
from pipeline.detect.find_faces import FindFaces
from pipeline.detect.follow_faces import FollowFaces
from pipeline.detect.normal import Normal, Range, Ranges, strangeness
from pipeline.detect.port import Infer, View
from pipeline.detect.track_measures import Take, persons, take_eyes, take_light, take_movements
from pipeline.errors import ConfigError
from pipeline.events.values import MediaFacts, MediaKind, Sampling
from pipeline.learn.evaluate import Item, read_items
from pipeline.learn.face_reels import CHANGES, untouched
from pipeline.learn.heads import Estimate, auc_by_source
from pipeline.learn.inference import InProcess
from pipeline.learn.makers import Maker, with_face
from pipeline.learn.manifest import VIDEOS
from pipeline.learn.media import read_frames
from pipeline.models.sources import Progress, sha256_of, write_atomically

MEASURED = 1
"""Raised when a measure changes, so that videos are watched again."""
MADE = 1
"""Raised when a way of tampering changes, so that copies are made again."""
RATE = 25.0
SECONDS = 4.0
"""A window, as live detection looks at them."""
WINDOWS = 6
"""Windows per video at most, so that a long one does not set what is usual."""
LEAST = 8
_WATCHED = VIDEOS | {".gif"}


@dataclass(frozen=True, slots=True)
class Told:
    """A measure: what it is in words with its unit, and which side is unusual (0: both)."""

    says: str
    side: int = 0


TOLD: Mapping[str, Mapping[str, Told]] = {
    "eyes_and_head": {
        "blinks_per_minute": Told("blinks a minute"),
        "blink_seconds": Told("seconds per blink"),
        "lids_apart": Told("difference of the two lids", 1),
        "lids_together": Told("agreement of the two lids", -1),
        "gaze_apart": Told("wandering of the eyes against each other", 1),
        "gaze_steady": Told("restlessness of the gaze"),
        "pose_apart": Told("degrees between inner and outer face", 1),
        "reflections_apart": Told("iris radii between the reflections in the eyes", 1),
    },
    "reenactment": {
        "stiff_tremble": Told("trembling of stiff points", 1),
        "outline_tremble": Told("trembling of the outline", 1),
        "pose_tremble": Told("trembling of the head's pose", 1),
        "tremble_per_motion": Told("trembling for the motion there is", 1),
        "identity_drift": Told("drift of identity", 1),
        "identity_jump": Told("largest jump of identity", 1),
    },
    "lighting": {
        "light_turns": Told("degrees by which the light turns", 1),
        "light_fits": Told("fit of the light to the head's shape", -1),
        "tint_drift": Told("drift of the skin's tint against the frame", 1),
        "red_apart": Told("redness of the skin against the frame"),
        "blue_apart": Told("blueness of the skin against the frame"),
        "flicker_apart": Told("flicker of the face against the frame", 1),
    },
}


TAKES: Mapping[str, Take] = {"eyes_and_head": take_eyes, "reenactment": take_movements, "lighting": take_light}


AGAIN = "encoded again"
"""The kind of copies whose face was left alone: what tampered ones are told from."""
_ALARM = 0.05


@dataclass(frozen=True, slots=True)
class Found:
    """How well windows of one kind of tampering are told from `AGAIN`; `found` at the score that 5 % of genuine ones
    reach."""

    kind: str
    windows: int
    area: Estimate
    found: float


@dataclass(frozen=True, slots=True)
class RangesReport:
    """What came of it. All windows were judged by ranges without the source that they come from.

    `alarms`: of genuine windows, as they are, the share that scores above .95, with an interval over videos.
    """

    name: str
    path: Path
    real_videos: int
    real_windows: int
    alarms: Estimate
    again: int
    kinds: tuple[Found, ...]

    def __str__(self) -> str:
        lines = [
            f"{self.name}: {self.real_windows} windows of {self.real_videos} genuine videos; {self.path}",
            f"  genuine windows of sources left out that score above .95: {self.alarms}",
            f"  against {self.again} genuine windows, encoded again:",
            *(f"  {told.kind}: {told.area}, {told.found:.2f} found at 5 %, n {told.windows}" for told in self.kinds),
        ]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class _Row:
    """A window. `video`: the file that it is of, or whose copy it is of; `kind`: of tampering, empty for genuine."""

    video: str
    source: str
    kind: str
    measures: Mapping[str, float]


def train_ranges(
    name: str,
    manifest: Path,
    models_dir: Path,
    out: Path,
    *,
    home: Path,
    seed: int = 0,
    progress: Progress = lambda _: None,
) -> RangesReport:
    """Write the ranges of one detector. The same manifest gives the same file. Raises ConfigError."""
    rows = asyncio.run(_rows(name, manifest, models_dir, home, seed, progress))
    real = [row for row in rows if not row.kind]
    videos = sorted({row.video for row in real})
    if len(real) < LEAST or len(videos) < 3:
        raise ConfigError(f"{manifest}: {len(real)} windows with a face in {len(videos)} genuine videos: too few")
    # Strangeness of left-out windows: of the windows that the ranges were fitted to it would be too small.
    usual = _left_out(name, real, real, by="video")
    file = Ranges(
        name=name,
        ranges=fit(name, [row.measures for row in real]),
        strangeness=tuple(sorted(round(how, 4) for _, how in usual)),
        trained={"videos": len(videos), "windows": len(real), "seconds_per_window": SECONDS, "frames_per_second": RATE},
    )
    write_atomically(out, msgspec.json.format(msgspec.json.encode(file), indent=1) + b"\n")
    again, kinds = _measured(name, rows, seed)
    return RangesReport(name, out, len(videos), len(real), _alarms(name, real, seed), again, kinds)


def _left_out(
    name: str, rows: Sequence[_Row], real: Sequence[_Row], by: Literal["video", "source"]
) -> list[tuple[_Row, float]]:
    """Each window's strangeness by the ranges of genuine ones of other videos, or sources."""
    found = []
    for group in sorted({getattr(row, by) for row in rows}):
        others = fit(name, [row.measures for row in real if getattr(row, by) != group])
        mine = [(row, strangeness(others, row.measures)) for row in rows if getattr(row, by) == group]
        found += [(row, how) for row, how in mine if how is not None]
    return found


def _alarms(name: str, real: Sequence[_Row], seed: int) -> Estimate:
    """The share of genuine windows whose score is above .95, source after source left out: all of a source's windows
    against ranges and strangeness of the others alone."""
    by_video: dict[str, list[bool]] = {}
    for group in sorted({row.source for row in real}):
        others = [row for row in real if row.source != group]
        ranges = fit(name, [row.measures for row in others])
        usual = tuple(sorted(how for _, how in _left_out(name, others, others, by="video")))
        normal = Normal(Ranges(name, ranges, usual, {}), "")
        for row in real:
            if row.source == group and (score := normal.score(row.measures)) is not None:
                by_video.setdefault(row.video, []).append(score > 1 - _ALARM)
    counts = np.array([(sum(hits), len(hits)) for hits in by_video.values()], np.float64)
    rng = np.random.default_rng(seed)
    drawn = counts[rng.integers(0, len(counts), (1000, len(counts)))].sum(axis=1)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    share = float(counts[:, 0].sum() / counts[:, 1].sum())
    return Estimate(share, float(low), float(high), int(counts[:, 1].sum()), 0)


def _measured(name: str, rows: Sequence[_Row], seed: int) -> tuple[int, tuple[Found, ...]]:
    """Each kind against genuine windows that were encoded in the same way; intervals over videos."""
    real = [row for row in rows if not row.kind]
    judged = _left_out(name, [row for row in rows if row.kind], real, by="source")
    honest = [(row.video, how) for row, how in judged if row.kind == AGAIN]
    told = []
    for kind in [*CHANGES[name], *sorted({row.kind for row, _ in judged} - {AGAIN, *CHANGES[name]})]:
        made = [(row.video, how) for row, how in judged if row.kind == kind]
        if made and honest:
            scores = np.array([how for _, how in (*honest, *made)])
            fake = np.repeat([False, True], [len(honest), len(made)])
            videos = np.array([video for video, _ in (*honest, *made)])
            limit = float(np.quantile([how for _, how in honest], 1 - _ALARM))
            found = float(np.mean([how > limit for _, how in made]))
            told.append(Found(kind, len(made), auc_by_source(scores, fake, videos, seed), found))
    return len(honest), tuple(told)


def fit(name: str, rows: Sequence[Mapping[str, float]]) -> tuple[Range, ...]:
    """Median and robust spread of each measure; one that could hardly ever be taken is left out."""
    found = []
    for measure, told in TOLD[name].items():
        values = np.array([row.get(measure, np.nan) for row in rows])
        values = values[np.isfinite(values)]
        if len(values) < max(4, len(rows) // 4):
            continue
        middle = float(np.median(values))
        spread = max(1.4826 * float(np.median(np.abs(values - middle))), 0.1 * abs(middle), 1e-6)
        found.append(Range(measure, float(f"{middle:.4g}"), float(f"{spread:.4g}"), told.says, told.side))
    return tuple(found)


async def _rows(name: str, manifest: Path, models_dir: Path, home: Path, seed: int, progress: Progress) -> list[_Row]:
    """Windows of the manifest's videos, and of copies of the genuine ones, tampered with or only encoded again."""
    items = [item for item in read_items(manifest) if item.path.suffix.lower() in _WATCHED]
    store = _Store(home / "learn" / "windows.json", models_dir, home, progress)
    rows = []
    for number, item in enumerate(items, 1):
        progress(f"watching {number} of {len(items)} videos")
        watched = [(item.made, item.path)]
        if not item.fake:
            for kind, change in {AGAIN: untouched, **CHANGES[name]}.items():
                copy = await asyncio.to_thread(_copy, item, kind, with_face(change), home, seed)
                watched += [(kind, copy)] if copy is not None else []
        for kind, path in watched:
            for window in await store.windows(path):
                if window.get(name):
                    measures = {k: np.nan if v is None else v for k, v in window[name].items()}
                    rows.append(_Row(item.file, item.source, kind, measures))
    return rows


def _copy(item: Item, kind: str, make: Maker, home: Path, seed: int) -> Path | None:
    """The copy of a genuine video, made once: its name is that of what went into it."""
    name = hashlib.sha256(f"{seed} {kind} {MADE} {sha256_of(item.path)}".encode())
    folder = home / "learn" / "tampered"
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / name.hexdigest()[:16]
    known = next(folder.glob(f"{out.name}.*"), None)
    return known or make(item.path, out, int.from_bytes(name.digest()[:4]))


class _Store:
    """The measures of all three detectors per window of a video, watched once and kept."""

    def __init__(self, place: Path, models_dir: Path, home: Path, progress: Progress) -> None:
        self._place, self._progress = place, progress
        self._models = (models_dir, home)
        self._infer: Infer | None = None
        self._known: dict[str, list[dict[str, dict[str, float | None]]]] = (
            msgspec.json.decode(place.read_bytes()) if place.is_file() else {}
        )

    async def windows(self, path: Path) -> list[dict[str, dict[str, float | None]]]:
        key = f"{(await asyncio.to_thread(sha256_of, path))[:16]}-{MEASURED}"
        if key not in self._known:
            names = ("face_detector", "face_mesh", "face_embedding")
            self._infer = self._infer or InProcess(names, *self._models, self._progress)
            self._known[key] = [
                {each: dict(person.measures) for person in persons(view, take)[:1] for each in (which,)}
                for view in await watch(path, self._infer)
                for which, take in TAKES.items()
            ]
            write_atomically(self._place, msgspec.json.encode(self._known))
        return self._known[key]


async def watch(path: Path, infer: Infer) -> list[View]:
    """The windows of a video, spread over it, each with its tracks, as a detector sees them."""
    frames = [Keyframe(i, at, image) for i, (at, image) in enumerate(read_frames(path, RATE))]
    count = int(RATE * SECONDS)
    starts = range(0, len(frames) - count // 2, count)
    views = []
    until = asyncio.get_running_loop().time() + 3600
    for start in list(starts)[:: max(1, len(starts) // WINDOWS)][:WINDOWS]:
        part = tuple(frames[start : start + count])
        window = Window(Span(part[0].at, part[-1].at, RATE, "training"), part)
        followed = await FollowFaces(faces=1)([window], FindFaces(), (), {}, infer, until=until)
        clip = Clip(MediaFacts(kind=MediaKind.VIDEO, container=path.suffix), Sampling(decoder="training"))
        views.append(View(clip, windows=(window,), tracks=followed.tracks))
    return views
