"""Train a face head from a manifest of labelled pictures, and say how good it is.

The manifest is a CSV with the columns file, label (real | fake), family, source (`owner/name:path`), licence and split
(train | dev); files lie relative to its folder.
- `swap`: real faces against self-blended twins of the same faces. Its fakes are made here, from reals only. It is a
  line and a network over patches (`seams.py`), which comes as `seam.npz`; with it comes `heat.json`, the same question
  put to each patch of a face by a line.
- `synthesis`: real faces against faces of generators (family `gan_face`).
Features are kept under `home/learn/`, so a second head, or a second run, reads only what is new.
"""

from __future__ import annotations

import hashlib
import multiprocessing
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.learn import seams
from pipeline.learn.blend import PARTS, Floats
from pipeline.learn.features import FaceReader, read_image
from pipeline.learn.heads import (
    Estimate,
    Labels,
    Line,
    Matrix,
    Mixture,
    OperatingPoint,
    Vector,
    auc_by_source,
    auc_with_interval,
    fit_lda,
    fit_mixture,
    fit_platt,
    operating_point,
    sigmoid,
    tpr_at,
)
from pipeline.learn.manifest import Picture, in_turn, read_manifest
from pipeline.learn.patch_store import PatchStore
from pipeline.learn.patches import Pointing, pointing, some_patches
from pipeline.learn.samples import FaceCrop, Sample, crops_of, draw
from pipeline.learn.store import FeatureStore, Reading
from pipeline.models import graphs
from pipeline.models.build import HEADS, SEAM, HeadFile
from pipeline.models.seam import PATCHES, SeamWeights
from pipeline.models.sources import Progress, write_atomically

Names = NDArray[np.str_]
_Look = tuple[FaceCrop, NDArray[np.float32], NDArray[np.float32]]
"""A crop, its features and its patches."""
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
SEAMED = frozenset({"swap"})
"""Heads that the network over patches is a part of."""
SEAM_FOLDS = 3
"""So many networks are trained beside the one that ships, each without a third of the sources (of the largest: of its
pictures), to tell how much of the answer should be the network's."""
FOLDS = 5
PICTURES_LEFT_OUT = "pictures left out, sources not"
MIN_SOURCE = 16
"""A source is left out on its own when it has at least so many real pictures; smaller ones are left out together."""
LARGE_SOURCE = 300
"""A source with at least so many reals is read once; the others, which are more diverse, COPIES times."""
COPIES = 2
FILMED, FILMED_LARGE = 10, 2
"""How often each face is blended besides for the network, each time as another camera would have taken it: a face of a
small source, and of a large one. A line gains nothing by more draws of the same faces; the network does."""
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
    workers: int = 1,
) -> HeadReport:
    """Train one head and write it to the file `out` (`swap` writes `heat.json` and `seam.npz` beside it).

    The same input gives the same bytes, for `seam.npz` and what hangs on it on the same kind of machine.

    `limit`: read at most so many real and so many fake training pictures, from all sources in turn. `workers`: pictures
    are read by so many processes; more than one need a `__main__` that can be imported again. Raises ConfigError.
    """
    if head not in HEADS:
        raise ConfigError(f"no such head: {head}; there are {', '.join(HEADS)}")
    pictures = read_manifest(manifest)
    train, dev = training_samples(head, pictures, seed, limit), dev_samples(head, pictures)
    aimed = pointing_samples(pictures, seed) if head == "swap" else []
    filmed = filmed_samples(train) if head in SEAMED else []
    wanted = {s.key for s in (*train, *filmed, *dev)} if head in SEAMED else set[str]()
    samples = [*train, *filmed, *dev, *aimed]
    where = _Where(manifest.parent, models_dir, home, seed)
    store, patches = _read(samples, wanted, where, workers, progress, advance)
    faces = _of_blocks(_gather(train, store, blended=head == "swap"), BLOCKS[head])
    if faces.fake.all() or not faces.fake.any():
        found = f"found {int(faces.fake.sum())} fake of {len(faces.fake)}"
        raise ConfigError(f"{manifest}: training {head} needs faces of both kinds, {found}")

    progress(f"fitting {head} on {len(faces.fake)} faces")
    shrinkage, fit = SHRINKAGE[head], partial(_fit, head)
    line = fit(faces)
    seam, apart = None, np.zeros(len(faces.fake))
    if head in SEAMED:
        every = [*train, *filmed]
        labelled = _labelled(every, store, patches)
        apart = _apart(labelled, _parts(every, store, faces, seed), len(faces.fake), seed, progress)
        seam = seams.train_seam(labelled, np.arange(len(labelled.fake)), seed, progress)
        write_atomically(out.with_name(SEAM), seams.packed(seam))
    scores, alone = _left_out_scores(faces, fit, seed, progress)
    mixture = fit_mixture(scores, apart, faces.fake, _even_shares(faces))
    left_out = _left_out_tests(scores, alone, apart, mixture, faces, seed)
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
            *_calibrated(line, mixture),
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
    dev_tests = tuple(_judge_dev(head, line, seam, mixture, dev, store, patches, seed))
    return HeadReport(head, out, *counts, shrinkage, left_out, dev_tests, games)


