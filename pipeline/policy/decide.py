"""A case and a policy → a decision with its trace.

All rules are looked at, whatever their order. The strongest action wins: remove, hold, limit, label, allow. A review
that any acting rule asks for is kept; the most urgent one (to be started first, then highest priority) names the queue.
Evaluation is total: a condition that cannot be answered does not hold, and the trace says so.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pipeline.events.values import (
    Action,
    Decision,
    Family,
    Region,
    RegionalDecision,
    ReviewNeed,
    RuleHit,
    RuleMode,
    Saw,
    Signal,
    SignalStatus,
)
from pipeline.moments import length
from pipeline.policy import words
from pipeline.policy.case import Case
from pipeline.policy.condition import Activation, Condition
from pipeline.policy.fields import Value, read, spoken
from pipeline.policy.rules import Clock, FailMode, On, Policy, Review, Rule, Starts, trace_mode

NOTHING_FOUND = "Nothing was found that the policy acts on."


@dataclass(frozen=True, slots=True)
class _Fired:
    """A hit and what the trace does not hold. `speaks_of`: hits with the same one would say the same thing twice."""

    hit: RuleHit
    speaks_of: Hashable
    need: ReviewNeed | None = None


@dataclass(frozen=True, slots=True)
class _Look:
    """A case as the conditions see it."""

    case: Case
    policy: Policy
    signals: Mapping[Family, Signal]
    values: Mapping[str, Value]
    seen: Activation

    @property
    def families(self) -> Iterable[Family]:
        """Those that anything is known of, or should be."""
        return dict.fromkeys((*self.signals, *self.policy.fusion.requires))

    def edge(self, family: Family) -> float | None:
        """The probability from which a family is in doubt."""
        band = self.policy.fused.abstain(family)
        return band.low if band else None

    def saw(self, *conditions: Condition | None) -> tuple[Saw, ...]:
        """The values that these conditions saw."""
        names = dict.fromkeys(name for condition in conditions if condition for name in condition.fields)
        pairs = ((name, spoken(self.values[name])) for name in names)
        return tuple(Saw(field=name, value=value) for name, value in pairs if value is not None)


def decide(case: Case, policy: Policy) -> Decision:
    """What the policy says of an upload."""
    values = read(policy.conditions.fields, case)
    seen = policy.conditions.language.see(values)
    look = _Look(case, policy, {signal.family: signal for signal in case.signals}, values, seen)
    fired = sorted((*_rules(look), *_fail_modes(look)), key=_strongest_first)
    acting = [each for each in fired if each.hit.acts]
    everywhere, regional = _by_region(acting, case.upload.regions)
    return Decision(
        action=everywhere.action,
        reasons=everywhere.reasons or _left_alone(fired) or (NOTHING_FOUND,),
        policy_version=policy.version,
        review=_most_urgent(acting),
        trace=tuple(each.hit for each in fired),
        label=everywhere.label,
        regional=regional,
        harm=_decisive(acting, everywhere.action, bool(regional)),
    )


# --- rules -----------------------------------------------------------------------------------------------------------


def _rules(look: _Look) -> Iterator[_Fired]:
    for rule in look.policy.rules:
        if not rule.on(look.case.now):
            continue
        regions: tuple[Region, ...] = ()
        if rule.jurisdictions:
            regions = _concerned(look.policy.file.regions(rule.jurisdictions), look.case.upload.regions)
            if not regions:
                continue
        condition = look.policy.conditions.rules[rule.name]
        held = condition.holds(look.seen)
        if held.error is not None:
            yield _unanswered(rule, held.error)
        elif held.yes:
            yield _fired(rule, condition, regions, look)


def _concerned(applies: frozenset[Region], shown: Sequence[Region]) -> tuple[Region, ...]:
    """Where a rule applies, of where the upload is shown; an upload that names no region is shown everywhere."""
    return tuple(sorted(applies & set(shown) if shown else applies))


def _unanswered(rule: Rule, error: str) -> _Fired:
    because = f"{rule.reason}: this rule could not be answered ({error})."
    hit = RuleHit(rule=rule.name, harm=rule.harm, action=rule.action, mode=RuleMode.SHADOW, because=because)
    return _Fired(hit, rule.name)


def _fired(rule: Rule, condition: Condition, regions: tuple[Region, ...], look: _Look) -> _Fired:
    exempt = _exempted(rule.unless, look)
    crossed = _crossed(condition, look.signals)
    because = words.crossed(rule.reason, crossed)
    if exempt is not None:
        because = f"{because} Left alone: {look.policy.file.exemptions[exempt].reason}."
    signal, threshold = crossed[0] if crossed else (None, None)
    need = _need(rule.review, rule.harm, regions, look) if rule.review else None
    hit = RuleHit(
        rule=rule.name,
        harm=rule.harm,
        action=rule.action,
        mode=trace_mode(rule.mode),
        because=because,
        family=signal.family if signal else None,
        observed=signal.probability if signal else None,
        threshold=threshold,
        queue=rule.review.queue if rule.review else None,
        priority=rule.review.priority if rule.review else None,
        saw=look.saw(condition, look.policy.conditions.exemptions[exempt] if exempt else None),
        regions=regions,
        label=rule.label,
        exempted_by=exempt,
        clock=need.clock if need else None,
        until=need.deadline if need else None,
    )
    return _Fired(hit, tuple((signal.family, threshold) for signal, threshold in crossed) or rule.name, need)


def _exempted(unless: Iterable[str], look: _Look) -> str | None:
    """The first exemption that holds."""
    return next((name for name in unless if look.policy.conditions.exemptions[name].holds(look.seen).yes), None)


def _crossed(condition: Condition, signals: Mapping[Family, Signal]) -> tuple[tuple[Signal, float], ...]:
    """The signals that are at or above a threshold that the condition names; the highest one of each family."""
    highest: dict[Family, float] = {}
    for family, threshold in condition.comparisons:
        signal = signals.get(family)
        if signal is not None and signal.probability is not None and signal.probability >= threshold:
            highest[family] = max(threshold, highest.get(family, 0.0))
    return tuple((signals[family], highest[family]) for family in sorted(highest))


# --- fail modes ------------------------------------------------------------------------------------------------------


def _fail_modes(look: _Look) -> Iterator[_Fired]:
    for mode in look.policy.fail_modes:
        failed = _concerned_by(mode, look)
        if not failed:
            continue
        condition = look.policy.conditions.fail_modes.get(mode.name)
        # What cannot be answered applies: it stands for something that nobody could judge.
        if condition is None or (held := condition.holds(look.seen)).yes or held.error:
            yield from (_failed(mode, family, look) for family in failed)


def _concerned_by(mode: FailMode, look: _Look) -> Sequence[Family | None]:
    """Of what this mode is for, what could not be judged: families, or None, the upload as a whole."""
    case = look.case
    if mode.surfaces and case.upload.surface not in mode.surfaces:
        return ()
    if case.failure is not None:
        concerned = mode.on is On.UNJUDGED and (not mode.causes or case.failure.reason in mode.causes)
        return (None,) if concerned else ()
    families = mode.families or look.families
    if mode.on is On.MISSING:
        return [family for family in families if _missing(family, look)]
    if mode.on is On.UNCERTAIN:
        return [family for family in families if _doubtful(family, look)]
    return ()


def _missing(family: Family, look: _Look) -> bool:
    """Not judged, or too little of it, however high the score of the rest: a suspicion does not stand in for a look."""
    signal, fusion = look.signals.get(family), look.policy.fusion
    if signal is None:
        return family in fusion.requires
    if signal.status is SignalStatus.NOT_APPLICABLE:
        return False
    return signal.status is SignalStatus.MISSING or signal.coverage < fusion.of(family).min_coverage


def _doubtful(family: Family, look: _Look) -> bool:
    signal = look.signals.get(family)
    if signal is None or signal.probability is None:
        return False
    edge = look.edge(family)
    return signal.status is SignalStatus.ABSTAINED or (edge is not None and signal.probability >= edge)


def _failed(mode: FailMode, family: Family | None, look: _Look) -> _Fired:
    signal, failure = look.signals.get(family) if family else None, look.case.failure
    observed = threshold = None
    if family is None:
        because = words.failed(mode.reason, failure) if failure else mode.reason
    elif mode.on is On.UNCERTAIN and signal:
        observed, threshold = signal.probability, look.edge(family)
        because = words.doubtful(mode.reason, signal, threshold)
    else:
        because = words.not_judged(mode.reason, family, signal.coverage if signal else 0.0)
    exempt = _exempted(mode.unless, look)
    if exempt is not None:
        because = f"{because} Left alone: {look.policy.file.exemptions[exempt].reason}."
    need = _need(mode.review, mode.harm, (), look) if mode.review else None
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
        saw=look.saw(
            look.policy.conditions.fail_modes.get(mode.name),
            look.policy.conditions.exemptions[exempt] if exempt else None,
        ),
        exempted_by=exempt,
        clock=need.clock if need else None,
        until=need.deadline if need else None,
    )
    return _Fired(hit, (mode.on, family), need)


# --- what follows ----------------------------------------------------------------------------------------------------


def _strongest_first(fired: _Fired) -> tuple[object, ...]:
    hit = fired.hit
    return (-hit.action.strength, hit.fail_mode, hit.rule, hit.family or "")


def _by_region(
    acting: Sequence[_Fired], shown: Sequence[Region]
) -> tuple[RegionalDecision, tuple[RegionalDecision, ...]]:
    """What applies everywhere, and the regions in which something else does, those with the same outcome together.

    Where every region in which the upload is shown has the same outcome, that one applies everywhere.
    """
    named = sorted({region for each in acting for region in each.hit.regions})
    everywhere = _outcome((), [each for each in acting if not each.hit.regions])
    groups: dict[tuple[object, ...], list[Region]] = {}
    found: dict[tuple[object, ...], RegionalDecision] = {}
    for region in named:
        there = _outcome((), [each for each in acting if not each.hit.regions or region in each.hit.regions])
        if there != everywhere:
            key = (there.action, there.reasons, there.label)
            groups.setdefault(key, []).append(region)
            found[key] = there
    regional = tuple(
        RegionalDecision(regions=tuple(groups[key]), action=each.action, reasons=each.reasons, label=each.label)
        for key, each in found.items()
    )
    if len(regional) == 1 and shown and set(shown) <= set(regional[0].regions):
        return next(iter(found.values())), ()
    return everywhere, regional


def _outcome(regions: tuple[Region, ...], acting: Sequence[_Fired]) -> RegionalDecision:
    action = max((each.hit.action for each in acting), key=lambda each: each.strength, default=Action.ALLOW)
    label = next((each.hit.label for each in acting if each.hit.label), None)
    return RegionalDecision(regions=regions, action=action, reasons=_reasons(acting), label=label)


def _reasons(acting: Sequence[_Fired]) -> tuple[str, ...]:
    """Each finding once, in the words of the strongest rule; doubt about a family only where no rule spoke of it."""
    judged = {each.hit.family for each in acting if not each.hit.fail_mode}
    said: dict[Hashable, str] = {}
    for each in acting:
        doubt = each.hit.fail_mode and each.hit.observed is not None
        if not (doubt and each.hit.family in judged):
            said.setdefault(each.speaks_of, each.hit.because)
    return tuple(said.values())


def _left_alone(fired: Sequence[_Fired]) -> tuple[str, ...]:
    """What would have been acted on, had nothing exempted it."""
    return tuple(
        dict.fromkeys(each.hit.because for each in fired if each.hit.mode is RuleMode.LIVE and each.hit.exempted_by)
    )


def _need(review: Review, harm: str, regions: tuple[Region, ...], look: _Look) -> ReviewNeed:
    """Who should look until when: the review's own deadline or that of the earliest clock that applies.

    `regions`: where what asks for it applies; wherever the upload is shown when empty.
    """
    case, file = look.case, look.policy.file
    deadline, name = case.now + length(review.deadline), None
    for clock_name in review.clocks:
        clock = file.clocks[clock_name]
        until = _until(clock, case, file.regions(clock.jurisdictions), regions or case.upload.regions)
        if until is not None and until < deadline:
            deadline, name = until, clock_name
    return ReviewNeed(
        queue=review.queue,
        harm=harm,
        priority=review.priority,
        deadline=deadline,
        start_by=deadline - length(file.queues[review.queue].handling),
        clock=name,
    )


def _until(clock: Clock, case: Case, regions: frozenset[Region], shown: Sequence[Region]) -> datetime | None:
    """When a clock ends; None where it does not run.

    A clock that a request starts runs with that request alone. Whose law it is must be the one that the request
    invokes; where it invokes none, or nobody asked, one of the regions in which the upload is shown.
    """
    if clock.starts is Starts.REQUEST and case.request is None:
        return None
    invoked = case.request.jurisdiction if case.request else None
    if regions and invoked is not None and invoked not in regions:
        return None
    if regions and invoked is None and shown and regions.isdisjoint(shown):
        return None
    begin = case.request.received_at if clock.starts is Starts.REQUEST and case.request else case.now
    return begin + length(clock.within)


def _decisive(acting: Sequence[_Fired], action: Action, regional: bool) -> str | None:
    """The harm behind the action that applies everywhere; where none does, behind the strongest one of a region."""
    everywhere = (each for each in acting if each.hit.action is action and not (regional and each.hit.regions))
    return next((each.hit.harm for each in (*everywhere, *acting)), None)


def _most_urgent(acting: Iterable[_Fired]) -> ReviewNeed | None:
    asked = [each.need for each in acting if each.need is not None]

    def urgency(need: ReviewNeed) -> tuple[object, ...]:
        return (need.start_by or need.deadline, -need.priority, need.queue, need.harm)

    return min(asked, key=urgency, default=None)
