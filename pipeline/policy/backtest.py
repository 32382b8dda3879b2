"""Recorded uploads decided again: what a policy would have done, counted. Pure; `backtest_run` reads and shares out.

Counts of parts of a time add up to the counts of the whole, whatever the parts: the result does not depend on how many
processes shared the work. Nothing is kept per upload but a few examples of each kind of difference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta
from hashlib import blake2b
from typing import NamedTuple, TypeAlias

from pipeline.events.values import Action, Decision, Family, Region, RuleMode
from pipeline.ledger.recorded import Recorded, Verdict
from pipeline.policy.compare import EVERYWHERE, Change, Turn, compare, harm_of, shown
from pipeline.policy.decide import decide
from pipeline.policy.restate import restated
from pipeline.policy.rules import Mode, Policy

RECORDED = "recorded"
"""What was decided then, as the other side of the comparison."""

BEFORE, AFTER = "before", "after"
ASKS, RESTRICTS = "asks a person", "restricts"

_RESTRICTING = (Action.LIMIT, Action.HOLD, Action.REMOVE)


class Kind(NamedTuple):
    """Differences that look alike: examples are chosen from as many kinds as possible. Actions: of the place where most
    changes. `against`: it is further from what a person decided than before."""

    turn: Turn
    before: Action
    after: Action
    queue_before: str
    queue_after: str
    harm: str
    against: bool


class Example(NamedTuple):
    """One upload that would have been treated otherwise; the rest is read when it is shown."""

    draw: str
    media_id: str
    round: int


class Shadowed(NamedTuple):
    """What a shadow rule's hit would have meant, had the rule been live. `task`: it would have asked for a person where
    nobody was asked. `verdict`: what a person said of the upload ("restricted", "allowed"; empty: nobody looked)."""

    rule: str
    exempted: bool
    before: Action
    after: Action
    task: str
    verdict: str


Names: TypeAlias = tuple[str, ...]


@dataclass(slots=True)
class Tally:
    """What is counted. Keys are tuples of names; every counter adds up. Empty names stand for "none"."""

    totals: Counter[str] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    stale: Counter[Family] = field(default_factory=Counter)
    unanswered: Counter[str] = field(default_factory=Counter)
    actions: Counter[tuple[Action, Action]] = field(default_factory=Counter)
    turns: Counter[tuple[str, str, Turn]] = field(default_factory=Counter)
    uploads: Counter[tuple[str, str]] = field(default_factory=Counter)
    queues: Counter[tuple[str, str]] = field(default_factory=Counter)
    due: Counter[Names] = field(default_factory=Counter)
    clocks: Counter[tuple[str, str]] = field(default_factory=Counter)
    causes: Counter[tuple[str, str, str, Turn]] = field(default_factory=Counter)
    hits: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    shadow: Counter[Shadowed] = field(default_factory=Counter)
    judged: Counter[tuple[str, str, bool, bool]] = field(default_factory=Counter)
    families: Counter[tuple[str, Family, bool, bool]] = field(default_factory=Counter)
    days: Counter[Names] = field(default_factory=Counter)
    examples: dict[Kind, list[Example]] = field(default_factory=dict)

    def add(self, other: Tally, examples: int) -> None:
        """Count what another tally counted; keep so many examples of each kind."""
        for each in fields(self):
            mine = getattr(self, each.name)
            if isinstance(mine, Counter):
                mine.update(getattr(other, each.name))
        for kind, found in other.examples.items():
            self.examples[kind] = sorted([*self.examples.get(kind, ()), *found])[:examples]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the record.

    Args:
        new: the policy to try out.
        old: the policy to compare with, decided again on the same; None: what was recorded.
        examples: how many examples of each kind of difference to keep.
    """

    new: Policy
    old: Policy | None
    examples: int


def tally(records: Iterable[Recorded], by: Question) -> Tally:
    """Decide each upload again and count."""
    found = Tally()
    for record in records:
        _count(record, by, found)
    for kind, examples in found.examples.items():
        found.examples[kind] = sorted(examples)[: by.examples]
    return found


