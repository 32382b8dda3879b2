"""`unmask evaluate`: a manifest of labelled files through the real stages, and what the signals were worth.

The files go through fetch, decode, detect and fuse as on the stream; every score is kept, with its label, so that what
is computed here can be computed again. Each item's result is written down as it comes, so a run that was ended goes on
where it stopped.
"""

from __future__ import annotations

import asyncio
import csv
import dataclasses
import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import monotonic

import cv2
import msgspec
import numpy as np
import psutil  # type: ignore[import-untyped]
from msgspec import structs

from pipeline.calibration import Calibration
from pipeline.errors import ConfigError
from pipeline.events import MediaDecided
from pipeline.events.values import Family, MediaKind, Signal
from pipeline.fuse import calibrated
from pipeline.learn.alter import ALTERATIONS, alter
from pipeline.learn.calibrate import LEAST, calibrate, calibration_error, platt
from pipeline.learn.makers import MAKERS, TWINS
from pipeline.learn.manifest import SOUNDS, STILLS
from pipeline.learn.measure import Quality, Trust, quality, trust
from pipeline.learn.scores import LOOKED_FOR_BY, Level, ScoreRow, of_family, write_scores
from pipeline.local import judging
from pipeline.match.pdq import LEAST_QUALITY, distance, pdq
from pipeline.models.sources import sha256_of
from pipeline.policy.rules import Policy
from pipeline.settings import Settings

SEEN = "train"
"""The value of a manifest's `split` for files that heads were trained on."""
NEAR = 31
"""PDQ distance up to which two pictures are near-duplicates: what its authors recommend."""
WORST = 6
REFIT = 200
"""Items of its own that a platform is expected to label."""
_REFITS = 50
COST_ITEMS = 5
_COARSER = 5
"""The intervals of tables by source, kind and alteration rest on so many times fewer draws than the headline."""


@dataclass(frozen=True, slots=True)
class Item:
    """One file to judge. `made`: its kind of manipulation, empty for genuine. `of`: the file that it is a copy of."""

    file: str
    path: Path
    fake: bool
    made: str
    source: str
    split: str
    variant: str = ""

    @property
    def key(self) -> str:
        """What its result is stored under."""
        return f"{self.variant}:{self.file}" if self.variant else self.file


@dataclass(frozen=True, slots=True)
class Refitted:
    """The calibration error on the rest of a source of a curve that was fitted to `items` of its own: the mean over
    draws, and what one draw in twenty exceeds."""

    items: int
    rest: int
    mean: float
    high: float


@dataclass(frozen=True, slots=True)
class SourceResult:
    """One source. `area` is against the other label of all sources where this one holds one label only."""

    source: str
    real: int
    fake: int
    quality: Quality | None
    flagged: float
    abstained: float
    error_left_out: float | None
    error_refitted: Refitted | None = None


@dataclass(frozen=True, slots=True)
class Mistake:
    """An item on the wrong side: a genuine one with a high probability, or a manipulated one with a low one."""

    file: str
    fake: bool
    source: str
    probability: float
    evidence: str


@dataclass(frozen=True, slots=True)
class FamilyResult:
    """What one family's signal was worth. `unscored`: items without a score, by status."""

    family: Family
    upload: Quality | None
    frame: Quality | None
    trust: Trust | None
    advisory: bool
    unscored: tuple[tuple[str, int], ...]
    sources: tuple[SourceResult, ...]
    kinds: tuple[tuple[str, Quality], ...]
    robustness: tuple[tuple[str, Quality], ...]
    worst: tuple[Mistake, ...]


