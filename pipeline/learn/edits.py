"""Locally edited pictures for the local-edit heads, made from genuine ones; and the heads' training.

A positive has a part (an ellipse or a polygon, 3–25 % of the middle) replaced with a treated copy of a part of the same
picture: enlarged, compressed again on another grid, softened, sharpened, grained or recoloured. A negative went through
the same compressions, and sometimes the same treatment as a whole. All are then encoded alike, as JPEG, WebP, PNG
or one H.264 frame.
"""

from __future__ import annotations

import csv
import hashlib
import io
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from pipeline.decode.geometry import middle
from pipeline.decode.port import RGB, DecodeBudget
from pipeline.detect.local_edit import (
    CELL_NAMES,
    PART_NAMES,
    SMALLEST,
    Part,
    beside,
    cell_side,
    cell_table,
    most_suspicious,
)
from pipeline.errors import ConfigError
from pipeline.learn.heads import Estimate, Line, Vector, auc, auc_with_interval, fit_lda, fit_platt
from pipeline.learn.reel import Encoding, Reel, of_rgb, write_reel
from pipeline.learn.small_head import Scale, SmallHeadReport, Table, decoded, scale_of, tpr_at, write_head
from pipeline.learn.splices import chance
from pipeline.models.sources import Progress, write_atomically

LONGEST = (320, 1400)
"""The long side that a picture is brought to, from such a range; never enlarged."""
AREA = (0.03, 0.25)
SMALLEST_PICTURE = 256
MOST_OF_ONE = 60
"""Pictures of one owner that are used at most."""
FEWEST_OF_ONE = 40
"""Samples of one owner from which on it has a figure of its own."""
ROUNDS = 2
"""Samples of either kind per picture."""
FOLDS = 4
CELLS = 40
HIDDEN = 16
PASSES = 12
SHRINKAGE = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """One encoded file. `mask`: height × width, where it was edited (all False for a negative)."""

    data: bytes
    mask: NDArray[np.bool_]
    kind: str
    coding: str


def make_edit(image: RGB, edited: bool, rng: np.random.Generator) -> Made:
    """One sample of a picture; with the same generator state, the same bytes."""
    image = _sized(image, rng)
    if rng.random() < 0.7:
        image = through_jpeg(image, int(rng.integers(70, 99)))
    mask = np.zeros(image.shape[:2], bool)
    kind = "untouched"
    if edited:
        soft = draw_mask(image.shape[0], image.shape[1], rng)
        source = _moved(image, rng) if rng.random() < 0.5 else image
        treated, kind = treat(source, rng)
        blend = soft[..., None]
        image = np.clip(np.rint(image * (1 - blend) + treated * blend), 0, 255).astype(np.uint8)
        mask = soft > 0.5
    elif rng.random() < 0.3:
        image, kind = treat(image, rng)
        kind = f"whole: {kind}"
    data, coding = encode(image, rng)
    return Made(data, mask, kind, coding)


def treat(image: RGB, rng: np.random.Generator) -> tuple[RGB, str]:
    """A copy with another history, and what was done to it."""
    x: Any = image.astype(np.float32)
    height, width = image.shape[:2]
    kind = str(rng.choice(["enlarged", "compressed", "softened", "sharpened", "grained", "smoothed", "copied"]))
    match kind:
        case "enlarged":
            factor = rng.uniform(0.4, 0.85)
            small = cv2.resize(x, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
            x = cv2.resize(small, (width, height), interpolation=int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC])))
        case "compressed":
            dy, dx = (int(d) for d in rng.integers(0, 8, 2))
            shifted = np.roll(image, (dy, dx), (0, 1))
            x = np.roll(through_jpeg(shifted, int(rng.integers(40, 88))), (-dy, -dx), (0, 1)).astype(np.float32)
        case "softened":
            x = cv2.GaussianBlur(x, (0, 0), rng.uniform(0.5, 1.3))
        case "sharpened":
            amount = rng.uniform(0.5, 1.5)
            x = cv2.addWeighted(x, 1 + amount, cv2.GaussianBlur(x, (0, 0), rng.uniform(0.6, 1.5)), -amount, 0)
        case "grained":
            x = x + rng.normal(0, rng.uniform(2, 9), x.shape)
        case "smoothed":
            x = cv2.bilateralFilter(x, 7, float(rng.uniform(15, 45)), 3.0)
        case _:
            pass
    if rng.random() < 0.5:
        x = (x - 128) * rng.uniform(0.85, 1.15) + 128 + rng.uniform(-12, 12, 3)
    return np.clip(np.rint(x), 0, 255).astype(np.uint8), kind


