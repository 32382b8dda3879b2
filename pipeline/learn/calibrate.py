"""From scores and labels to a calibration file: curves, bands of doubt, and what is only a hint.

Per family a Platt or an isotonic curve, whichever is the better calibrated on items that it was not fitted to; a curve
per kind of media where there are enough items of both labels; a band of doubt by conformal prediction; and the error of
calibration that was measured, as the margin.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from msgspec import structs
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from pipeline.calibration import AnyCurve, Band, Calibration, FamilyCalibration, Isotonic, Platt, Stratum
from pipeline.errors import ConfigError
from pipeline.events.values import Family, MediaFacts, MediaKind, TrackFacts
from pipeline.learn.heads import auc_with_interval, fit_platt
from pipeline.learn.scores import ScoreRow, of_family

Shares = NDArray[np.float64]
Labels = NDArray[np.bool_]

LEAST = 10
"""Fewer items of a label than this say too little: the family, or stratum, is left as it is."""
LEAST_IN_STRATUM = 40
ISOTONIC_FROM = 500
"""Fewer items and an isotonic curve follows their noise (Niculescu-Mizil and Caruana, 2005, found about a thousand)."""
NEAR_CHANCE = 0.6
"""A family whose area under the curve may as well be less than this, by its 95 % interval, is only a hint."""
BINS = 10
_SIDES = (480, 1080)
_EDGE = 1e-6


@dataclass(frozen=True, slots=True)
class Fitted:
    """What came of one family, for people: the error before and after, measured on items that were held out."""

    family: Family
    calibration: FamilyCalibration
    error_before: float
    error_after: float
    abstained: float
    false_positives: float
    missed: float


def calibrate(
    rows: Sequence[ScoreRow],
    base: Calibration,
    *,
    name: str,
    error_rate: float = 0.05,
    miss_rate: float | None = None,
    odds: float | None = None,
    seed: int = 0,
) -> tuple[Calibration, tuple[Fitted, ...]]:
    """A calibration from `rows`; families for which they say too little keep what `base` says.

    Args:
        rows: as `unmask evaluate` writes them.
        base: what is kept where nothing is known.
        name: of the new calibration.
        error_rate: of genuine items at most this share shall lie above the band of doubt.
        miss_rate: of manipulated items at most this share shall lie below it; `error_rate` when None. The smaller, the
            more genuine items are in doubt, and somebody has to look at them.
        odds: the share of manipulated items that probabilities are meant for; as in the rows when None.
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
        found = _family(family, chosen, base, (error_rate, miss_rate), odds, seed)
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
    seed: int,
) -> Fitted:
    scores, fake = _arrays(rows)
    weights = _weights(fake, odds)
    held_out = _held_out(rows, scores, fake, weights, seed)
    curve = _curve(scores, fake, weights)
    probabilities = _apply(curve, scores)
    # The band is drawn on held-out probabilities: on those of its own fit it would be too narrow.
    band = conformal_band(held_out, fake, *rates)
    area = auc_with_interval(scores, fake, seed)
    old = base.families.get(family)
    before = _apply(old.curve, scores) if old else scores
    error = calibration_error(held_out, fake, weights)
    calibration = FamilyCalibration(
        curve=curve,
        strata=_strata(rows, weights),
        abstain=band,
        error_rate=rates[0],
        miss_rate=rates[1],
        margin=round(min(0.5, max(0.02, error)), 3),
        advisory=area.low < NEAR_CHANCE,
        auc=(round(area.value, 3), round(area.low, 3), round(area.high, 3)),
        real=int((~fake).sum()),
        fake=int(fake.sum()),
        sources=len({row.source for row in rows}),
    )
    low, high = (band.low, band.high) if band else (0.5, 0.5)
    return Fitted(
        family=family,
        calibration=calibration,
        error_before=calibration_error(before, fake, weights),
        error_after=error,
        abstained=float(((probabilities >= low) & (probabilities < high)).mean()),
        false_positives=float((probabilities[~fake] >= high).mean()),
        missed=float((probabilities[fake] < low).mean()),
    )


def _held_out(rows: Sequence[ScoreRow], scores: Shares, fake: Labels, weights: Shares, seed: int) -> Shares:
    """Each item's probability by a curve that was fitted without its fold; items of one file stay together."""
    rng = np.random.default_rng(seed)
    files = sorted({row.file for row in rows})
    fold_of = dict(zip(files, rng.permutation(len(files)) % 5, strict=True))
    folds = np.array([fold_of[row.file] for row in rows])
    found = np.zeros(len(rows))
    for fold in range(5):
        out = folds == fold
        if out.any() and fake[~out].any() and not fake[~out].all():
            found[out] = _apply(_curve(scores[~out], fake[~out], weights[~out]), scores[out])
        else:
            found[out] = scores[out]
    return found


def _curve(scores: Shares, fake: Labels, weights: Shares) -> AnyCurve:
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


def conformal_band(probabilities: Shares, fake: Labels, error_rate: float, miss_rate: float) -> Band | None:
    """Where neither label can be ruled out, or both can: class-conditional conformal prediction.

    Of new items that are exchangeable with these, a genuine one is above the band with a probability of at most
    `error_rate`, a manipulated one below it with at most `miss_rate` (Vovk, Gammerman and Shafer, "Algorithmic
    Learning in a Random World", 2005, §4.5). With too few items to promise that, the band reaches to 0 or 1.
    """
    real_top = _order_statistic(probabilities[~fake], error_rate)
    fake_bottom = 1 - _order_statistic(1 - probabilities[fake], miss_rate)
    low, high = sorted((max(0.0, fake_bottom), min(1.0, real_top)))
    # Outwards to hundredths, which people read: what is exactly at the genuine items' quantile is still within it.
    low, high = math.floor(low * 100) / 100, min(1.0, math.ceil(high * 100 + 1e-7) / 100)
    return Band(low=low, high=high) if low < high else None


def _order_statistic(values: Shares, error_rate: float) -> float:
    """The smallest value that a new one exceeds with a probability of at most `error_rate`; infinity when none is."""
    rank = math.ceil((len(values) + 1) * (1 - error_rate))
    return float(np.sort(values)[rank - 1]) if rank <= len(values) else math.inf


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


def _strata(rows: Sequence[ScoreRow], weights: Shares) -> tuple[Stratum, ...]:
    """A curve for each kind of media that has enough items of both labels, the most special first."""
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
    found: list[Stratum] = []
    for stratum in wanted:
        inside = np.array([stratum.fits(facts) for facts in media])
        if inside.all() or not inside.any():
            continue
        scores, fake = _arrays([row for row, yes in zip(rows, inside, strict=True) if yes])
        if min(int(fake.sum()), int((~fake).sum())) >= LEAST_IN_STRATUM:
            counts = {"real": int((~fake).sum()), "fake": int(fake.sum())}
            found.append(structs.replace(stratum, curve=_curve(scores, fake, weights[inside]), **counts))
    return tuple(found)


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


def _weights(fake: Labels, odds: float | None) -> Shares:
    """A weight per item, so that manipulated ones make up the share `odds`; all alike when None."""
    weights = np.ones(len(fake))
    if odds is not None:
        weights[fake] = odds / fake.sum()
        weights[~fake] = (1 - odds) / (~fake).sum()
        weights *= len(fake)
    return weights