@dataclass(frozen=True, slots=True)
class Cost:
    """What judging one upload of a kind costs, alone: medians, least and most, over `count` uploads."""

    kind: str
    count: int
    cpu: tuple[float, float, float]
    seconds: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All that one run measured."""

    items: int
    failed: tuple[tuple[str, str], ...]
    families: tuple[FamilyResult, ...]
    costs: tuple[Cost, ...]
    warnings: tuple[str, ...]
    detectors: tuple[str, ...]
    policy: str
    calibration: str
    seconds: float
    notes: tuple[str, ...] = field(default=())


def read_items(
    manifest: Path, splits: Sequence[str] = (), families: Sequence[str] = (), most: int | None = None, seed: int = 0
) -> tuple[Item, ...]:
    """The items of a manifest: a CSV with file, label and family, and, if any, group or source, and split.

    Args:
        manifest: files lie relative to its folder.
        splits: only these values of `split`; all when empty.
        families: only these kinds of manipulation, and what is genuine; all when empty.
        most: of each label, kind and source at most so many, drawn by `seed`.
        seed: for the draw.

    Raises:
        ConfigError: no such file, a column is missing, a label is odd, or nothing is left.
    """
    try:
        with manifest.open(newline="", encoding="utf-8") as stream:
            table = csv.DictReader(stream)
            if missing := {"file", "label", "family"} - set(table.fieldnames or ()):
                raise ConfigError(f"{manifest}: no column {', '.join(sorted(missing))}")
            items = [_item(line, manifest, table.line_num) for line in table]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{manifest}: cannot be read: {error}") from None
    chosen = [
        item
        for item in items
        if (not splits or item.split in splits) and (not families or not item.fake or item.made in families)
    ]
    if most is not None:
        chosen = list(_thinned(chosen, most, seed))
    if not chosen:
        raise ConfigError(f"{manifest}: nothing is left of {len(items)} files; there are the splits {_known(items)}")
    if absent := [item.file for item in chosen if not item.path.is_file()]:
        raise ConfigError(f"{manifest}: {len(absent)} files are not there, the first is {absent[0]}")
    return tuple(chosen)


def _item(line: Mapping[str, str | None], manifest: Path, number: int) -> Item:
    label = (line["label"] or "").lower()
    if label not in {"real", "fake"}:
        raise ConfigError(f"{manifest}, line {number}: the label is real or fake, not {label!r}")
    name = line["file"] or ""
    return Item(
        file=name,
        path=(manifest.parent / name).resolve(),  # links are the manifest's own; nothing behind one is read otherwise
        fake=label == "fake",
        made=(line["family"] or "") if label == "fake" else "",
        source=line.get("group") or (line.get("source") or "").partition(":")[0] or "unknown",
        split=line.get("split") or "",
    )


def _known(items: Iterable[Item]) -> str:
    return ", ".join(sorted({item.split or "none" for item in items}))


def _thinned(items: Sequence[Item], most: int, seed: int) -> Iterator[Item]:
    taken: Counter[tuple[bool, str, str]] = Counter()
    for item in sorted(items, key=lambda i: hashlib.sha256(f"{seed} {i.file}".encode()).digest()):
        taken[item.fake, item.made, item.source] += 1
        if taken[item.fake, item.made, item.source] <= most:
            yield item


def altered(
    items: Sequence[Item], names: Sequence[str], folder: Path, most: int, progress: Callable[[str], None]
) -> tuple[Item, ...]:
    """Copies of some items, altered in each of the ways: at most `most` of each label and kind."""
    folder.mkdir(parents=True, exist_ok=True)
    taken: Counter[tuple[bool, str, bool]] = Counter()
    copies = []
    for item in items:
        group = (item.fake, item.made, item.path.suffix.lower() in STILLS)
        if taken[group] >= most:
            continue
        taken[group] += 1
        for name in names:
            place = folder / hashlib.sha256(item.file.encode()).hexdigest()[:12]
            place.mkdir(exist_ok=True)
            known = next(place.glob(f"*.{name}.*"), None)
            copy = known or alter(item.path, name, place)
            if copy is not None:
                copies.append(Item(item.file, copy, item.fake, item.made, item.source, item.split, variant=name))
        progress(f"altering {item.file}")
    return tuple(copies)


def made_copies(
    items: Sequence[Item], folder: Path, most: int, seed: int, progress: Callable[[str], None]
) -> tuple[Item, ...]:
    """Genuine files, manipulated in every way that needs nobody's face but their own: at most `most` of each kind.

    Videos with a changed face come with genuine twins, so many again, that were cut and encoded alike.
    """
    folder.mkdir(parents=True, exist_ok=True)
    taken: Counter[str] = Counter()
    copies = []
    for item in (item for item in items if not item.fake):
        for kind, make in {**MAKERS, **TWINS}.items():
            if taken[kind] >= most:
                continue
            name = hashlib.sha256(f"{seed} {kind} {item.file}".encode())
            known = next(folder.glob(f"{name.hexdigest()[:16]}.*"), None)
            copy = known or make(item.path, folder / name.hexdigest()[:16], int.from_bytes(name.digest()[:4]))
            if copy is not None:
                taken[kind] += 1
                made = "" if kind in TWINS else kind
                copies.append(Item(f"{kind} of {item.file}", copy, bool(made), made, item.source, item.split))
                progress(f"making {kind} of {item.file}")
    return tuple(copies)


class _Result(msgspec.Struct, frozen=True):
    """One line of the file of results. `pooling`: how scores were pooled, which a new calibration leaves alone."""

    key: str
    sha: str
    pooling: str
    decided: MediaDecided


async def run(
    items: Sequence[Item],
    settings: Settings,
    policy: Policy,
    work: Path,
    on_done: Callable[[str], None] = lambda _: None,
) -> dict[str, MediaDecided]:
    """Judge all items, or take their results from `work/results.jsonl` when the same detectors judged the same bytes.

    A new calibration needs no new judging: what scores mean by it is worked out from the pooled scores.

    Returns:
        decisions by `Item.key`.
    """
    pooling = _pooling(policy)
    store = work / "results.jsonl"
    every_score = _with_all_scores(policy)
    known = _known_results(store)
    results: dict[str, MediaDecided] = {}
    async with judging(settings, every_score, sorted({item.path.parent for item in items})) as (judge, versions):
        places = asyncio.Semaphore(settings.concurrency)
        with store.open("ab") as lines:

            async def one(item: Item) -> None:
                sha = await asyncio.to_thread(sha256_of, item.path)
                earlier = known.get(item.key)
                if (
                    earlier is not None
                    and (earlier.sha, earlier.pooling) == (sha, pooling)
                    and _same(earlier, versions)
                ):
                    results[item.key] = _recalibrated(earlier.decided, policy)
                else:
                    async with places:
                        done = await judge(item.path)
                    lines.write(msgspec.json.encode(_Result(item.key, sha, pooling, done.decided)) + b"\n")
                    lines.flush()
                    results[item.key] = done.decided
                on_done(item.key)

            await asyncio.gather(*map(one, items))
    return results


def _pooling(policy: Policy) -> str:
    fusion = policy.fusion
    told = [(str(f), how.top_share, how.looks, how.min_coverage) for f, how in sorted(fusion.families.items())]
    told.append(("default", fusion.default.top_share, fusion.default.looks, fusion.default.min_coverage))
    return hashlib.sha256(repr(told).encode()).hexdigest()[:12]


def _same(earlier: _Result, versions: Sequence[str]) -> bool:
    """Whether the same detectors judged it, whatever the calibration was."""
    mine, theirs = (
        {v for v in each if not v.startswith("fusion@")} for each in (versions, earlier.decided.versions.detectors)
    )
    return mine == theirs


def _recalibrated(decided: MediaDecided, policy: Policy) -> MediaDecided:
    return structs.replace(
        decided,
        signals=tuple(calibrated(signal, policy.fused, decided.facts) for signal in decided.signals),
        shadow=tuple(calibrated(signal, policy.fused, decided.facts) for signal in decided.shadow),
    )


def _with_all_scores(policy: Policy) -> Policy:
    """The same policy, which keeps a hundred scores per signal instead of the strongest few."""
    fusion = structs.replace(policy.fusion, evidence=100)
    file = structs.replace(policy.file, fusion=fusion)
    return dataclasses.replace(policy, file=file, fused=structs.replace(policy.fused, fusion=fusion))


def _known_results(store: Path) -> dict[str, _Result]:
    if not store.is_file():
        return {}
    found: dict[str, _Result] = {}
    for line in store.read_bytes().splitlines():
        try:
            result = msgspec.json.decode(line, type=_Result)
        except msgspec.DecodeError:
            continue  # the run was ended in the middle of a line, or wrote an older form: judged again
        found[result.key] = result
    return found


def rows_of(items: Sequence[Item], results: Mapping[str, MediaDecided]) -> tuple[ScoreRow, ...]:
    """A row per item and signal, and one per frame or stretch that the signal has evidence of."""
    return tuple(row for item in items if item.key in results for row in _rows(item, results[item.key]))


def _rows(item: Item, decided: MediaDecided) -> Iterator[ScoreRow]:
    facts = decided.facts
    codec = next((t.codec for t in facts.tracks if t.kind == "video"), facts.container) if facts else ""
    side = min(facts.width or 0, facts.height or 0) if facts else 0
    kind = facts.kind.value if facts else ""

    def row(signal: Signal, level: Level, score: float | None, **more: float | None) -> ScoreRow:
        return ScoreRow(
            file=item.file,
            fake=item.fake,
            made=item.made,
            source=item.source,
            signal=signal.family,
            level=level,
            status=signal.status.value,
            score=score,
            probability=more.get("probability"),
            low=more.get("low"),
            high=more.get("high"),
            at=more.get("at"),
            kind=kind,
            codec=codec,
            side=side,
            variant=item.variant,
            fold=item.split,
        )

    for signal in (*decided.signals, *decided.shadow):
        yield row(signal, Level.UPLOAD, signal.pooled, probability=signal.probability, low=signal.low, high=signal.high)
        for evidence in signal.evidence:
            yield row(signal, Level.FRAME, evidence.score, at=evidence.at)


def summarise(
    results: Mapping[str, MediaDecided],
    rows: Sequence[ScoreRow],
    policy: Policy,
    *,
    seed: int = 0,
    rounds: int = 1000,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[FamilyResult, ...]:
    """What each family's signal was worth, of those that any item was scored for."""
    found = []
    for family in Family:
        mine = [row for row in rows if row.signal is family]
        if not any(row.score is not None for row in mine):
            continue
        progress(f"measuring {family.value}")
        found.append(_family(family, mine, policy, results, seed, rounds))
    return tuple(found)


