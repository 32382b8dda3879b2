"""What the named thresholds of a policy should be, from what people found and the hours that they have. Pure.

*Precision.* For a threshold that makes rules restrict something, the uploads that are restricted because of it are
looked at: of those that a person judged, how many were what they were taken for. Values are tried from the highest
downwards and the first that fails ends it (fixed-sequence testing), so that choosing among a hundred values on the
same uploads costs nothing: with a probability of 95 % the value found keeps what was asked for. Where to begin depends
on how many uploads were judged, never on what was found; three beginnings share the 5 %.
Source: A. Angelopoulos et al., "Learn then Test", arXiv:2110.01052 (2021), section 3.

*Selective labels.* People judge what the policy sends them. Nothing is claimed of scores of which fewer than a tenth
were judged. Above, those judged stand for the others of like score, and all count as if as few had been judged
everywhere as where it was fewest.

*Capacity.* Hours are those of tasks by the policy itself, decided again. Where the upper bound does not fit, thresholds
are raised: first those whose tasks the policy gives the least priority.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec
import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.events.values import Family
from pipeline.policy.binomial import Interval, at_least, at_most, interval, surely
from pipeline.policy.case import Case
from pipeline.policy.decide import decide
from pipeline.policy.rules import Policy, versioned
from pipeline.policy.threshold_use import Use, uses
from pipeline.policy.workload import Handling

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

ERROR = 0.05
"""How often a proposal may miss the precision that was asked for."""
BEGINNINGS = (1, 3, 9)
"""Where testing begins: at so many times the fewest judged uploads that could show the precision."""
LEAST_SHARE = 0.1
"""Of uploads of like score so many must have been judged for anything to be said of them."""
BIN = 50
"""Uploads of like score: so many at least."""
LEAST_UPLOADS = 200
"""With fewer the hours of reviewers are a guess."""
FEWEST_BLOCKS = 7
STEP = 0.01
GRID = tuple(round(i * STEP, 2) for i in range(99, 4, -1))
"""Values that are tried, from the highest."""
_NEVER = 2.0
"""Above every probability."""
_ROUNDS = 400
_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Item:
    """One upload of a sample.

    `block`: what is drawn together for the bounds of hours: a day. `content`: the same for the same bytes. `truth`:
    what is known, by family. `fake`: whether it is manipulated at all, in an evaluation set.
    """

    case: Case
    block: int
    content: str
    truth: Mapping[Family, bool]
    fake: bool | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """What proposals rest on. `share`: of an evaluation set, how many uploads of the real traffic are manipulated."""

    items: Sequence[Item]
    what: str
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for. `hours`: of all reviewers in a day; `queues`: of single ones."""

    per_day: float
    hours: float | None = None
    precision: float = 0.95
    queues: Mapping[str, float] = field(default_factory=dict)


class Point(msgspec.Struct, frozen=True):
    """One value of a threshold. `judged`: by people, of the uploads that it makes the policy restrict."""

    value: float
    precision: Interval | None
    judged: float
    uploads: float
    hours: float


class Proposal(msgspec.Struct, frozen=True):
    """What becomes of one threshold, and why. `found`: of what is known to be manipulated, the share above it.

    `known_from`: below this value too few were judged to say anything of precision.
    """

    name: str
    family: Family | None
    rules: tuple[str, ...]
    does: Literal["restricts", "asks", "nothing"]
    now: float
    proposed: float
    why: str
    precision_now: Interval | None = None
    precision: Interval | None = None
    found_now: Interval | None = None
    found: Interval | None = None
    known_from: float | None = None
    curve: tuple[Point, ...] = ()


class QueueHours(msgspec.Struct, frozen=True):
    """Hours of work a day in a queue; all of them together have no name."""

    queue: str
    now: Interval
    proposed: Interval
    limit: float | None
    handling: Handling | None = None

    @property
    def fits(self) -> bool:
        """Whether even the upper bound does."""
        return self.limit is None or self.proposed.high <= self.limit


