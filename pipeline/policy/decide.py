"""Signals, an upload's context and a policy → a decision with its trace.

All rules are looked at, whatever their order. The strongest action wins. A review that any live rule asks for is kept,
and the most urgent one (earliest deadline, then highest priority) names the queue. So a higher score never leads to a
milder action, a later deadline or no review.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from pipeline.events import MediaUploaded
from pipeline.events.values import (
    Action,
    Decision,
    Failure,
    Family,
    ReviewNeed,
    RuleHit,
    RuleMode,
    Signal,
    SignalStatus,
)
from pipeline.policy import words
from pipeline.policy.rules import FailMode, On, Policy, Review, Rule

NOTHING_FOUND = "Nothing was found that the policy acts on."


@dataclass(frozen=True, slots=True)
class _Fired:
    """A hit and what the trace does not hold. `speaks_of`: hits with the same one would say the same thing twice."""

    hit: RuleHit
    speaks_of: Hashable
    review: Review | None = None
    label: str | None = None

    @property
    def live(self) -> bool:
        return self.hit.mode is RuleMode.LIVE


def decide(
    signals: Iterable[Signal], upload: MediaUploaded, policy: Policy, now: datetime, failure: Failure | None = None
) -> Decision:
    """What the policy says of an upload.

    Args:
        signals: at most one per family; a required family that is absent is missing.
        upload: its surface, regions and declaration are conditions of rules.
        policy: the rules.
        now: deadlines are counted from here.
        failure: why the upload could not be screened; the fail modes for `unjudged` then apply.
    """
    by_family = {signal.family: signal for signal in signals}
    fired = sorted(
        (*_rules(by_family, upload, policy), *_fail_modes(by_family, upload, policy, failure)), key=_strongest_first
    )
    live = [each for each in fired if each.live]
    action = max((each.hit.action for each in live), key=lambda each: each.strength, default=Action.ALLOW)
    return Decision(
        action=action,
        reasons=_reasons(live) or (NOTHING_FOUND,),
        policy_version=policy.version,
        review=_most_urgent(live, now),
        trace=tuple(each.hit for each in fired),
        label=min((each.label for each in live if each.label), default=None),
    )


def _rules(signals: dict[Family, Signal], upload: MediaUploaded, policy: Policy) -> Iterator[_Fired]:
    for rule in policy.rules:
        crossed = _crossed(rule, signals)
        if crossed is None or not _concerns(rule, upload):
            continue
        signal, threshold = crossed[0] if crossed else (None, None)
        hit = RuleHit(
            rule=rule.name,
            harm=rule.harm,
            action=rule.action,
            mode=rule.mode,
            because=words.crossed(rule.reason, crossed),
            family=signal.family if signal else None,
            observed=signal.probability if signal else None,
            threshold=threshold,
            queue=rule.review.queue if rule.review else None,
            priority=rule.review.priority if rule.review else None,
        )
        speaks_of = tuple((signal.family, threshold) for signal, threshold in crossed) or rule.name
        yield _Fired(hit, speaks_of, rule.review, rule.label)


def _concerns(rule: Rule, upload: MediaUploaded) -> bool:
    return (
        (not rule.surfaces or upload.surface in rule.surfaces)
        and (not rule.regions or not upload.regions or not set(rule.regions).isdisjoint(upload.regions))
        and rule.declared_synthetic in (None, upload.declared_synthetic)
    )


def _crossed(rule: Rule, signals: dict[Family, Signal]) -> tuple[tuple[Signal, float], ...] | None:
    """The signals that are at or above the rule's thresholds; None unless all are."""
    crossed = []
    for family, threshold in sorted(rule.when.items()):
        signal = signals.get(family)
        if signal is None or signal.probability is None or not signal.probability >= threshold:
            return None
        crossed.append((signal, threshold))
    return tuple(crossed)


def _fail_modes(
    signals: dict[Family, Signal], upload: MediaUploaded, policy: Policy, failure: Failure | None
) -> Iterator[_Fired]:
    for mode in policy.fail_modes:
        if failure is not None:
            if (
                mode.on is On.UNJUDGED
                and mode.covers(upload.surface)
                and (not mode.causes or failure.reason in mode.causes)
            ):
                yield _failed(mode, words.failed(mode.reason, failure))
            continue
        for family in Family:
            if not mode.covers(upload.surface, family):
                continue
            signal = signals.get(family)
            least = policy.fusion.of(family).min_coverage
            if mode.on is On.MISSING and _missing(signal, family in policy.fusion.requires, least):
                coverage = signal.coverage if signal else 0.0
                yield _failed(mode, words.not_judged(mode.reason, family, coverage), family)
            band = policy.fused.abstain(family)
            edge = band.low if band else None
            if mode.on is On.UNCERTAIN and signal is not None and _doubtful(signal, edge):
                yield _failed(mode, words.doubtful(mode.reason, signal, edge), family, signal.probability, edge)


def _missing(signal: Signal | None, required: bool, min_coverage: float) -> bool:
    """Not judged, or too little of it, however high the score of the rest: a suspicion does not stand in for a look."""
    if signal is None:
        return required
    if signal.status is SignalStatus.NOT_APPLICABLE:
        return False
    return signal.status is SignalStatus.MISSING or signal.coverage < min_coverage


def _doubtful(signal: Signal, edge: float | None) -> bool:
    if signal.probability is None:
        return False
    return signal.status is SignalStatus.ABSTAINED or (edge is not None and signal.probability >= edge)


def _failed(
    mode: FailMode,
    because: str,
    family: Family | None = None,
    observed: float | None = None,
    threshold: float | None = None,
) -> _Fired:
    hit = RuleHit(
        rule=mode.name,
        harm=mode.harm,
        action=mode.action,
        mode=RuleMode.LIVE,
        because=because,
        family=family,
        observed=observed,
        threshold=threshold,
        queue=mode.review.queue if mode.review else None,
        priority=mode.review.priority if mode.review else None,
        fail_mode=True,
    )
    return _Fired(hit, (mode.on, family), mode.review)


def _strongest_first(fired: _Fired) -> tuple[object, ...]:
    hit = fired.hit
    return (-hit.action.strength, hit.fail_mode, hit.rule, hit.family or "")


def _reasons(live: Sequence[_Fired]) -> tuple[str, ...]:
    """Each finding once, in the words of the strongest rule; doubt about a family only where no rule spoke of it."""
    judged = {each.hit.family for each in live if not each.hit.fail_mode}
    said: dict[Hashable, str] = {}
    for each in live:
        doubt = each.hit.fail_mode and each.hit.observed is not None
        if not (doubt and each.hit.family in judged):
            said.setdefault(each.speaks_of, each.hit.because)
    return tuple(said.values())


def _most_urgent(live: Iterable[_Fired], now: datetime) -> ReviewNeed | None:
    asked = [(each.review, each.hit.harm) for each in live if each.review is not None]
    if not asked:
        return None
    review, harm = min(asked, key=lambda ask: (ask[0].within, -ask[0].priority, ask[0].queue, ask[1]))
    return ReviewNeed(queue=review.queue, harm=harm, priority=review.priority, deadline=now + review.within)
