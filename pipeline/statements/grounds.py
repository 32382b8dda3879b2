"""What a decision rests on: the rules that acted, and the findings behind them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from pipeline.events import DecidedBy, MediaDecided, MediaEnforced
from pipeline.events.values import Action, Family, Region, RequestKind, RuleHit, Signal, SignalStatus
from pipeline.policy.rules import Harm

GENERATED: Final = frozenset(
    {
        Family.FACE_SYNTHESIS,
        Family.IMAGE_SYNTHESIS,
        Family.VOICE_CLONE,
        Family.GENERATOR_METADATA,
        Family.PROVENANCE,
    }
)
"""A model made the picture, the face, the voice, or the file says so."""

MANIPULATED: Final = frozenset(
    {
        Family.FACE_SWAP,
        Family.LIP_SYNC,
        Family.REENACTMENT,
        Family.EYES_AND_HEAD,
        Family.LIGHTING,
        Family.LOCAL_EDIT,
        Family.STYLE_TRANSFER,
    }
)
"""A model changed what was there."""

EDITED: Final = frozenset({Family.SPLICE})
"""Joined or cut; it takes no model."""

SYNTHETIC: Final = GENERATED | MANIPULATED
"""What makes media synthetic in the sense of the DSA's statements."""

MORE_LIKELY_THAN_NOT: Final = 0.5
"""Of a calibrated probability: where something is rather so than not."""

_OF_FIELD = {family.value: family for family in Family}


UNNAMED: Final = Harm(what="content that the rules of the platform do not allow", severity=1)
"""For a harm that the policy in force does not know (any more)."""


def behind(
    decided: MediaDecided, outcome: MediaEnforced, action: Action, region: Region | None = None
) -> tuple[RuleHit, ...]:
    """The rules behind an action, in the trace's order; with a region, those that apply there.

    Of a person's decision: those of the harm that the person was asked about, or named.
    """
    asked = {*_asked(decided), outcome.harm} if outcome.decided_by is DecidedBy.PERSON else None
    return tuple(
        hit
        for hit in decided.decision.trace
        if hit.acts
        and (hit.action is action if asked is None else hit.harm in asked)
        and (region is None or not hit.regions or region in hit.regions)
    )


def decided_by(outcome: MediaEnforced, hits: Collection[RuleHit]) -> DecidedBy:
    """Who is behind a restriction by these rules: in a region others may be than in the rest."""
    if outcome.decided_by is DecidedBy.PERSON or not hits:
        return outcome.decided_by
    return DecidedBy.FAIL_MODE if all(hit.fail_mode for hit in hits) else DecidedBy.POLICY


def concerned(
    decided: MediaDecided, outcome: MediaEnforced, hits: Iterable[RuleHit], harms: Mapping[str, Harm]
) -> tuple[str, ...]:
    """What a restriction is about: the harm that a person named, where the policy has it; else those of these rules,
    the worst first; without rules the one that a person was asked about, or what was in force before."""
    if outcome.harm in harms:
        return (outcome.harm,)
    asked = _asked(decided) if outcome.decided_by is DecidedBy.PERSON else _said(decided.decision.harm)
    names = {hit.harm for hit in hits} or asked
    return tuple(sorted(names, key=lambda name: (-harms.get(name, UNNAMED).severity, name)))


def requested(decided: MediaDecided) -> bool:
    """A person shown asked for this. An appeal asks for less, not for more, and is no reason to restrict anything."""
    return decided.request is not None and decided.request.kind is not RequestKind.APPEAL


def _asked(decided: MediaDecided) -> frozenset[str]:
    """Who looks at an appeal is asked about what it is against."""
    decision = decided.decision
    appealed = decided.request is not None and not requested(decided)
    return _said(decision.review.harm if decision.review and not appealed else decision.harm)


def _said(name: str | None) -> frozenset[str]:
    return frozenset({name} if name else ())


def relied_on(decided: MediaDecided, hits: Iterable[RuleHit]) -> frozenset[Family]:
    """The families whose findings made these rules fire.

    A rule may look at several; the trace names the first that crossed its threshold, and of the others those count
    that were judged and are rather there than not.
    """
    found: set[Family] = set()
    likely = {signal.family for signal in decided.signals if _likely(signal)}
    for hit in hits:
        if hit.fail_mode:
            continue
        found |= {hit.family} if hit.family is not None else set()
        looked_at = {_OF_FIELD.get(saw.field.partition(".")[0]) for saw in hit.saw}
        found |= {family for family in looked_at if family in likely}
    return frozenset(found)


def likely_families(signals: Iterable[Signal]) -> frozenset[Family]:
    """Families that were judged and are rather there than not, hints aside."""
    return frozenset(signal.family for signal in signals if _likely(signal) and not signal.advisory)


def _likely(signal: Signal) -> bool:
    return (
        signal.status is SignalStatus.SCORED
        and signal.probability is not None
        and signal.probability > MORE_LIKELY_THAN_NOT
    )
