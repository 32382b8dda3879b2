"""How good scores are, with how sure that is: curves, rates, calibration, abstention. Pure.

Nothing here is a single number: every area has a bootstrap interval and the counts behind it, and every rate says at
which threshold. Resampling is by item, so that many frames of one upload do not look like many uploads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_curve

from pipeline.learn.heads import auc

Shares = NDArray[np.float64]
Labels = NDArray[np.bool_]
Curve = tuple[tuple[float, float], ...]

ROUNDS = 1000
POINTS = 200
"""A curve is thinned to so many points: a page has to hold dozens of them."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True, slots=True)
class Bin:
    """One point of a reliability plot: `said` and what came true, over `count` items."""

    said: float
    true: float
    count: int


@dataclass(frozen=True, slots=True)
class Quality:
    """What scores are worth on one set of items. `tpr_at`: (false-positive rate, true-positive rate) pairs."""

    real: int
    fake: int
    area: Figure
    precision: Figure
    tpr_at: tuple[tuple[float, Figure], ...]
    roc: Curve
    pr: Curve

    @property
    def near_chance(self) -> bool:
        """Whether the interval holds .5."""
        return self.area.low <= 0.5


@dataclass(frozen=True, slots=True)
class Trust:
    """What probabilities are worth: expected calibration error, Brier score, and what the band of doubt takes away.

    `false_positives`, `missed`: shares of genuine items above the band, of manipulated ones below it.
    """

    error: float
    brier: float
    abstained: float
    false_positives: float
    missed: float
    bins: tuple[Bin, ...]


def quality(scores: Shares, fake: Labels, items: Sequence[str], seed: int = 0, rounds: int = ROUNDS) -> Quality | None:
    """Areas and rates; None unless both labels are there. `items`: which upload each score is of."""
    if not fake.any() or fake.all():
        return None
    wanted = (0.01, 0.05)

    def figures(s: Shares, f: Labels) -> tuple[float, ...]:
        return (auc(s, f), float(average_precision_score(f, s)), *(tpr_at(s, f, rate) for rate in wanted))

    values = figures(scores, fake)
    drawn = np.array([figures(scores[rows], fake[rows]) for rows in _resampled(fake, items, seed, rounds)])
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    told = [Figure(value, float(lo), float(hi)) for value, lo, hi in zip(values, low, high, strict=True)]
    fpr, tpr, _ = roc_curve(fake, scores, drop_intermediate=True)
    precision, recall, _ = precision_recall_curve(fake, scores, drop_intermediate=True)
    return Quality(
        real=int((~fake).sum()),
        fake=int(fake.sum()),
        area=told[0],
        precision=told[1],
        tpr_at=tuple(zip(wanted, told[2:], strict=True)),
        roc=_thinned(fpr, tpr),
        pr=_thinned(recall[::-1], precision[::-1]),
    )


def tpr_at(scores: Shares, fake: Labels, rate: float) -> float:
    """The share of fakes above the threshold that at most a share `rate` of the reals reaches."""
    reals = np.sort(scores[~fake])[::-1]
    allowed = int(np.floor(rate * len(reals) + 1e-9))
    return float((scores[fake] > reals[allowed]).mean()) if allowed < len(reals) else 1.0


def trust(probabilities: Shares, fake: Labels, low: float, high: float, bins: int = 10) -> Trust:
    """How far probabilities can be relied on; `low`, `high`: the band of doubt (equal when there is none)."""
    order = np.argsort(probabilities, kind="stable")
    parts = [part for part in np.array_split(order, min(bins, len(order))) if len(part)]
    points = tuple(Bin(float(probabilities[p].mean()), float(fake[p].mean()), len(p)) for p in parts)
    return Trust(
        error=sum(point.count * abs(point.said - point.true) for point in points) / max(1, len(fake)),
        brier=float(((probabilities - fake) ** 2).mean()) if len(fake) else float("nan"),
        abstained=float(((probabilities >= low) & (probabilities < high)).mean()),
        false_positives=float((probabilities[~fake] >= high).mean()) if (~fake).any() else float("nan"),
        missed=float((probabilities[fake] < low).mean()) if fake.any() else float("nan"),
        bins=points,
    )


def _resampled(fake: Labels, items: Sequence[str], seed: int, rounds: int) -> list[NDArray[np.intp]]:
    """Row numbers of bootstrap samples: items of each label drawn with replacement, with all their rows."""
    rng = np.random.default_rng(seed)
    rows_of: dict[str, list[int]] = {}
    for row, item in enumerate(items):
        rows_of.setdefault(item, []).append(row)
    groups = [np.array(rows) for rows in rows_of.values()]
    kinds = [[g for g in groups if fake[g[0]] == kind] for kind in (False, True)]
    return [
        np.concatenate([kind[i] for kind in kinds for i in rng.integers(0, len(kind), len(kind))])
        for _ in range(rounds)
    ]


def _thinned(x: Shares, y: Shares) -> Curve:
    keep = np.unique(np.linspace(0, len(x) - 1, min(POINTS, len(x))).round().astype(int))
    return tuple((round(float(x[i]), 4), round(float(y[i]), 4)) for i in keep)