def draw_mask(height: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """A soft ellipse or polygon in the middle part of a picture, height × width, 0–1."""
    area = rng.uniform(*AREA) * height * width
    stretch = rng.uniform(0.6, 1.7)
    a, b = np.sqrt(area / np.pi * stretch), np.sqrt(area / np.pi / stretch)
    centre = (int(width * rng.uniform(0.25, 0.75)), int(height * rng.uniform(0.25, 0.75)))
    mask = np.zeros((height, width), np.float32)
    if rng.random() < 0.5:
        cv2.ellipse(mask, centre, (max(4, int(a)), max(4, int(b))), float(rng.uniform(0, 180)), 0, 360, 1.0, -1)
    else:
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(5, 10))))
        reach = rng.uniform(0.8, 1.35, angles.size)
        points = np.stack([centre[0] + a * reach * np.cos(angles), centre[1] + b * reach * np.sin(angles)], axis=1)
        cv2.fillPoly(mask, [np.rint(points).astype(np.int32)], 1.0)
    feather = rng.uniform(0, 5)
    return cv2.GaussianBlur(mask, (0, 0), feather) if feather > 0.5 else mask


def encode(image: RGB, rng: np.random.Generator) -> tuple[bytes, str]:
    """The last encoding: mostly JPEG, as uploads are."""
    coding = str(rng.choice(["jpeg", "webp", "png", "h264"], p=[0.65, 0.08, 0.1, 0.17]))
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    match coding:
        case "jpeg":
            return _packed(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(65, 98))]), coding
        case "webp":
            return _packed(".webp", bgr, [cv2.IMWRITE_WEBP_QUALITY, int(rng.integers(70, 98))]), coding
        case "png":
            return _packed(".png", bgr, []), coding
        case _:
            out = io.BytesIO()
            options = {"preset": "veryfast", "crf": str(int(rng.integers(16, 29))), "threads": "1"}
            write_reel(out, Reel((of_rgb(image),), 25.0), Encoding("libx264", options))
            return out.getvalue(), coding


