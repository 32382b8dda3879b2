"""Linear heads and their figures: discriminant analysis, calibration, areas under the curve. Pure numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
Vector = NDArray[np.float64]
Labels = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """score = features · weight + bias."""

    weight: Vector
    bias: float

    def __call__(self, features: Matrix) -> Vector:
        return np.asarray(features @ self.weight + self.bias, np.float64)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure, its 95 % bootstrap interval, and the counts behind it."""

    value: float
    low: float
    high: float
    real: int
    fake: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] (n = {self.real} real, {self.fake} fake)"


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What a threshold on the probability gives."""

    threshold: float
    tpr: float
    fpr: float


def fit_lda(features: Matrix, fake: Labels, shrinkage: float, share: Vector | None = None) -> Line:
    """Linear discriminant with the two classes' pooled covariance, shrunk towards its own diagonal.

    `shrinkage` 0–1: with more features than faces the covariance has no inverse, and its small directions are noise.
    Towards the diagonal rather than a sphere, since the features' spreads differ by orders of magnitude. `share` weighs
    rows within their class, and then each class's covariance counts half however many rows it has; without it every row
    counts the same. Raises ValueError when a class is empty.
    """
    if fake.all() or not fake.any():
        raise ValueError("both real and fake faces are needed")
    weight = np.full(len(features), 1 / max(1, len(features) - 2))
    if share is not None:
        for kind in (False, True):
            weight[fake == kind] = share[fake == kind] / (2 * share[fake == kind].sum())
    centred = features.astype(np.float64)
    means = []
    for kind in (False, True):
        rows = fake == kind
        means.append(np.average(centred[rows], axis=0, weights=weight[rows]))
        centred[rows] -= means[-1]
    centred *= np.sqrt(weight)[:, None]
    spread = np.maximum(np.sqrt((centred**2).sum(axis=0)), 1e-6)
    centred *= np.sqrt(1 - shrinkage) / spread
    difference = (means[1] - means[0]) / spread
    ridge = max(shrinkage, 1e-9)
    if len(features) < features.shape[1]:
        # The same solution by way of the faces (Woodbury): a matrix of faces × faces instead of features × features.
        inner = centred @ centred.T
        inner[np.diag_indices(len(inner))] += ridge
        scaled = (difference - centred.T @ np.linalg.solve(inner, centred @ difference)) / ridge
    else:
        correlation = centred.T @ centred
        correlation[np.diag_indices(len(correlation))] += ridge
        scaled = np.linalg.solve(correlation, difference)
    slope = scaled / spread
    return Line(slope, -float(slope @ (means[0] + means[1])) / 2)


@dataclass(frozen=True, slots=True)
class Mixture:
    """log-odds = line · score of a line + seam · answer of the network over patches + bias."""

    line: float
    seam: float
    bias: float

    def __call__(self, scores: Vector, apart: Vector) -> Vector:
        """The log-odds of rows, by what a line and the network say of each."""
        return np.asarray(self.line * scores + self.seam * apart + self.bias, np.float64)


def fit_platt(scores: Vector, fake: Labels, share: Vector | None = None) -> tuple[float, float]:
    """(a, b) so that sigmoid(a · score + b) is the probability of fake; Platt's smoothed targets, Newton's method.

    Each class counts half, so the probability is that of a crop drawn from even odds. `share` weighs rows within their
    class (a source with many rows need not dominate).
    """
    a, b = _fit_logistic(scores[:, None], fake, share)
    return float(a), float(b)


def fit_mixture(scores: Vector, apart: Vector, fake: Labels, share: Vector | None = None) -> Mixture:
    """How a line and the network over patches answer together: as `fit_platt`, on both. All nought: the line alone."""
    return Mixture(*map(float, _fit_logistic(np.stack([scores, apart], axis=1), fake, share)))


def _fit_logistic(columns: NDArray[np.float64], fake: Labels, share: Vector | None) -> Vector:
    """A factor per column, and the bias; each class counts half."""
    weight = np.ones(len(columns)) if share is None else share.astype(np.float64).copy()
    counts = {kind: max(1, int((fake == kind).sum())) for kind in (False, True)}
    for kind in (False, True):
        weight[fake == kind] *= 0.5 / max(weight[fake == kind].sum(), 1e-12)
    target = np.where(fake, (counts[True] + 1) / (counts[True] + 2), 1 / (counts[False] + 2))
    spread = np.std(columns, axis=0)
    says = spread > 0  # a column that is the same in every row gets no part in it
    spread[~says] = 1.0
    x = np.concatenate([columns / spread * says, np.ones((len(columns), 1))], axis=1)
    solution = np.array([*(says / max(1, says.sum())), 0.0])

    def loss(at: Vector) -> float:
        z = x @ at
        return float(weight @ (np.logaddexp(0, z) - target * z))

    for _ in range(100):
        p = sigmoid(x @ solution)
        gradient = x.T @ (weight * (p - target))
        curvature = (x * (weight * p * (1 - p))[:, None]).T @ x + 1e-9 * np.eye(len(solution))
        step = np.linalg.solve(curvature, gradient)
        if np.abs(step).max() < 1e-9:
            break
        # Shorter, but in its direction: clipped in one coordinate it may lead uphill. Where the scores lie far from 0,
        # whole steps can jump to and fro for ever.
        step = step * min(1.0, 2 / float(np.abs(step).max()))
        while loss(solution - step) > loss(solution) + 1e-15 and np.abs(step).max() > 1e-12:
            step = step / 2
        solution = solution - step
    return np.asarray([*(solution[:-1] / spread), solution[-1]], np.float64)


def sigmoid(x: Vector) -> Vector:
    """1 / (1 + e⁻ˣ), without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)), np.float64)