def training_samples(head: str, pictures: Sequence[Picture], seed: int, limit: int | None = None) -> list[Sample]:
    """What to make of which pictures. Both heads read the genuine twins of the same pairs, so these are read once."""
    order = in_turn([p for p in pictures if p.split == "train"], seed)
    reals = [p for p in order if not p.fake and p.family == "real"][:limit]
    fakes = [p for p in order if p.fake and p.family in TRAIN_FAKES[head]][:limit]
    large = {source for source in {p.source for p in reals} if sum(p.source == source for p in reals) >= LARGE_SOURCE}
    pairs = [Sample(p, "pair", n) for n in range(COPIES) for p in reals if n == 0 or p.source not in large]
    return pairs + [Sample(p, "degraded") for p in fakes]


def filmed_samples(pairs: Sequence[Sample]) -> list[Sample]:
    """What the network learns from beside these pairs: the same faces, blended anew as other cameras would see them."""
    pictures = list(dict.fromkeys(sample.picture for sample in pairs if sample.kind == "pair"))
    counts = Counter(picture.source for picture in pictures)
    draws = {source: FILMED_LARGE if count >= LARGE_SOURCE else FILMED for source, count in counts.items()}
    return [Sample(p, "filmed", n) for n in range(FILMED) for p in pictures if n < draws[p.source]]


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


@dataclass(frozen=True, slots=True)
class _Where:
    """Where pictures and models lie, and the seed of what is made of them."""

    root: Path
    models: Path
    home: Path
    seed: int


def _read(
    samples: Sequence[Sample],
    wanted: Collection[str],
    where: _Where,
    workers: int,
    progress: Progress,
    advance: Advance,
) -> tuple[FeatureStore, PatchStore]:
    """The stores, with every sample in them: from the disk under `home/learn/`, or read now and kept there.

    `wanted`: keys of samples whose patches are kept too, all of them.
    """
    name = hashlib.sha256(f"{where.root.resolve()} {where.seed} {graphs.POOLED}".encode()).hexdigest()[:12]
    folder = where.home / "learn"
    store, patches = FeatureStore(folder / f"faces-{name}"), PatchStore(folder / f"patches-{name}")

    def known(sample: Sample) -> bool:
        return sample.key in store and (sample.key in patches or sample.key not in wanted)

    missing = list({sample.key: sample for sample in samples if not known(sample)}.values())
    if missing:
        reader = FaceReader(where.models, where.home, progress)  # fetches what is missing, before there are processes
        for done, (sample, looks) in enumerate(_all_looks(missing, where, reader, workers), 1):
            if sample.key in wanted:
                patches.keep(sample.key, [(tokens, crop.cells) for crop, _, tokens in looks])
            store.keep(sample.key, tuple(_kept(sample, twin, look, where.seed) for twin, look in enumerate(looks)))
            advance(done, len(missing))
        store.flush()
    return store, patches


def _all_looks(
    samples: Sequence[Sample], where: _Where, reader: FaceReader, workers: int
) -> Iterator[tuple[Sample, list[_Look]]]:
    """Each sample and what the encoder sees in its crops, in the order of the samples, by so many processes."""
    if workers < 2:
        for sample in samples:
            yield sample, _looks(sample, where, reader)
        return
    context = multiprocessing.get_context("spawn")  # the runtime's threads do not survive a fork
    with ProcessPoolExecutor(workers, context, _start_worker, (where,)) as pool:
        for start in range(0, len(samples), 64 * workers):  # what was read and not yet kept stays little
            batch = samples[start : start + 64 * workers]
            yield from zip(batch, pool.map(_looks_by_worker, batch), strict=True)


