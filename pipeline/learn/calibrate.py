"""From scores and labels to a calibration file: curves, bands of doubt, and what is only a hint.

Per family a Platt or an isotonic curve, whichever is the better calibrated on items that it was not fitted to; a curve
per kind of media where there are enough items of both labels; a band of doubt by conformal prediction, for items of new
sources where enough sources are named; and the error of calibration that was measured, as the margin.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from msgspec import structs
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from pipeline.calibration import (
    AnyCurve,
    Band,
    Calibration,
    FamilyCalibration,
    Isotonic,
    Platt,
    Stratum,
    Unit,
    scores_at,
)
from pipeline.detect.closer import LookCloser
from pipeline.errors import ConfigError
from pipeline.events.values import Family, MediaFacts, MediaKind, TrackFacts
from pipeline.learn.heads import auc_with_interval, fit_platt
from pipeline.learn.scores import ScoreRow, of_family

Shares = NDArray[np.float64]
Labels = NDArray[np.bool_]
Names = NDArray[np.str_]

LEAST = 10
"""Fewer items of a label than this say too little: the family, or stratum, is left as it is."""
LEAST_IN_STRATUM = 40
ISOTONIC_FROM = 500
"""Fewer items and an isotonic curve follows their noise (Niculescu-Mizil and Caruana, 2005, found about a thousand)."""
NEAR_CHANCE = 0.6
"""A family whose area under the curve may as well be less than this, by its 95 % interval, is only a hint."""
BINS = 10
FILE_FOLDS = 5
SOURCE_FOLDS = 20
"""Sources are left out one by one, or, of many, in so many groups."""
_SIDES = (480, 1080)
_EDGE = 1e-6


@dataclass(frozen=True, slots=True)
class Fitted:
    """What came of one family, for people: the errors and shares are measured on items that were held out.

    `false_positives`: genuine items above a band that was made without their source (by items: above the band);
    `sources_above`: sources with any such. `sources_needed`: of genuine items, for a band by sources. `kinds_short`: of
    media that have too few of them for a promise of their own.
    """

    family: Family
    calibration: FamilyCalibration
    error_before: float
    error_after: float
    abstained: float
    false_positives: float
    missed: float
    sources_above: int = 0
    sources_needed: int = 0
    kinds_short: tuple[MediaKind, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Kind:
    """A kind of media, or all: which rows are of it, and the share of manipulated ones that its curve is meant for."""

    stratum: Stratum | None
    inside: Labels
    share: float


def calibrate(
    rows: Sequence[ScoreRow],
    base: Calibration,
    *,
    name: str,
    error_rate: float = 0.05,
    miss_rate: float | None = None,
    odds: float | None = None,
    by: Unit | None = None,
    seed: int = 0,
) -> tuple[Calibration, tuple[Fitted, ...]]:
    """A calibration from `rows`; families for which they say too little keep what `base` says.

    Args:
        rows: as `unmask evaluate` writes them. Rows without a source count as one source together.
        base: what is kept where nothing is known.
        name: of the new calibration.
        error_rate: of genuine items at most this share shall lie above the band of doubt.
        miss_rate: of manipulated items at most this share shall lie below it; `error_rate` when None. The smaller, the
            more genuine items are in doubt, and somebody has to look at them.
        odds: the share of manipulated items that probabilities are meant for; as in the rows when None.
        by: whose genuine items the error rate is promised of; when None, of new sources where the rows name enough for
            it, else of items. Asked for with too few sources, the band reaches to 1.
        seed: for the folds.

    Raises:
        ConfigError: the rows say too little about every family.
    """
    miss_rate = error_rate if miss_rate is None else miss_rate
    if not (0 < error_rate < 0.5 and 0 < miss_rate < 0.5) or not (odds is None or 0 < odds < 1):
        raise ConfigError("the error and miss rates lie between 0 and 0.5, the odds between 0 and 1")
    families = dict(base.families)
    fitted = []
    for family in Family:
        chosen = of_family(rows, family)
        if min(sum(r.fake for r in chosen), sum(not r.fake for r in chosen)) < LEAST:
            continue
        found = _family(family, chosen, base, (error_rate, miss_rate), odds, by, seed)
        families[family] = found.calibration
        fitted.append(found)
    if not fitted:
        raise ConfigError(f"no family has {LEAST} scored items of each label: nothing can be calibrated")
    told: dict[str, str | int | float] = {
        "items": len({row.file for row in rows}),
        "odds": "as given" if odds is None else odds,
        "error_rate": error_rate,
        "miss_rate": miss_rate,
        "families": ", ".join(each.family for each in fitted),
    }
    return Calibration(name=name, families=families, made=told), tuple(fitted)


def _family(
    family: Family,
    rows: Sequence[ScoreRow],
    base: Calibration,
    rates: tuple[float, float],
    odds: float | None,
    by: Unit | None,
    seed: int,
) -> Fitted:
    scores, fake = _arrays(rows)
    sources = np.array([row.source for row in rows])
    known, needed = len(np.unique(sources[~fake])), sources_needed(rates[0])
    by = by or (Unit.SOURCES if known >= needed else Unit.ITEMS)
    kinds = _kinds(rows, fake, odds)
    everything = np.ones(len(rows), bool)
    *special, (_, curve) = _fit(kinds, scores, fake, everything)
    # The band is drawn on held-out probabilities: on those of its own fit it would be too narrow.
    held_out = held_out_probabilities(rows, by, odds, seed)
    of = sources[~fake] if by is Unit.SOURCES else None
    media = np.array([row.kind for row in rows])[~fake]
    band = conformal_band(held_out, fake, *rates, of, media)
    groups = _exchangeable(of, media)
    holds_for = tuple(kind for kind in MediaKind if _enough(groups, media == kind, rates[0]))
    area = auc_with_interval(scores, fake, seed)
    old = base.families.get(family)
    before = _apply(old.curve, scores) if old else scores
    weights = _weights(fake, kinds[-1].share)
    error = calibration_error(held_out, fake, weights)
    calibration = FamilyCalibration(
        curve=curve,
        strata=tuple(
            structs.replace(
                kind.stratum,
                curve=own,
                real=int((kind.inside & ~fake).sum()),
                fake=int((kind.inside & fake).sum()),
            )
            for kind, own in special
            if kind.stratum is not None
        ),
        abstain=band,
        error_rate=rates[0],
        miss_rate=rates[1],
        by=by,
        holds_for=holds_for,
        margin=round(min(0.5, max(0.02, error)), 3),
        advisory=area.low < NEAR_CHANCE,
        auc=(round(area.value, 3), round(area.low, 3), round(area.high, 3)),
        real=int((~fake).sum()),
        fake=int(fake.sum()),
        sources=len(np.unique(sources)),
        real_sources=known,
    )
    low, high = (band.low, band.high) if band else (0.5, 0.5)
    above = held_out[~fake] >= high if of is None else above_without_own(held_out, fake, of, *rates, media)
    return Fitted(
        family=family,
        calibration=calibration,
        error_before=calibration_error(before, fake, weights),
        error_after=error,
        abstained=float(((held_out >= low) & (held_out < high)).mean()),
        false_positives=float(above.mean()),
        missed=float((held_out[fake] < low).mean()),
        sources_above=len(np.unique(sources[~fake][above])),
        sources_needed=needed,
        kinds_short=tuple(kind for kind in MediaKind if kind in media and kind not in holds_for),
    )


def sources_needed(error_rate: float) -> int:
    """The fewest sources from which anything but "never" can be promised of another one: K ≥ 1/ε − 1."""
    return math.ceil(1 / error_rate - 1 - 1e-9)


def held_out_probabilities(
    rows: Sequence[ScoreRow], by: Unit, odds: float | None = None, seed: int = 0
) -> NDArray[np.float64]:
    """Each item's probability by curves that were fitted without its file, or without its source.

    Only sources with genuine items are left out: of manipulated ones nothing is promised by source, and often most are
    of one. What a source's absence leaves too little of to fit a curve to keeps the probabilities without the file.
    """
    scores, fake = _arrays(rows)
    kinds = _kinds(rows, fake, odds)
    files, sources = np.array([row.file for row in rows]), np.array([row.source for row in rows])
    ways = [(files, np.ones(len(rows), bool), FILE_FOLDS)]
    if by is Unit.SOURCES:
        ways.append((sources, np.isin(sources, sources[~fake]), SOURCE_FOLDS))
    found = scores.copy()
    for of, chosen, most in ways:
        names, at = np.unique(of[chosen], return_inverse=True)
        folds = np.full(len(rows), -1)
        folds[chosen] = (np.random.default_rng(seed).permutation(len(names)) % most)[at]
        for fold in range(most):
            out = folds == fold
            if out.any() and min(int(fake[~out].sum()), int((~fake[~out]).sum())) >= LEAST // 2:
                found[out] = _judge(_fit(kinds, scores, fake, ~out), scores)[out]
    return found


def _fit(kinds: Sequence[_Kind], scores: Shares, fake: Labels, rows: Labels) -> list[tuple[_Kind, AnyCurve]]:
    """The curves of the kinds that have enough of these rows; of all media, the last, always."""
    found = []
    for kind in kinds:
        chosen = kind.inside & rows
        made, genuine = int(fake[chosen].sum()), int((~fake[chosen]).sum())
        if kind.stratum is None or min(made, genuine) >= LEAST_IN_STRATUM:
            found.append((kind, _curve(scores[chosen], fake[chosen], kind.share)))
    return found


def _judge(curves: Sequence[tuple[_Kind, AnyCurve]], scores: Shares) -> Shares:
    """Each row's probability by the first curve that is for its kind, as in production."""
    found = np.zeros(len(scores))
    for kind, curve in reversed(curves):
        found[kind.inside] = _apply(curve, scores[kind.inside])
    return found


