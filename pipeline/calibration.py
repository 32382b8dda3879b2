"""What a pooled score is worth: curves from scores to probabilities, and where to say "cannot tell". Pure.

A calibration is a file of its own, made by `unmask calibrate` from scores and labels, because it travels badly: it
holds for the kind of media, the cameras and the forgeries that it was made from, and a platform makes its own.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from enum import StrEnum
from typing import Annotated, Protocol

import msgspec
from msgspec import Meta

from pipeline.events.values import Family, MediaFacts, MediaKind, Probability


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Part of a file that people write: a word that nobody knows is an error."""


class Curve(Protocol):
    """From a pooled score, 0–1, to a probability; a higher score never means less."""

    def __call__(self, score: float) -> float:
        """The probability."""
        ...


class Platt(Section, frozen=True, tag_field="method", tag="platt"):
    """Platt scaling of the score's log-odds: probability = 1 / (1 + exp(−(slope · logit(score) + intercept))).

    Platt, "Probabilistic outputs for support vector machines", 1999. `slope` is positive.
    """

    slope: Annotated[float, Meta(gt=0, le=100)]
    intercept: Annotated[float, Meta(ge=-100, le=100)] = 0.0

    def __call__(self, score: float) -> float:
        """The probability; scores of 0 and 1 count as one in a million from the end."""
        inside = min(max(score, 1e-6), 1 - 1e-6)
        x = self.slope * (math.log(inside) - math.log1p(-inside)) + self.intercept
        return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


class Isotonic(Section, frozen=True, tag_field="method", tag="isotonic"):
    """A rising line through points (score, probability), flat beyond its ends (Zadrozny and Elkan, 2002)."""

    points: Annotated[tuple[tuple[Probability, Probability], ...], Meta(min_length=2)]

    def __post_init__(self) -> None:
        for (x0, y0), (x1, y1) in zip(self.points, self.points[1:], strict=False):
            if x1 <= x0 or y1 < y0:
                raise ValueError("the points of a curve must rise")

    def __call__(self, score: float) -> float:
        """The probability, by straight lines between the points."""
        right = bisect_right([x for x, _ in self.points], score)
        if right == 0:
            return self.points[0][1]
        if right == len(self.points):
            return self.points[-1][1]
        (x0, y0), (x1, y1) = self.points[right - 1], self.points[right]
        # Rounding may put the last bit above y1, and what comes after must not be less.
        return min(y1, y0 + (y1 - y0) * (score - x0) / (x1 - x0))


AnyCurve = Platt | Isotonic


class Band(Section, frozen=True):
    """Probabilities from `low` up to, not including, `high`: too uncertain to say."""

    low: Probability
    high: Probability

    def __post_init__(self) -> None:
        if self.low >= self.high:
            raise ValueError(f"the abstain band {self.low}–{self.high} is empty")


class Unit(StrEnum):
    """What a band of doubt takes as exchangeable on the genuine side, and so what its promise is about.

    ITEMS: another item of the sources that the band was made from, in their proportions. SOURCES: an item of another
    source, drawn as those were.
    """

    ITEMS = "items"
    SOURCES = "sources"


class Stratum(Section, frozen=True):
    """A kind of media with a curve of its own: what all conditions fit; a condition that is left out fits all.

    `kinds` and `codecs` (of the picture, as FFmpeg calls them); `min_side` up to, not including, `max_side`: pixels of
    the shorter side. `real`, `fake`: how many items the curve rests on.
    """

    curve: AnyCurve
    kinds: tuple[MediaKind, ...] = ()
    codecs: tuple[str, ...] = ()
    min_side: int = 0
    max_side: int | None = None
    real: int = 0
    fake: int = 0

    def fits(self, facts: MediaFacts) -> bool:
        """Whether an upload is of this kind."""
        codec = next((track.codec for track in facts.tracks if track.kind == "video"), facts.container)
        side = min(facts.width or 0, facts.height or 0)
        return (
            (not self.kinds or facts.kind in self.kinds)
            and (not self.codecs or codec in self.codecs)
            and self.min_side <= side
            and (self.max_side is None or side < self.max_side)
        )


class FamilyCalibration(Section, frozen=True):
    """What is known about one family's pooled scores.

    `curve` serves what no stratum fits. `abstain`: conformal: of genuine items no more than the share `error_rate` lies
    above it, of manipulated ones no more than `miss_rate` below. `by`: whose genuine items that is promised of; of
    manipulated ones it is always said of items. `holds_for`: kinds of media of which it is promised each by itself.
    `margin`: how far the probability may be off (the calibration error that was measured). `advisory`: measured too
    near chance for anything but a hint to a person. `auc`, `real`, `fake`, `sources`, and those among them with genuine
    items, `real_sources`: what it rests on.
    """

    curve: AnyCurve
    strata: tuple[Stratum, ...] = ()
    abstain: Band | None = None
    error_rate: Annotated[float, Meta(gt=0, lt=1)] = 0.05
    miss_rate: Annotated[float, Meta(gt=0, lt=1)] = 0.05
    by: Unit = Unit.ITEMS
    holds_for: tuple[MediaKind, ...] = ()
    margin: Annotated[float, Meta(ge=0, le=0.5)] = 0.1
    advisory: bool = False
    auc: tuple[float, float, float] | None = None
    real: int = 0
    fake: int = 0
    sources: int = 0
    real_sources: int = 0
    note: str = ""

    def curve_for(self, facts: MediaFacts | None) -> AnyCurve:
        """The first stratum's that fits; else the family's own."""
        if facts is not None:
            for stratum in self.strata:
                if stratum.fits(facts):
                    return stratum.curve
        return self.curve


class Calibration(Section, frozen=True):
    """A calibration file. `made`: when, from what and at what odds, in words; nothing reads it back."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$(?!\n)", max_length=40)]
    families: dict[Family, FamilyCalibration]
    made: dict[str, str | int | float] = {}


NONE = Calibration(name="none", families={})
"""Scores as they are."""


_STEPS = 10_000


def scores_at(curve: Curve, band: Band) -> tuple[float, float]:
    """The scores from which, and up to which, a curve's probability lies in the band of doubt, to three decimals.

    Where the curve never reaches an edge, 1 stands for it: no score does.
    """

    def reaches(probability: float) -> float:
        step = bisect_left(range(_STEPS), probability, key=lambda i: curve(i / _STEPS))
        return round(step / _STEPS, 3)

    return reaches(band.low), reaches(band.high)
