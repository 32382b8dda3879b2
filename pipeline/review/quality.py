"""How good the decisions are: the machine's by what people say, people's by golden tasks and appeals. Pure.

Precision is known of what was reviewed, and says nothing of the rest. Recall is among reviewed uploads only: what
neither a rule nor a person suspected is not in it. Both stand with their counts and 95 % intervals.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.events import MediaDecided, ReviewDecided
from pipeline.events.values import Action, Family
from pipeline.policy.share import share as wilson
from pipeline.review.port import GoldenLook, Looked


@dataclass(frozen=True, slots=True)
class Share:
    """`hits` of `count`, with a 95 % interval; None where there is nothing to count."""

    hits: int
    count: int
    value: float | None
    low: float | None
    high: float | None


def share(hits: int, count: int) -> Share:
    """With Wilson's interval."""
    if count == 0:
        return Share(0, 0, None, None, None)
    found = wilson(hits, count)
    return Share(hits, count, found.share, found.low, found.high)


@dataclass(frozen=True, slots=True)
class Line:
    """One rule, family or queue. `precision`: of what it asked about, how much people restricted (families: confirmed).
    `recall`: of what people restricted (confirmed), how much it had asked about."""

    name: str
    precision: Share
    recall: Share


@dataclass(frozen=True, slots=True)
class Quality:
    """What a lead looks at. `changed`: answers that changed once the scores were seen. `overturned`: of appeals,
    how many ended milder than before."""

    rules: tuple[Line, ...]
    families: tuple[Line, ...]
    queues: tuple[Line, ...]
    golden: tuple[Line, ...]
    changed: Share
    overturned: Share
    reviewed: int


def quality(
    reviewed: Iterable[tuple[MediaDecided, ReviewDecided, str]],
    golden: Iterable[GoldenLook],
    blind: Iterable[Looked],
    overturned: tuple[int, int] = (0, 0),
) -> Quality:
    """Everything at once.

    Args:
        reviewed: (decision, the review that stands, the queue).
        golden: answers to tasks whose answer is known.
        blind: answers of queues that ask before the scores are seen.
        overturned: (milder than before, all) of appeals.
    """
    rules, families, queues = _Tally(), _Tally(), _Tally()
    count = 0
    for decided, review, queue in reviewed:
        count += 1
        restricted = review.action is not Action.ALLOW
        asked = {hit.rule for hit in decided.decision.trace if hit.acts}
        for rule in asked:
            rules.asked(rule, restricted)
        rules.restricted += restricted
        queues.asked(queue, restricted)
        suspected = {hit.family for hit in decided.decision.trace if hit.acts and hit.family is not None}
        for family in suspected & (set(review.confirmed) | set(review.denied)):
            families.asked(family.value, family in review.confirmed)
        for family in set(review.confirmed) - suspected:
            families.lost[family.value] += 1
    looked = list(blind)
    return Quality(
        rules=rules.lines(),
        families=families.lines([family.value for family in Family]),
        queues=queues.lines(),
        golden=_golden(golden),
        changed=share(sum(look.first is not look.final for look in looked), len(looked)),
        overturned=share(*overturned),
        reviewed=count,
    )


class _Tally:
    """Hits and misses by name."""

    def __init__(self) -> None:
        self.right: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.restricted = 0
        """Of rules: uploads that people restricted, whoever had asked for them."""

    def asked(self, name: str, right: bool) -> None:
        """It asked for a look, and that was right or not."""
        (self.right if right else self.wrong)[name] += 1

    def lines(self, order: Iterable[str] = ()) -> tuple[Line, ...]:
        """By how much there is to say, or in the order given."""
        names = {*self.right, *self.wrong, *self.lost}
        chosen = [name for name in order if name in names] or sorted(
            names, key=lambda name: (-(self.right[name] + self.wrong[name]), name)
        )
        return tuple(
            Line(
                name,
                share(self.right[name], self.right[name] + self.wrong[name]),
                share(self.right[name], self.restricted or self.right[name] + self.lost[name]),
            )
            for name in chosen
        )


def _golden(answers: Iterable[GoldenLook]) -> tuple[Line, ...]:
    """Per queue: of the restrictions that people chose, how many were right; of those that were right, how many they
    chose."""
    by_queue: dict[str, list[GoldenLook]] = defaultdict(list)
    for answer in answers:
        by_queue[answer.queue].append(answer)
    lines = []
    for queue, mine in sorted(by_queue.items()):
        chose = [each for each in mine if each.said is not Action.ALLOW]
        due = [each for each in mine if each.right is not Action.ALLOW]
        both = sum(each.right is not Action.ALLOW for each in chose)
        lines.append(Line(queue, share(both, len(chose)), share(both, len(due))))
    return tuple(lines)
