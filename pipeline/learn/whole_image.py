"""Train the whole-frame heads from a manifest of labelled pictures, and say how good they are.

The manifest is a CSV with the columns file, label (real | fake), family, source (`where:path`), split (train | dev)
and, where there is one, group: pictures that share an origin and are left out together; without it the source.
- `image_synthesis`: photographs against pictures of generators (families `diffusion_image`, `diffusion_art`,
  `gan_image`). Faces of GANs are left to the face head: one line cannot be drawn round both.
- `style_transfer`: photographs against the same photographs made to look painted (`stylise.py`), and against paintings
  and drawings where the manifest has some (families `style_transfer`, `painting`, `art`, `diffusion_art`).
Every figure is taken on groups that were left out: neither their photographs nor their fakes were trained on.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.detect.embed import FRAME_SIDE
from pipeline.detect.faces import Image
from pipeline.detect.frames import resized
from pipeline.detect.whole_image import FEATURE_COUNT, FEATURES, HEADS, PARTS, FrameHeadFile, frame_features
from pipeline.errors import ConfigError
from pipeline.learn.features import FrameReader, read_image
from pipeline.learn.heads import Estimate, Labels, Line, Matrix, Vector, auc_with_interval, fit_lda, fit_platt, sigmoid
from pipeline.learn.stylise import stylise
from pipeline.models.sources import Progress, write_atomically

FAKES = {
    "image_synthesis": ("diffusion_image", "diffusion_art", "gan_image"),
    "style_transfer": ("style_transfer", "painting", "art", "diffusion_art"),
}
SHRINKAGE = (0.9, 0.6)
"""How far the covariance of each of PARTS is drawn towards its diagonal; chosen on left-out groups."""
MOST_PER_SOURCE = 120
"""Pictures of one source and label: a large source must not be what a head learns."""
MIN_GROUP = 10
"""A group is left out on its own when it has so many pictures of a label; smaller ones are left out together."""
SMALL = "the smaller ones together"
FOLDS = 8
THRESHOLDS = (0.3, 0.5, 0.7, 0.9)
FALSE_ALARMS = (0.01, 0.05)


@dataclass(frozen=True, slots=True)
class Picture:
    """One row of the manifest that training can use."""

    file: str
    fake: bool
    family: str
    source: str
    group: str
    split: str


@dataclass(frozen=True, slots=True)
class Row:
    """One frame to extract: brought to a random size and codec (`levelled`), stylised before (`styled`), or `plain`."""

    picture: Picture
    variant: str

    @property
    def fake(self) -> bool:
        return self.picture.fake or self.variant.startswith("styled")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Fakes of one group against all photographs, neither trained on. `found`: TPR at each share of FALSE_ALARMS."""

    group: str
    auc: Estimate
    found: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class FalseAlarms:
    """Photographs of a group that was left out: the share at or above each of THRESHOLDS."""

    group: str
    count: int
    shares: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class FrameHeadReport:
    """What came of a training run; every figure on left-out groups."""

    head: str
    path: Path
    real: int
    fake: int
    all: Estimate
    left_out: tuple[LeftOut, ...]
    alarms: tuple[FalseAlarms, ...]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> Iterable[str]:
        """The report for people."""
        yield f"{self.head}: {self.real} real, {self.fake} fake pictures; {self.path}"
        yield f"  all left-out fakes  {self.all}"
        for test in self.left_out:
            found = ", ".join(f"TPR {t:.2f} at {s:.0%}" for s, t in zip(FALSE_ALARMS, test.found, strict=True))
            yield f"  fakes of {test.group:45s}  {test.auc}; {found}"
        for alarm in self.alarms:
            told = ", ".join(f"{s:.2f} at {t}" for t, s in zip(THRESHOLDS, alarm.shares, strict=True))
            yield f"  photographs of {alarm.group:39s}  n = {alarm.count}, flagged: {told}"


