"""Recorded signals → the case that a policy of today would decide on. Pure.

What was recorded are calibrated signals. A policy with another calibration, or other bands of doubt, would have made
other ones from the same raw scores: those are made anew here from the pooled score that each signal keeps. What was
lost in pooling (single scores, other shares of moments) cannot be had back, and is counted instead.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from msgspec import structs

from pipeline.events import MediaDecided
from pipeline.events.values import Family, Signal, SignalStatus
from pipeline.fuse import Fused, agreement, calibrated
from pipeline.policy.case import Case, case_of
from pipeline.policy.rules import Policy


@dataclass(frozen=True, slots=True)
class Restated:
    """A case, and how near it is to what the policy would have seen.

    `anew`: its signals were made by another fusion or calibration. `stale`: judged families that keep their recorded
    probability although it was made otherwise, because no raw score is on record.
    """

    case: Case
    anew: bool = False
    stale: tuple[Family, ...] = ()


def restated(decided: MediaDecided, policy: Policy) -> Restated:
    """What the policy would have decided on."""
    case = case_of(decided)
    if decided.failure is not None or policy.fusion_version in decided.versions.detectors:
        return Restated(case)
    signals = tuple(_again(signal, policy.fused, decided) for signal in case.signals)
    stale = tuple(signal.family for signal in signals if _is_stale(signal))
    return Restated(replace(case, signals=signals, agreement=agreement(signals, policy.fused)), True, stale)


def _again(signal: Signal, by: Fused, decided: MediaDecided) -> Signal:
    """As `pipeline.fuse` would say it: with too little coverage suspicion counts, and reassurance is missing."""
    said = calibrated(signal, by, decided.facts)
    if said.pooled is None or said.coverage >= by.fusion.of(said.family).min_coverage:
        return said
    band = by.abstain(said.family)
    if band is not None and (said.probability or 0.0) >= band.low:
        return said
    return structs.replace(said, status=SignalStatus.MISSING, probability=None, low=None, high=None)


def _is_stale(signal: Signal) -> bool:
    """Matches with banks are no scores: nothing calibrates them."""
    return signal.probability is not None and signal.pooled is None and signal.family is not Family.KNOWN_CONTENT


def pooled_otherwise(one: Policy, other: Policy) -> tuple[Family, ...]:
    """Families whose single scores the two policies bring together differently: no stored score can show that."""
    return tuple(
        family
        for family in Family
        if (one.fusion.of(family).top_share, one.fusion.of(family).looks)
        != (other.fusion.of(family).top_share, other.fusion.of(family).looks)
    )


def covered_otherwise(one: Policy, other: Policy) -> tuple[Family, ...]:
    """Families of which the second policy asks for less coverage than the first: what the first left out is lost."""
    return tuple(
        family for family in Family if other.fusion.of(family).min_coverage < one.fusion.of(family).min_coverage
    )
