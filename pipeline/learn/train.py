"""Train a face head from a manifest of labelled pictures, and say how good it is.

The manifest is a CSV with the columns file, label (real | fake), family, source (`owner/name:path`), licence and split
(train | dev); files lie relative to its folder.
- `swap`: real faces against self-blended twins of the same faces. Its fakes are made here, from reals only. With it
  comes `heat.json`: the same question put to each patch of a face.
- `synthesis`: real faces against faces of generators (family `gan_face`).
Features are kept under `home/learn/`, so a second head, or a second run, reads only what is new.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.learn.blend import PARTS, Floats
from pipeline.learn.features import FaceReader, read_image
from pipeline.learn.heads import (
    Estimate,
    Labels,
    Line,
    Matrix,
    OperatingPoint,
    Vector,
    auc_by_source,
    auc_with_interval,
    fit_lda,
    fit_platt,
    operating_point,
    sigmoid,
    tpr_at,
)
from pipeline.learn.manifest import Picture, in_turn, read_manifest
from pipeline.learn.patches import Pointing, pointing, some_patches
from pipeline.learn.samples import Sample, crops_of, draw
from pipeline.learn.store import FeatureStore, Reading
from pipeline.models import graphs
from pipeline.models.build import HEADS, HeadFile
from pipeline.models.sources import Progress, write_atomically

Names = NDArray[np.str_]
Advance = Callable[[int, int], None]
"""Told how many samples of how many have been read."""

BLOCKS = {"swap": graphs.FEATURE_BLOCKS, "synthesis": (7, 8, 9, 10)}
"""Which blocks of the encoder a head reads. With blocks 5 and 6 the synthesis head told its generator's size and style
rather than its traces: StyleGAN2 against left-out reals .957 with them, .972 without."""
SHRINKAGE = {"swap": 0.6, "synthesis": 0.6, "heat": 0.3}
"""How far the covariance is drawn towards its diagonal. Chosen on left-out training sources."""
EVEN = frozenset({"synthesis"})
"""Heads for which each kind counts half, and no source more than 50 rows of it, in the covariance too. All fakes of
`synthesis` come of one generator and most reals of one set: as many rows as there are, and those two sets would say
what is noise. StyleGAN2 against FFHQ .950 without it, .966 with it."""
FOLDS = 5
MIN_SOURCE = 16
"""A source is left out on its own when it has at least so many real pictures; smaller ones are left out together."""
LARGE_SOURCE = 300
"""A source with at least so many reals is read once; the others, which are more diverse, COPIES times."""
COPIES = 2
AIMED = 15
"""Held-out faces per part that the heat map is asked to point at."""
THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9)
TRAIN_FAKES = {"swap": (), "synthesis": ("gan_face",)}
DEV_FAKES = {"swap": ("face_swap",), "synthesis": ("gan_face",)}


@dataclass(frozen=True, slots=True)
class HeldOut:
    """One held-out comparison: the area under the curve, and the shares of fakes found at 1 % and 5 % false alarms."""

    name: str
    auc: Estimate
    tpr_1: float
    tpr_5: float
    points: tuple[OperatingPoint, ...] = ()

    def __str__(self) -> str:
        told = "; ".join(f"p ≥ {p.threshold}: TPR {p.tpr:.2f}, FPR {p.fpr:.2f}" for p in self.points)
        line = f"{self.name:58s} {self.auc}; TPR {self.tpr_1:.2f} at 1 %, {self.tpr_5:.2f} at 5 %"
        return f"{line}\n      {told}" if told else line


@dataclass(frozen=True, slots=True)
class HeadReport:
    """What came of a training run. `left_out`: trained without a source, tested on it; `pointing`: by part."""

    head: str
    path: Path
    real: int
    fake: int
    shrinkage: float
    left_out: tuple[HeldOut, ...]
    dev: tuple[HeldOut, ...]
    pointing: tuple[tuple[str, Pointing], ...] = ()

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> Iterable[str]:
        """The report for people."""
        yield f"{self.head}: {self.real} real, {self.fake} fake faces; shrinkage {self.shrinkage}; {self.path}"
        yield from (f"  without {test}" for test in self.left_out)
        yield from (f"  dev {test}" for test in self.dev)
        yield from (f"  points at {part:8s} {game}" for part, game in self.pointing)


@dataclass(frozen=True, slots=True, eq=False)
class _Faces:
    """One row per face: what a head reads of it, and what is known of it."""

    features: Matrix
    fake: Labels
    sources: Names
    pictures: Names

    def __getitem__(self, rows: Labels) -> _Faces:
        return _Faces(self.features[rows], self.fake[rows], self.sources[rows], self.pictures[rows])


def train_head(
    head: str,
    manifest: Path,
    models_dir: Path,
    out: Path,
    *,
    home: Path,
    seed: int = 0,
    progress: Progress = lambda _: None,
    advance: Advance = lambda _done, _all: None,
    limit: int | None = None,
) -> HeadReport:
    """Train one head and write it to the file `out` (`swap` writes `heat.json` beside it); same input, same bytes.

    `limit`: read at most so many real and so many fake training pictures, from all sources in turn. Raises ConfigError.
    """
    if head not in HEADS:
        raise ConfigError(f"no such head: {head}; there are {', '.join(HEADS)}")
    pictures = read_manifest(manifest)
    train, dev = training_samples(head, pictures, seed, limit), dev_samples(head, pictures)
    aimed = pointing_samples(pictures, seed) if head == "swap" else []
    store = _read([*train, *dev, *aimed], manifest.parent, models_dir, home, seed, progress, advance)
    faces = _of_blocks(_gather(train, store, blended=head == "swap"), BLOCKS[head])
    if faces.fake.all() or not faces.fake.any():
        found = f"found {int(faces.fake.sum())} fake of {len(faces.fake)}"
        raise ConfigError(f"{manifest}: training {head} needs faces of both kinds, {found}")

    progress(f"fitting {head} on {len(faces.fake)} faces")
    shrinkage, fit = SHRINKAGE[head], partial(_fit, head)
    line = fit(faces)
    left_out, scores = _leave_sources_out(faces, fit, seed, progress)
    platt = fit_platt(scores, faces.fake, _even_shares(faces))
    counts = int((~faces.fake).sum()), int(faces.fake.sum())
    about: dict[str, str | float | int] = {
        "seed": seed,
        "limit": limit or "none",
        "manifest_sha256": hashlib.sha256(manifest.read_bytes()).hexdigest(),
    }
    _write(
        out,
        HeadFile(
            head,
            graphs.FEATURES,
            *_calibrated(line, platt),
            trained={
                "real": counts[0],
                "fake": counts[1],
                "shrinkage": shrinkage,
                **about,
                "probability": "of being fake at even odds, on faces of sources that were left out, no source "
                "counting for more than 50",
            },
        ),
    )
    games: tuple[tuple[str, Pointing], ...] = ()
    if head == "swap":
        games = _train_heat(out.with_name("heat.json"), train, aimed, store, about, progress)
    dev_tests = tuple(_judge_dev(head, line, platt, dev, store, seed))
    return HeadReport(head, out, *counts, shrinkage, left_out, dev_tests, games)


def training_samples(head: str, pictures: Sequence[Picture], seed: int, limit: int | None = None) -> list[Sample]:
    """What to make of which pictures. Both heads read the genuine twins of the same pairs, so these are read once."""
    order = in_turn([p for p in pictures if p.split == "train"], seed)
    reals = [p for p in order if not p.fake and p.family == "real"][:limit]
    fakes = [p for p in order if p.fake and p.family in TRAIN_FAKES[head]][:limit]
    large = {source for source in {p.source for p in reals} if sum(p.source == source for p in reals) >= LARGE_SOURCE}
    pairs = [Sample(p, "pair", n) for n in range(COPIES) for p in reals if n == 0 or p.source not in large]
    return pairs + [Sample(p, "degraded") for p in fakes]


def dev_samples(head: str, pictures: Sequence[Picture]) -> list[Sample]:
    """The development test: each picture as it is, and at one size and codec."""
    families = DEV_FAKES[head]
    seen = [p for p in pictures if p.split == "dev" and (p.family in families if p.fake else p.family == "real")]
    return [Sample(p, "plain") for p in seen] + [Sample(p, "levelled") for p in seen]


def pointing_samples(pictures: Sequence[Picture], seed: int) -> list[Sample]:
    """Self-blended faces of the development set, one part after another: no picture of theirs was trained on."""
    reals = in_turn([p for p in pictures if p.split == "dev" and not p.fake and p.family == "real"], seed)
    wanted = [part for _ in range(AIMED) for part in PARTS]
    return [Sample(p, "pair", 0, part) for p, part in zip(reals * 2, [*wanted, *wanted[::-1]], strict=False)]


def _read(
    samples: Sequence[Sample],
    root: Path,
    models_dir: Path,
    home: Path,
    seed: int,
    progress: Progress,
    advance: Advance,
) -> FeatureStore:
    """The store, with every sample in it: from the disk under `home/learn/`, or read now and kept there."""
    name = hashlib.sha256(f"{root.resolve()} {seed} {graphs.FEATURES}".encode()).hexdigest()[:12]
    store = FeatureStore(home / "learn" / f"faces-{name}")
    missing = list({sample.key: sample for sample in samples if sample.key not in store}.values())
    if missing:
        reader = FaceReader(models_dir, home, progress)
        for done, sample in enumerate(missing, 1):
            store.keep(sample.key, tuple(_readings(sample, root, reader, seed)))
            advance(done, len(missing))
        store.flush()
    return store


def _readings(sample: Sample, root: Path, reader: FaceReader, seed: int) -> Iterator[Reading]:
    """What the encoder sees in each crop of a sample; nothing when there is no picture or no face in it.

    Of faces that the heat map is asked to point at, the blended twin alone is read, and all of its patches are kept.
    """
    image = read_image(root / sample.picture.file)
    found = None if image is None else reader.largest_face(image)
    if image is None or found is None:
        return
    for twin, crop in enumerate(crops_of(sample, image, found.box, found.landmarks, seed)):
        if sample.part is not None and crop.cells is None:
            continue
        features, tokens = reader.read(crop.image)
        if sample.part is not None and crop.cells is not None:
            at, inside = np.arange(len(tokens)), crop.cells.ravel().astype(np.float16)
        elif sample.kind == "pair":
            at, told = some_patches(crop.cells, np.random.default_rng(draw(f"patches {sample.key}", seed) + twin))
            inside = told.astype(np.float16)
        else:
            at, inside = np.zeros(0, np.intp), np.zeros(0, np.float16)
        yield Reading(features.astype(np.float16), tokens[at].astype(np.float16), inside)


def _gather(samples: Sequence[Sample], store: FeatureStore, *, blended: bool = False) -> _Faces:
    """The rows of all samples in which a face was found; of a pair the second is the blended one, if wanted."""
    rows = [(s, twin, r) for s in samples for twin, r in enumerate(store[s.key]) if blended or twin == 0]
    return _Faces(
        np.stack([r.features for *_, r in rows]).astype(np.float32)
        if rows
        else np.zeros((0, graphs.FEATURE_COUNT), np.float32),
        np.array([s.picture.fake or twin == 1 for s, twin, _ in rows], bool),
        np.array([s.picture.source for s, *_ in rows], str),
        np.array([s.picture.file for s, *_ in rows], str),
    )


def _of_blocks(faces: _Faces, blocks: Sequence[int]) -> _Faces:
    """The same rows, with nothing in what other blocks gave: the head then has no weight there."""
    features = faces.features.copy()
    for place, block in enumerate(graphs.FEATURE_BLOCKS):
        if block not in blocks:
            features[:, place * graphs.WIDTH : (place + 1) * graphs.WIDTH] = 0
    return replace(faces, features=features)


def _fit(head: str, faces: _Faces) -> Line:
    share = _even_shares(faces) if head in EVEN else None
    return fit_lda(faces.features, faces.fake, SHRINKAGE[head], share)


def _leave_sources_out(
    faces: _Faces, fit: Callable[[_Faces], Line], seed: int, progress: Progress
) -> tuple[tuple[HeldOut, ...], Vector]:
    """How well each source is judged by a head that never saw it, and such a score of every row.

    A source that cannot be left out, since nothing or little would remain, is scored by heads that did not see the
    picture. Where a source holds reals alone it is compared with a fifth of the fakes, which is left out as well.
    """
    folds = np.array([draw(picture, seed) % FOLDS for picture in faces.pictures])
    scores = np.zeros(len(folds))
    for fold in range(FOLDS):
        rows = folds == fold
        scores[rows] = fit(faces[~rows])(faces.features[rows])
    tests, every = [_test("pictures left out, sources not", scores, faces, seed)], np.zeros(len(folds), bool)
    for name, group in _source_groups(faces).items():
        progress(f"leaving out {name}")
        rows = group if faces.fake[group].any() else group | (faces.fake & (folds == 0))
        if not faces.fake[~rows].any() or faces.fake[~rows].all() or faces.fake[rows].all():
            continue
        told = fit(faces[~rows])(faces.features[rows])
        tests.append(_test(name, told, faces[rows], seed))
        if group.mean() <= 0.5:
            scores[group] = told[group[rows]]
            every |= group
    if every.any() and not faces.fake[every].any():
        every |= faces.fake
    if every.any():
        together = "these together, but for the largest (interval over sources)"
        tests.append(_test(together, scores[every], faces[every], seed, by_source=True))
    return tuple(tests), scores


def _judge_dev(
    head: str, line: Line, platt: tuple[float, float], samples: Sequence[Sample], store: FeatureStore, seed: int
) -> Iterator[HeldOut]:
    for kind, told in (("plain", "as they are"), ("levelled", "one size and codec")):
        faces = _gather([sample for sample in samples if sample.kind == kind], store)
        if faces.fake.any() and not faces.fake.all():
            probabilities = sigmoid(platt[0] * line(faces.features) + platt[1])
            yield _test(f"{', '.join(DEV_FAKES[head])}, {told}", probabilities, faces, seed, THRESHOLDS)


def _test(
    name: str, scores: Vector, faces: _Faces, seed: int, thresholds: Sequence[float] = (), *, by_source: bool = False
) -> HeldOut:
    area = (
        auc_by_source(scores, faces.fake, faces.sources, seed)
        if by_source
        else auc_with_interval(scores, faces.fake, seed)
    )
    points = tuple(operating_point(scores, faces.fake, threshold) for threshold in thresholds)
    return HeldOut(name, area, tpr_at(scores, faces.fake, 0.01), tpr_at(scores, faces.fake, 0.05), points)


def _train_heat(
    out: Path,
    samples: Sequence[Sample],
    aimed: Sequence[Sample],
    store: FeatureStore,
    about: dict[str, str | float | int],
    progress: Progress,
) -> tuple[tuple[str, Pointing], ...]:
    """Fit and write the line for patches, calibrated on the half of the pictures that a line of the other half read."""
    rows = [(s.picture.file, r) for s in samples for r in store[s.key] if len(r.inside)]
    patches = np.concatenate([r.patches for _, r in rows]).astype(np.float32)
    inside = np.concatenate([r.inside for _, r in rows]) > 0.5
    half = np.repeat([draw(file, 0) % 2 == 0 for file, _ in rows], [len(r.inside) for _, r in rows])
    progress(f"fitting heat on {len(inside)} patches")
    curve = fit_platt(fit_lda(patches[half], inside[half], SHRINKAGE["heat"])(patches[~half]), inside[~half])
    line = fit_lda(patches, inside, SHRINKAGE["heat"])
    counts = {"inside": int(inside.sum()), "outside": int((~inside).sum()), "shrinkage": SHRINKAGE["heat"]}
    told = "of the patch being blended in, at even odds, on patches of other pictures"
    _write(
        out,
        HeadFile("heat", graphs.PATCH_FEATURES, *_calibrated(line, curve), {**counts, **about, "probability": told}),
    )
    maps: dict[str, list[tuple[Floats, Floats]]] = {}
    for sample in aimed:
        for reading in store[sample.key]:
            if reading.inside.max() > 0.2:
                heat = line(reading.patches.astype(np.float32)).reshape(graphs.GRID, graphs.GRID).astype(np.float32)
                cells = reading.inside.astype(np.float32).reshape(graphs.GRID, graphs.GRID)
                maps.setdefault(str(sample.part), []).append((heat, cells))
    every = [pair for pairs in maps.values() for pair in pairs]
    groups = {**maps, "all": every, "parts": [pair for part, pairs in maps.items() if part != "face" for pair in pairs]}
    return tuple((part, pointing(*map(list, zip(*pairs, strict=True)))) for part, pairs in groups.items() if pairs)


def _calibrated(line: Line, platt: tuple[float, float]) -> tuple[float, list[float]]:
    """Bias and weights with the calibration folded in. Seven digits: what a 32-bit float holds."""
    a, b = platt
    return float(f"{a * line.bias + b:.7g}"), [float(f"{w:.7g}") for w in a * line.weight]


def _write(path: Path, head: HeadFile) -> None:
    write_atomically(path, msgspec.json.format(msgspec.json.encode(head), indent=1) + b"\n")


def _source_groups(faces: _Faces) -> dict[str, Labels]:
    """Rows to leave out together: each source with enough real pictures, and all the small ones as one."""
    sources = faces.sources
    reals = {s: len(set(faces.pictures[(sources == s) & ~faces.fake])) for s in sorted(set(sources))}
    large = [source for source, count in reals.items() if count >= MIN_SOURCE]
    groups = {str(source): np.asarray(sources == source, bool) for source in large}
    rest = ~np.isin(sources, large)
    return {**groups, "the smaller sources together": rest} if rest.any() else groups


def _even_shares(faces: _Faces) -> Vector:
    """A weight per row: a source counts for its rows, but for no more than 50, so that no large one sets the scale."""
    _, at, counts = np.unique(faces.sources, return_inverse=True, return_counts=True)
    return np.asarray(np.minimum(1.0, 50 / counts)[at], np.float64)