class Proposals(msgspec.Struct, frozen=True):
    """All that was worked out. `holds`: everything that was asked for is reached."""

    policy_version: str
    sample: str
    uploads: int
    per_day: float
    precision: float
    proposals: tuple[Proposal, ...]
    queues: tuple[QueueHours, ...]
    notes: tuple[str, ...]
    holds: bool

    @property
    def changes(self) -> dict[str, float]:
        """The numbers that differ."""
        return {each.name: each.proposed for each in self.proposals if each.proposed != each.now}


def propose(
    policy: Policy, sample: Sample, wish: Wish, handling: Callable[[str], Handling], seed: int = 0
) -> Proposals:
    """Values for the policy's thresholds.

    Args:
        policy: its rules, and its thresholds of now.
        sample: uploads with what is known of them.
        wish: precision and hours.
        handling: what one task of a queue costs.
        seed: for the bounds of hours.

    Raises:
        ConfigError: too little is known.
    """
    if len(sample.items) < LEAST_UPLOADS:
        raise ConfigError(f"{len(sample.items)} uploads are too few to say anything; {LEAST_UPLOADS} are needed")
    return _Search(policy, sample, wish, handling, seed).run()


@dataclass(frozen=True, slots=True)
class _Sweep:
    """What one threshold does, the others being as they are: outcomes of its uploads with the rules on and off."""

    rows: Ints
    score: Floats
    on: Ints
    off: Ints
    restricted: Flags

    def queues(self, base: Ints, value: float) -> Ints:
        """The queue of every upload at this value."""
        found = base.copy()
        found[self.rows] = np.where(self.score >= value, self.on, self.off)
        return found