def train_whole_image(
    head: str,
    manifest: Path,
    models_dir: Path,
    out: Path,
    *,
    home: Path,
    seed: int = 0,
    progress: Progress = lambda _: None,
    limit: int | None = None,
) -> FrameHeadReport:
    """Train one head and write it to the file `out`; the same manifest and seed give the same head.

    `limit`: read at most so many real and so many fake training pictures, from all sources in turn. Raises ConfigError.
    """
    if head not in HEADS:
        raise ConfigError(f"no such head: {head}; there are {', '.join(HEADS)}")
    rows = training_rows(head, read_pictures(manifest), seed, limit)
    table = _extract(rows, manifest.parent, models_dir, home, seed, progress)
    rows = [row for row in rows if row in table]
    fake = np.array([row.fake for row in rows], bool)
    if not rows or fake.all() or not fake.any():
        raise ConfigError(
            f"{manifest}: training {head} needs pictures of both kinds, found {int(fake.sum())} fake of {len(fake)}"
        )
    features = np.stack([table[row] for row in rows])
    groups = np.array([row.picture.group for row in rows])
    progress(f"fitting {head} on {len(rows)} pictures")
    folds = leave_out_folds(groups, fake)
    held_out = np.full(len(rows), np.nan)
    for fold in sorted(set(folds)):
        rest = folds != fold
        if not rest.any() or fake[rest].all() or not fake[rest].any():
            raise ConfigError(f"{manifest}: too few groups of pictures to leave some out")
        held_out[~rest] = fit_parts(features[rest], fake[rest])(features[~rest])
        progress(f"left out {fold + 1} of {FOLDS} folds")
    a, b = fit_platt(held_out, fake, _even_shares(groups, fake))
    line = fit_parts(features, fake)
    report = _judge(head, out, held_out, sigmoid(a * held_out + b), fake, groups, seed)
    file = FrameHeadFile(
        head=head,
        features=FEATURES,
        bias=float(f"{a * line.bias + b:.7g}"),
        weight=[float(f"{w:.6g}") for w in a * line.weight],
        trained={
            "real": report.real,
            "fake": report.fake,
            "shrinkage": " and ".join(map(str, SHRINKAGE)),
            "seed": seed,
            "limit": limit or "none",
            "manifest_sha256": hashlib.sha256(manifest.read_bytes()).hexdigest(),
            "left_out_auc": round(report.all.value, 4),
            "probability": "of being fake at even odds, on groups that were left out, none counting for more than 50",
        },
    )
    write_atomically(out, msgspec.json.format(msgspec.json.encode(file), indent=1) + b"\n")
    return report


def read_pictures(path: Path) -> tuple[Picture, ...]:
    """The pictures of a manifest. Raises ConfigError when it is missing or lacks a column."""
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        return tuple(
            Picture(
                r["file"],
                r["label"] == "fake",
                r["family"],
                r["source"].partition(":")[0],
                r.get("group") or r["source"].partition(":")[0],
                r.get("split") or "train",
            )
            for r in rows
            if Path(r["file"]).suffix.lower() in (".jpg", ".jpeg", ".png", ".webp", ".bmp")
        )
    except (OSError, KeyError, csv.Error) as error:
        raise ConfigError(f"{path}: no manifest with file, label, family and source: {error!r}") from error


def training_rows(head: str, pictures: Sequence[Picture], seed: int, limit: int | None) -> list[Row]:
    """What to extract for a head: photographs and fakes, at most MOST_PER_SOURCE of each source, in turn."""
    taken: Counter[tuple[str, bool]] = Counter()
    turns: list[tuple[int, Picture]] = []
    for picture in sorted(pictures, key=lambda p: _hash(p.file, seed)):
        turn = taken[picture.source, picture.fake]
        wanted = picture.family in FAKES[head] if picture.fake else picture.family == "real"
        if wanted and picture.split == "train" and turn < MOST_PER_SOURCE:
            turns.append((turn, picture))
            taken[picture.source, picture.fake] += 1
    order = [picture for _, picture in sorted(turns, key=lambda turn: turn[0])]
    reals = [p for p in order if not p.fake][:limit]
    rows = [Row(p, "levelled") for p in (*reals, *[p for p in order if p.fake][:limit])]
    return rows + [Row(p, "styled") for p in reals] if head == "style_transfer" else rows


