"""Spliced and honest time lines for the splice head, made from real clips and from photographs under a moving camera.

A positive holds a stretch (1–5 s) of another history than the rest: of another clip, enlarged, compressed before at
another rate, softened, sharpened or grained; or of the clip itself after such a treatment. All is then encoded
together. A negative has one history throughout: a single take, or an ordinary edit with cuts inside one source. No
person is put anywhere: stretches are exchanged whole.

Donors come from the same fold as their host, so that a fold that is left out is unseen in both.
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.decode.port import SAMPLE_RATE, DecodeBudget
from pipeline.detect.splice import STRETCH_NAMES, Stretch, look_at, stretches
from pipeline.errors import ConfigError
from pipeline.learn.heads import (
    Estimate,
    Labels,
    Line,
    Matrix,
    Vector,
    auc,
    auc_with_interval,
    fit_lda,
    fit_platt,
)
from pipeline.learn.reel import (
    Encoding,
    Planes,
    Reel,
    join,
    of_rgb,
    read_reel,
    scaled,
    split,
    through,
    write_reel,
)
from pipeline.learn.small_head import Scale, SmallHeadReport, Table, decoded, scale_of, tpr_at, write_head
from pipeline.models.sources import Progress, write_atomically

HOST_SECONDS = 7.0
"""So much of a clip is used …"""
WINDOW = 320
"""… and the middle of its frames, unscaled: the traces are in the pixels, and encoding is what making samples costs."""
SHORTEST_HOST = 4.5
STRETCH = (1.0, 5.0)
"""Seconds that a foreign stretch lasts …"""
LARGEST_SHARE = 0.45
"""… and the share of the whole that it takes at most."""


FOLDS = 3
CLIP_ROUNDS = 6
"""Samples of either kind per clip …"""
CAMERA_ROUNDS = 3
"""… and per simulated camera."""
CAMERAS = 3
"""Simulated cameras per owner of photographs; each has two photographs."""
SMALLEST_PHOTO = 480
SHRINKAGE = 0.5
"""How far the covariance is drawn towards its diagonal. Of .2, .5, .7 and .9 on sources that were left out: .875, .877,
.871, .859; .5 over .9 by .018 [.005, .030] (paired bootstrap)."""


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """A made time line. `spliced`: the foreign stretch in seconds, None where all has one history."""

    reel: Reel
    kind: str
    spliced: tuple[float, float] | None = None


# Treatments: what gives a stretch another history


def treat(reel: Reel, rng: np.random.Generator) -> Reel:
    """One or two treatments that leave traces in noise, sharpness or compression."""
    chosen = rng.choice(len(_TREATMENTS), size=int(rng.integers(1, 3)), replace=False)
    for number in sorted(chosen):
        reel = _TREATMENTS[number](reel, rng)
    return reel


def _enlarge(reel: Reel, rng: np.random.Generator) -> Reel:
    """Shrink and enlarge again: what a source of lower resolution looks like."""
    width, height = reel.size
    factor = rng.uniform(0.35, 0.8)
    small = (max(32, int(width * factor) // 2 * 2), max(32, int(height * factor) // 2 * 2))
    how = int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4]))
    return _each(reel, lambda planes: scaled(scaled(planes, *small), width, height, how))


def _compress(reel: Reel, rng: np.random.Generator) -> Reel:
    """A first encoding, stronger than the last one mostly is."""
    return through(reel, encoding(rng, reel.rate, rates=(27, 38)))


def _soften(reel: Reel, rng: np.random.Generator) -> Reel:
    if rng.random() < 0.5:
        sigma = rng.uniform(0.5, 1.1)
        return _luma(reel, lambda y: cv2.GaussianBlur(y, (0, 0), sigma))
    strength = rng.uniform(8, 30)
    return _luma(reel, lambda y: cv2.bilateralFilter(y, 5, strength, 2.0))


def _sharpen(reel: Reel, rng: np.random.Generator) -> Reel:
    amount, sigma = rng.uniform(0.4, 1.2), rng.uniform(0.6, 1.4)
    return _luma(reel, lambda y: cv2.addWeighted(y, 1 + amount, cv2.GaussianBlur(y, (0, 0), sigma), -amount, 0))


def _grain(reel: Reel, rng: np.random.Generator) -> Reel:
    sigma = rng.uniform(1.5, 6.0)
    return _luma(reel, lambda y: np.clip(y + rng.normal(0, sigma, y.shape).astype(np.float32), 0, 255))


def _recolour(reel: Reel, rng: np.random.Generator) -> Reel:
    """Another camera's rendering: contrast, black level and chroma."""
    gain, lift = rng.uniform(0.85, 1.15), rng.uniform(-10, 10)
    chroma, cast = rng.uniform(0.7, 1.35), rng.uniform(-8, 8, 2)

    def change(planes: Planes) -> Planes:
        y, u, v = split(planes)
        parts = (gain * (y - 128.0) + 128 + lift, chroma * (u - 128.0) + 128 + cast[0], chroma * (v - 128.0) + 128)
        return join(*(np.clip(part, 0, 255).astype(np.uint8) for part in parts))

    return _each(reel, change)