class _Search:
    """The sample in arrays, and the steps of the search."""

    def __init__(
        self, policy: Policy, sample: Sample, wish: Wish, handling: Callable[[str], Handling], seed: int
    ) -> None:
        self._policy = policy
        self._sample = sample
        self._wish = wish
        self._limits = dict(wish.queues)
        if unknown := sorted(set(self._limits) - set(policy.queues)):
            raise ConfigError(f"there is no queue {', '.join(unknown)}; known are: {', '.join(policy.queues)}")
        self._names = sorted(policy.queues)
        self._number = {name: i for i, name in enumerate(self._names)}
        self._handling = {name: handling(name) for name in self._names}
        self._seconds = np.array([self._handling[name].seconds for name in self._names])
        self._uses = uses(policy)
        self._weights = _weights(sample)
        blocks = np.array([item.block for item in sample.items], np.int64)
        if sample.share is not None or len(np.unique(blocks)) < FEWEST_BLOCKS:
            blocks = np.arange(len(blocks)) % 40  # too few days to see how much they differ
        _, self._blocks = np.unique(blocks, return_inverse=True)
        self._count = int(self._blocks.max()) + 1
        self._uploads = np.bincount(self._blocks, self._weights, self._count)
        draws = np.random.default_rng(seed).multinomial(self._count, [1 / self._count] * self._count, size=_ROUNDS)
        self._draws = draws.astype(np.float64)
        self._values = dict(policy.file.thresholds)
        self._now = dict(self._values)
        self._least: dict[int, float] = {}
        self._by_family: dict[Family, Floats] = {}
        self._base, _ = self._decided(range(len(sample.items)), self._values)

    def run(self) -> Proposals:
        """Precision first, then capacity; then what came of it."""
        hours_now = self._hours(self._base)
        movable = [use for use in self._uses if not use.otherwise]
        precision = {use.name: self._precision(use) for use in movable}
        why = {use.name: use.otherwise for use in self._uses}
        reached = True
        for use in movable:
            value, why[use.name], ok = self._certified(use, precision[use.name])
            reached = reached and ok
            self._set(use, value)
        self._in_order(movable, why)
        self._fit(movable, why)
        proposed = self._hours(self._base)
        queues = tuple(self._rows(hours_now, proposed))
        told = tuple(self._told(use, precision.get(use.name), why[use.name]) for use in self._uses)
        self._refuse_if_nothing_is_known(told)
        return Proposals(
            policy_version=self._policy.version,
            sample=self._sample.what,
            uploads=len(self._sample.items),
            per_day=self._wish.per_day,
            precision=self._wish.precision,
            proposals=told,
            queues=queues,
            notes=tuple(self._notes(queues)),
            holds=reached and all(row.fits for row in queues),
        )

    # --- deciding -----------------------------------------------------------------------------------------------------

    def _decided(self, rows: Sequence[int] | Ints | range, values: Mapping[str, float]) -> tuple[Ints, Ints]:
        """Of these uploads the queue (-1: none) and how strong the action is, wherever it applies."""
        policy = versioned(structs.replace(self._policy.file, thresholds=dict(values)), self._policy.fused.calibration)
        queues, strengths = np.empty(len(rows), np.int64), np.empty(len(rows), np.int64)
        for place, row in enumerate(rows):
            said = decide(self._sample.items[row].case, policy)
            queues[place] = self._number[said.review.queue] if said.review else -1
            strengths[place] = max(said.action.strength, *(each.action.strength for each in said.regional), 0)
        return queues, strengths

    def _sweep(self, use: Use) -> _Sweep:
        scores = self._scores(use.family)
        rows = np.flatnonzero(scores >= GRID[-1])
        on, strong = self._decided(rows, {**self._values, use.name: GRID[-1]})
        off, mild = self._decided(rows, {**self._values, use.name: _NEVER})
        return _Sweep(rows, scores[rows], on, off, strong > mild)

    def _scores(self, family: Family | None) -> Floats:
        assert family is not None
        if family not in self._by_family:
            self._by_family[family] = np.array(
                [
                    next((s.probability for s in item.case.signals if s.family is family and s.probability), 0.0)
                    for item in self._sample.items
                ],
                np.float64,
            )
        return self._by_family[family]

    def _set(self, use: Use, value: float) -> None:
        """Move a threshold, and decide again what lies between."""
        before = self._values[use.name]
        self._values[use.name] = value
        scores = self._scores(use.family)
        rows = np.flatnonzero((scores >= min(before, value)) & (scores < max(before, value)))
        if len(rows):
            self._base[rows], _ = self._decided(rows, self._values)

    # --- precision ----------------------------------------------------------------------------------------------------

    def _precision(self, use: Use) -> Known | None:
        """What is known of the uploads that this threshold makes the policy restrict; None where it restricts none."""
        sweep = self._sweep(use)
        chosen = sweep.restricted
        if not chosen.any():
            return None
        assert use.family is not None
        scores, truth = self._contents(sweep.rows[chosen], sweep.score[chosen], use.family)
        if self._sample.share is not None:
            return Evaluated(
                scores, truth, self._total(use.family, True), self._total(use.family, False), self._sample.share
            )
        return Reviewed(scores, truth)

    def _contents(self, rows: Ints, scores: Floats, family: Family) -> tuple[Floats, Floats]:
        """Each content once, the highest scores first: its score, and 1, 0 or nan (not known)."""
        seen: dict[str, tuple[float, float]] = {}
        for row, score in zip(rows, scores, strict=True):
            item = self._sample.items[row]
            known = item.truth.get(family)
            truth = math.nan if known is None else float(known)
            before = seen.get(item.content)
            if before is None or math.isnan(before[1]):
                seen[item.content] = (float(score), truth)
        pairs = sorted(seen.values(), key=lambda pair: -pair[0])
        return np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])

    def _total(self, family: Family, fake: bool) -> int:
        return sum(item.truth.get(family) is fake for item in self._sample.items)

    def _certified(self, use: Use, known: Known | None) -> tuple[float, str, bool]:
        """The lowest value that keeps the precision; else the one of now, why, and whether that is in order."""
        if known is None:
            return use.value, "restricts nothing by itself: only capacity moves it", True
        wanted = self._wish.precision
        value = lowest_that_keeps(known, wanted, sorted({*GRID, use.value}, reverse=True))
        if value is not None:
            bound = known.at_least(value, ERROR / len(BEGINNINGS))
            return value, f"the lowest with a precision of at least {wanted:g} (bound {bound:.3f})", True
        if not known.chain(GRID, known.fewest(wanted), min(BEGINNINGS)):
            return use.value, known.too_few(wanted), False
        why = f"what was judged shows of no value that it keeps a precision of {wanted:g}"
        return use.value, f"{why}: judge more, or let its rules ask a person", False

    # --- capacity -----------------------------------------------------------------------------------------------------

    def _hours(self, queues: Ints) -> tuple[Floats, Floats]:
        """Hours a day per queue and, last, of all: the mean, and one row for each draw of blocks."""
        spent = self._spent(queues)
        mean = self._wish.per_day * spent.sum(axis=0) / self._uploads.sum()
        drawn = self._wish.per_day * (self._draws @ spent) / np.maximum(self._draws @ self._uploads, 1e-9)[:, None]
        return mean, drawn

    def _spent(self, queues: Ints) -> Floats:
        """Hours by block and queue, and of all queues."""
        here = queues >= 0
        width = len(self._names) + 1
        hours = self._weights[here] * self._seconds[queues[here]] / _HOUR
        flat = np.bincount(self._blocks[here] * width + queues[here], hours, self._count * width)
        spent: Floats = np.asarray(flat, np.float64).reshape(self._count, width)
        spent[:, -1] = spent.sum(axis=1)
        return spent

    def _upper(self, queues: Ints) -> Floats:
        return np.asarray(np.percentile(self._hours(queues)[1], 97.5, axis=0))

    def _fit(self, movable: Sequence[Use], why: dict[str, str]) -> None:
        """For each limit raise what the policy gives the least priority until it is kept.

        Where no values keep it, nothing is raised for it: fewer uploads would be acted on, and it would not fit either.
        """
        limits = [(self._number[name], limit) for name, limit in self._limits.items()]
        limits += [(len(self._names), self._wish.hours)] if self._wish.hours is not None else []
        for limit in limits:
            before = dict(self._values), self._base.copy(), dict(why)
            for use in sorted(movable, key=lambda each: (each.priority, each.name)):
                if self._keeps(self._base, limit):
                    break
                value = self._raised(use, movable, limit)
                if value is not None:
                    why[use.name] = f"raised so that the work fits {self._named(limit)}"
                    self._set(use, value)
                    self._in_order(movable, why)
            if not self._keeps(self._base, limit):
                self._least[limit[0]] = float(self._upper(self._base)[limit[0]])
                self._values, self._base = before[0], before[1]
                why.update(before[2])

    def _keeps(self, queues: Ints, limit: tuple[int, float]) -> bool:
        return bool(self._upper(queues)[limit[0]] <= limit[1])

    def _raised(self, use: Use, movable: Sequence[Use], limit: tuple[int, float]) -> float | None:
        """The lowest higher value with which the limit is kept, else the highest if that helps at all."""
        place = limit[0]
        higher = [value for value in reversed(GRID) if value > self._values[use.name]]
        if not higher:
            return None
        most = self._trial(use, movable, higher[-1])
        if not self._keeps(most, limit):
            return higher[-1] if self._upper(most)[place] < 0.99 * self._upper(self._base)[place] else None
        low, high = 0, len(higher) - 1  # more of a threshold is less work
        while low < high:
            middle = (low + high) // 2
            if self._keeps(self._trial(use, movable, higher[middle]), limit):
                high = middle
            else:
                low = middle + 1
        return higher[high]

    def _trial(self, use: Use, movable: Sequence[Use], value: float) -> Ints:
        """The queue of every upload with this threshold raised, and with it those that must not lie below it."""
        values = {**self._values, use.name: value}
        for other in movable:
            if _above(use, other, self._now) and values[other.name] < value:
                values[other.name] = value
        scores = self._scores(use.family)
        least = min(self._values[name] for name in values if values[name] != self._values[name])
        rows = np.flatnonzero((scores >= least) & (scores < value))
        queues = self._base.copy()
        if len(rows):
            queues[rows], _ = self._decided(rows, values)
        return queues

    def _named(self, limit: tuple[int, float]) -> str:
        place, hours = limit
        return f"{hours:g} h a day in {self._names[place]}" if place < len(self._names) else f"{hours:g} h a day"

    def _in_order(self, movable: Sequence[Use], why: dict[str, str]) -> None:
        """Of two thresholds of a family the higher one of now stays the higher one: it is raised with the other."""
        for low, high in itertools.permutations(movable, 2):
            if _above(low, high, self._now) and self._values[low.name] > self._values[high.name]:
                self._set(high, self._values[low.name])
                why[high.name] = f"not below {low.name}"

    # --- telling ------------------------------------------------------------------------------------------------------

    def _told(self, use: Use, known: Known | None, why: str) -> Proposal:
        now, value = self._now[use.name], self._values[use.name]
        rules = tuple(rule.name for rule in use.rules)
        if use.otherwise:
            return Proposal(use.name, use.family, rules, "nothing", now, value, why)
        sweep = self._sweep(use)
        told = {"does": "asks" if known is None else "restricts", "now": now, "proposed": value, "why": why}
        points = tuple(self._point(sweep, known, each) for each in reversed(GRID))
        found = self._found(use)
        return Proposal(
            name=use.name,
            family=use.family,
            rules=rules,
            precision_now=known.interval(now) if known else None,
            precision=known.interval(value) if known else None,
            found_now=found(now),
            found=found(value),
            known_from=known.known_from if known else None,
            curve=points,
            **told,  # type: ignore[arg-type]
        )

    def _point(self, sweep: _Sweep, known: Known | None, value: float) -> Point:
        hours = self._spent(sweep.queues(self._base, value))[:, -1].sum() / self._uploads.sum()
        above = sweep.score >= value
        return Point(
            value=value,
            precision=known.interval(value) if known else None,
            judged=known.judged(value) if known else 0,
            uploads=float(self._weights[sweep.rows[above]].sum() * self._wish.per_day / self._weights.sum()),
            hours=round(float(self._wish.per_day * hours), 4),
        )

    def _found(self, use: Use) -> Callable[[float], Interval | None]:
        """Of the contents that people (or the set) say are manipulated so, the share at or above a value."""
        assert use.family is not None
        rows = np.arange(len(self._sample.items))
        scores, truth = self._contents(rows, self._scores(use.family), use.family)
        made = scores[truth == 1]
        return lambda value: interval(float((made >= value).sum()), len(made)) if len(made) else None

    def _rows(self, now: tuple[Floats, Floats], proposed: tuple[Floats, Floats]) -> Iterator[QueueHours]:
        for place, name in enumerate([*self._names, ""]):
            limit = self._limits.get(name) if name else self._wish.hours
            before, after = (_interval(each, place) for each in (now, proposed))
            yield QueueHours(name, before, after, limit, self._handling.get(name))

    def _notes(self, queues: Sequence[QueueHours]) -> Iterator[str]:
        share = self._sample.share
        if share is None:
            yield (
                "Precision is that of what people judged, of like score. Below the lowest score that enough of were"
                " judged it is not known; nor is how much manipulation nobody has found."
            )
        else:
            yield (
                f"An evaluation set is not your traffic: precision is for {share:.2%} manipulated uploads that look"
                " like the set's, and hours are a rough guess."
            )
        for place, row in enumerate(queues):
            if not row.fits:
                where = row.queue or "all queues together"
                least = self._least.get(place)
                kept = f"; with every threshold at {GRID[0]:g} still up to {least:.1f}" if least is not None else ""
                yield (
                    f"{where}: {row.proposed.value:.1f} h a day (up to {row.proposed.high:.1f}) do not fit"
                    f" {row.limit:g}{kept}. No threshold decides what fail modes, bands of doubt, requests and banks"
                    " ask for; nothing was raised for what cannot be reached."
                )

    def _refuse_if_nothing_is_known(self, told: Sequence[Proposal]) -> None:
        asked = bool(self._limits) or self._wish.hours is not None
        restricting = [each for each in told if each.does == "restricts"]
        unknown = [each for each in restricting if each.precision is None or each.why.startswith(_TOO_FEW)]
        if not asked and len(unknown) == len(restricting):
            named = "; ".join(f"{each.name}: {each.why}" for each in restricting) or "no threshold restricts anything"
            raise ConfigError(f"nothing can be proposed: {named}")


