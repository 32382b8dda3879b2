"""What is wrong with a policy that is sound: rules that can never hold, pairs that contradict each other, words that
nothing uses. With line and column.

Said only where it is proved (`reach.py`); what is too much to be looked through is named as not checked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from itertools import combinations

from pipeline.events.values import Action, Family, Surface
from pipeline.policy.alone import acts, signals
from pipeline.policy.condition import Condition, tokens
from pipeline.policy.fields import Value
from pipeline.policy.file import Sourced
from pipeline.policy.places import Path
from pipeline.policy.reach import Partial, Space, TooMany, World, blind, falls, not_judged, space, vague
from pipeline.policy.rules import FailMode, Mode, On, Policy, Rule
from pipeline.statements.terms import check_harms


class Severity(StrEnum):
    """`error`: it does not do what it says. `warning`: it may not do what was meant."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. `rule`: the name of the rule, fail mode, exemption, threshold, … that it concerns."""

    severity: Severity
    line: int | None
    column: int | None
    rule: str
    text: str


@dataclass(frozen=True, slots=True)
class _Said:
    path: Path
    rule: str
    text: str
    severity: Severity = Severity.ERROR
    offset: int | None = None


def lint(source: Sourced, today: date) -> tuple[Finding, ...]:
    """Everything that is wrong with a policy, from top to bottom."""
    checks: tuple[Callable[[Policy], Iterable[_Said]], ...] = (
        _rules_without_effect,
        _exemptions_without_effect,
        _fail_modes_without_effect,
        _pairs,
        _blind,
        _falling,
        _left_open,
        _regions_in_conditions,
        _unused,
        _unknown_to_the_law,
    )
    found = [said for check in checks for said in check(source.policy)]
    found += _over(source.policy, today)
    findings = []
    for said in found:
        place = source.places.of(said.path, said.offset)
        line, column = (place.line, place.column) if place else (None, None)
        findings.append(Finding(said.severity, line, column, said.rule, said.text))
    return tuple(sorted(dict.fromkeys(findings), key=lambda each: (each.line or 0, each.column or 0, each.text)))


_TOO_MANY = "not checked: too many combinations"


@dataclass(frozen=True, slots=True)
class _Acting:
    """A rule with its conditions. `path`: of its `when`."""

    rule: Rule
    path: Path
    when: Condition
    unless: tuple[Condition, ...]

    def on(self, world: World) -> bool:
        return acts(world, self.when, self.unless)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return (self.when, *self.unless)


def _acting(policy: Policy, *modes: Mode) -> list[_Acting]:
    known = policy.conditions
    return [
        _Acting(rule, ("rules", i, "when"), known.rules[rule.name], tuple(known.exemptions[n] for n in rule.unless))
        for i, rule in enumerate(policy.rules)
        if rule.mode in modes
    ]


# --- what never happens ----------------------------------------------------------------------------------------------


def _rules_without_effect(policy: Policy) -> Iterator[_Said]:
    for each in _acting(policy, Mode.LIVE, Mode.SHADOW):
        name = each.rule.name
        try:
            found = list(space(policy.conditions.language, each.conditions, _where(policy, each)))
        except TooMany:
            yield _Said(each.path, name, f"{_TOO_MANY} whether it can hold", Severity.WARNING, 0)
            continue
        holds = [world for world in found if world.holds(each.when)]
        if not holds:
            yield _Said(each.path, name, "can never hold: no upload fulfils all of this at once", offset=0)
        elif not any(each.on(world) for world in holds):
            yield _Said((*each.path[:-1], "unless"), name, f"never acts: {_swallowed(each, holds)}")
        elif len(holds) == len(found):
            yield _Said(each.path, name, "holds for every upload", Severity.WARNING, 0)


def _where(policy: Policy, each: _Acting) -> dict[str, tuple[Value, ...]]:
    """Where an upload is shown for which the rule's `jurisdictions` let it act, as far as its conditions ask for it."""
    if not each.rule.jurisdictions or not any("upload.regions" in c.fields for c in each.conditions):
        return {}
    applies = sorted(policy.file.regions(each.rule.jurisdictions))
    said = [token.text[1:-1] for c in each.conditions for token in tokens(c.written) if token.kind == "string"]
    asked = [region for region in dict.fromkeys(said) if len(region) == 2][:4]
    first = [region for region in applies if region not in asked][:1] + [r for r in applies if r in asked]
    some = [list(also) for n in range(len(asked) + 1) for also in combinations(asked, n)]
    shown: list[list[str]] = [[], *(sorted({region, *also}) for region in first for also in some)]
    return {"upload.regions": tuple(shown)}