def auc(scores: Vector, fake: Labels) -> float:
    """The chance that a fake scores above a real; ties count half. NaN when a class is empty."""
    reals, fakes = np.sort(scores[~fake]), scores[fake]
    if not len(reals) or not len(fakes):
        return float("nan")
    below = np.searchsorted(reals, fakes, "left") + np.searchsorted(reals, fakes, "right")
    return float(below.mean() / 2 / len(reals))


def auc_with_interval(scores: Vector, fake: Labels, seed: int, rounds: int = 1000) -> Estimate:
    """The area under the curve with a percentile bootstrap over faces, each class resampled by itself."""
    rng = np.random.default_rng(seed)
    reals, fakes = scores[~fake], scores[fake]
    counts = (len(reals), len(fakes))
    if not all(counts):
        return Estimate(float("nan"), float("nan"), float("nan"), *counts)
    again = np.zeros(counts[0] + counts[1], bool)
    again[counts[0] :] = True
    drawn = [
        auc(np.concatenate([rng.choice(reals, counts[0]), rng.choice(fakes, counts[1])]), again) for _ in range(rounds)
    ]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Estimate(auc(scores, fake), float(low), float(high), *counts)


def auc_by_source(scores: Vector, fake: Labels, sources: NDArray[np.str_], seed: int, rounds: int = 1000) -> Estimate:
    """The area under the curve with a bootstrap over sources: what another choice of sources would have given.

    Whole sources are drawn, with all their faces; a draw that holds one kind only is drawn again.
    """
    rng = np.random.default_rng(seed)
    names = np.unique(sources)
    members = [np.flatnonzero(sources == name) for name in names]
    counts = (int((~fake).sum()), int(fake.sum()))
    if not all(counts):
        return Estimate(float("nan"), float("nan"), float("nan"), *counts)
    drawn: list[float] = []
    while len(drawn) < rounds:
        rows = np.concatenate([members[i] for i in rng.integers(len(names), size=len(names))])
        if 0 < fake[rows].sum() < len(rows):
            drawn.append(auc(scores[rows], fake[rows]))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Estimate(auc(scores, fake), float(low), float(high), *counts)


def tpr_at(scores: Vector, fake: Labels, fpr: float) -> float:
    """The share of fakes above the threshold that this share of reals exceeds. NaN when a class is empty."""
    if fake.all() or not fake.any():
        return float("nan")
    return float((scores[fake] > np.quantile(scores[~fake], 1 - fpr, method="higher")).mean())


def operating_point(probabilities: Vector, fake: Labels, threshold: float) -> OperatingPoint:
    """Shares of fakes and of reals at or above a threshold."""
    above = probabilities >= threshold
    return OperatingPoint(threshold, float(above[fake].mean()), float(above[~fake].mean()))