def _looks(sample: Sample, where: _Where, reader: FaceReader) -> list[_Look]:
    """What the encoder sees in each crop of a sample; nothing when there is no picture or no face in it.

    Of faces that the heat map is asked to point at, the blended twin alone is read.
    """
    image = read_image(where.root / sample.picture.file)
    found = None if image is None else reader.largest_face(image)
    if image is None or found is None:
        return []
    crops = crops_of(sample, image, found.box, found.landmarks, where.seed)
    return [(crop, *reader.read(crop.image)) for crop in crops if sample.part is None or crop.cells is not None]


def _kept(sample: Sample, twin: int, look: _Look, seed: int) -> Reading:
    """What is kept in memory of one crop: all patches of a face to point at, some of a pair, none of others."""
    crop, features, tokens = look
    if sample.part is not None and crop.cells is not None:
        at, inside = np.arange(len(tokens)), crop.cells.ravel().astype(np.float16)
    elif sample.kind == "pair":
        at, told = some_patches(crop.cells, np.random.default_rng(draw(f"patches {sample.key}", seed) + twin))
        inside = told.astype(np.float16)
    else:
        at, inside = np.zeros(0, np.intp), np.zeros(0, np.float16)
    return Reading(features.astype(np.float16), tokens[at].astype(np.float16), inside)


def _gather(samples: Sequence[Sample], store: FeatureStore, *, blended: bool = False) -> _Faces:
    """The rows of all samples in which a face was found; of a pair the second is the blended one, if wanted."""
    rows = [(s, twin, r) for s in samples for twin, r in enumerate(store[s.key]) if blended or twin == 0]
    return _Faces(
        np.stack([r.features for *_, r in rows]).astype(np.float32)
        if rows
        else np.zeros((0, graphs.POOLED_COUNT), np.float32),
        np.array([s.picture.fake or twin == 1 for s, twin, _ in rows], bool),
        np.array([s.picture.source for s, *_ in rows], str),
        np.array([s.picture.file for s, *_ in rows], str),
    )


_worker: tuple[_Where, FaceReader] | None = None
"""What a process that reads pictures was started with."""


def _start_worker(where: _Where) -> None:
    global _worker
    cv2.setNumThreads(1)
    _worker = where, FaceReader(where.models, where.home)


def _looks_by_worker(sample: Sample) -> list[_Look]:
    assert _worker is not None
    return _looks(sample, *_worker)


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


def _labelled(samples: Sequence[Sample], store: FeatureStore, patches: PatchStore) -> seams.Labelled:
    """The same crops as `_gather` gives of pairs, in the same order, for the network over patches."""
    at = [(sample.key, twin) for sample in samples for twin in range(len(store[sample.key]))]

    def crops(rows: NDArray[np.intp]) -> NDArray[np.float16]:
        return np.stack([patches.crop(*at[row])[:, :-1] for row in rows])

    cells = np.zeros((len(at), PATCHES), np.float32)
    for row, (key, twin) in enumerate(at):
        cells[row] = patches.crop(key, twin)[:, -1]
    return seams.Labelled(crops, cells, np.array([twin == 1 for _, twin in at], bool))


def _parts(samples: Sequence[Sample], store: FeatureStore, faces: _Faces, seed: int) -> NDArray[np.intp]:
    """Which of SEAM_FOLDS parts each crop of these samples falls into: all of a source in one, of the largest source
    (more than half of the faces) all of a picture."""
    names, counts = np.unique(faces.sources, return_counts=True)
    large = set(names[2 * counts > len(faces.sources)])
    named = [s.picture.file if s.picture.source in large else s.picture.source for s in samples]
    parts = [draw(name, seed) % SEAM_FOLDS for name in named]
    if len(set(parts)) == 1:  # few sources, and all of them drawn into one part
        parts = [draw(s.picture.file, seed) % SEAM_FOLDS for s in samples]
    return np.repeat(parts, [len(store[s.key]) for s in samples])