def _swallowed(each: _Acting, holds: Sequence[World]) -> str:
    """Which exemptions leave nothing."""
    for name, shield in zip(each.rule.unless, each.unless, strict=True):
        if all(world.holds(shield) for world in holds):
            return f"the exemption {name!r} holds whenever it does"
    return "whenever it holds, so does one of its exemptions"


def _exemptions_without_effect(policy: Policy) -> Iterator[_Said]:
    for name, condition in policy.conditions.exemptions.items():
        path: Path = ("exemptions", name, "when")
        try:
            if not any(world.holds(condition) for world in space(policy.conditions.language, [condition])):
                yield _Said(path, name, "can never hold: no upload fulfils all of this at once", offset=0)
        except TooMany:
            yield _Said(path, name, f"{_TOO_MANY} whether it can hold", Severity.WARNING, 0)


def _fail_modes_without_effect(policy: Policy) -> Iterator[_Said]:
    for i, mode in enumerate(policy.fail_modes):
        when = policy.conditions.fail_modes.get(mode.name)
        unless = tuple(policy.conditions.exemptions[name] for name in mode.unless)
        if when is None:
            continue
        only: dict[str, tuple[Value, ...]] = dict(not_judged(Family)) if mode.on is On.UNJUDGED else {}
        if mode.surfaces:
            only["upload.surface"] = tuple(surface.value for surface in mode.surfaces)
        path: Path = ("fail_modes", i, "when")
        try:
            found = list(space(policy.conditions.language, [when, *unless], only))
        except TooMany:
            yield _Said(path, mode.name, f"{_TOO_MANY} whether it can apply", Severity.WARNING, 0)
            continue
        # What cannot be answered applies.
        if not any(world.maybe(when) for world in found):
            also = f" on {', '.join(mode.surfaces)}" if mode.surfaces else ""
            yield _Said(path, mode.name, f"can never apply: no upload fulfils all of this at once{also}", offset=0)
        elif not any(world.maybe(when) and not any(world.holds(shield) for shield in unless) for world in found):
            yield _Said((*path[:-1], "unless"), mode.name, "never applies: whenever it does, so does an exemption")


# --- pairs -----------------------------------------------------------------------------------------------------------


def _pairs(policy: Policy) -> Iterator[_Said]:
    for one, other in combinations(_acting(policy, Mode.LIVE), 2):
        together = _overlap(one.rule, other.rule, policy)
        compared: list[tuple[_Acting, _Acting, Callable[[_Acting, _Acting, Policy], Iterator[_Said]]]] = [
            (weak, strong, _idle)
            for weak, strong in ((one, other), (other, one))
            if _could_be_idle(weak.rule, strong.rule) and _within(weak.rule, strong.rule, policy)
        ]
        if one.rule.harm == other.rule.harm and together and _differ(one.rule, other.rule):
            compared.append((one, other, _contradicting))
        for first, second, said in compared:
            try:
                yield from said(first, second, policy)
            except TooMany:
                text = f"{_TOO_MANY} whether it says what {second.rule.name!r} says"
                yield _Said(first.path, first.rule.name, text, Severity.WARNING, 0)


def _both(one: _Acting, other: _Acting, policy: Policy) -> list[tuple[bool, bool]]:
    """Of every kind of upload, whether the one and whether the other acts on it."""
    found = space(policy.conditions.language, (*one.conditions, *other.conditions))
    return [(one.on(world), other.on(world)) for world in found]


def _idle(weak: _Acting, strong: _Acting, policy: Policy) -> Iterator[_Said]:
    stronger = [b for a, b in _both(weak, strong, policy) if a]
    if stronger and all(stronger):
        text = f"decides nothing: {strong.rule.name!r} holds whenever it does, and is stronger ({strong.rule.action})"
        yield _Said(weak.path, weak.rule.name, text, Severity.WARNING, 0)


def _contradicting(one: _Acting, other: _Acting, policy: Policy) -> Iterator[_Said]:
    both = _both(one, other, policy)
    if any(a for a, _ in both) and all(a is b for a, b in both):
        text = (
            f"contradicts {one.rule.name!r}: both hold for exactly the same uploads, and say different things: "
            f"{_told(other.rule)} here, {_told(one.rule)} there"
        )
        yield _Said(other.path, other.rule.name, text, offset=0)