def _count(record: Recorded, by: Question, into: Tally) -> None:
    decided, verdict = record
    then = decided.decision
    case = restated(decided, by.new)
    after = decide(case.case, by.new)
    before: Decision = then
    earlier = case
    if by.old is not None:
        earlier = case if by.old.fusion_version == by.new.fusion_version else restated(decided, by.old)
        before = decide(earlier.case, by.old)
    _count_basis(record, case.anew, case.stale, into)
    for side, policy, seen, decision in ((BEFORE, by.old, earlier, before), (AFTER, by.new, case, after)):
        if policy is not None and policy.version == then.policy_version and not seen.anew:
            into.totals["comparable"] += 1
            into.totals["not reproduced"] += _outcome(decision) != _outcome(then)
        _count_hits(side, decision, policy, into)
        _count_verdict(side, decision, verdict, into)
    count_shadow(after, verdict, into, among=_shadow_rules(by.new))

    into.actions[before.action, after.action] += 1
    queues = (_queue(before), _queue(after))
    into.queues[queues] += 1
    day = f"{decided.decided_at:%Y-%m-%d}"
    into.days[day, "", ""] += 1
    for side, queue in zip((BEFORE, AFTER), queues, strict=True):
        if queue:
            into.days[day, side, queue] += 1
    surface, regions = decided.upload.surface.value, decided.upload.regions or (EVERYWHERE,)
    into.uploads["surface", surface] += 1
    for region in regions:
        into.uploads["region", region] += 1
    if (change := compare(before, after)) is not None:
        _count_change(record, before, after, change, by, into)


def _count_basis(record: Recorded, anew: bool, stale: Sequence[Family], into: Tally) -> None:
    decided, verdict = record
    into.totals["uploads"] += 1
    into.totals["not screened"] += decided.failure is not None
    into.totals["reviewed"] += verdict is not None
    into.totals["anew"] += anew
    into.versions[decided.decision.policy_version] += 1
    into.stale.update(stale)


def _count_hits(side: str, decision: Decision, policy: Policy | None, into: Tally) -> None:
    live = {rule.name for rule in policy.rules if rule.live} if policy else set()
    for name, mode in {(hit.rule, hit.effect) for hit in decision.trace}:
        # A live rule leaves a hit in shadow where its condition could not be answered.
        unanswered = mode == RuleMode.SHADOW and name in live
        if unanswered and side == AFTER:
            into.unanswered[name] += 1
        into.hits[side, name, "unanswered" if unanswered else mode] += 1


def _shadow_rules(policy: Policy) -> frozenset[str]:
    return frozenset(rule.name for rule in policy.rules if rule.mode is Mode.SHADOW)


def count_shadow(decision: Decision, verdict: Verdict | None, into: Tally, among: frozenset[str] | None = None) -> None:
    """What shadow rules would have made of this decision. `among`: only these rules."""
    for hit in decision.trace:
        if hit.mode is not RuleMode.SHADOW or (among is not None and hit.rule not in among):
            continue
        there = shown(decision, hit.regions).values() if hit.regions else (decision.action,)
        weakest = min(there, key=lambda action: action.strength)
        stricter = max(weakest, hit.action, key=lambda action: action.strength)
        asks = hit.queue if hit.queue and decision.review is None else ""
        said = "" if verdict is None else "restricted" if is_restricted(verdict) else "allowed"
        into.shadow[Shadowed(hit.rule, hit.exempted_by is not None, weakest, stricter, asks, said)] += 1


def is_restricted(verdict: Verdict) -> bool:
    """Whether a person found something to act on."""
    return verdict.action is not Action.ALLOW


def _count_verdict(side: str, decision: Decision, verdict: Verdict | None, into: Tally) -> None:
    if verdict is None:
        into.totals[f"{side}: nobody looked"] += decision.review is not None or decision.action in _RESTRICTING
        return
    positive = is_restricted(verdict)
    into.judged[side, ASKS, decision.review is not None, positive] += 1
    into.judged[side, RESTRICTS, decision.action in _RESTRICTING, positive] += 1
    spoken = {hit.family for hit in decision.trace if hit.acts}
    for family in verdict.confirmed:
        into.families[side, family, family in spoken, True] += 1
    for family in verdict.denied:
        into.families[side, family, family in spoken, False] += 1


