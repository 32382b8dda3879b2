"""Counts → what people and machines are told of a backtest. Pure; every list is in an order that does not vary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

import msgspec

from pipeline.events.values import Action, Family, Region, Surface
from pipeline.policy.backtest import AFTER, ASKS, BEFORE, RECORDED, RESTRICTS, Shadowed, Tally
from pipeline.policy.compare import Turn
from pipeline.policy.rules import Policy
from pipeline.policy.share import Share, share
from pipeline.policy.workload import Handling, cost


class Counted(msgspec.Struct, frozen=True):
    """A name and how often."""

    name: str
    count: int


class Transition(msgspec.Struct, frozen=True):
    """Uploads that go from one outcome to another; both are the same where nothing changes."""

    before: str
    after: str
    uploads: int


class Split(msgspec.Struct, frozen=True):
    """Flips of one kind of upload. `uploads`: of this kind altogether, 0 where that is not counted."""

    name: str
    uploads: int
    stricter: int
    milder: int
    review: int

    @property
    def flips(self) -> int:
        """All of them."""
        return self.stricter + self.milder + self.review


class QueueLoad(msgspec.Struct, frozen=True):
    """One queue's tasks before and after. `added`, `removed`: with those that move to and from other queues.

    `hours`: what the difference costs.
    """

    queue: str
    before: int
    after: int
    added: int
    removed: int
    handling: Handling
    hours: float


class Due(msgspec.Struct, frozen=True):
    """Tasks that stay in their queue and are due otherwise. `hours`: by how much on average (negative: earlier)."""

    queue: str
    earlier: int
    later: int
    more_urgent: int
    less_urgent: int
    hours: float


class CauseCount(msgspec.Struct, frozen=True):
    """Flips that a rule is behind: `+` acts now, `-` no longer (`exempted_by`: why), `~` otherwise."""

    sign: str
    rule: str
    exempted_by: str
    stricter: int
    milder: int
    review: int


class RuleCount(msgspec.Struct, frozen=True):
    """Uploads on which a rule or fail mode fired. `mode`: live, shadow, exempted, or unanswered (a field it needs was
    not there)."""

    rule: str
    mode: str
    before: int
    after: int


class ShadowRule(msgspec.Struct, frozen=True):
    """What a shadow rule would have done, had it been live and alone.

    `stricter`: uploads whose action it would have raised, `actions` from what to what. `tasks`: it would have asked a
    person where nobody was asked; `hours`: what that costs. `right`: of its hits that a person looked at, those on
    which the person acted.
    """

    rule: str
    hits: int
    exempted: int
    stricter: int
    actions: tuple[Transition, ...]
    tasks: tuple[Counted, ...]
    hours: float
    right: Share


class ShadowReport(msgspec.Struct, frozen=True):
    """What shadow rules would have done, as the traces of the time have it."""

    since: datetime
    until: datetime
    uploads: int
    reviewed: int
    rules: tuple[ShadowRule, ...]


class Quality(msgspec.Struct, frozen=True):
    """How often people agree, among uploads that a person looked at. `what`: asks a person, or restricts; or a family.

    `precision`: of those that it flags, the share on which the person acted. `recall`: of those on which the person
    acted, the share that it flags.
    """

    what: str
    side: str
    precision: Share
    recall: Share


class DayLoad(msgspec.Struct, frozen=True):
    """One day (UTC): uploads, and review tasks before and after."""

    day: str
    uploads: int
    before: int
    after: int


class ExampleShown(msgspec.Struct, frozen=True):
    """An upload that would have been treated otherwise. `verdict`: what a person did; None where nobody looked."""

    media_id: str
    round: int
    decided_at: datetime
    surface: Surface
    regions: tuple[Region, ...]
    before: str
    after: str
    queue_before: str | None
    queue_after: str | None
    causes: tuple[str, ...]
    reasons_before: tuple[str, ...]
    reasons_after: tuple[str, ...]
    verdict: Action | None = None


class Backtest(msgspec.Struct, frozen=True):
    """What a policy would have done to what was recorded. `against`: the policy compared with, or `recorded`."""

    new: str
    against: str
    since: datetime
    until: datetime
    uploads: int
    not_screened: int
    reviewed: int
    decided_by: tuple[Counted, ...]
    anew: int
    flips: int
    stricter: int
    milder: int
    review_only: int
    only_deadlines_or_labels: int
    labels: int
    actions: tuple[Transition, ...]
    by_harm: tuple[Split, ...]
    by_surface: tuple[Split, ...]
    by_region: tuple[Split, ...]
    queues: tuple[QueueLoad, ...]
    moves: tuple[Transition, ...]
    hours: float
    due: tuple[Due, ...]
    clocks: tuple[Transition, ...]
    causes: tuple[CauseCount, ...]
    rules: tuple[RuleCount, ...]
    shadow: tuple[ShadowRule, ...]
    quality: tuple[Quality, ...]
    families: tuple[Quality, ...]
    nobody_looked: tuple[Counted, ...]
    days: tuple[DayLoad, ...]
    examples: tuple[ExampleShown, ...]
    warnings: tuple[str, ...]
    exceeded: tuple[str, ...] = ()

    @property
    def flipped(self) -> float:
        """The share of uploads that are treated otherwise."""
        return self.flips / self.uploads if self.uploads else 0.0

    @property
    def days_long(self) -> float:
        """How long the time looked at is."""
        return (self.until - self.since).total_seconds() / 86_400


def summed(
    found: Tally,
    new: Policy,
    old: Policy | None,
    since: datetime,
    until: datetime,
    measured: Mapping[str, Handling],
    examples: tuple[ExampleShown, ...],
    warnings: tuple[str, ...],
) -> Backtest:
    """The result. `measured`: handling times of queues, where there were enough reviews."""
    queues = _queues(found, lambda queue: cost(queue, measured, new, old))
    total = found.totals
    turns = {turn: found.turns["all", "", turn] for turn in Turn}
    return Backtest(
        new=new.version,
        against=old.version if old else RECORDED,
        since=since,
        until=until,
        uploads=total["uploads"],
        not_screened=total["not screened"],
        reviewed=total["reviewed"],
        decided_by=_counted(found.versions),
        anew=total["anew"],
        flips=total["flips"],
        stricter=turns[Turn.STRICTER],
        milder=turns[Turn.MILDER],
        review_only=turns[Turn.REVIEW],
        only_deadlines_or_labels=total["only deadlines or labels"],
        labels=total["labels"],
        actions=tuple(
            Transition(before.value, after.value, found.actions[before, after])
            for before in Action
            for after in Action
            if found.actions[before, after]
        ),
        by_harm=_splits(found, "harm"),
        by_surface=_splits(found, "surface"),
        by_region=_splits(found, "region"),
        queues=queues,
        moves=tuple(Transition(*pair, found.queues[pair]) for pair in sorted(found.queues) if pair[0] != pair[1]),
        hours=round(sum(queue.hours for queue in queues), 2),
        due=_due(found),
        clocks=tuple(Transition(*pair, found.clocks[pair]) for pair in sorted(found.clocks)),
        causes=_causes(found),
        rules=_rules(found),
        shadow=shadow_rules(found.shadow, lambda queue: cost(queue, measured, new, old)),
        quality=_qualities(found.judged, (ASKS, RESTRICTS)),
        families=_qualities(found.families, tuple(Family)),
        nobody_looked=tuple(Counted(side, total[f"{side}: nobody looked"]) for side in (BEFORE, AFTER)),
        days=_days(found),
        examples=examples,
        warnings=warnings,
    )


def shadow_rules(found: Counter[Shadowed], costs: Callable[[str], Handling]) -> tuple[ShadowRule, ...]:
    """What each shadow rule would have done, by name."""
    shown = []
    for rule in sorted({each.rule for each in found}):
        mine = {each: count for each, count in found.items() if each.rule == rule}
        acting = {each: count for each, count in mine.items() if not each.exempted}
        raised: Counter[tuple[Action, Action]] = Counter()
        tasks: Counter[str] = Counter()
        for each, count in acting.items():
            if each.before is not each.after:
                raised[each.before, each.after] += count
            if each.task:
                tasks[each.task] += count
        looked = {said: sum(n for each, n in acting.items() if each.verdict == said) for said in _SAID}
        shown.append(
            ShadowRule(
                rule=rule,
                hits=sum(acting.values()),
                exempted=sum(mine.values()) - sum(acting.values()),
                stricter=sum(raised.values()),
                actions=tuple(
                    Transition(a.value, b.value, raised[a, b]) for a in Action for b in Action if raised[a, b]
                ),
                tasks=_counted(tasks),
                hours=round(sum(n * costs(queue).seconds for queue, n in tasks.items()) / 3600, 2),
                right=share(looked["restricted"], sum(looked.values())),
            )
        )
    return tuple(shown)


_SAID = ("restricted", "allowed")


def _counted(counts: Counter[str]) -> tuple[Counted, ...]:
    """The most frequent first."""
    return tuple(Counted(name, n) for name, n in sorted(counts.items(), key=lambda each: (-each[1], each[0])) if n)


def _splits(found: Tally, what: str) -> tuple[Split, ...]:
    names = {name for kind, name, _ in found.turns if kind == what}
    names |= {name for kind, name in found.uploads if kind == what}
    splits = [
        Split(
            name,
            found.uploads[what, name],
            *(found.turns[what, name, turn] for turn in (Turn.STRICTER, Turn.MILDER, Turn.REVIEW)),
        )
        for name in names
    ]
    return tuple(sorted(splits, key=lambda each: (-each.flips, -each.uploads, each.name)))


def _queues(found: Tally, costs: Callable[[str], Handling]) -> tuple[QueueLoad, ...]:
    loads = []
    for queue in sorted({name for pair in found.queues for name in pair if name}):
        before = sum(n for pair, n in found.queues.items() if pair[0] == queue)
        after = sum(n for pair, n in found.queues.items() if pair[1] == queue)
        stays = found.queues[queue, queue]
        handling = costs(queue)
        hours = round((after - before) * handling.seconds / 3600, 2)
        loads.append(QueueLoad(queue, before, after, after - stays, before - stays, handling, hours))
    return tuple(loads)


def _due(found: Tally) -> tuple[Due, ...]:
    shown = []
    for queue in sorted({queue for queue, _ in found.due}):
        earlier, later = found.due[queue, "earlier"], found.due[queue, "later"]
        moved = found.totals[f"{queue}: seconds later"] / 3600 / max(1, earlier + later)
        urgent = (found.due[queue, "more urgent"], found.due[queue, "less urgent"])
        shown.append(Due(queue, earlier, later, *urgent, round(moved, 2)))
    return tuple(shown)


def _causes(found: Tally) -> tuple[CauseCount, ...]:
    by_turn = (Turn.STRICTER, Turn.MILDER, Turn.REVIEW)
    causes = [
        CauseCount(*cause, *(found.causes[*cause, turn] for turn in by_turn))
        for cause in {each[:3] for each in found.causes}
    ]
    return tuple(sorted(causes, key=lambda c: (-(c.stricter + c.milder + c.review), c.rule, c.sign, c.exempted_by)))


def _rules(found: Tally) -> tuple[RuleCount, ...]:
    names = sorted({(rule, mode) for _, rule, mode in found.hits})
    return tuple(RuleCount(*name, found.hits[BEFORE, *name], found.hits[AFTER, *name]) for name in names)


def _qualities(
    judged: Mapping[tuple[str, str, bool, bool], int] | Mapping[tuple[str, Family, bool, bool], int],
    whats: Iterable[str],
) -> tuple[Quality, ...]:
    counts: Mapping[tuple[str, str, bool, bool], int] = judged  # type: ignore[assignment]
    shown = []
    for what in whats:
        for side in (BEFORE, AFTER):
            right, wrong, missed = (
                counts.get((side, what, flagged, positive), 0)
                for flagged, positive in ((True, True), (True, False), (False, True))
            )
            if right + wrong + missed:
                shown.append(Quality(str(what), side, share(right, right + wrong), share(right, right + missed)))
    return tuple(shown)


def _days(found: Tally) -> tuple[DayLoad, ...]:
    def tasks(day: str, side: str) -> int:
        return sum(n for (at, of, _), n in found.days.items() if (at, of) == (day, side))

    days = sorted({key[0] for key in found.days})
    return tuple(DayLoad(day, found.days[day, "", ""], tasks(day, BEFORE), tasks(day, AFTER)) for day in days)


def exceeded(result: Backtest, most_hours: float | None, most_flips: str | None) -> tuple[str, ...]:
    """Which bounds are exceeded, in words. Where nothing was recorded no bound is kept: nothing was checked.

    Args:
        result: what came out.
        most_hours: reviewer hours that may be added, all queues together.
        most_flips: flips that are acceptable: a number, or a share such as `2%`.

    Raises:
        ValueError: `most_flips` is neither.
    """
    if not result.uploads and (most_hours is not None or most_flips is not None):
        return ("Nothing was recorded in this time, so nothing says that --max-added-hours or --max-flips are kept.",)
    said = []
    if most_hours is not None and result.hours > most_hours:
        said.append(
            f"{result.hours:+.1f} reviewer hours in {result.days_long:.1f} days are more than the {most_hours:g} that"
            " --max-added-hours allows."
        )
    if most_flips is not None:
        most = flips_allowed(most_flips, result.uploads)
        if result.flips > most:
            said.append(
                f"{result.flips} flips ({result.flipped:.2%} of {result.uploads} uploads) are more than the"
                f" {most_flips} that --max-flips allows."
            )
    return tuple(said)


def flips_allowed(bound: str, uploads: int) -> float:
    """`500` or `2%` as a number of uploads.

    Raises:
        ValueError: it is neither.
    """
    share = bound.endswith("%")
    number = float(bound.removesuffix("%"))
    if not 0 <= number < float("inf"):
        raise ValueError(f"{bound!r} is no number of uploads")
    return number / 100 * uploads if share else number
