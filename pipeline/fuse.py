"""Detector scores → one calibrated signal per family, with evidence, bounds and abstention.

For each family: per moment the highest score (over faces and detectors), over the moments the mean of the top share,
then the family's calibration. A manipulation that shows in a few seconds of a long video is found, and one stray frame
alone does not decide. What was not looked at widens the bounds and never makes a signal surer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from pipeline.detect.port import DetectorReport, Findings, Mode, ReportStatus, Score
from pipeline.events.values import Evidence, Family, Probability, Signal, SignalStatus


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Part of the policy file: a word that nobody knows is an error."""


class Calibration(_Section, frozen=True):
    """Platt scaling of the pooled score's log-odds: probability = 1 / (1 + exp(−(slope · logit(score) + intercept))).

    `slope` is positive: a higher score never means less.
    """

    slope: Annotated[float, Meta(gt=0, le=100)]
    intercept: Annotated[float, Meta(ge=-100, le=100)] = 0.0

    def __call__(self, score: float) -> float:
        """The probability; scores of 0 and 1 count as one in a million from the end."""
        inside = min(max(score, 1e-6), 1 - 1e-6)
        x = self.slope * (math.log(inside) - math.log1p(-inside)) + self.intercept
        return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


class Band(_Section, frozen=True):
    """Probabilities from `low` up to, not including, `high`: too uncertain to say."""

    low: Probability
    high: Probability

    def __post_init__(self) -> None:
        if self.low >= self.high:
            raise ValueError(f"the abstain band {self.low}–{self.high} is empty")


class FamilyFusion(_Section, frozen=True):
    """How the scores of one family become a signal.

    `top_share`: of the moments, strongest first, the share whose mean counts (at least one moment).
    `margin`: how far the calibrated probability may be off when everything was looked at.
    `min_coverage`: with less than this share looked at, only suspicion counts; reassurance is missing.
    `calibration`: none leaves the pooled score as it is.
    """

    top_share: Annotated[float, Meta(gt=0, le=1)]
    margin: Annotated[float, Meta(ge=0, le=0.5)]
    min_coverage: Probability
    calibration: Calibration | None = None
    abstain: Band | None = None


class Fusion(_Section, frozen=True):
    """The policy's `fusion:` section. `evidence`: scores kept per signal.

    `requires`: families without which an upload is not judged; without a detector they are missing.
    `default`: for families that `families` does not name.
    """

    evidence: Annotated[int, Meta(ge=0, le=100)]
    default: FamilyFusion
    requires: tuple[Family, ...] = ()
    families: dict[Family, FamilyFusion] = {}

    def of(self, family: Family) -> FamilyFusion:
        """How this family is fused."""
        return self.families.get(family, self.default)


@dataclass(frozen=True, slots=True)
class Assessment:
    """What is believed of one clip. `signals` count; `shadow` ones are only recorded. Both in the order of `Family`."""

    signals: tuple[Signal, ...]
    shadow: tuple[Signal, ...]


class _Sighting(NamedTuple):
    detector: str
    value: float
    score: Score


def fuse(findings: Findings, fusion: Fusion) -> Assessment:
    """One signal per family that a detector looks for or the policy requires, from live and shadow detectors apart."""
    live = [report for report in findings.reports if report.mode is Mode.LIVE]
    shadow = [report for report in findings.reports if report.mode is Mode.SHADOW]
    return Assessment(_signals(live, fusion, fusion.requires), _signals(shadow, fusion, ()))


def pool(scores: Iterable[tuple[float | None, float]], top_share: float) -> float:
    """(moment, score) → per moment the highest, over the moments the mean of the top share.

    Scores that point at no moment speak of the whole and count as one moment together. At least one score is needed.
    """
    highest: dict[float | None, float] = {}
    for at, score in scores:
        highest[at] = max(score, highest.get(at, 0.0))
    moments = sorted(highest.values(), reverse=True)
    top = moments[: max(1, math.ceil(top_share * len(moments)))]
    return min(1.0, math.fsum(top) / len(top))


def _signals(reports: Sequence[DetectorReport], fusion: Fusion, requires: Sequence[Family]) -> tuple[Signal, ...]:
    looked_for = {family for report in reports for family in report.families} | set(requires)
    return tuple(_signal(family, reports, fusion) for family in Family if family in looked_for)