def through_jpeg(image: RGB, quality: int) -> RGB:
    """The picture after JPEG."""
    packed = _packed(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    read: Any = cv2.imdecode(np.frombuffer(packed, np.uint8), cv2.IMREAD_COLOR)
    return np.asarray(cv2.cvtColor(read, cv2.COLOR_BGR2RGB), np.uint8)


def _packed(kind: str, bgr: NDArray[Any], options: list[int]) -> bytes:
    done, packed = cv2.imencode(kind, bgr, options)
    if not done:
        raise ValueError(f"cannot encode an image of shape {bgr.shape} as {kind}")
    return packed.tobytes()


def _sized(image: RGB, rng: np.random.Generator) -> RGB:
    goal = rng.uniform(*LONGEST)
    share = min(1.0, goal / max(image.shape[:2]), 1.0)
    share = max(share, min(1.0, 240 / min(image.shape[:2])))
    if share < 1:
        image = np.asarray(cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA), np.uint8)
    height, width = (side // 2 * 2 for side in image.shape[:2])
    return np.ascontiguousarray(image[:height, :width])


def _moved(image: RGB, rng: np.random.Generator) -> RGB:
    """Another place of the picture under the mask: shifted round, perhaps mirrored."""
    dy, dx = (int(side * rng.uniform(0.15, 0.85)) for side in image.shape[:2])
    moved = np.roll(image, (dy, dx), (0, 1))
    return np.ascontiguousarray(moved[:, ::-1] if rng.random() < 0.3 else moved)


# Training


@dataclass(frozen=True, slots=True)
class Origin:
    """A genuine picture. `fold`: None for development pictures."""

    file: str
    owner: str
    fold: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One made picture as the detector sees it. `table`: rows × columns × `CELL_NAMES`; `mask`: rows × columns, 0–1."""

    origin: Origin
    edited: bool
    kind: str
    coding: str
    table: Table
    mask: Table


def train_local_edit(
    manifest: Path,
    out: Path,
    *,
    home: Path,
    seed: int = 0,
    progress: Progress = lambda _: None,
    rounds: int = ROUNDS,
) -> SmallHeadReport:
    """Train both heads of the local-edit detector from a manifest's genuine pictures.

    The head that judges the whole is written to `out`, that of the cells beside it as `local_edit_cells.json`. What was
    measured is kept under `home/learn/`. Raises ConfigError when there is too little to train from.
    """
    origins = read_origins(manifest)
    name = hashlib.sha256(f"{manifest.resolve()} {seed} {CELL_NAMES}".encode()).hexdigest()[:12]
    samples = measure(origins, manifest.parent, home / "learn" / f"edits-{name}", seed, rounds, progress)
    train = [s for s in samples if s.origin.fold is not None]
    dev = [s for s in samples if s.origin.fold is None]
    edited = np.array([s.edited for s in train], bool)
    if not edited.any() or edited.all():
        raise ConfigError(f"{manifest}: no genuine picture of {SMALLEST_PICTURE} pixels or more to make samples from")

    held_out = np.full(len(train), np.nan)
    parts: list[Part | None] = [None] * len(train)
    for fold in range(FOLDS):
        progress(f"leaving out fold {fold + 1} of {FOLDS}")
        rest = [s for s in train if s.origin.fold != fold]
        chosen = [i for i, s in enumerate(train) if s.origin.fold == fold]
        if not chosen or len({s.edited for s in rest}) < 2:
            continue
        heads = _fit(rest, seed)
        for i in chosen:
            parts[i], held_out[i] = heads.judge(train[i])
    judged = np.isfinite(held_out)
    a, b = fit_platt(held_out[judged], edited[judged])

    progress("fitting the heads on everything")
    final = _fit(train, seed)
    told: dict[str, str | int | float] = {
        "edited": int(edited.sum()),
        "untouched": int((~edited).sum()),
        "pictures": len({s.origin.file for s in train}),
        "owners": len({s.origin.owner for s in train}),
        "seed": seed,
        "manifest_sha256": hashlib.sha256(manifest.read_bytes()).hexdigest(),
    }
    write_head(
        out.with_name("local_edit_cells.json"),
        "local_edit_cells",
        CELL_NAMES,
        final.cells.scale,
        final.cells.layers,
        told,
    )
    calibrated = (((a * final.line.weight)[None], np.array([a * final.line.bias + b])),)
    told["left_out_auc"] = round(auc(held_out[judged], edited[judged]), 4)
    told["probability"] = "of an edited part at even odds, on left-out owners"
    write_head(out, "local_edit", PART_NAMES, final.scale, calibrated, told)

    kept = [(s, p, x) for s, p, x in zip(train, parts, held_out, strict=True) if p is not None]
    figures = list(_figures("left-out owners", kept, seed))
    if dev:
        figures += _figures("development pictures", [(s, *final.judge(s)) for s in dev], seed)
    return SmallHeadReport("local_edit", out, tuple(figures))


def read_origins(manifest: Path) -> tuple[Origin, ...]:
    """Genuine pictures of a manifest, dealt to folds by owner: the fullest owners first, to the emptiest fold."""
    try:
        with manifest.open(newline="", encoding="utf-8") as stream:
            rows = [
                (row["file"], row["source"].partition(":")[0], row["split"] == "dev")
                for row in csv.DictReader(stream)
                if row["label"] == "real" and Path(row["file"]).suffix.lower() in (".jpg", ".jpeg", ".png", ".webp")
            ]
    except (OSError, KeyError, csv.Error) as error:
        raise ConfigError(f"{manifest}: no manifest with file, label, source and split: {error!r}") from error
    counts = Counter(owner for _, owner, dev in rows if not dev)
    load = [0] * FOLDS
    folds: dict[str, int] = {}
    for owner, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        folds[owner] = min(range(FOLDS), key=lambda fold: (load[fold], fold))
        load[folds[owner]] += min(count, MOST_OF_ONE)
    taken: Counter[str] = Counter()
    found = []
    for file, owner, dev in sorted(rows, key=lambda row: chance(row[0], 0)):
        taken[owner] += 1
        if taken[owner] <= MOST_OF_ONE:
            found.append(Origin(file, owner, None if dev else folds[owner]))
    return tuple(found)


def measure(
    origins: Sequence[Origin], root: Path, folder: Path, seed: int, rounds: int, progress: Progress
) -> list[Sample]:
    """Make every sample, and measure it as the detector would; what is kept in `folder` is read."""
    folder.mkdir(parents=True, exist_ok=True)
    samples: list[Sample] = []
    for number, origin in enumerate(origins):
        store = folder / f"{chance(origin.file, seed):012x}.npz"
        if not store.exists():
            write_atomically(store, _packed_samples(root / origin.file, origin, seed, rounds))
        with np.load(store, allow_pickle=False) as kept:
            for i in range(int(kept["count"])):
                kind, coding = (str(word) for word in kept[f"words{i}"])
                table, mask = kept[f"table{i}"].astype(np.float64), kept[f"mask{i}"].astype(np.float64)
                samples.append(Sample(origin, bool(mask.any()), kind, coding, table, mask))
        if number % 50 == 49:
            progress(f"measured {number + 1} of {len(origins)} pictures")
    return samples


def _packed_samples(path: Path, origin: Origin, seed: int, rounds: int) -> bytes:
    arrays: dict[str, NDArray[Any]] = {}
    count = 0
    read = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if read is not None and min(read.shape[:2]) >= SMALLEST_PICTURE:
        share = min(1.0, LONGEST[1] * 1.15 / max(read.shape[:2]))
        small = cv2.resize(read, None, fx=share, fy=share, interpolation=cv2.INTER_AREA) if share < 1 else read
        image = np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), np.uint8)
        for number in range(rounds):
            for edited in (False, True):
                made = make_edit(image, edited, np.random.default_rng(chance(f"{origin.file} {edited} {number}", seed)))
                seen = _seen(made)
                if seen is None or (edited and not seen[1].any()):
                    continue
                arrays[f"table{count}"], arrays[f"mask{count}"] = (part.astype(np.float16) for part in seen)
                arrays[f"words{count}"] = np.array([made.kind, made.coding])
                count += 1
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, count=np.array(count), **arrays)
    return packed.getvalue()


def _seen(made: Made) -> tuple[Table, Table] | None:
    """The cells of a made file after the real decoder, and how much of each was edited."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(made.data)
        file.flush()
        clip = decoded(Path(file.name), DecodeBudget(frames=1))
    frame = clip.keyframes[0] if clip else None
    if clip is None or frame is None or frame.native is None or min(frame.native.shape) < SMALLEST:
        return None
    table = cell_table(frame.native, beside(frame.native, frame.image, clip.facts))
    rows, cols = table.shape[:2]
    x0, y0, _, _ = middle(made.mask.shape[1], made.mask.shape[0], DecodeBudget().native_side)
    side = cell_side(frame.native)
    mask = made.mask[y0 : y0 + rows * side, x0 : x0 + cols * side].reshape(rows, side, cols, side).mean(axis=(1, 3))
    return table, np.where(mask > 0.02, mask, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """The head of the cells: a scale and two layers."""

    scale: Scale
    layers: tuple[tuple[Table, Vector], ...]

    def __call__(self, table: Table) -> Table:
        x = self.scale(table.reshape(-1, table.shape[2]))
        for i, (weight, bias) in enumerate(self.layers):
            x = (np.maximum(x, 0) if i else x) @ weight.T + bias
        return np.asarray(1 / (1 + np.exp(-np.clip(x[:, 0], -30, 30)))).reshape(table.shape[:2])


@dataclass(frozen=True, slots=True, eq=False)
class _Heads:
    """Both heads."""

    cells: _Cells
    scale: Scale
    line: Line

    def judge(self, sample: Sample) -> tuple[Part, float]:
        """The most suspicious part, and how far it departs."""
        part = most_suspicious(sample.table, self.cells(sample.table))
        return part, float(self.line(self.scale(part.measures[None]).astype(np.float32))[0])


def _fit(samples: Sequence[Sample], seed: int) -> _Heads:
    """The cells' head, and on what two halves' heads say of each other's pictures the head of the whole."""
    halves = np.array([chance(s.origin.file, seed + 1) % 2 for s in samples])
    parts: list[Part] = [None] * len(samples)  # type: ignore[list-item]
    for half in (0, 1):
        cells = _fit_cells([s for s, h in zip(samples, halves, strict=True) if h != half], seed)
        for i in np.flatnonzero(halves == half).tolist():
            parts[i] = most_suspicious(samples[i].table, cells(samples[i].table))
    rows = np.array([part.measures for part in parts])
    scale = scale_of(rows)
    line = fit_lda(scale(rows).astype(np.float32), np.array([s.edited for s in samples]), SHRINKAGE)
    return _Heads(_fit_cells(samples, seed), scale, line)


def _fit_cells(samples: Sequence[Sample], seed: int) -> _Cells:
    """A small network over cells; as many of untouched ones as of edited ones, not more than `CELLS` a picture."""
    rng = np.random.default_rng(seed)
    rows: list[Table] = []
    fake: list[NDArray[np.bool_]] = []
    for sample in samples:
        flat, mask = sample.table.reshape(-1, sample.table.shape[2]), sample.mask.ravel()
        inside, outside = np.flatnonzero(mask > 0.8), np.flatnonzero(mask == 0)
        picked = [rng.permutation(inside)[:CELLS], rng.permutation(outside)[: CELLS // 2]]
        rows.append(flat[np.concatenate(picked)])
        fake.append(np.repeat([True, False], [len(part) for part in picked]))
    table = np.concatenate(rows)
    scale = scale_of(table)
    net = MLPClassifier((HIDDEN,), alpha=1e-2, batch_size=256, max_iter=PASSES, random_state=seed, tol=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the passes are counted, not waited for
        net.fit(scale(table), np.concatenate(fake))
    layers = tuple((np.asarray(w.T), np.asarray(b)) for w, b in zip(net.coefs_, net.intercepts_, strict=True))
    return _Cells(scale, layers)


def _figures(
    name: str, judged: Sequence[tuple[Sample, Part, float]], seed: int
) -> Iterator[tuple[str, Estimate | float]]:
    """Area under the curve, by coding, by treatment and by owner; and where the map's peak lies."""
    edited = np.array([s.edited for s, _, _ in judged])
    scores = np.array([score for _, _, score in judged])

    def area(group: NDArray[np.bool_]) -> Estimate:
        return auc_with_interval(scores[group], edited[group], seed)

    yield name, area(np.ones(len(judged), bool))
    yield f"{name}, TPR at 5 % FPR", tpr_at(scores, edited, 0.05)
    hits = [
        (float(s.mask[np.unravel_index(part.heat.argmax(), part.heat.shape)] > 0.5), float((s.mask > 0.5).mean()))
        for s, part, _ in judged
        if s.edited
    ]
    at, by_chance = (np.array(column) for column in zip(*hits, strict=True))
    drawn = np.random.default_rng(seed).choice(at, (1000, at.size)).mean(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    yield f"{name}, the map's peak lies in the edit", Estimate(float(at.mean()), float(low), float(high), 0, at.size)
    yield f"{name}, … by chance", float(by_chance.mean())
    for coding in sorted({s.coding for s, _, _ in judged}):
        yield f"  {coding}", area(np.array([s.coding == coding for s, _, _ in judged]))
    for kind in sorted({s.kind for s, _, _ in judged if s.edited}):
        yield f"  {kind}", area(~edited | np.array([s.kind == kind for s, _, _ in judged]))
    owners = Counter(s.origin.owner for s, _, _ in judged)
    for owner, count in owners.most_common():
        if count >= FEWEST_OF_ONE:
            yield f"  {owner}", area(np.array([s.origin.owner == owner for s, _, _ in judged]))
