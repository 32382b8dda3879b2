"""What is usual: follow faces through genuine videos and write down the range of each measure.

`unmask models train eyes_and_head | reenactment | lighting --manifest …`. Manipulated videos of the manifest are used
to say how well the measures tell them apart, and for nothing else. A video is watched once for all three.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from pipeline.decode.port import Clip, Keyframe, Span, Window
from pipeline.detect.find_faces import FindFaces
from pipeline.detect.follow_faces import FollowFaces
from pipeline.detect.normal import Range, Ranges, strangeness
from pipeline.detect.port import Infer, View
from pipeline.detect.track_measures import Take, persons, take_eyes, take_light, take_movements
from pipeline.errors import ConfigError
from pipeline.events.values import MediaFacts, MediaKind, Sampling
from pipeline.learn.evaluate import read_items
from pipeline.learn.heads import Estimate, auc_with_interval
from pipeline.learn.inference import InProcess
from pipeline.learn.manifest import VIDEOS
from pipeline.learn.media import read_frames
from pipeline.models.sources import Progress, write_atomically

MEASURED = 1
"""Raised when a measure changes, so that videos are watched again."""
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


@dataclass(frozen=True, slots=True)
class RangesReport:
    """What came of it. `left_out`: genuine windows, each judged by ranges without its video, against manipulated."""

    name: str
    path: Path
    real_videos: int
    real_windows: int
    fake_windows: int
    left_out: Estimate | None

    def __str__(self) -> str:
        told = f"{self.name}: {self.real_windows} windows of {self.real_videos} genuine videos; {self.path}"
        return told + (
            f"\n  left out against {self.fake_windows} manipulated windows: {self.left_out}" if self.left_out else ""
        )


@dataclass(frozen=True, slots=True)
class _Row:
    video: str
    fake: bool
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
    rows = asyncio.run(_rows(name, manifest, models_dir, home, progress))
    real = [row for row in rows if not row.fake]
    videos = sorted({row.video for row in real})
    if len(real) < LEAST or len(videos) < 3:
        raise ConfigError(f"{manifest}: {len(real)} windows with a face in {len(videos)} genuine videos: too few")
    ranges = fit(name, [row.measures for row in real])
    held_out: list[tuple[float, bool]] = []
    for video in videos:
        others = fit(name, [row.measures for row in real if row.video != video])
        mine = [strangeness(others, row.measures) for row in real if row.video == video]
        held_out += [(how, False) for how in mine if how is not None]
    held_out += [(how, True) for row in rows if row.fake and (how := strangeness(ranges, row.measures)) is not None]
    scores, fake = np.array([how for how, _ in held_out]), np.array([f for _, f in held_out], bool)
    # Strangeness of left-out windows: of the windows that the ranges were fitted to it would be too small.
    usual = tuple(sorted(round(how, 4) for how, made in held_out if not made))
    file = Ranges(
        name=name,
        ranges=ranges,
        strangeness=usual,
        trained={"videos": len(videos), "windows": len(real), "seconds_per_window": SECONDS, "frames_per_second": RATE},
    )
    write_atomically(out, msgspec.json.format(msgspec.json.encode(file), indent=1) + b"\n")
    area = auc_with_interval(scores, fake, seed) if fake.any() else None
    return RangesReport(name, out, len(videos), len(real), int(fake.sum()), area)


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


async def _rows(name: str, manifest: Path, models_dir: Path, home: Path, progress: Progress) -> list[_Row]:
    store = home / "learn" / "windows.json"
    known: dict[str, list[dict[str, dict[str, float | None]]]] = (
        msgspec.json.decode(store.read_bytes()) if store.is_file() else {}
    )
    items = [item for item in read_items(manifest) if item.path.suffix.lower() in _WATCHED]
    infer: Infer | None = None
    rows = []
    for number, item in enumerate(items, 1):
        key = hashlib.sha256(item.path.read_bytes()).hexdigest()[:16] + f"-{MEASURED}"
        if key not in known:
            progress(f"watching {number} of {len(items)} videos")
            infer = infer or InProcess(("face_detector", "face_mesh", "face_embedding"), models_dir, home, progress)
            known[key] = [
                {each: dict(person.measures) for person in persons(view, take)[:1] for each in (which,)}
                for view in await watch(item.path, infer)
                for which, take in TAKES.items()
            ]
            write_atomically(store, msgspec.json.encode(known))
        for window in known[key]:
            if window.get(name):
                measures = {k: np.nan if v is None else v for k, v in window[name].items()}
                rows.append(_Row(item.file, item.fake, measures))
    return rows


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