def _count_change(
    record: Recorded, before: Decision, after: Decision, change: Change, by: Question, into: Tally
) -> None:
    decided, verdict = record
    kept = change.queues[0] or ""
    if change.later and kept:
        into.due[kept, "earlier" if change.later < timedelta(0) else "later"] += 1
        into.totals[f"{kept}: seconds later"] += round(change.later.total_seconds())
    if change.priority and kept:
        into.due[kept, "more urgent" if change.priority > 0 else "less urgent"] += 1
    if change.clocks:
        into.clocks[change.clocks[0] or "", change.clocks[1] or ""] += 1
    into.totals["labels"] += change.label
    if change.turn is None:
        into.totals["only deadlines or labels"] += 1
        return
    turn, harm = change.turn, harm_of(before, after)
    into.totals["flips"] += 1
    into.turns["all", "", turn] += 1
    into.turns["harm", harm, turn] += 1
    into.turns["surface", decided.upload.surface.value, turn] += 1
    for region, steps in _steps(change, decided.upload.regions):
        if steps or turn is Turn.REVIEW:
            into.turns["region", region, turn if not steps else Turn.STRICTER if steps > 0 else Turn.MILDER] += 1
    for cause in change.causes:
        into.causes[cause.sign, cause.rule, cause.exempted_by or "", turn] += 1
    place = max(
        change.places, key=lambda p: (abs(p.after.strength - p.before.strength), p.after.strength), default=None
    )
    old, new = (place.before, place.after) if place else (before.action, after.action)
    kind = Kind(
        turn=turn,
        before=old,
        after=new,
        queue_before=change.queues[0] or "",
        queue_after=change.queues[1] or "",
        harm=harm,
        against=verdict is not None and _apart(new, verdict) > _apart(old, verdict),
    )
    some = into.examples.setdefault(kind, [])
    some.append(_example(decided.media_id, decided.round))
    if len(some) > 4 * max(by.examples, 1):
        some.sort()
        del some[by.examples :]


def _steps(change: Change, shown_in: Sequence[Region]) -> Iterable[tuple[str, int]]:
    """By how much the action changes in each region in which the upload is shown; with none given, everywhere and in
    the regions where something else changes."""
    changed = {place.where: place.after.strength - place.before.strength for place in change.places}
    everywhere = changed.pop(EVERYWHERE, 0)
    there = {region: changed.get(region, 0) for region in change.regions}
    if shown_in:
        return [(region, there.get(region, everywhere)) for region in shown_in]
    return [(EVERYWHERE, everywhere), *((region, steps) for region, steps in there.items() if steps != everywhere)]


def _apart(action: Action, verdict: Verdict) -> int:
    """How far an action is from what a person decided."""
    return abs(action.strength - verdict.action.strength)


def _example(media_id: str, round_: int) -> Example:
    """Drawn by a digest, so that examples are not all of the first hour, and are the same ones each time."""
    return Example(blake2b(f"{media_id}/{round_}".encode(), digest_size=8).hexdigest(), media_id, round_)


def _queue(decision: Decision) -> str:
    return decision.review.queue if decision.review else ""


def _outcome(decision: Decision) -> tuple[object, ...]:
    regional = sorted((each.regions, each.action) for each in decision.regional)
    return decision.action, regional, _queue(decision), decision.review and decision.review.deadline


def chosen(examples: Mapping[Kind, Sequence[Example]], severity: Mapping[str, int], most: int) -> list[Example]:
    """The most consequential first, one of each kind before a second one of any: what moves away from a person's
    decision, then the largest steps, then the gravest harms."""

    def gravity(kind: Kind) -> tuple[object, ...]:
        steps = abs(kind.after.strength - kind.before.strength)
        return (not kind.against, -steps, -severity.get(kind.harm, 0), -kind.after.strength, kind)

    kinds = sorted((kind for kind in examples if examples[kind]), key=gravity)
    picked: list[Example] = []
    for turn in range(max((len(found) for found in examples.values()), default=0)):
        picked += [examples[kind][turn] for kind in kinds if turn < len(examples[kind])]
        if len(picked) >= most:
            break
    return picked[:most]