_TOO_FEW = "too few were judged"


def lowest_that_keeps(known: Known, wanted: float, candidates: Sequence[float]) -> float | None:
    """The lowest value whose precision is surely as high; None where that can be said of none.

    Args:
        known: the uploads that the threshold restricts.
        wanted: the precision.
        candidates: values, the highest first; they must not depend on what was found.
    """
    passed = []
    for begin in BEGINNINGS:
        for value in known.chain(candidates, known.fewest(wanted), begin):
            if not known.keeps(value, wanted, ERROR / len(BEGINNINGS)):
                break
            passed.append(value)
    return min(passed, default=None)


class Reviewed:
    """Contents that a threshold restricts, in traffic: the highest scores first; `truth` nan where nobody judged."""

    def __init__(self, scores: Floats, truth: Floats) -> None:
        self._scores = scores
        judged = ~np.isnan(truth)
        weights, self._coverage = np.zeros(len(scores)), np.zeros(len(scores))
        self.known_from = 1.0
        least = 1.0
        for part in _bins(scores):
            share = float(judged[part].mean())
            if share < LEAST_SHARE:
                break
            least = min(least, share)
            weights[part] = judged[part] / share
            self._coverage[part] = least
            self.known_from = float(scores[part][-1])
        self._judged = np.cumsum(judged)
        self._weight = np.cumsum(weights)
        self._made = np.cumsum(weights * np.nan_to_num(truth))

    def chain(self, candidates: Sequence[float], fewest: int, begin: int) -> list[float]:
        """The values to test, from the highest for which enough were judged down to what is known."""
        return [value for value in candidates if value >= self.known_from and self.judged(value) >= begin * fewest]

    def judged(self, value: float) -> float:
        """For how many judged contents those at or above a value count."""
        above = self._above(value)
        return float(min(self._judged[above - 1], above * self._coverage[above - 1])) if above else 0.0

    def keeps(self, value: float, wanted: float, error: float) -> bool:
        """Whether the precision is surely as high."""
        count = self.judged(value)
        return surely(self._share(value) * count, count, wanted, error)

    def at_least(self, value: float, error: float) -> float:
        """A lower bound of the precision."""
        count = self.judged(value)
        return at_least(self._share(value) * count, count, error)

    def interval(self, value: float) -> Interval | None:
        """The precision; None where it is not known."""
        count = self.judged(value)
        if count < 1 or value < self.known_from:
            return None
        return interval(self._share(value) * count, count)

    def fewest(self, wanted: float) -> int:
        """So many must be judged, and all be manipulated, for the precision to be shown."""
        return math.ceil(math.log(ERROR / len(BEGINNINGS)) / math.log(wanted))

    def too_few(self, wanted: float) -> str:
        """Why nothing can be said."""
        judged = int(self._judged[-1]) if len(self._judged) else 0
        return (
            f"{_TOO_FEW}: {judged} of {len(self._scores)} contents that it could restrict; to show a precision of"
            f" {wanted:g}, {self.fewest(wanted)} of like score are needed at least"
        )

    def _above(self, value: float) -> int:
        return int(np.searchsorted(-self._scores, -value, side="right"))

    def _share(self, value: float) -> float:
        above = self._above(value)
        return float(self._made[above - 1] / max(self._weight[above - 1], 1e-12)) if above else 0.0