def _signal(family: Family, reports: Sequence[DetectorReport], fusion: Fusion) -> Signal:
    how = fusion.of(family)
    asked = [report for report in reports if family in report.families]
    due = [report for report in asked if report.status is not ReportStatus.NOT_APPLICABLE]
    detectors = tuple(sorted({f"{report.detector}@{report.version}" for report in asked}))
    if not asked:
        return _missing(family, 0.0, (), (), "no detector looks for it")
    if not due:
        note = _notes(asked)
        return Signal(family=family, status=SignalStatus.NOT_APPLICABLE, detectors=detectors, note=note)

    coverage = _tidy(math.fsum(_coverage(report, family) for report in due) / len(due))
    sightings = [sighting for report in due for sighting in _sightings(report, family)]
    evidence = _evidence(sightings, fusion.evidence)
    if not sightings or coverage <= 0:
        return _missing(family, 0.0, evidence, detectors, _notes(due))

    pooled = pool(((sighting.score.at, sighting.value) for sighting in sightings), how.top_share)
    probability = _tidy(how.calibration(pooled) if how.calibration else pooled)
    # Suspicion that rests on a part is suspicion; the absence of suspicion in a part says nothing of the rest.
    suspicious = how.abstain is not None and probability >= how.abstain.low
    if coverage < how.min_coverage and not suspicious:
        return _missing(family, coverage, evidence, detectors, _notes(due))
    abstained = how.abstain is not None and how.abstain.low <= probability < how.abstain.high
    return Signal(
        family=family,
        status=SignalStatus.ABSTAINED if abstained else SignalStatus.SCORED,
        probability=probability,
        # The unseen share may be anything: the bounds reach as far towards 0 and 1 as it is large.
        low=_tidy(max(0.0, probability - how.margin) * coverage),
        high=_tidy(1.0 - (1.0 - min(1.0, probability + how.margin)) * coverage),
        coverage=coverage,
        evidence=evidence,
        detectors=detectors,
        note=_notes(due),
    )


def _tidy(share: float) -> float:
    """Six decimals: the mean of three scores of 0.8 is 0.8, whatever the processor says."""
    return round(share, 6)


def _missing(
    family: Family, coverage: float, evidence: tuple[Evidence, ...], detectors: tuple[str, ...], note: str
) -> Signal:
    return Signal(
        family=family,
        status=SignalStatus.MISSING,
        coverage=coverage,
        evidence=evidence,
        detectors=detectors,
        note=note,
    )


def _coverage(report: DetectorReport, family: Family) -> float:
    """The share of what a detector should have looked at that yielded a usable score of this family."""
    if report.status is not ReportStatus.OK:
        return 0.0
    said = [score for score in report.scores if score.family is family]
    usable = sum(not math.isnan(score.value) for score in said)
    share = report.coverage if math.isfinite(report.coverage) else 0.0
    return min(1.0, max(0.0, share)) * usable / len(said) if said else 0.0


def _sightings(report: DetectorReport, family: Family) -> list[_Sighting]:
    if report.status is not ReportStatus.OK:
        return []
    return [
        _Sighting(report.detector, min(1.0, max(0.0, score.value)), score)
        for score in report.scores
        if score.family is family and not math.isnan(score.value)
    ]


def _evidence(sightings: Sequence[_Sighting], most: int) -> tuple[Evidence, ...]:
    """The strongest scores, in an order that does not depend on the order in which detectors answered."""
    return tuple(
        Evidence(
            detector=sighting.detector,
            score=sighting.value,
            at=sighting.score.at,
            box=sighting.score.box,
            track=sighting.score.track,
            note=sighting.score.note,
        )
        for sighting in sorted(sightings, key=_rank)[:most]
    )


def _rank(sighting: _Sighting) -> tuple[object, ...]:
    score, box = sighting.score, sighting.score.box
    return (
        -sighting.value,
        -1.0 if score.at is None else score.at,
        sighting.detector,
        (box.x0, box.y0, box.x1, box.y1) if box else (),
        -1 if score.track is None else score.track,
        score.note,
    )


def _notes(reports: Iterable[DetectorReport]) -> str:
    """Why detectors said nothing, or less than they should."""
    said = {f"{report.detector}: {report.detail or report.status.value}" for report in reports if _short(report)}
    return "; ".join(sorted(said))


def _short(report: DetectorReport) -> bool:
    return report.status is not ReportStatus.OK or bool(report.detail)