def _told(rule: Rule) -> str:
    queue = f" with {rule.review.queue}" if rule.review else ""
    return f"{rule.action}{queue}" + (f" “{rule.label}”" if rule.label else "")


def _could_be_idle(weak: Rule, strong: Rule) -> bool:
    return weak.review is None and weak.label is None and strong.action.strength > weak.action.strength


def _within(inner: Rule, outer: Rule, policy: Policy) -> bool:
    """Whether the outer one applies wherever and whenever the inner one does."""
    there = policy.file.regions(outer.jurisdictions)
    here = policy.file.regions(inner.jurisdictions)
    place = not there or (bool(here) and here <= there)
    begins = outer.since is None or (inner.since is not None and outer.since <= inner.since)
    ends = outer.until is None or (inner.until is not None and inner.until <= outer.until)
    return place and begins and ends


def _overlap(one: Rule, other: Rule, policy: Policy) -> bool:
    """Whether they apply somewhere together, one not being the other's special case for some regions."""
    a, b = policy.file.regions(one.jurisdictions), policy.file.regions(other.jurisdictions)
    special = a != b and (not a or not b or a < b or b < a)
    apart = one.until and other.since and one.until <= other.since
    reverse = other.until and one.since and other.until <= one.since
    return not special and (a == b or bool(a & b)) and not apart and not reverse


def _differ(one: Rule, other: Rule) -> bool:
    """`allow` with a review asks a person beside whatever else holds: that contradicts nothing."""
    if Action.ALLOW in (one.action, other.action) and one.action is not other.action:
        return False
    return (one.action, one.review, one.label) != (other.action, other.review, other.label)


# --- what was probably not meant -------------------------------------------------------------------------------------


_FAMILIES = frozenset(family.value for family in Family)


def _blind(policy: Policy) -> Iterator[_Said]:
    """Rules and exemptions that take what nobody judged for low."""
    language = policy.conditions.language
    shields: list[tuple[Path, str, Condition, tuple[Condition, ...]]] = [
        (("exemptions", name, "when"), name, condition, ()) for name, condition in policy.conditions.exemptions.items()
    ]
    live = [(each.path, each.rule.name, each.when, each.unless) for each in _acting(policy, Mode.LIVE)]
    for path, name, when, unless in (*live, *shields):
        for field, offset in blind(when, language):
            try:
                found = space(language, [when, *unless], {field: (math.nan,)})
                if any(acts(world, when, unless) for world in found):
                    about = field.partition(".")[0]
                    judged = f"`&& {about}.judged`" if about in _FAMILIES else "a condition that it is known"
                    text = f"holds also where {field!r} is not known; turn the comparison round, or add {judged}"
                    yield _Said(path, name, text, Severity.WARNING, offset)
            except TooMany:
                yield _Said(path, name, f"{_TOO_MANY} whether it holds without {field!r}", Severity.WARNING, offset)


def _falling(policy: Policy) -> Iterator[_Said]:
    """Rules that a higher score can switch off."""
    language = policy.conditions.language
    for each in _acting(policy, Mode.LIVE):
        if each.rule.action is Action.ALLOW:
            continue
        families = dict.fromkeys(family for condition in each.conditions for family in signals(condition))
        for family in families:
            numbers = [f"{family}.{name}" for name in ("probability", "low", "high")]
            unclear = [part for c in each.conditions for part in vague(c, language) if any(n in part for n in numbers)]
            if unclear:
                text = f"not checked whether a higher {family} ends it: {unclear[0]!r} is not a plain comparison"
                yield _Said(each.path, each.rule.name, text, Severity.WARNING, 0)
                continue
            try:
                steps = falls(_with_band(each, family, policy), numbers, _in_band(family, policy), each.on)
            except TooMany:
                text = f"{_TOO_MANY} whether a higher {family} ends it"
                yield _Said(each.path, each.rule.name, text, Severity.WARNING, 0)
                continue
            if steps:
                text = f"holds with {steps[0].told()} and no longer with {steps[1].told()}: more suspicion, less action"
                yield _Said(each.path, each.rule.name, text, Severity.WARNING, 0)


def _with_band(each: _Acting, family: Family, policy: Policy) -> Space:
    band = policy.fused.abstain(family)
    edges = {f"{family}.probability": (band.low, band.high)} if band else {}
    return space(policy.conditions.language, each.conditions, besides=edges)