class Evaluated:
    """Labelled files that a threshold restricts; what share of traffic is manipulated is given, not measured."""

    known_from = 0.0

    def __init__(self, scores: Floats, truth: Floats, made: int, genuine: int, share: float) -> None:
        self._scores = scores
        self._truth = truth
        self._totals = (genuine, made)
        self._odds = share

    def chain(self, candidates: Sequence[float], fewest: int, begin: int) -> list[float]:
        """The values to test: none unless the set has as many manipulated files."""
        return [value for value in candidates if min(self._totals) and self.judged(value) >= begin * fewest]

    def judged(self, value: float) -> float:
        """Labelled files at or above a value."""
        return float((~np.isnan(self._truth) & (self._scores >= value)).sum())

    def keeps(self, value: float, wanted: float, error: float) -> bool:
        """Whether the precision is surely as high."""
        return self.at_least(value, error) >= wanted

    def at_least(self, value: float, error: float) -> float:
        """A lower bound of the precision: from one of what is found and an upper one of false alarms."""
        found, alarms = self._hits(value)
        return self._precision(at_least(*found, error / 2), at_most(*alarms, error / 2))

    def interval(self, value: float) -> Interval | None:
        """The precision; None without both labels."""
        found, alarms = self._hits(value)
        if not (found[1] and alarms[1] and found[0]):
            return None
        return Interval(
            self._precision(found[0] / found[1], alarms[0] / alarms[1]),
            self.at_least(value, ERROR / 2),
            self._precision(at_most(*found, ERROR / 4), at_least(*alarms, ERROR / 4)),
        )

    def fewest(self, _wanted: float) -> int:
        """So many files must lie above; whether they show the precision, the bounds say."""
        return 20

    def too_few(self, wanted: float) -> str:
        """Why nothing can be said."""
        return f"{_TOO_FEW}: {self._totals[1]} manipulated and {self._totals[0]} genuine files, for {wanted:g}"

    def _hits(self, value: float) -> tuple[tuple[float, int], tuple[float, int]]:
        above = self._scores >= value
        return (
            (float((self._truth[above] == 1).sum()), self._totals[1]),
            (float((self._truth[above] == 0).sum()), self._totals[0]),
        )

    def _precision(self, found: float, alarms: float) -> float:
        right, wrong = self._odds * found, (1 - self._odds) * alarms
        return right / (right + wrong) if right + wrong else 0.0