_TREATMENTS: tuple[Callable[[Reel, np.random.Generator], Reel], ...] = (
    _recolour,
    _soften,
    _sharpen,
    _enlarge,
    _grain,
    _compress,
)


def _each(reel: Reel, change: Callable[[Planes], Planes]) -> Reel:
    return replace(reel, frames=tuple(change(planes) for planes in reel.frames))


def _luma(reel: Reel, change: Callable[[Planes], Any]) -> Reel:
    def only_luma(planes: Planes) -> Planes:
        y, u, v = split(planes)
        return join(np.asarray(change(y)).astype(np.uint8), u, v)

    return _each(reel, only_luma)


def encoding(rng: np.random.Generator, rate: float, rates: tuple[int, int] = (18, 32)) -> Encoding:
    """An encoder of the wild: mostly H.264, at a constant quality within `rates` (H.264's scale)."""
    crf = int(rng.integers(rates[0], rates[1] + 1))
    keys = {"g": "250"} if rng.random() < 0.5 else {"g": str(int(rate * rng.choice([1, 2, 4]))), "sc_threshold": "0"}
    match rng.choice(["h264", "hevc", "vp9", "mpeg4"], p=[0.76, 0.06, 0.1, 0.08]):
        case "h264":
            preset = str(rng.choice(["superfast", "veryfast", "faster"]))
            return Encoding("libx264", {"preset": preset, "crf": str(crf), "threads": "1", **keys})
        case "hevc":
            quiet = f"log-level=none:pools=1:frame-threads=1:keyint={keys['g']}"
            return Encoding("libx265", {"preset": "ultrafast", "crf": str(crf + 3), "x265-params": quiet})
        case "vp9":
            options = {"crf": str(crf + 8), "b": "0", "deadline": "realtime", "cpu-used": "8", "g": keys["g"]}
            return Encoding("libvpx-vp9", options)
        case _:
            quality = str(max(2, min(12, (crf - 12) // 2)))
            return Encoding("mpeg4", {"qmin": quality, "qmax": quality, "g": str(min(50, int(keys["g"])))})


# Time lines


def spliced(host: Reel, donors: Sequence[Reel], rng: np.random.Generator) -> Timeline:
    """A time line with one foreign stretch: inside, or at its end or beginning."""
    total = host.seconds
    length = float(np.clip(rng.uniform(*STRETCH), STRETCH[0], LARGEST_SHARE * total))
    start = float(rng.uniform(0.1, 0.9 * total - length)) if 0.9 * total > length + 0.2 else 0.1 * total
    place = rng.random()
    if place < 0.12:
        start = 0.0
    elif place < 0.24:
        start = total - length
    end = start + length
    host = host if rng.random() < 0.4 else through(host, encoding(rng, host.rate, rates=(18, 30)))
    if donors and rng.random() < 0.7:
        donor = donors[int(rng.integers(len(donors)))]
        offset = float(rng.uniform(0, max(0.0, donor.seconds - length)))
        stretch = _fitted(donor.cut(offset, offset + length), host, length)
        kind = "foreign"
        if rng.random() < 0.75:
            stretch, kind = treat(stretch, rng), "foreign, treated"
        if rng.random() < 0.5:
            stretch = replace(stretch, sound=None)
    else:
        stretch, kind = treat(replace(host.cut(start, end), sound=None), rng), "own, treated"
    return Timeline(_put(host, stretch, start), kind, (start, start + stretch.seconds))


def honest(host: Reel, rng: np.random.Generator, more: Sequence[Reel] = ()) -> Timeline:
    """A time line of one history: a take or cuts, sometimes treated as a whole. `more`: other scenes of its camera."""
    kind, total = "take", host.seconds
    if rng.random() < 0.55:
        kind = "cuts"
        scenes = [host, *(_fitted(reel, host, reel.seconds) for reel in more)]
        shots, sounds, left = [], [], total
        while left > 0.8:
            scene = scenes[int(rng.integers(len(scenes)))]
            length = float(min(left, rng.uniform(1.0, 4.0)))
            start = float(rng.uniform(0, max(0.0, scene.seconds - length)))
            shot = scene.cut(start, start + length)
            shots.append(shot.frames)
            sounds.append(shot.sound)
            left -= length
        frames = tuple(planes for shot_frames in shots for planes in shot_frames)
        joined = [sound for sound in sounds if sound is not None]
        host = Reel(frames, host.rate, np.concatenate(joined) if len(joined) == len(sounds) and joined else None)
    if rng.random() < 0.5:
        host = treat(host, rng)
    elif rng.random() < 0.6:
        host = through(host, encoding(rng, host.rate, rates=(18, 34)))
    return Timeline(host, kind)


def _put(host: Reel, stretch: Reel, start: float) -> Reel:
    first = round(start * host.rate)
    count = min(len(stretch.frames), len(host.frames) - first)
    frames = (*host.frames[:first], *stretch.frames[:count], *host.frames[first + count :])
    sound = host.sound
    if sound is not None and stretch.sound is not None:
        sound = sound.copy()
        at = int(start * SAMPLE_RATE)
        part = stretch.sound[: max(0, sound.size - at)]
        sound[at : at + part.size] = part
    return Reel(frames, host.rate, sound)


def _fitted(reel: Reel, host: Reel, seconds: float) -> Reel:
    """Another clip in the host's size and rate: cropped to its shape, frames repeated or dropped."""
    width, height = host.size
    own_width, own_height = reel.size
    share = max(width / own_width, height / own_height)
    wide, high = (max(side, int(own * share + 1) // 2 * 2) for side, own in ((width, own_width), (height, own_height)))
    left, top = (wide - width) // 4 * 2, (high - height) // 4 * 2

    def fit(planes: Planes) -> Planes:
        large = planes if (wide, high) == (own_width, own_height) else scaled(planes, wide, high)
        y, u, v = split(large)
        half = np.s_[top // 2 : (top + height) // 2, left // 2 : (left + width) // 2]
        return join(y[top : top + height, left : left + width], u[half], v[half])

    count = int(min(seconds, reel.seconds) * host.rate)
    picked = [min(len(reel.frames) - 1, int(n * reel.rate / host.rate)) for n in range(count)]
    made = {n: fit(reel.frames[n]) for n in set(picked)}
    return Reel(tuple(made[n] for n in picked), host.rate, reel.sound)


# Cameras: photographs under a moving window, with a sensor's noise and a camera's processing


def camera_reel(photos: Sequence[NDArray[np.uint8]], seed: int, seconds: float = HOST_SECONDS) -> tuple[Reel, ...]:
    """One reel per photograph (RGB), all through one camera: its pattern, its grain, its sharpening, its codec."""
    rng = np.random.default_rng(seed)
    width, height = ((384, 288), (288, 384), (320, 320))[int(rng.integers(3))]
    rate = float(rng.choice([24, 25, 30]))
    pattern = rng.normal(0, rng.uniform(0.004, 0.015), (height, width)).astype(np.float32)
    read, shot = rng.uniform(0.5, 3.5), rng.uniform(0.02, 0.25)
    sharpening, smoothing = rng.uniform(0, 0.9), rng.uniform(0, 0.8)
    first = encoding(rng, rate, rates=(16, 27))
    reels = []
    for photo in photos:
        path = _path(photo, width, height, int(seconds * rate), rng)
        frames = []
        for move in path:
            seen = of_rgb(
                cv2.warpAffine(
                    photo,
                    move,
                    (width, height),
                    flags=cv2.INTER_AREA | cv2.WARP_INVERSE_MAP,
                    borderMode=cv2.BORDER_REFLECT,
                )
            )
            y, u, v = split(seen)
            light = y.astype(np.float32)
            light *= 1 + pattern
            light += rng.standard_normal(light.shape, np.float32) * np.sqrt(read**2 + shot * light)
            if smoothing > 0.3:
                light = cv2.GaussianBlur(light, (0, 0), smoothing)
            light = cv2.addWeighted(light, 1 + sharpening, cv2.GaussianBlur(light, (0, 0), 1.0), -sharpening, 0)
            frames.append(join(np.clip(light, 0, 255).astype(np.uint8), u, v))
        reels.append(through(Reel(tuple(frames), rate), first))
    return tuple(reels)


def _path(
    photo: NDArray[np.uint8], width: int, height: int, count: int, rng: np.random.Generator
) -> list[NDArray[np.float64]]:
    """Affine maps from the window to the photograph: a slow pan and zoom with a hand's tremble."""
    rows, columns = photo.shape[:2]
    largest = min(columns / width, rows / height)
    way = np.linspace(0, 1, count)

    def drift(low: float, high: float) -> NDArray[np.float64]:
        start, end = rng.uniform(low, high, 2)
        return np.asarray(start + (end - start) * way)

    zoom = largest * drift(0.6, 0.95)
    xs = drift(0, 1) * (columns - zoom * width)
    ys = drift(0, 1) * (rows - zoom * height)
    tremble = np.cumsum(rng.normal(0, 0.15, (count, 2)), axis=0)
    return [np.array([[z, 0, x + dx], [0, z, y + dy]]) for z, x, y, (dx, dy) in zip(zoom, xs, ys, tremble, strict=True)]


def chance(text: str, seed: int) -> int:
    """A seed of its own for everything that has a name."""
    return int.from_bytes(hashlib.sha256(f"{seed} {text}".encode()).digest()[:6], "big")


# Training


@dataclass(frozen=True, slots=True)
class Source:
    """Where a host comes from: a clip, or photographs under a camera. `fold`: None for development clips."""

    name: str
    owner: str
    files: tuple[str, ...]
    clip: bool
    fold: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One made time line as the detector sees it. `table`: stretches × `STRETCH_NAMES`."""

    source: Source
    kind: str
    codec: str
    spliced: tuple[float, float] | None
    found: tuple[Stretch, ...]
    table: Table


class SampleFile(msgspec.Struct, frozen=True):
    """What is known of a made file."""

    kind: str
    codec: str
    spliced: tuple[float, float] | None


def train_splice(
    manifest: Path,
    out: Path,
    *,
    home: Path,
    seed: int = 0,
    progress: Progress = lambda _: None,
    rounds: int = CLIP_ROUNDS,
    budget: DecodeBudget | None = None,
) -> SmallHeadReport:
    """Train the splice head from a manifest of genuine clips and photographs, and write it to `out`.

    Made samples are kept under `home/learn/`, so that a broken-off run goes on. `rounds`: samples of either kind
    per clip. Raises ConfigError when there is too little to train from.
    """
    sources = read_sources(manifest)
    folder = home / "learn" / f"splices-{hashlib.sha256(f'{manifest.resolve()} {seed}'.encode()).hexdigest()[:12]}"
    make_samples(sources, manifest.parent, folder, seed=seed, rounds=rounds, progress=progress)
    progress("measuring the samples")
    samples = [s for s in (_measured(path, sources, budget) for path in sorted(folder.glob("*.mp4"))) if s]
    train = [s for s in samples if s.source.fold is not None]
    dev = [s for s in samples if s.source.fold is None]
    if len({s.spliced is None for s in train}) < 2:
        raise ConfigError(f"{manifest}: no clip of {SHORTEST_HOST:g} s or more to make samples from")

    held_out = np.zeros(len(train))
    hits: list[bool] = []
    for fold in range(FOLDS):
        progress(f"leaving out fold {fold + 1} of {FOLDS}")
        rest = [s for s in train if s.source.fold != fold]
        if len({s.spliced is None for s in rest}) < 2:
            continue
        scale, line = fit_stretches(rest)
        for i, sample in enumerate(train):
            if sample.source.fold == fold:
                scores = line(_as_floats(scale(sample.table)))
                held_out[i] = scores.max()
                if sample.spliced is not None:
                    hits.append(overlap(sample.found[int(scores.argmax())], sample.spliced) > 0.3)
    fake = np.array([s.spliced is not None for s in train])
    a, b = fit_platt(held_out, fake)
    scale, line = fit_stretches(train)
    trained: dict[str, str | int | float] = {
        "spliced": int(fake.sum()),
        "honest": int((~fake).sum()),
        "sources": len({s.source.name for s in train}),
        "seed": seed,
        "manifest_sha256": hashlib.sha256(manifest.read_bytes()).hexdigest(),
        "left_out_auc": round(auc(held_out, fake), 4),
        "probability": "of a spliced time line at even odds, by the most suspicious stretch, on left-out sources",
    }
    write_head(
        out, "splice", STRETCH_NAMES, scale, (((a * line.weight)[None], np.array([a * line.bias + b])),), trained
    )

    figures: list[tuple[str, Estimate | float]] = [("left-out sources", auc_with_interval(held_out, fake, seed))]
    figures += _by_group(train, held_out, fake, seed)
    figures += [
        ("left-out sources, TPR at 5 % FPR", tpr_at(held_out, fake, 0.05)),
        ("left-out sources, stretch overlaps the true one by > .3", float(np.mean(hits)) if hits else math.nan),
    ]
    if dev:
        scores = np.array([line(_as_floats(scale(s.table))).max() for s in dev])
        dev_fake = np.array([s.spliced is not None for s in dev])
        figures += [
            ("development clips", auc_with_interval(scores, dev_fake, seed)),
            ("development clips, TPR at 5 % FPR", tpr_at(scores, dev_fake, 0.05)),
        ]
    return SmallHeadReport("splice", out, tuple(figures))


def read_sources(manifest: Path) -> tuple[Source, ...]:
    """Genuine clips, and up to `CAMERAS` pairs of photographs per owner, dealt to folds by owner."""
    try:
        with manifest.open(newline="", encoding="utf-8") as stream:
            rows = [row for row in csv.DictReader(stream) if row["label"] == "real"]
            kinds = [(row, Path(row["file"]).suffix.lower()) for row in rows]
            clips = [row for row, suffix in kinds if suffix in (".mp4", ".mov", ".webm", ".mkv", ".avi")]
            photos = [r for r, suffix in kinds if suffix in (".jpg", ".jpeg", ".png") and r["split"] == "train"]
            owners = {row["file"]: row["source"].partition(":")[0] for row in rows}
    except (OSError, KeyError, csv.Error) as error:
        raise ConfigError(f"{manifest}: no manifest with file, label, source and split: {error!r}") from error
    large: dict[str, list[str]] = defaultdict(list)
    for row in photos:
        if len(large[owners[row["file"]]]) < 2 * CAMERAS and _large(manifest.parent / row["file"]):
            large[owners[row["file"]]].append(row["file"])
    found: list[tuple[str, str, tuple[str, ...], bool, bool]] = [
        (Path(row["file"]).stem, owners[row["file"]], (row["file"],), True, row["split"] == "dev") for row in clips
    ]
    found += [
        (f"camera {owner.replace('/', ' ')} {i}", owner, tuple(files[2 * i : 2 * i + 2]), False, False)
        for owner, files in sorted(large.items())
        for i in range(len(files) // 2)
    ]
    folds = _dealt(Counter((clip, owner) for _, owner, _, clip, dev in found if not dev))
    return tuple(
        Source(name, owner, files, clip, None if dev else folds[clip, owner]) for name, owner, files, clip, dev in found
    )


def _dealt(counts: Counter[tuple[bool, str]]) -> dict[tuple[bool, str], int]:
    """An owner's clips and photographs go to one fold each: the fullest owners first, to the emptiest fold."""
    dealt: dict[tuple[bool, str], int] = {}
    load = Counter[tuple[bool, int]]()
    for (clip, owner), count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        fold = min(range(FOLDS), key=lambda f: (load[clip, f], f))
        dealt[clip, owner] = fold
        load[clip, fold] += count
    return dealt


def make_samples(
    sources: Sequence[Source], root: Path, folder: Path, *, seed: int, rounds: int, progress: Progress
) -> None:
    """Write every sample that is not there yet; one of each kind per source in turn: any part is balanced."""
    folder.mkdir(parents=True, exist_ok=True)
    reels: dict[str, tuple[Reel, ...]] = {}

    def reel_of(source: Source) -> tuple[Reel, ...]:
        if source.name not in reels:
            reels[source.name] = _load(source, root, seed)
        return reels[source.name]

    for number in range(rounds):
        for source in sources:
            if not source.clip and number >= CAMERA_ROUNDS:
                continue
            for kind in ("spliced", "honest"):
                path = folder / f"{source.name} {kind} {number}.mp4"
                if path.with_suffix(".json").exists():
                    continue
                own = reel_of(source)
                if not own or own[0].seconds < SHORTEST_HOST:
                    continue
                rng = np.random.default_rng(chance(path.name, seed))
                if kind == "spliced":
                    others = [s for s in sources if s.fold == source.fold and s.name != source.name]
                    other = reel_of(others[int(rng.integers(len(others)))]) if others else ()
                    made = spliced(own[0], other[:1], rng)
                else:
                    made = honest(own[0], rng, own[1:])
                last = encoding(rng, own[0].rate)
                write_reel(path, made.reel, last)
                told = msgspec.json.encode(SampleFile(made.kind, last.codec, made.spliced))
                write_atomically(path.with_suffix(".json"), told)
        progress(f"made {number + 1} of {rounds} rounds of samples")


def _load(source: Source, root: Path, seed: int) -> tuple[Reel, ...]:
    if source.clip:
        reel = read_reel(root / source.files[0], HOST_SECONDS, window=WINDOW)
        return (reel,) if reel else ()
    photos = [cv2.imread(str(root / file), cv2.IMREAD_COLOR) for file in source.files]
    rgb = [np.asarray(cv2.cvtColor(photo, cv2.COLOR_BGR2RGB), np.uint8) for photo in photos if photo is not None]
    return camera_reel(rgb, chance(source.name, seed))


def _large(path: Path) -> bool:
    photo = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    return photo is not None and min(photo.shape[:2]) >= SMALLEST_PHOTO


def _measured(path: Path, sources: Sequence[Source], budget: DecodeBudget | None) -> Sample | None:
    known = {source.name: source for source in sources}
    try:
        told = msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=SampleFile)
    except FileNotFoundError:  # it was being written when the run was broken off
        return None
    clip = decoded(path, budget or DecodeBudget())
    looks = look_at(clip) if clip else None
    if looks is None:
        return None
    found, table = stretches(looks)
    return Sample(known[path.name.rsplit(" ", 2)[0]], told.kind, told.codec, told.spliced, found, table)


def fit_stretches(samples: Sequence[Sample], turns: int = 4) -> tuple[Scale, Line]:
    """The head, fitted in turns.

    It learns from the true stretches of spliced time lines, and from those stretches of honest ones that it finds most
    suspicious itself; and from those with the hardest cuts, since a cut alone is no splice.
    """
    scale = scale_of(np.concatenate([s.table for s in samples]))
    tables = [scale(s.table) for s in samples]
    sure = np.array([name.endswith("_sure") for name in STRETCH_NAMES], np.float64)
    line = Line(sure, 0.0)
    cut = STRETCH_NAMES.index("cut")
    for _ in range(turns):
        rows: list[Table] = []
        fake: list[bool] = []
        for sample, table in zip(samples, tables, strict=True):
            scores = line(_as_floats(table))
            if sample.spliced is None:
                picked = np.union1d(np.argsort(-scores)[:3], np.argsort(-table[:, cut])[:2])
            else:
                shared = np.array([overlap(stretch, sample.spliced) for stretch in sample.found])
                if shared.max() < 0.3:
                    continue
                true = np.flatnonzero(shared >= max(0.3, shared.max() - 0.15))
                picked = true[np.argsort(-scores[true])[:2]]
            rows.append(table[picked])
            fake += [sample.spliced is not None] * len(picked)
        line = fit_lda(_as_floats(np.concatenate(rows)), np.array(fake), SHRINKAGE)
    return scale, line


def overlap(stretch: Stretch, true: tuple[float, float]) -> float:
    """Intersection over union of two stretches."""
    shared = max(0.0, min(stretch.end, true[1]) - max(stretch.start, true[0]))
    return shared / (max(stretch.end, true[1]) - min(stretch.start, true[0]))


def _by_group(
    samples: Sequence[Sample], scores: Vector, fake: Labels, seed: int
) -> Iterator[tuple[str, Estimate | float]]:
    """Figures by fold, by kind of source, by how it was spliced, by codec: against all honest ones where need be."""
    told = [(f"  fold {fold + 1}", np.array([s.source.fold == fold for s in samples])) for fold in range(FOLDS)]
    for clip, name in ((True, "  real clips"), (False, "  simulated cameras")):
        told.append((name, np.array([s.source.clip is clip for s in samples])))
    codecs = sorted({s.codec for s in samples})
    told += [(f"  {codec}", np.array([s.codec == codec for s in samples])) for codec in codecs]
    for kind in sorted({s.kind for s in samples}):
        alike = np.array([s.kind == kind for s in samples])
        other = ~fake if fake[alike].any() else fake
        told.append((f"  {kind}", alike | other))
    for name, group in told:
        if fake[group].any() and not fake[group].all():
            yield name, auc_with_interval(scores[group], fake[group], seed)


def _as_floats(rows: Table) -> Matrix:
    return rows.astype(np.float32)