def _curve(scores: Shares, fake: Labels, share: float) -> AnyCurve:
    weights = _weights(fake, share)
    if min(int(fake.sum()), int((~fake).sum())) >= ISOTONIC_FROM:
        return isotonic(scores, fake, weights)
    return platt(scores, fake, weights)


def platt(scores: Shares, fake: Labels, weights: Shares) -> Platt:
    """Platt's scaling of the log-odds, with his smoothed targets, at the odds that the weights stand for."""
    inside = np.clip(scores, _EDGE, 1 - _EDGE)
    a, b = fit_platt(np.log(inside) - np.log1p(-inside), fake)
    # fit_platt speaks of even odds; the weights say what share is manipulated.
    share = float(weights[fake].sum() / weights.sum())
    b += math.log(share) - math.log1p(-share)
    # Scores that point the wrong way carry nothing that a rising curve could use.
    return Platt(slope=round(float(np.clip(a, 0.01, 100)), 5), intercept=round(float(np.clip(b, -100, 100)), 5))


def isotonic(scores: Shares, fake: Labels, weights: Shares) -> Isotonic:
    """The best rising curve, thinned to where it bends."""
    model = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(scores, fake.astype(float), weights)
    points = [
        (round(float(x), 6), round(float(y), 6)) for x, y in zip(model.X_thresholds_, model.y_thresholds_, strict=True)
    ]
    rising = [points[0], *(later for earlier, later in pairwise(points) if later[0] > earlier[0])]
    if len(rising) < 2:
        rising = [(0.0, rising[0][1]), (1.0, rising[0][1])]
    return Isotonic(points=tuple(rising))