def _in_band(family: Family, policy: Policy) -> Callable[[Partial], bool]:
    """Whether a family abstains exactly inside its band."""
    band = policy.fused.abstain(family)

    def follows(values: Partial) -> bool:
        probability, abstained = values.get(f"{family}.probability"), values.get(f"{family}.abstained")
        if probability is None or abstained is None:
            return True
        return abstained is (band is not None and band.low <= float(probability) < band.high)  # type: ignore[arg-type]

    return follows


def _left_open(policy: Policy) -> Iterator[_Said]:
    """Rules on signals without a word about what follows where these are missing."""
    modes = [mode for mode in policy.fail_modes if mode.on is On.MISSING]
    for each in _acting(policy, Mode.LIVE):
        open_: dict[Family, list[Surface]] = {}
        for family in signals(each.when):
            for surface in _surfaces(each, policy):
                if not any(_answers(mode, each.rule, family, surface) for mode in modes):
                    open_.setdefault(family, []).append(surface)
        for family, surfaces in open_.items():
            where = "anywhere" if len(surfaces) == len(Surface) else f"on {', '.join(surfaces)}"
            text = f"no fail mode says what follows for the harm {each.rule.harm!r} when `{family}` is missing {where}"
            yield _Said(each.path, each.rule.name, text, Severity.WARNING)


def _answers(mode: FailMode, rule: Rule, family: Family, surface: Surface) -> bool:
    return mode.covers(surface, family) or (mode.harm == rule.harm and (not mode.surfaces or surface in mode.surfaces))


def _surfaces(each: _Acting, policy: Policy) -> Iterable[Surface]:
    """Where a rule can act."""
    if not any("upload.surface" in condition.fields for condition in each.conditions):
        return Surface
    found = []
    for surface in Surface:
        try:
            worlds = space(policy.conditions.language, each.conditions, {"upload.surface": (surface.value,)})
            if any(each.on(world) for world in worlds):
                found.append(surface)
        except TooMany:
            found.append(surface)
    return found


def _regions_in_conditions(policy: Policy) -> Iterator[_Said]:
    for each in _acting(policy, Mode.LIVE, Mode.SHADOW):
        if "upload.regions" in each.when.fields:
            text = (
                "a condition on `upload.regions` acts in every region as soon as one fits; `jurisdictions` keeps to it"
            )
            yield _Said(each.path, each.rule.name, text, Severity.WARNING, 0)


def _unused(policy: Policy) -> Iterator[_Said]:
    file = policy.file
    texts = [rule.when for rule in file.rules] + [mode.when for mode in file.fail_modes if mode.when]
    texts += [each.when for each in file.exemptions.values()] + list(file.define.values())
    named = {token.text for text in texts for token in tokens(text) if token.kind == "name"}
    steps: tuple[Rule | FailMode, ...] = (*file.rules, *file.fail_modes)
    reviews = [step.review for step in steps if step.review]
    places = {place for rule in file.rules for place in rule.jurisdictions}
    places |= {place for clock in file.clocks.values() for place in clock.jurisdictions}
    used: dict[str, tuple[Iterable[str], set[str]]] = {
        "thresholds": (file.thresholds, {name.removeprefix("threshold.") for name in named if "threshold." in name}),
        "define": (file.define, {name.removeprefix("is.") for name in named if name.startswith("is.")}),
        "queues": (file.queues, {review.queue for review in reviews}),
        "exemptions": (file.exemptions, {name for step in steps for name in step.unless}),
        "clocks": (file.clocks, {name for review in reviews for name in review.clocks}),
        "jurisdictions": (file.jurisdictions, places),
    }
    for section, (names, known) in used.items():
        for name in names:
            if name not in known:
                yield _Said((section, name), name, f"nothing uses it ({section})", Severity.WARNING)


def _unknown_to_the_law(policy: Policy) -> Iterator[_Said]:
    """Words of harms that statements of reasons could not be filed with."""
    for name, why in check_harms(policy.harms):
        yield _Said(("harms", name), name, why)


def _over(policy: Policy, today: date) -> Iterator[_Said]:
    for i, rule in enumerate(policy.rules):
        if rule.until is not None and rule.until <= today and rule.mode is not Mode.OFF:
            text = f"is over since {rule.until}: take it out, or give it another `until`"
            yield _Said(("rules", i, "until"), rule.name, text, Severity.WARNING)
