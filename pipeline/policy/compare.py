"""Two decisions on one upload → what the platform or its reviewers would notice of the difference, and why. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple

from pipeline.events.values import Action, Decision, Region, ReviewNeed, RuleHit

EVERYWHERE = "everywhere"
"""The place of what applies where no region says otherwise."""


class Turn(StrEnum):
    """Which way an outcome changes. `stricter`, `milder`: the action, in the place where it changes most.
    `review`: the action stays, and whether or in which queue a person looks does not."""

    STRICTER = "stricter"
    MILDER = "milder"
    REVIEW = "review"


class Cause(NamedTuple):
    """A rule or fail mode without which the outcomes would not differ.

    `sign`: `+` acts now and did not, `-` does no longer, `~` acts otherwise. `exempted_by`: what keeps it from acting.
    """

    sign: str
    rule: str
    exempted_by: str | None = None

    def __str__(self) -> str:
        why = f" (left alone: {self.exempted_by})" if self.exempted_by else ""
        return f"{self.sign} {self.rule}{why}"


class Place(NamedTuple):
    """What applies somewhere, before and after."""

    where: str
    before: Action
    after: Action


@dataclass(frozen=True, slots=True)
class Change:
    """How two decisions differ. A flip has a `turn`; without one only deadlines or labels change.

    `places`: where the action differs. `regions`: of which either decision speaks by name. `queues`: before and after,
    None for no task. `later`: how much later the deadline of a task that stays in its queue
    is (negative: earlier). `clocks`: the legal or promised deadline behind the task, where another one holds.
    """

    turn: Turn | None
    places: tuple[Place, ...] = ()
    regions: frozenset[Region] = frozenset()
    queues: tuple[str | None, str | None] = (None, None)
    later: timedelta = timedelta(0)
    priority: int = 0
    clocks: tuple[str | None, str | None] | None = None
    label: bool = False
    causes: tuple[Cause, ...] = ()

    @property
    def steps(self) -> int:
        """How far the action moves where it moves most: positive is stricter."""
        return max((p.after.strength - p.before.strength for p in self.places), key=lambda s: (abs(s), s), default=0)


def compare(before: Decision, after: Decision) -> Change | None:
    """How the second decision differs from the first; None where nothing follows from the difference."""
    regions = frozenset(r for each in (*before.regional, *after.regional) for r in each.regions)
    places = tuple(each for each in _places(before, after, regions) if each.before is not each.after)
    queues = _queue(before), _queue(after)
    moved = queues[0] != queues[1]
    label = _labels(before) != _labels(after)
    if not (places or moved or label or _due(before.review) != _due(after.review)):
        return None
    kept = (before.review, after.review)
    change = Change(turn=None, places=places, queues=queues, label=label)
    turn = Turn.STRICTER if change.steps > 0 else Turn.MILDER if places else Turn.REVIEW if moved else None
    later, priority, clocks = timedelta(0), 0, None
    if kept[0] is not None and kept[1] is not None and not moved:
        later = kept[1].deadline - kept[0].deadline
        priority = kept[1].priority - kept[0].priority
        clocks = (kept[0].clock, kept[1].clock) if kept[0].clock != kept[1].clock else None
    return Change(
        turn=turn,
        places=places,
        regions=regions,
        queues=queues,
        later=later,
        priority=priority,
        clocks=clocks,
        label=label,
        causes=_causes(before, after, places, moved) if turn else (),
    )


def harm_of(before: Decision, after: Decision) -> str:
    """What harm a difference is about: that of the stronger outcome."""
    weight = [(each.action.strength, each.review is not None) for each in (before, after)]
    chosen = before if weight[0] > weight[1] else after
    found = chosen.harm or (chosen.review.harm if chosen.review else None)
    # Decisions of earlier versions name no harm: their strongest acting rule does.
    return found or next((hit.harm for hit in chosen.trace if hit.acts), "none")


def shown(decision: Decision, regions: Sequence[Region]) -> Mapping[str, Action]:
    """What applies in these regions; with none given, everywhere."""
    there = {region: each.action for each in decision.regional for region in each.regions}
    return {region: there.get(region, decision.action) for region in (regions or (EVERYWHERE,))}


def _places(before: Decision, after: Decision, regions: frozenset[Region]) -> Iterable[Place]:
    yield Place(EVERYWHERE, before.action, after.action)
    if named := sorted(regions):
        then, now = shown(before, named), shown(after, named)
        yield from (Place(region, then[region], now[region]) for region in named)


def _queue(decision: Decision) -> str | None:
    return decision.review.queue if decision.review else None


def _labels(decision: Decision) -> tuple[object, ...]:
    return decision.label, *((each.regions, each.label) for each in decision.regional if each.label)


def _due(review: ReviewNeed | None) -> tuple[object, ...]:
    return (review.deadline, review.clock, review.priority) if review else ()


def _causes(before: Decision, after: Decision, places: Sequence[Place], moved: bool) -> tuple[Cause, ...]:
    """The difference of the two traces, as far as it bears on what changed; all of it where nothing in particular does.

    What begins to act matters if it wants the new queue or the new, stronger action; what ceases to act, if it wanted
    the old ones.
    """
    then, now = _acting(before), _acting(after)
    stopped = {hit.rule: hit.exempted_by for hit in after.trace if hit.exempted_by}
    differences: list[tuple[Cause, bool]] = []
    olds = {p.before for p in places if p.before.strength > p.after.strength}
    news = {p.after for p in places if p.after.strength > p.before.strength}
    queues = (_queue(before), _queue(after)) if moved else (None, None)
    for rule in sorted({*then, *now}):
        old, new = then.get(rule, ()), now.get(rule, ())
        if _effects(old) == _effects(new):
            continue
        sign = "+" if not old else "-" if not new else "~"
        matters = any(h.action in news or (h.queue and h.queue == queues[1]) for h in new) or any(
            h.action in olds or (h.queue and h.queue == queues[0]) for h in old
        )
        differences.append((Cause(sign, rule, stopped.get(rule) if sign == "-" else None), bool(matters)))
    chosen = [cause for cause, matters in differences if matters]
    return tuple(chosen or [cause for cause, _ in differences])


def _acting(decision: Decision) -> dict[str, tuple[RuleHit, ...]]:
    """A fail mode may act for several families."""
    found: dict[str, tuple[RuleHit, ...]] = {}
    for hit in decision.trace:
        if hit.acts:
            found[hit.rule] = (*found.get(hit.rule, ()), hit)
    return found


def _effects(hits: Iterable[RuleHit]) -> frozenset[tuple[object, ...]]:
    return frozenset((hit.action, hit.queue, hit.priority, hit.regions, hit.until) for hit in hits)