def conformal_band(
    probabilities: Shares,
    fake: Labels,
    error_rate: float,
    miss_rate: float,
    sources: NDArray[np.generic] | None = None,
    media: Names | None = None,
) -> Band | None:
    """Where neither label can be ruled out, or both can: class-conditional conformal prediction.

    Of new items that are exchangeable with these, a genuine one is above the band with a probability of at most
    `error_rate`, a manipulated one below it with at most `miss_rate` (Vovk, Gammerman and Shafer, "Algorithmic
    Learning in a Random World", 2005, §4.5). With too few items to promise that, the band reaches to 0 or 1.

    `sources`: of the genuine items, in order. With it the first promise is made of an item of another source: it is the
    sources that are exchangeable, and items within each. Every source weighs the same, however many items it has.
    `media`: of the genuine items. With it the promise is kept for each kind by itself that has enough of them.
    """
    reals = probabilities[~fake]
    groups = _exchangeable(sources, reals)
    tops = [_reached(reals, error_rate, groups)]
    if media is not None:
        kinds = [media == kind for kind in np.unique(media)]
        tops += [_reached(reals[of], error_rate, groups[of]) for of in kinds if _enough(groups, of, error_rate)]
    fakes = probabilities[fake]
    fake_bottom = 1 - _reached(1 - fakes, miss_rate, _exchangeable(None, fakes))
    low, high = sorted((max(0.0, fake_bottom), min(1.0, max(tops))))
    # Outwards to hundredths, which people read: what is exactly at the genuine items' quantile is still within it.
    low, high = math.floor(low * 100) / 100, min(1.0, math.ceil(high * 100 + 1e-7) / 100)
    return Band(low=low, high=high) if low < high else None