def level(image: Image, rng: np.random.Generator) -> Image:
    """A random part (70–100 % of each side) at a random size (160–512 pixels, never enlarged) through JPEG or WebP.

    Real and fake alike: training sets differ in size, borders, logos and codec, and a head would learn those.
    """
    height, width = image.shape[:2]
    rows, cols = (max(1, round(side * rng.uniform(0.7, 1.0))) for side in (height, width))
    top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - cols + 1))
    scale = min(1.0, float(np.exp(rng.uniform(np.log(160), np.log(512)))) / float(np.sqrt(rows * cols)))
    part = image[top : top + rows, left : left + cols]
    small = resized(part, max(16, round(cols * scale)), max(16, round(rows * scale)))
    if rng.random() < 0.7:
        small = _recoded(small, ".jpg", cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(60, 96)))
    else:
        small = _recoded(small, ".webp", cv2.IMWRITE_WEBP_QUALITY, int(rng.integers(50, 96)))
    return np.ascontiguousarray(small[:, ::-1] if rng.random() < 0.5 else small)


def _recoded(image: Image, kind: str, option: int, quality: int) -> Image:
    done, packed = cv2.imencode(kind, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [option, quality])
    if not done:
        raise ValueError(f"cannot encode an image of shape {image.shape}")
    unpacked: Any = cv2.imdecode(packed, cv2.IMREAD_COLOR)
    return np.asarray(cv2.cvtColor(unpacked, cv2.COLOR_BGR2RGB), np.uint8)


def frame(row: Row, root: Path, seed: int) -> Image | None:
    """What the encoder is shown of a row, 224 × 224 × 3; None when the picture cannot be read."""
    image = read_image(root / row.picture.file)
    if image is None:
        return None
    chance = _hash(f"{row.picture.file} {row.variant}", seed)
    if row.variant == "styled":
        image = stylise(image, chance)
    if row.variant != "plain":
        image = level(image, np.random.default_rng(chance + 1))
    return resized(image, FRAME_SIDE, FRAME_SIDE)


def _extract(
    rows: Sequence[Row], root: Path, models_dir: Path, home: Path, seed: int, progress: Progress
) -> dict[Row, Matrix]:
    """Features of every row that can be read, from the store under `home/learn/` or computed now and kept there."""
    name = hashlib.sha256(f"{root.resolve()} {seed} {FEATURES}".encode()).hexdigest()[:12]
    store = home / "learn" / f"frames-{name}.npz"
    known = _load(store)
    missing = [row for row in rows if _key(row) not in known]
    if missing:
        reader = FrameReader(models_dir, home, progress)
        for done, row in enumerate(missing, 1):
            shown = frame(row, root, seed)
            found = np.zeros(0, np.float32) if shown is None else frame_features(reader(shown))
            # Rounded before its first use, so that a run gives the same whether it reads or computes.
            known[_key(row)] = found.astype(np.float16).astype(np.float32)
            if done % 250 == 0 or done == len(missing):
                progress(f"read {done} of {len(missing)} pictures")
                _save(store, known)
    return {row: known[_key(row)] for row in rows if known[_key(row)].size}


def fit_parts(features: Matrix, fake: Labels) -> Line:
    """A discriminant on each of PARTS, brought to one spread and added.

    Together in one covariance the few numbers of the embedding would be drowned. Raises ValueError for a lone class.
    """
    weight, bias = np.zeros(features.shape[1]), 0.0
    for part, shrinkage in zip(PARTS, SHRINKAGE, strict=True):
        line = fit_lda(features[:, part], fake, shrinkage)
        spread = max(float(np.std(line(features[:, part]))), 1e-9)
        weight[part], bias = line.weight / spread, bias + line.bias / spread
    return Line(weight, bias)


