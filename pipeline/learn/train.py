"""Train a face head from a manifest of labelled pictures, and say how good it is.

The manifest is a CSV with the columns file, label (real | fake), family, source (`owner/name:path`), licence and split
(train | dev); files lie relative to its folder.
- `swap`: real faces against self-blended copies of the same faces. Its fakes are made here, from reals only.
- `synthesis`: real faces against faces of generators (family `gan_face`).
Features are kept under `home/learn/`, so a second head, or a second run, reads only what is new.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.detect.faces import crop_face
from pipeline.errors import ConfigError
from pipeline.learn.blend import self_blend
from pipeline.learn.features import FaceReader, level, read_image
from pipeline.learn.heads import (
    Estimate,
    Labels,
    Line,
    Matrix,
    OperatingPoint,
    Vector,
    auc_with_interval,
    fit_lda,
    fit_platt,
    operating_point,
    sigmoid,
)
from pipeline.models import graphs
from pipeline.models.build import HEADS, HeadFile
from pipeline.models.sources import Progress, write_atomically

Names = NDArray[np.str_]

SHRINKAGE = 0.6
"""How far the covariance is drawn towards its diagonal. Chosen on left-out sources of the swap head, used for both."""
FOLDS = 5
MIN_SOURCE = 10
"""A source is left out on its own when it has at least so many real faces; smaller ones are left out together."""
THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9)
TRAIN_FAKES = {"swap": (), "synthesis": ("gan_face",)}
DEV_FAKES = {"swap": ("face_swap",), "synthesis": ("gan_face",)}


@dataclass(frozen=True, slots=True)
class Picture:
    """One row of the manifest that training can use."""

    file: str
    fake: bool
    family: str
    source: str
    split: str


@dataclass(frozen=True, slots=True)
class Row:
    """One face to extract: of a picture as it is (`plain`), brought to a random size and codec (`levelled`), or
    self-blended and then levelled (`blended`)."""

    picture: Picture
    variant: str

    @property
    def fake(self) -> bool:
        return self.picture.fake or self.variant == "blended"


@dataclass(frozen=True, slots=True)
class HeadReport:
    """What came of a training run. Areas under the curve; `dev` by name of the test, `left_out` by source."""

    head: str
    path: Path
    real: int
    fake: int
    shrinkage: float
    cross_validated: Estimate
    left_out: tuple[tuple[str, Estimate], ...]
    dev: tuple[tuple[str, Estimate], ...]
    points: tuple[tuple[str, tuple[OperatingPoint, ...]], ...]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> Iterable[str]:
        """The report for people."""
        yield f"{self.head}: {self.real} real, {self.fake} fake faces; shrinkage {self.shrinkage}; {self.path}"
        yield f"  cross-validated by picture  {self.cross_validated}"
        yield from (f"  without {name:58s}  {figure}" for name, figure in self.left_out)
        yield from (f"  dev {name:62s}  {figure}" for name, figure in self.dev)
        for name, points in self.points:
            told = "; ".join(f"p ≥ {p.threshold}: TPR {p.tpr:.2f}, FPR {p.fpr:.2f}" for p in points)
            yield f"  dev {name}: {told}"


def read_manifest(path: Path) -> tuple[Picture, ...]:
    """The pictures of a manifest. Raises ConfigError when it is missing or lacks a column."""
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        return tuple(
            Picture(r["file"], r["label"] == "fake", r["family"], r["source"].partition(":")[0], r["split"])
            for r in rows
            if Path(r["file"]).suffix.lower() in (".jpg", ".jpeg", ".png", ".webp", ".bmp")
        )
    except (OSError, KeyError, csv.Error) as error:
        raise ConfigError(
            f"{path}: no manifest with file, label, family, source, licence and split: {error!r}"
        ) from error


def train_head(
    head: str,
    manifest: Path,
    models_dir: Path,
    out: Path,
    *,
    home: Path,
    seed: int = 0,
    progress: Progress = lambda _: None,
    limit: int | None = None,
    shrinkage: float = SHRINKAGE,
) -> HeadReport:
    """Train one head and write it to the file `out`; the same manifest and seed give the same head.

    `limit`: read at most so many real and so many fake training pictures, from all sources in turn. Raises ConfigError.
    """
    if head not in HEADS:
        raise ConfigError(f"no such head: {head}; there are {', '.join(HEADS)}")
    pictures = read_manifest(manifest)
    train, dev = _rows(head, pictures, seed, limit)
    table = _extract([*train, *dev], manifest.parent, models_dir, home, seed, progress)
    train = [row for row in train if row in table]
    features, fake = _stack(train, table)
    if fake.all() or not fake.any():
        raise ConfigError(
            f"{manifest}: training {head} needs faces of both kinds, found {int(fake.sum())} fake of {len(fake)}"
        )
    sources = np.array([row.picture.source for row in train])

    progress(f"fitting {head} on {len(fake)} faces")
    held_out = np.zeros(len(train))
    folds = np.array([_hash(row.picture.file, seed) % FOLDS for row in train])
    for fold in range(FOLDS):
        held_out[folds == fold] = fit_lda(features[folds != fold], fake[folds != fold], shrinkage)(
            features[folds == fold]
        )
    a, b = fit_platt(held_out, fake, _even_shares(sources))
    line = fit_lda(features, fake, shrinkage)

    left_out = []
    for name, group in _source_groups(sources, fake).items():
        progress(f"leaving out {name}")
        # Reals alone are compared with a fifth of the fakes, which is left out as well.
        rows = group if fake[group].any() else group | (fake & (folds == 0))
        if fake[~rows].any() and not fake[~rows].all() and not fake[rows].all():
            scores = fit_lda(features[~rows], fake[~rows], shrinkage)(features[rows])
            left_out.append((name, auc_with_interval(scores, fake[rows], seed)))
    dev_figures, points = _judge_dev(line, (a, b), [row for row in dev if row in table], table, seed)

    report = HeadReport(
        head=head,
        path=out,
        real=int((~fake).sum()),
        fake=int(fake.sum()),
        shrinkage=shrinkage,
        cross_validated=auc_with_interval(held_out, fake, seed),
        left_out=tuple(left_out),
        dev=dev_figures,
        points=points,
    )
    _write(report, line, (a, b), manifest, seed, limit)
    return report


def _rows(head: str, pictures: Sequence[Picture], seed: int, limit: int | None) -> tuple[list[Row], list[Row]]:
    """What to extract for training, and for the development test (each picture as it is, and levelled)."""
    order = _in_turn([p for p in pictures if p.split == "train"], seed)
    reals = [p for p in order if not p.fake and p.family == "real"][:limit]
    fakes = [p for p in order if p.fake and p.family in TRAIN_FAKES[head]][:limit]
    train = [Row(p, "levelled") for p in reals]
    train += [Row(p, "blended") for p in reals] if head == "swap" else [Row(p, "levelled") for p in fakes]
    looked_at = [
        p for p in pictures if p.split == "dev" and (p.family in DEV_FAKES[head] if p.fake else p.family == "real")
    ]
    return train, [Row(p, variant) for p in looked_at for variant in ("plain", "levelled")]


def _in_turn(pictures: Sequence[Picture], seed: int) -> list[Picture]:
    """Shuffled, and one of each source in turn: the first so many of them are as diverse as they can be."""
    taken: Counter[tuple[str, bool]] = Counter()
    turns = []
    for picture in sorted(pictures, key=lambda p: _hash(p.file, seed)):
        turns.append((taken[picture.source, picture.fake], picture))
        taken[picture.source, picture.fake] += 1
    return [picture for _, picture in sorted(turns, key=lambda turn: turn[0])]


def _extract(
    rows: Sequence[Row], root: Path, models_dir: Path, home: Path, seed: int, progress: Progress
) -> dict[Row, Matrix]:
    """Features of every row whose face is found, from the store under `home/learn/` or computed now and kept there."""
    name = hashlib.sha256(f"{root.resolve()} {seed} {graphs.FEATURES}".encode()).hexdigest()[:12]
    store = home / "learn" / f"features-{name}.npz"
    known = _load(store)
    missing = [row for row in rows if _key(row) not in known]
    if missing:
        reader = FaceReader(models_dir, home, progress)
        for done, row in enumerate(missing, 1):
            # Rounded before its first use, so that a run gives the same whether it reads or computes.
            known[_key(row)] = _features(row, root, reader, seed).astype(np.float16).astype(np.float32)
            if done % 250 == 0 or done == len(missing):
                progress(f"read {done} of {len(missing)} faces")
                _save(store, known)
    return {row: known[_key(row)] for row in rows if known[_key(row)].size}


def _features(row: Row, root: Path, reader: FaceReader, seed: int) -> Matrix:
    """The features of one row; empty when there is no picture or no face in it."""
    nothing = np.zeros(0, np.float32)
    image = read_image(root / row.picture.file)
    found = None if image is None else reader.largest_face(image)
    if image is None or found is None:
        return nothing
    chance = _hash(f"{row.picture.file} {row.variant}", seed)
    if row.variant == "blended":
        image, _ = self_blend(image, found.box, found.landmarks, chance)
    crop = crop_face(image, found.box, found.landmarks)
    return reader.features(crop if row.variant == "plain" else level(crop, np.random.default_rng(chance + 1)))


def _judge_dev(
    line: Line, platt: tuple[float, float], rows: Sequence[Row], table: dict[Row, Matrix], seed: int
) -> tuple[tuple[tuple[str, Estimate], ...], tuple[tuple[str, tuple[OperatingPoint, ...]], ...]]:
    figures, points = [], []
    for variant, told in (("plain", "as they are"), ("levelled", "one size and codec")):
        chosen = [row for row in rows if row.variant == variant]
        if not chosen:
            continue
        features, fake = _stack(chosen, table)
        if fake.all() or not fake.any():
            continue
        probabilities = sigmoid(platt[0] * line(features) + platt[1])
        figures.append((told, auc_with_interval(probabilities, fake, seed)))
        points.append((told, tuple(operating_point(probabilities, fake, t) for t in THRESHOLDS)))
    return tuple(figures), tuple(points)


def _write(
    report: HeadReport, line: Line, platt: tuple[float, float], manifest: Path, seed: int, limit: int | None
) -> None:
    """Fold the calibration into the line and write the head. Seven digits: what a 32-bit float holds."""
    a, b = platt
    head = HeadFile(
        head=report.head,
        features=graphs.FEATURES,
        bias=float(f"{a * line.bias + b:.7g}"),
        weight=[float(f"{w:.7g}") for w in a * line.weight],
        trained={
            "real": report.real,
            "fake": report.fake,
            "shrinkage": report.shrinkage,
            "seed": seed,
            "limit": limit or "none",
            "manifest_sha256": hashlib.sha256(manifest.read_bytes()).hexdigest(),
            "cross_validated_auc": round(report.cross_validated.value, 4),
            "probability": "of being fake at even odds, on held-out faces of the training sources, "
            "no source counting for more than 50",
        },
    )
    write_atomically(report.path, msgspec.json.format(msgspec.json.encode(head), indent=1) + b"\n")


def _stack(rows: Sequence[Row], table: dict[Row, Matrix]) -> tuple[Matrix, Labels]:
    features = np.stack([table[row] for row in rows]) if rows else np.zeros((0, graphs.FEATURE_COUNT), np.float32)
    return features, np.array([row.fake for row in rows], bool)


def _source_groups(sources: Names, fake: Labels) -> dict[str, Labels]:
    """Rows to leave out together: each source with enough reals, and all the small ones as one."""
    large = [s for s in sorted(set(sources)) if int(((sources == s) & ~fake).sum()) >= MIN_SOURCE]
    groups = {source: sources == source for source in large}
    rest = ~np.isin(sources, large)
    return {**groups, "the smaller sources together": rest} if rest.any() else groups


def _even_shares(sources: Names) -> Vector:
    """A weight per row: a source counts for its faces, but for no more than 50, so that no large one sets the scale."""
    _, at, counts = np.unique(sources, return_inverse=True, return_counts=True)
    return np.asarray(np.minimum(1.0, 50 / counts)[at], np.float64)


def _hash(text: str, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {text}".encode()).digest()[:6], "big")


def _key(row: Row) -> str:
    return f"{row.variant} {row.picture.file}"


def _load(store: Path) -> dict[str, Matrix]:
    if not store.is_file():
        return {}
    with np.load(store, allow_pickle=False) as kept:
        width = kept["features"].shape[1]
        none = np.zeros(0, np.float32)
        return {
            str(key): row.astype(np.float32) if found and width else none
            for key, row, found in zip(kept["keys"], kept["features"], kept["found"], strict=True)
        }


def _save(store: Path, known: dict[str, Matrix]) -> None:
    """Half precision is kept: its rounding is far below the noise of seven-bit weights."""
    none = np.zeros(graphs.FEATURE_COUNT, np.float16)
    packed = io.BytesIO()
    np.savez(
        packed,
        keys=np.array(list(known)),
        found=np.array([bool(row.size) for row in known.values()]),
        features=np.stack([row.astype(np.float16) if row.size else none for row in known.values()]),
    )
    write_atomically(store, packed.getvalue())
