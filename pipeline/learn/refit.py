"""Learn from reviewers' decisions, without the media: fit a face head again to what the ledger holds.

What the heads read of the most suspicious face is stored with every decision; what the reviewer confirmed or denied is
its label. The new head stays near the one that it starts from, as near as held-out reviews say is best, so a handful of
labels moves it little. It is offered for promotion only if a golden set, which no reviewer's label touches, does not
get worse; then it runs in shadow, beside the old one, and only then live.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from pipeline.detect.face_forgery import FEATURES, FaceForgery, reads
from pipeline.detect.refitted_faces import HEADS, Refitted, RefittedFaces
from pipeline.errors import ConfigError
from pipeline.events import MediaDecided, ReviewDecided
from pipeline.events.values import Action, Family, Signal
from pipeline.learn.heads import Estimate, auc, auc_with_interval
from pipeline.learn.measure import tpr_at
from pipeline.models.sources import write_atomically

Matrix = NDArray[np.float64]
Labels = NDArray[np.bool_]

LEAST = 20
"""Reviews of each label that a head is fitted from at least."""
PULLS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""How strongly the old head holds, tried in turn; the best on held-out reviews is used."""
FOLDS = 5
RATE = 0.05
_READ_BY_ANOTHER = f"read by another face_forgery than {reads(FaceForgery.version)}"
AREA_SLACK, FOUND_SLACK = 0.002, 0.01
"""How much a golden set may lose before a head counts as worse: less than a new draw of the set would move it."""


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """score = features · weight + bias; the log-odds."""

    weight: Matrix
    bias: float

    def __call__(self, features: Matrix) -> Matrix:
        return np.asarray(features @ self.weight + self.bias)


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Faces and what they are: n × FEATURES numbers, n labels, and what tells them apart (a media id, a file).

    `left_out`: how many more there are that another model read.
    """

    features: Matrix
    fake: Labels
    names: tuple[str, ...]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class RefitReport:
    """What came of it. `held_out`, `golden`: areas of the old head and of the new one.

    `left_out`: reviews that nothing was learnt from, since another model had read the faces.
    """

    head: str
    path: Path | None
    real: int
    fake: int
    pull: float
    held_out: tuple[Estimate, Estimate]
    golden: tuple[Estimate, Estimate]
    golden_found: tuple[float, float]
    promotable: bool
    why: str
    left_out: int = 0

    def __str__(self) -> str:
        old, new = self.held_out
        lines = [
            f"{self.head}: {self.real} denied and {self.fake} confirmed by reviewers; pull {self.pull:g}"
            + (f"; {self.left_out} more left out, {_READ_BY_ANOTHER}" if self.left_out else ""),
            f"  reviews, held out   {old}  →  {new}",
            f"  golden set          {self.golden[0]}  →  {self.golden[1]}",
            f"  found at {RATE:.0%} false alarms on it  {self.golden_found[0]:.3f}  →  {self.golden_found[1]:.3f}",
            f"  {'may be promoted' if self.promotable else 'not promoted'}: {self.why}",
        ]
        return "\n".join([*lines, f"  {self.path}"] if self.path else lines)


class Told(NamedTuple):
    """What a review says of a face. `reads`: whose features these are (`face_forgery.reads`), where that is known."""

    media_id: str
    fake: bool
    features: bytes
    reads: str


def learnable(judged: Iterable[tuple[MediaDecided, ReviewDecided | None]], family: Family) -> Iterator[Told]:
    """The reviews that say something of a family.

    What a person confirmed or denied counts; `allow` without a word denies. Any other action without a word says
    nothing: an upload is limited for many reasons.
    """
    for decided, review in judged:
        if review is None or decided.face_features is None:
            continue
        if family in review.confirmed:
            yield Told(decided.media_id, True, decided.face_features, _read_by(decided))
        elif family in review.denied or (review.action is Action.ALLOW and not review.confirmed):
            yield Told(decided.media_id, False, decided.face_features, _read_by(decided))


def _read_by(decided: MediaDecided) -> str:
    for name, _, version in (each.partition("@") for each in decided.versions.detectors):
        if name in (FaceForgery.name, RefittedFaces.name):
            return reads(version)
    return ""


def stacked(rows: Iterable[Told]) -> Labelled:
    """One row per media id, the latest. What another model read is left out, and counted.

    Its numbers may be as many and look alike; a head fitted to a mixture would be wrong about both.
    """
    latest = {told.media_id: told for told in rows}
    own = [
        told
        for told in latest.values()
        if told.reads == reads(FaceForgery.version) and len(told.features) == 2 * FEATURES
    ]
    features = [np.frombuffer(told.features, "<f2").astype(np.float64) for told in own]
    return Labelled(
        np.stack(features) if features else np.zeros((0, FEATURES)),
        np.array([told.fake for told in own], bool),
        tuple(told.media_id for told in own),
        len(latest) - len(own),
    )


def refit(
    head: str, old: Head, before: str, features: str, reviewed: Labelled, golden: Labelled, out: Path, seed: int = 0
) -> RefitReport:
    """Fit, judge, and write the new head to `out` when it may be promoted.

    Args:
        head: swap or synthesis.
        old: the head in use; `before` names it.
        before: what the old head is known by.
        features: the name of what the heads read, as in the old head's file.
        reviewed: faces with reviewers' labels.
        golden: faces with labels that are certain, which nothing is fitted to.
        out: the folder for the new head; its name has its digest.
        seed: for folds and intervals.

    Raises:
        ConfigError: too few reviews of a label, or a golden set without both labels.
    """
    counts = (int((~reviewed.fake).sum()), int(reviewed.fake.sum()))
    if min(counts) < LEAST:
        more = f" ({reviewed.left_out} more left out, {_READ_BY_ANOTHER})" if reviewed.left_out else ""
        raise ConfigError(
            f"{head}: {counts[1]} confirmed and {counts[0]} denied by reviewers{more}; {LEAST} of each are needed"
        )
    if golden.fake.all() or not golden.fake.any():
        raise ConfigError("the golden set needs genuine and manipulated faces")
    spread = np.maximum(np.concatenate([reviewed.features, golden.features]).std(axis=0), 1e-6)
    pull, held_out = _best_pull(old, reviewed, spread, seed)
    (new,) = fits(old, reviewed.features, reviewed.fake, spread, (pull,))
    golden_old, golden_new = old(golden.features), new(golden.features)
    areas = tuple(auc_with_interval(s, golden.fake, seed) for s in (golden_old, golden_new))
    found = tuple(tpr_at(s, golden.fake, RATE) for s in (golden_old, golden_new))
    reviews = tuple(auc_with_interval(s, reviewed.fake, seed) for s in (old(reviewed.features), held_out))
    promotable, why = _verdict(areas, (found[0], found[1]), reviews)
    path = None
    if promotable:
        path = _write(head, new, before, features, reviewed, golden, areas, (found[0], found[1]), pull, out)
    return RefitReport(
        head=head,
        path=path,
        real=counts[0],
        fake=counts[1],
        pull=pull,
        held_out=(reviews[0], reviews[1]),
        golden=(areas[0], areas[1]),
        golden_found=(found[0], found[1]),
        promotable=promotable,
        why=why,
        left_out=reviewed.left_out,
    )


def fits(old: Head, features: Matrix, fake: Labels, spread: Matrix, pulls: Sequence[float]) -> list[Head]:
    """For each pull the head that minimises the mean log loss plus the pull times its mean squared move from the old.

    Moves are measured in units of the features' spreads; each label counts half. The bias is pulled less: reviewers
    see what was suspected, so the odds among them are their own.
    """
    x = np.hstack([features, np.ones((len(features), 1))])
    scale = np.append(spread, 0.1)
    start = np.append(old.weight, old.bias)
    share = np.where(fake, 0.5 / max(1, fake.sum()), 0.5 / max(1, (~fake).sum()))
    sign = np.where(fake, 1.0, -1.0)
    base = x @ start
    # The best move lies in the span of the faces: with fewer faces than features that is a far smaller problem.
    rows = x / scale
    size, left = np.linalg.eigh(rows @ rows.T)
    kept = size > 1e-9 * size[-1]
    z = left[:, kept] * np.sqrt(size[kept])
    span = rows.T @ (left[:, kept] / np.sqrt(size[kept]))

    def solved(pull: float) -> Head:
        weight = pull / len(scale)

        def loss(move: Matrix) -> tuple[float, Matrix]:
            margin = sign * (base + z @ move)
            value = float((share * np.logaddexp(0, -margin)).sum() + weight * (move @ move))
            slope = -(share * sign) * 0.5 * (1 - np.tanh(0.5 * margin))
            return value, np.asarray(z.T @ slope + 2 * weight * move)

        found = minimize(loss, np.zeros(z.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 200})
        moved = start + span @ found.x / scale
        return Head(moved[:-1], float(moved[-1]))

    return [solved(pull) for pull in pulls]


def _best_pull(old: Head, reviewed: Labelled, spread: Matrix, seed: int) -> tuple[float, Matrix]:
    """The pull with the smallest held-out log loss, and the held-out scores that it gives."""
    folds = np.random.default_rng(seed).permutation(len(reviewed.fake)) % FOLDS
    scores = np.tile(old(reviewed.features), (len(PULLS), 1))
    for fold in range(FOLDS):
        inside = folds != fold
        if reviewed.fake[inside].any() and not reviewed.fake[inside].all():
            heads = fits(old, reviewed.features[inside], reviewed.fake[inside], spread, PULLS)
            for row, head in zip(scores, heads, strict=True):
                row[~inside] = head(reviewed.features[~inside])
    sign = np.where(reviewed.fake, 1.0, -1.0)
    best = int(np.argmin(np.logaddexp(0, -sign * scores).mean(axis=1)))
    return PULLS[best], scores[best]


def _verdict(
    golden: tuple[Estimate, ...], found: tuple[float, float], reviews: tuple[Estimate, ...]
) -> tuple[bool, str]:
    if golden[1].value < golden[0].value - AREA_SLACK:
        return False, f"the golden set got worse: {golden[0].value:.3f} → {golden[1].value:.3f}"
    if found[1] < found[0] - FOUND_SLACK:
        return False, f"less of the golden set is found: {found[0]:.3f} → {found[1]:.3f}"
    if reviews[1].value <= reviews[0].value:
        return False, f"held-out reviews did not gain: {reviews[0].value:.3f} → {reviews[1].value:.3f}"
    return True, "the golden set did not get worse and held-out reviews gained"


def _write(
    head: str,
    new: Head,
    before: str,
    features: str,
    reviewed: Labelled,
    golden: Labelled,
    areas: tuple[Estimate, ...],
    found: tuple[float, float],
    pull: float,
    out: Path,
) -> Path:
    weight = tuple(float(f"{value:.7g}") for value in new.weight)
    bias = float(f"{new.bias:.7g}")
    digest = hashlib.sha256(msgspec.json.encode((head, bias, weight))).hexdigest()[:8]
    made = Refitted(
        head=head,
        features=features,
        bias=bias,
        weight=weight,
        digest=digest,
        before=before,
        learnt={"denied": int((~reviewed.fake).sum()), "confirmed": int(reviewed.fake.sum()), "pull": pull},
        golden={
            "real": int((~golden.fake).sum()),
            "fake": int(golden.fake.sum()),
            "auc_before": round(areas[0].value, 4),
            "auc_after": round(areas[1].value, 4),
            "found_before": round(found[0], 4),
            "found_after": round(found[1], 4),
        },
        reads=reads(FaceForgery.version),
    )
    path = out / f"{head}-{digest}.json"
    write_atomically(path, msgspec.json.encode(made) + b"\n")
    return path


def family_of(head: str) -> Family:
    """The family that a head speaks of. Raises ConfigError when there is no such head."""
    for family, name in HEADS.items():
        if name == head:
            return family
    raise ConfigError(f"no such head: {head}; there are {', '.join(HEADS.values())}")


@dataclass(frozen=True, slots=True)
class SideBySide:
    """Live and shadow probabilities of one family on the same uploads. `areas`: on those that were reviewed."""

    family: Family
    uploads: int
    mean_change: float
    risen: int
    fallen: int
    reviewed: int
    areas: tuple[float, float] | None


def side_by_side(
    judged: Iterable[tuple[MediaDecided, ReviewDecided | None]], family: Family, threshold: float
) -> SideBySide:
    """How the shadow's probabilities differ from the live ones; `threshold`: where suspicion begins."""
    pairs: list[tuple[float, float]] = []
    labels: list[bool | None] = []
    for decided, review in judged:
        live = _probability(decided.signals, family)
        shadow = _probability(decided.shadow, family)
        if live is None or shadow is None:
            continue
        pairs.append((live, shadow))
        told = None if review is None else family in review.confirmed
        denied = review is not None and (family in review.denied or review.action is Action.ALLOW)
        labels.append(told if told or denied else None)
    table = np.array(pairs).reshape(-1, 2)
    known = np.array([label is not None for label in labels], bool)
    fake = np.array([bool(label) for label in labels], bool)[known]
    areas = None
    if fake.any() and not fake.all():
        areas = (auc(table[known, 0], fake), auc(table[known, 1], fake))
    return SideBySide(
        family=family,
        uploads=len(table),
        mean_change=float((table[:, 1] - table[:, 0]).mean()) if len(table) else 0.0,
        risen=int(((table[:, 0] < threshold) & (table[:, 1] >= threshold)).sum()),
        fallen=int(((table[:, 0] >= threshold) & (table[:, 1] < threshold)).sum()),
        reviewed=int(known.sum()),
        areas=areas,
    )


def _probability(signals: Iterable[Signal], family: Family) -> float | None:
    return next((signal.probability for signal in signals if signal.family is family), None)