def leave_out_folds(groups: NDArray[np.str_], fake: Labels) -> NDArray[np.intp]:
    """A fold per picture: whole groups, dealt so that every fold gets its share of photographs and of fakes."""
    sizes = {
        str(group): (int((~fake & (groups == group)).sum()), int((fake & (groups == group)).sum()))
        for group in set(groups)
    }
    load = np.zeros((FOLDS, 2))
    whole = np.maximum([(~fake).sum(), fake.sum()], 1)
    folds = np.zeros(len(groups), np.intp)
    for group, size in sorted(sizes.items(), key=lambda item: (-max(item[1]), item[0])):
        fold = int(np.argmin(((load + size) / whole).max(axis=1) + load.sum(axis=1) / whole.sum()))
        load[fold] += size
        folds[groups == group] = fold
    return folds


def _judge(
    head: str, out: Path, scores: Vector, probabilities: Vector, fake: Labels, groups: NDArray[np.str_], seed: int
) -> FrameHeadReport:
    left_out = []
    for name, rows in _told_apart(groups, fake).items():
        chosen = ~fake | rows
        limits = [float(np.quantile(scores[~fake], 1 - share)) for share in FALSE_ALARMS]
        found = tuple(float((scores[rows] > limit).mean()) for limit in limits)
        left_out.append(LeftOut(name, auc_with_interval(scores[chosen], fake[chosen], seed), found))
    alarms = []
    for name, rows in _told_apart(groups, ~fake).items():
        shares = tuple(float((probabilities[rows] >= threshold).mean()) for threshold in THRESHOLDS)
        alarms.append(FalseAlarms(name, int(rows.sum()), shares))
    return FrameHeadReport(
        head=head,
        path=out,
        real=int((~fake).sum()),
        fake=int(fake.sum()),
        all=auc_with_interval(scores, fake, seed),
        left_out=tuple(left_out),
        alarms=tuple(alarms),
    )


def _told_apart(groups: NDArray[np.str_], chosen: Labels) -> dict[str, Labels]:
    """The chosen pictures by group, the small groups as one."""
    large = [str(g) for g in sorted(set(groups[chosen])) if int((chosen & (groups == g)).sum()) >= MIN_GROUP]
    told = {group: chosen & (groups == group) for group in large}
    rest = chosen & ~np.isin(groups, large)
    return {**told, SMALL: rest} if rest.any() else told


def _even_shares(groups: NDArray[np.str_], fake: Labels) -> Vector:
    """A weight per picture: a group counts for its pictures of a label, but for no more than 50."""
    keys = np.char.add(groups, np.where(fake, " fake", " real"))
    _, at, counts = np.unique(keys, return_inverse=True, return_counts=True)
    return np.asarray(np.minimum(1.0, 50 / counts)[at], np.float64)


def _hash(text: str, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {text}".encode()).digest()[:6], "big")


def _key(row: Row) -> str:
    return f"{row.variant} {row.picture.file}"


def _load(store: Path) -> dict[str, Matrix]:
    if not store.is_file():
        return {}
    with np.load(store, allow_pickle=False) as kept:
        none = np.zeros(0, np.float32)
        return {
            str(key): row.astype(np.float32) if found else none
            for key, row, found in zip(kept["keys"], kept["features"], kept["found"], strict=True)
        }


def _save(store: Path, known: dict[str, Matrix]) -> None:
    """Half precision is kept: its rounding is far below the noise of seven-bit weights."""
    none = np.zeros(FEATURE_COUNT, np.float16)
    packed = io.BytesIO()
    np.savez(
        packed,
        keys=np.array(list(known)),
        found=np.array([bool(row.size) for row in known.values()]),
        features=np.stack([row.astype(np.float16) if row.size else none for row in known.values()]),
    )
    write_atomically(store, packed.getvalue())