Known = Reviewed | Evaluated


def _above(low: Use, high: Use, now: Mapping[str, float]) -> bool:
    """Whether the second threshold is of the same family and not lower, as the lead has it."""
    return low is not high and low.family is high.family and now[low.name] <= now[high.name]


def _bins(scores: Floats) -> Iterator[slice]:
    """Neighbours in score, from the highest: so many at least, and equal ones together."""
    begin = 0
    while begin < len(scores):
        end = min(begin + BIN, len(scores))
        if len(scores) - end < BIN:
            end = len(scores)
        while end < len(scores) and scores[end] == scores[end - 1]:
            end += 1
        yield slice(begin, end)
        begin = end


def _weights(sample: Sample) -> Floats:
    """What each upload stands for: one, or in an evaluation set its label's share of the traffic."""
    if sample.share is None:
        return np.ones(len(sample.items))
    fake = np.array([bool(item.fake) for item in sample.items])
    if fake.all() or not fake.any():
        raise ConfigError("an evaluation set needs genuine and manipulated files")
    return np.asarray(np.where(fake, sample.share / fake.mean(), (1 - sample.share) / (~fake).mean()), np.float64)


def _interval(hours: tuple[Floats, Floats], place: int) -> Interval:
    low, high = np.percentile(hours[1][:, place], [2.5, 97.5])
    return Interval(float(hours[0][place]), float(low), float(high))
