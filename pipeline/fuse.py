"""Detector scores → one calibrated signal per family, with evidence, bounds and abstention.

For each family: per face track and moment the highest score (over detectors), over the moments of a track the mean of
the top share, over the tracks the highest; then the family's calibration for this kind of media. A manipulation that
shows in a few seconds of a long video, or on one of many faces, is found, and one stray frame alone does not decide.
What was not looked at widens the bounds and never makes a signal surer.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

from msgspec import Meta, structs

from pipeline.calibration import NONE, AnyCurve, Band, Calibration, FamilyCalibration, Section
from pipeline.detect.port import DetectorReport, Findings, Mode, ReportStatus, Score
from pipeline.events.values import Agreement, Evidence, Family, MediaFacts, Probability, Signal, SignalStatus

_OTHER_WAYS: dict[Family, tuple[Family, ...]] = {
    Family.FACE_SWAP: (Family.REENACTMENT, Family.EYES_AND_HEAD, Family.LIGHTING, Family.LOCAL_EDIT, Family.SPLICE),
    Family.FACE_SYNTHESIS: (
        Family.IMAGE_SYNTHESIS,
        Family.EYES_AND_HEAD,
        Family.GENERATOR_METADATA,
        Family.PROVENANCE,
    ),
    Family.IMAGE_SYNTHESIS: (
        Family.FACE_SYNTHESIS,
        Family.STYLE_TRANSFER,
        Family.GENERATOR_METADATA,
        Family.PROVENANCE,
    ),
    Family.LIP_SYNC: (Family.VOICE_CLONE, Family.REENACTMENT, Family.SPLICE),
    Family.VOICE_CLONE: (Family.LIP_SYNC, Family.SPLICE),
    Family.SPLICE: (Family.LOCAL_EDIT, Family.FACE_SWAP),
}
"""Families that see the same manipulation by other traces: they share no model and no measure with it."""

_EVEN = 0.5
"""Where suspicion begins in a family that has no abstain band."""


class FamilyFusion(Section, frozen=True):
    """How the scores of one family become a signal.

    `top_share`: of a track's moments, strongest first, the share whose mean counts. `looks`: and at least so many
    moments, as far as the clip has them; a track that was seen less often is filled up with the clip's median.
    `margin`: how far the calibrated probability may be off when everything was looked at.
    `min_coverage`: with less than this share looked at, only suspicion counts; reassurance is missing.
    `calibration`, `abstain`, `margin`: left out, the calibration file's.
    """

    top_share: Annotated[float, Meta(gt=0, le=1)]
    min_coverage: Probability
    looks: Annotated[int, Meta(ge=1, le=100)] = 3
    margin: Annotated[float, Meta(ge=0, le=0.5)] | None = None
    calibration: AnyCurve | None = None
    abstain: Band | None = None


class Fusion(Section, frozen=True):
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


class Fused(Section, frozen=True):
    """A policy's fusion together with the calibration in use. The policy's own words come first."""

    fusion: Fusion
    calibration: Calibration = NONE

    def abstain(self, family: Family) -> Band | None:
        """Where this family is too uncertain to say."""
        known = self._known(family)
        return self.fusion.of(family).abstain or (known.abstain if known else None)

    def margin(self, family: Family) -> float:
        """How far its probability may be off when everything was looked at."""
        own, known = self.fusion.of(family).margin, self._known(family)
        return own if own is not None else known.margin if known else _UNKNOWN_MARGIN

    def curve(self, family: Family, facts: MediaFacts | None) -> AnyCurve | None:
        """From its pooled score to a probability, for this kind of media; None leaves the score as it is."""
        known = self._known(family)
        return self.fusion.of(family).calibration or (known.curve_for(facts) if known else None)

    def advisory(self, family: Family) -> bool:
        """Whether the calibration says that it may be no more than a hint."""
        known = self._known(family)
        return known is not None and known.advisory

    def suspicion(self, family: Family) -> float:
        """The probability from which a family counts as suspicious."""
        band = self.abstain(family)
        return band.low if band else _EVEN

    def _known(self, family: Family) -> FamilyCalibration | None:
        return self.calibration.families.get(family)


_UNKNOWN_MARGIN = 0.2
"""For a family that neither the policy nor a calibration speaks of: nobody measured how far it may be off."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """What is believed of one clip. `signals` count; `shadow` ones are only recorded. Both in the order of `Family`.

    `agreement`: for each suspicious family, whether those that see the same by other traces bear it out. It is shown
    and changes no probability: how far the signals depend on each other has not been measured.
    """

    signals: tuple[Signal, ...]
    shadow: tuple[Signal, ...]
    agreement: tuple[Agreement, ...] = ()


class _Sighting(NamedTuple):
    detector: str
    value: float
    score: Score


def fuse(findings: Findings, by: Fused, facts: MediaFacts | None = None) -> Assessment:
    """One signal per family that a detector looks for or the policy requires, from live and shadow detectors apart.

    `facts`: what kind of media it is, for calibrations that differ by it.
    """
    live = [report for report in findings.reports if report.mode is Mode.LIVE]
    shadow = [report for report in findings.reports if report.mode is Mode.SHADOW]
    signals = _signals(live, by, facts, by.fusion.requires)
    return Assessment(signals, _signals(shadow, by, facts, ()), agreement(signals, by))


def pool(scores: Iterable[tuple[int | None, float | None, float]], top_share: float, looks: int) -> float:
    """(track, moment, score) → the highest per track and moment, their top mean per track, the highest over tracks.

    The top is the `top_share` of a track's moments, but no fewer than `looks` (as far as there are so many different
    moments at all): a track that was seen less often is filled up with the median over the moments. Scores of no track
    speak of the frame, those of no moment of the whole. At least one score is needed.
    """
    tracks: dict[int | None, dict[float | None, float]] = defaultdict(dict)
    moments: dict[float | None, float] = {}
    for track, at, score in scores:
        seen = tracks[track]
        seen[at] = max(score, seen.get(at, 0.0))
        moments[at] = max(score, moments.get(at, 0.0))
    least, usual = min(looks, len(moments)), statistics.median(moments.values())
    return min(1.0, max(_top_mean(seen.values(), top_share, least, usual) for seen in tracks.values()))


def _top_mean(scores: Iterable[float], top_share: float, least: int, usual: float) -> float:
    ranked = sorted(scores, reverse=True)
    top = ranked[: max(least, math.ceil(top_share * len(ranked)))]
    top += [min(usual, top[-1])] * (least - len(top))
    return math.fsum(top) / len(top)


def agreement(signals: Sequence[Signal], by: Fused) -> tuple[Agreement, ...]:
    """For each suspicious family: which of those that see the same by other traces are suspicious too."""
    judged = {s.family: s.probability for s in signals if s.probability is not None}
    found = []
    for about, others in _OTHER_WAYS.items():
        if judged.get(about, 0.0) < by.suspicion(about):
            continue
        known = [other for other in others if other in judged]
        supports = tuple(other for other in known if judged[other] >= by.suspicion(other))
        opposes = tuple(other for other in known if other not in supports)
        found.append(Agreement(about=about, supports=supports, opposes=opposes, note=_told(supports, opposes)))
    return tuple(found)


def _told(supports: Sequence[Family], opposes: Sequence[Family]) -> str:
    """ "1 of 3 other signals points the same way: lighting; not: local edit, splice." """
    if not supports and not opposes:
        return "no other signal could bear it out"
    names = [", ".join(family.value.replace("_", " ") for family in side) for side in (supports, opposes)]
    count = f"{len(supports)} of {len(supports) + len(opposes)} other signals"
    return "; ".join(
        part for part in (f"{count}: {names[0]}" if supports else count, f"not: {names[1]}" if opposes else "") if part
    )


def _signals(
    reports: Sequence[DetectorReport], by: Fused, facts: MediaFacts | None, requires: Sequence[Family]
) -> tuple[Signal, ...]:
    looked_for = {family for report in reports for family in report.families} | set(requires)
    return tuple(_signal(family, reports, by, facts) for family in Family if family in looked_for)


def _signal(family: Family, reports: Sequence[DetectorReport], by: Fused, facts: MediaFacts | None) -> Signal:
    how = by.fusion.of(family)
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
    evidence = _evidence(sightings, by.fusion.evidence)
    if not sightings or coverage <= 0:
        return _missing(family, 0.0, evidence, detectors, _notes(due))

    points = ((each.score.track, each.score.at, each.value) for each in sightings)
    pooled = _tidy(pool(points, how.top_share, how.looks))
    said = Signal(
        family=family,
        status=SignalStatus.SCORED,
        coverage=coverage,
        evidence=evidence,
        detectors=detectors,
        note=_notes(due),
        pooled=pooled,
    )
    found = calibrated(said, by, facts)
    # Suspicion that rests on a part is suspicion; the absence of suspicion in a part says nothing of the rest.
    band = by.abstain(family)
    suspicious = band is not None and (found.probability or 0.0) >= band.low
    if coverage < how.min_coverage and not suspicious:
        return _missing(family, coverage, evidence, detectors, _notes(due))
    return found


def calibrated(said: Signal, by: Fused, facts: MediaFacts | None) -> Signal:
    """The signal with what its pooled score means by this calibration; one without a score stays as it is."""
    if said.pooled is None:
        return said
    curve, band, margin = by.curve(said.family, facts), by.abstain(said.family), by.margin(said.family)
    probability = _tidy(curve(said.pooled) if curve else said.pooled)
    abstained = band is not None and band.low <= probability < band.high
    return structs.replace(
        said,
        status=SignalStatus.ABSTAINED if abstained else SignalStatus.SCORED,
        probability=probability,
        # The unseen share may be anything: the bounds reach as far towards 0 and 1 as it is large.
        low=_tidy(max(0.0, probability - margin) * said.coverage),
        high=_tidy(1.0 - (1.0 - min(1.0, probability + margin)) * said.coverage),
        advisory=by.advisory(said.family),
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
            until=sighting.score.until,
            heat=sighting.score.heat,
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