def above_without_own(
    probabilities: Shares,
    fake: Labels,
    sources: Names,
    error_rate: float,
    miss_rate: float,
    media: Names | None = None,
) -> Labels:
    """Which genuine items lie above the band that all other sources give: what a new source can expect.

    `sources`, `media`: of the genuine items. A band that reaches to 1 has nothing above it.
    """
    reals, of_real = probabilities[~fake], np.flatnonzero(~fake)
    above = np.zeros(len(reals), bool)
    # Numbers: names would be compared letter by letter for each of perhaps thousands of sources.
    names, numbers = np.unique(sources, return_inverse=True)
    for number in range(len(names)):
        own = numbers == number
        rest = np.ones(len(fake), bool)
        rest[of_real[own]] = False
        kinds = None if media is None else media[~own]
        band = conformal_band(probabilities[rest], fake[rest], error_rate, miss_rate, numbers[~own], kinds)
        above[own] = reals[own] >= (band.high if band else 0.5)
    return above


def _exchangeable(sources: NDArray[np.generic] | None, items: NDArray[np.generic]) -> NDArray[np.generic]:
    """What is exchangeable: the sources, or every item for itself."""
    return np.arange(len(items)) if sources is None else sources


def _enough(groups: NDArray[np.generic], chosen: Labels, error_rate: float) -> bool:
    return len(np.unique(groups[chosen])) >= sources_needed(error_rate)


def _reached(values: Shares, error_rate: float, groups: NDArray[np.generic]) -> float:
    """The smallest value that one of a new group exceeds with a probability of at most `error_rate`; else infinity.

    Hierarchical conformal prediction (Lee, Barber and Willett, "Distribution-free inference with hierarchical data",
    2023; the two-layer setting is that of Dunn, Wasserman and Ramdas, "Distribution-free prediction sets for two-layer
    hierarchical models", 2022): of K groups each weighs 1 / (K + 1), spread evenly over its values; the rest lies at
    infinity. Unlike pooling the groups' distributions it holds for any number of groups, and unlike drawing one value
    of each it uses them all. With every value a group of its own it is the usual ⌈(n + 1)(1 − ε)⌉-th value.
    """
    _, at, counts = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(1 / counts[at][order]) >= (len(counts) + 1) * (1 - error_rate) - 1e-9
    return float(values[order][reached.argmax()]) if reached.any() else math.inf