def _family(
    family: Family,
    rows: Sequence[ScoreRow],
    policy: Policy,
    results: Mapping[str, MediaDecided],
    seed: int,
    rounds: int,
) -> FamilyResult:
    uploads = of_family(rows, family)
    band = policy.fused.abstain(family)
    low, high = (band.low, band.high) if band else (policy.fused.suspicion(family),) * 2
    said = [row for row in uploads if row.probability is not None]
    silent = Counter(
        row.status for row in rows if row.level is Level.UPLOAD and row.counts and row.score is None and not row.variant
    )
    few = max(1, rounds // _COARSER)
    return FamilyResult(
        family=family,
        upload=_quality(uploads, seed, rounds),
        frame=_quality(of_family(rows, family, Level.FRAME), seed, rounds),
        trust=trust(*_said(said), low, high) if said else None,
        advisory=policy.fused.advisory(family),
        unscored=tuple(sorted(silent.items())),
        sources=tuple(
            _source(name, uploads, low, high, policy.fused.calibration, seed, few) for name in _sources(uploads)
        ),
        kinds=tuple(_by(uploads, lambda row: row.made, seed, few)),
        robustness=tuple(_robustness(rows, seed, few)),
        worst=_worst(said, results, family, high),
    )


def _robustness(rows: Sequence[ScoreRow], seed: int, rounds: int) -> Iterator[tuple[str, Quality]]:
    """Per kind of media the uploads that were altered: as they are, and as each alteration left them.

    Pictures and videos are altered in different ways, so each is compared with itself.
    """
    uploads = [row for row in rows if row.level is Level.UPLOAD and row.counts and row.score is not None]
    altered_files = {row.file for row in rows if row.variant}
    for kind in sorted({row.kind for row in uploads if row.variant}):
        mine = [row for row in uploads if row.kind == kind and row.file in altered_files]
        for variant in sorted({row.variant for row in mine}):
            found = _quality([row for row in mine if row.variant == variant], seed, rounds)
            if found is not None:
                yield variant or f"{kind}, as it is", found


def _by(
    rows: Sequence[ScoreRow], name: Callable[[ScoreRow], str], seed: int, rounds: int
) -> Iterator[tuple[str, Quality]]:
    """Each kind of manipulation against all that is genuine."""
    reals = [row for row in rows if not row.fake]
    for each in sorted({name(row) for row in rows if row.fake}):
        found = _quality([*reals, *(row for row in rows if row.fake and name(row) == each)], seed, rounds)
        if found is not None:
            yield each, found


def _sources(rows: Sequence[ScoreRow]) -> list[str]:
    return [name for name, _ in Counter(row.source for row in rows).most_common()]


def _source(
    name: str,
    rows: Sequence[ScoreRow],
    low: float,
    high: float,
    calibration: Calibration,
    seed: int,
    rounds: int,
) -> SourceResult:
    mine = [row for row in rows if row.source == name]
    kinds = {row.fake for row in mine}
    against = mine if len(kinds) == 2 else [*mine, *(row for row in rows if row.fake not in kinds)]
    said = [row.probability for row in mine if row.probability is not None]
    return SourceResult(
        source=name,
        real=sum(not row.fake for row in mine),
        fake=sum(row.fake for row in mine),
        quality=_quality(against, seed, rounds) if len(mine) >= LEAST else None,
        flagged=float(np.mean([p >= high for p in said])) if said else 0.0,
        abstained=float(np.mean([low <= p < high for p in said])) if said else 0.0,
        error_left_out=_error_left_out(name, rows, calibration),
        error_refitted=_error_refitted(mine, seed),
    )


def _error_left_out(name: str, rows: Sequence[ScoreRow], calibration: Calibration) -> float | None:
    """The calibration error on this source of a curve that was fitted to all others."""
    mine, others = [r for r in rows if r.source == name], [r for r in rows if r.source != name]
    if len(mine) < 2 * LEAST or len({row.fake for row in mine}) < 2:
        return None
    try:
        fitted, _ = calibrate(others, structs.replace(calibration, families={}), name="left-out")
    except ConfigError:
        return None
    curve = fitted.families[rows[0].signal].curve
    probabilities = np.array([curve(row.score or 0.0) for row in mine])
    return calibration_error(probabilities, np.array([row.fake for row in mine]), np.ones(len(mine)))


def _error_refitted(mine: Sequence[ScoreRow], seed: int) -> Refitted | None:
    """What a platform gets that calibrates on its own traffic: up to 200 items, and a third of them at least is kept
    to measure by."""
    files = sorted({row.file for row in mine})
    items = min(REFIT, 2 * len(files) // 3)
    if items < 4 * LEAST:
        return None
    scores, fake = np.array([row.score or 0.0 for row in mine]), np.array([row.fake for row in mine])
    rng, errors = np.random.default_rng(seed), []
    for _ in range(_REFITS):
        ours = np.isin([row.file for row in mine], rng.permutation(files)[:items])
        if min(np.bincount(fake[ours].astype(int), minlength=2).min(), (~ours).sum()) < LEAST:
            continue
        curve = platt(scores[ours], fake[ours], np.ones(int(ours.sum())))
        told = np.array([curve(float(score)) for score in scores[~ours]])
        errors.append(calibration_error(told, fake[~ours], np.ones(len(told))))
    if not errors:
        return None
    return Refitted(items, len(files) - items, float(np.mean(errors)), float(np.quantile(errors, 0.95)))


def _worst(
    rows: Sequence[ScoreRow], results: Mapping[str, MediaDecided], family: Family, high: float
) -> tuple[Mistake, ...]:
    """The genuine items with the highest probabilities and the manipulated ones with the lowest."""
    reals = sorted((r for r in rows if not r.fake), key=lambda r: -(r.probability or 0.0))[:WORST]
    fakes = sorted((r for r in rows if r.fake), key=lambda r: r.probability or 0.0)[:WORST]
    wrong = [r for r in reals if (r.probability or 0) >= high] + [r for r in fakes if (r.probability or 0) < high]
    return tuple(
        Mistake(row.file, row.fake, row.source, row.probability or 0.0, _told(results.get(row.file), family))
        for row in wrong
    )


def _told(decided: MediaDecided | None, family: Family) -> str:
    signal = next((s for s in decided.signals if s.family is family), None) if decided else None
    return "; ".join(e.note for e in signal.evidence[:2] if e.note) if signal else ""


def _quality(rows: Sequence[ScoreRow], seed: int, rounds: int) -> Quality | None:
    if not rows:
        return None
    scores = np.array([row.score for row in rows], np.float64)
    return quality(scores, np.array([row.fake for row in rows]), [row.file for row in rows], seed, rounds)


def _said(rows: Sequence[ScoreRow]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([row.probability for row in rows], np.float64), np.array([row.fake for row in rows])


def failures(items: Sequence[Item], results: Mapping[str, MediaDecided]) -> tuple[tuple[str, str], ...]:
    """The items that could not be screened, by key, and why."""
    missed = ((item.key, found.failure) for item in items if (found := results.get(item.key)))
    return tuple(sorted((key, why.detail or why.reason) for key, why in missed if why))


def warnings_of(
    items: Sequence[Item],
    failed: Sequence[tuple[str, str]],
    rows: Sequence[ScoreRow],
    near: Sequence[tuple[str, str, int]],
) -> Iterator[str]:
    """What makes the figures look better than they are. `failed`: as `failures` gives it."""
    if failed:
        first, why = failed[0]
        yield (
            f"{len(failed)} of {len(items)} items could not be screened and are counted nowhere, the first of them "
            f"{first}: {why}"
        )
    labels: dict[str, set[bool]] = defaultdict(set)
    for item in items:
        labels[item.source].add(item.fake)
    alone = sorted(source for source, kinds in labels.items() if len(kinds) == 1)
    if alone and len(labels) > 1:
        few = ", ".join(alone[:4]) + (f" and {len(alone) - 4} more" if len(alone) > 4 else "")
        yield (
            f"{len(alone)} of {len(labels)} sources hold one label only ({few}): size, codec and camera may give the "
            "label away, and the areas may measure that"
        )
    if seen := sum(item.split == SEEN for item in items):
        yield f"{seen} of {len(items)} items are of the split “{SEEN}”: heads may have been trained on them"
    if near:
        yield (
            f"{len(near)} items are near-duplicates of training files (PDQ ≤ {NEAR}), for example {near[0][0]} of "
            f"{near[0][1]}"
        )
    for family in Family:
        fakes = [row for row in of_family(rows, family) if row.fake]
        if 0 < len(fakes) < LEAST:
            yield f"{family.value}: only {len(fakes)} manipulated items: the figures are anecdotes"
    kinds = {item.made for item in items if item.fake}
    if unknown := sorted(kind for kind in kinds if kind not in LOOKED_FOR_BY):
        yield f"no detector is counted as looking for: {', '.join(unknown)}"


def near_duplicates(
    results: Mapping[str, MediaDecided], training: Sequence[Item], progress: Callable[[str], None]
) -> tuple[tuple[str, str, int], ...]:
    """(item, training file, PDQ distance) of items that look like something that heads were trained on."""
    known: list[tuple[str, bytes]] = []
    for number, item in enumerate(training):
        if item.path.suffix.lower() not in STILLS:
            continue
        image = cv2.imread(str(item.path), cv2.IMREAD_COLOR)
        if image is not None:
            code, good = pdq(np.ascontiguousarray(image[..., ::-1]))
            if good >= LEAST_QUALITY:
                known.append((item.file, code))
        if number % 200 == 0:
            progress(f"looking for near-duplicates of {number} of {len(training)} training files")
    if not known:
        return ()
    table = np.array([np.frombuffer(code, np.uint8) for _, code in known])
    found = []
    for key, decided in results.items():
        for seen in decided.hashes:
            if seen.quality < LEAST_QUALITY:
                continue
            apart = np.bitwise_count(table ^ np.frombuffer(seen.pdq, np.uint8)).sum(axis=1)
            best = int(apart.argmin())
            if apart[best] <= NEAR and known[best][0] != key:
                found.append((key, known[best][0], distance(seen.pdq, known[best][1])))
                break
    return tuple(found)


async def costs(items: Sequence[Item], settings: Settings, policy: Policy) -> tuple[Cost, ...]:
    """CPU and wall seconds of judging one upload after another, everything on this machine included.

    The CPU time is that of this process and all below it: the decoder's children, and the inference server when it was
    started here (else its share is missing).
    """
    by_kind: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        if not item.variant:
            by_kind[_kind(item.path)].append(item)
    found = []
    async with judging(settings, policy, sorted({item.path.parent for item in items})) as (judge, _):
        for kind, all_of_kind in sorted(by_kind.items()):
            chosen = all_of_kind[: COST_ITEMS + 1]
            used, took = [], []
            for item in chosen:
                before, start = _cpu(), monotonic()
                await judge(item.path)
                took.append(monotonic() - start)
                used.append(_cpu() - before)
            # The first warms up caches and connections.
            used, took = (used[1:], took[1:]) if len(used) > 1 else (used, took)
            found.append(Cost(kind, len(used), _spread(used), _spread(took)))
    return tuple(found)


def _kind(path: Path) -> str:
    suffix = path.suffix.lower()
    return MediaKind.IMAGE if suffix in STILLS else MediaKind.AUDIO if suffix in SOUNDS else MediaKind.VIDEO


def _spread(values: Sequence[float]) -> tuple[float, float, float]:
    return (round(median(values), 3), round(min(values), 3), round(max(values), 3))


def _cpu() -> float:
    """CPU seconds of this process and everything below it so far."""
    this = psutil.Process()
    total = 0.0
    for process in (this, *this.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:  # it ended meanwhile; its parent has its time
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


@dataclass(frozen=True, slots=True)
class Options:
    """What to judge and where to write it. `made`, `robustness`: how many copies of each kind."""

    manifest: Path
    output: Path
    training: Path
    splits: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    most: int | None = None
    made: int = 0
    robustness: int = 0
    seed: int = 0
    rounds: int = 1000


async def evaluate(
    options: Options, settings: Settings, policy: Policy, on_step: Callable[[str, int, int], None]
) -> Evaluation:
    """Judge, measure and write `evaluation.html`, `evaluation.json` and `scores.csv` into the output folder.

    `on_step`: (what, done, of) as it goes; `of` is 0 where nobody knows. Raises ConfigError.
    """
    from pipeline.learn.page import page  # drawing is loaded for those who draw

    started = monotonic()
    options.output.mkdir(parents=True, exist_ok=True)

    def step(what: str) -> None:
        on_step(what, 0, 0)

    items = await asyncio.to_thread(_all_items, options, step)
    counted = 0

    def judged(name: str) -> None:
        nonlocal counted
        counted += 1
        on_step(name.rpartition("/")[2], counted, len(items))

    results = await run(items, settings, policy, options.output, judged)
    step("measuring cost")
    spent = await costs(items, settings, policy)

    def measure() -> Evaluation:
        rows = rows_of(items, results)
        training = [item for item in _training(options) if item.split == SEEN]
        kept = {item.key for item in items if not item.variant and item.split != SEEN}
        near = near_duplicates({key: found for key, found in results.items() if key in kept}, training, step)
        families = summarise(results, rows, policy, seed=options.seed, rounds=options.rounds, progress=step)
        failed = failures(items, results)
        found = Evaluation(
            items=len(items),
            failed=failed,
            families=families,
            costs=spent,
            warnings=tuple(warnings_of(items, failed, rows, near)),
            detectors=next((d.versions.detectors for d in results.values() if d.versions.detectors), ()),
            policy=policy.version,
            calibration=f"{policy.fused.calibration.name} ({policy.fusion_version})",
            seconds=monotonic() - started,
        )
        write_scores(options.output / "scores.csv", rows)
        (options.output / "evaluation.json").write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1))
        (options.output / "evaluation.html").write_text(page(found, rows, items, "What the signals are worth"), "utf-8")
        return found

    return await asyncio.to_thread(measure)


def _all_items(options: Options, step: Callable[[str], None]) -> tuple[Item, ...]:
    """The manifest's files, manipulated copies of genuine ones, and altered copies of all."""
    items = read_items(options.manifest, options.splits, options.families, options.most, options.seed)
    folder = options.output / "copies"
    copies = made_copies(items, folder / "made", options.made, options.seed, step) if options.made else ()
    both = (*items, *copies)
    if not options.robustness:
        return both
    return (*both, *altered(both, ALTERATIONS, folder / "altered", options.robustness, step))


def _training(options: Options) -> tuple[Item, ...]:
    return read_items(options.training)