def _apart(labelled: seams.Labelled, folds: NDArray[np.intp], asked: int, seed: int, progress: Progress) -> Vector:
    """What networks say of the first crops, so many as are `asked` about, that have seen nothing of a crop's part."""
    told = np.zeros(asked)
    for fold in range(SEAM_FOLDS):
        rows = folds == fold
        if rows.any() and not rows.all():
            progress(f"seam head without part {fold + 1} of {SEAM_FOLDS}")
            weights = seams.train_seam(labelled, np.flatnonzero(~rows), seed, progress)
            told[rows[:asked]] = seams.logits(weights, labelled.crops, np.flatnonzero(rows[:asked]))
    return told


def _left_out_scores(
    faces: _Faces, fit: Callable[[_Faces], Line], seed: int, progress: Progress
) -> tuple[Vector, dict[str, tuple[Labels, Vector]]]:
    """What lines say of rows that they have not seen: of each row, and by source (rows, and a score for each of them).

    A source that cannot be left out, since nothing or little would remain, is scored by heads that did not see the
    picture. Where a source holds reals alone it is compared with a fifth of the fakes, which is left out as well.
    """
    folds = np.array([draw(picture, seed) % FOLDS for picture in faces.pictures])
    scores = np.zeros(len(folds))
    for fold in range(FOLDS):
        rows = folds == fold
        scores[rows] = fit(faces[~rows])(faces.features[rows])
    every = np.ones(len(folds), bool)
    alone = {PICTURES_LEFT_OUT: (every, scores.copy())}
    for name, group in _source_groups(faces).items():
        progress(f"leaving out {name}")
        rows = group if faces.fake[group].any() else group | (faces.fake & (folds == 0))
        if not faces.fake[~rows].any() or faces.fake[~rows].all() or faces.fake[rows].all():
            continue
        told = fit(faces[~rows])(faces.features[rows])
        alone[name] = rows, told
        if group.mean() <= 0.5:
            scores[group] = told[group[rows]]
    return scores, alone


def _left_out_tests(
    scores: Vector,
    alone: dict[str, tuple[Labels, Vector]],
    apart: Vector,
    mixture: Mixture,
    faces: _Faces,
    seed: int,
) -> tuple[HeldOut, ...]:
    """How well rows are judged by heads that have not seen them: by source, and all that were left out together."""
    tests = [_test(name, mixture(told, apart[rows]), faces[rows], seed) for name, (rows, told) in alone.items()]
    groups = _source_groups(faces)
    every = np.zeros(len(scores), bool)
    for name in alone:
        if name in groups and groups[name].mean() <= 0.5:
            every |= groups[name]
    if every.any() and not faces.fake[every].any():
        every |= faces.fake
    if every.any():
        together = "these together, but for the largest (interval over sources)"
        tests.append(_test(together, mixture(scores[every], apart[every]), faces[every], seed, by_source=True))
    return tuple(tests)


def _judge_dev(
    head: str,
    line: Line,
    seam: SeamWeights | None,
    mixture: Mixture,
    samples: Sequence[Sample],
    store: FeatureStore,
    patches: PatchStore,
    seed: int,
) -> Iterator[HeldOut]:
    for kind, told in (("plain", "as they are"), ("levelled", "one size and codec")):
        chosen = [sample for sample in samples if sample.kind == kind]
        faces = _gather(chosen, store)
        if faces.fake.any() and not faces.fake.all():
            apart = np.zeros(len(faces.fake))
            if seam is not None:
                labelled = _labelled(chosen, store, patches)
                apart = seams.logits(seam, labelled.crops, np.arange(len(apart))).astype(np.float64)
            probabilities = sigmoid(mixture(line(faces.features), apart))
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
        HeadFile("heat", graphs.PATCH_FEATURES, *_folded(line, *curve), {**counts, **about, "probability": told}),
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


def _calibrated(line: Line, mixture: Mixture) -> tuple[float, list[float]]:
    """Bias and weights of what heads read: of the pooled features by the line, and of the network's answer."""
    bias, weights = _folded(line, mixture.line, mixture.bias)
    return bias, [*weights, _seven(mixture.seam)]


def _folded(line: Line, a: float, b: float) -> tuple[float, list[float]]:
    """Bias and weights of a · line + b."""
    return _seven(a * line.bias + b), [_seven(w) for w in a * line.weight]


def _seven(number: float) -> float:
    """Seven digits: what a 32-bit float holds."""
    return float(f"{number:.7g}")


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