def calibration_error(probabilities: Shares, fake: Labels, weights: Shares) -> float:
    """Expected calibration error over ten bins with equally many items (Naeini and others, 2015)."""
    order = np.argsort(probabilities, kind="stable")
    bins = [part for part in np.array_split(order, min(BINS, len(order))) if len(part)]
    total = weights.sum()
    return float(
        sum(
            weights[part].sum()
            / total
            * abs(
                np.average(probabilities[part], weights=weights[part])
                - np.average(fake[part].astype(float), weights=weights[part])
            )
            for part in bins
        )
    )


def _kinds(rows: Sequence[ScoreRow], fake: Labels, odds: float | None) -> list[_Kind]:
    """Each kind of media that has enough items of both labels, the most special first; all media last."""
    bounds = [0, *_SIDES, None]
    media = [_facts(row) for row in rows]
    wanted: list[Stratum] = []
    for kind in MediaKind:
        codecs = sorted({row.codec for row in rows if row.kind == kind.value and row.codec})
        for codec in codecs:
            for low, high in pairwise(bounds):
                wanted.append(_stratum(kind, (codec,), low or 0, high))
            wanted.append(_stratum(kind, (codec,), 0, None))
        wanted.append(_stratum(kind, (), 0, None))
    found: list[_Kind] = []
    for stratum in wanted:
        inside = np.array([stratum.fits(facts) for facts in media])
        if not inside.all() and min(int(fake[inside].sum()), int((~fake[inside]).sum())) >= LEAST_IN_STRATUM:
            found.append(_Kind(stratum, inside, float(fake[inside].mean()) if odds is None else odds))
    return [*found, _Kind(None, np.ones(len(rows), bool), float(fake.mean()) if odds is None else odds)]


def looked_at_again(made: Calibration, fitted: Collection[Family], closer: LookCloser) -> str:
    """The line of the detectors file by which videos in doubt under this calibration are looked at again.

    Of the families that a closer look asks about, with those that were not fitted as they stand; empty when none was.
    """
    asked = {family: (low, high) for family, low, high in closer.doubt}
    anew = asked.keys() & fitted
    if not anew:
        return ""
    video = MediaFacts(kind=MediaKind.VIDEO, container="")
    for family in anew:
        known = made.families[family]
        if known.abstain is None:
            continue
        low, high = scores_at(known.curve_for(video), known.abstain)
        if low < high:
            asked[family] = low, high
        else:
            del asked[family]  # no score is in doubt, and the detectors file takes no stretch without width
    doubt = ", ".join(f"[{family.value}, {low:g}, {high:g}]" for family, (low, high) in asked.items())
    return f"closer: options: {{doubt: [{doubt}]}}"


def _stratum(kind: MediaKind, codecs: tuple[str, ...], low: int, high: int | None) -> Stratum:
    return Stratum(curve=Platt(slope=1.0), kinds=(kind,), codecs=codecs, min_side=low, max_side=high)


def _facts(row: ScoreRow) -> MediaFacts:
    tracks = (TrackFacts(kind="video", codec=row.codec),) if row.codec else ()
    kind = MediaKind(row.kind) if row.kind else MediaKind.IMAGE
    return MediaFacts(kind=kind, container=row.codec, width=row.side, height=row.side, tracks=tracks)


def _apply(curve: AnyCurve, scores: Shares) -> Shares:
    return np.array([curve(float(score)) for score in scores])


def _arrays(rows: Sequence[ScoreRow]) -> tuple[Shares, Labels]:
    scores = np.array([row.score for row in rows], np.float64)
    return scores, np.array([row.fake for row in rows], bool)


def _weights(fake: Labels, share: float) -> Shares:
    """A weight per item, so that manipulated ones make up the share `share`; they add up to the number of items."""
    weights = np.ones(len(fake))
    weights[fake] = share * len(fake) / fake.sum()
    weights[~fake] = (1 - share) * len(fake) / (~fake).sum()
    return weights
