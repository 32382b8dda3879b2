"""A policy, typed. What a policy may not say is refused here, so a `Policy` that exists is sound.

The strongest claim that models may make alone is that a person should look: no rule on signals removes anything, and
what could not be judged is never simply allowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from hashlib import sha256
from typing import Annotated

import msgspec
from msgspec import Meta

from pipeline.calibration import NONE, Calibration, Section
from pipeline.errors import Reason
from pipeline.events.values import Action, Family, Priority, Region, RuleMode, Surface
from pipeline.fuse import Fused, Fusion
from pipeline.moments import Duration
from pipeline.policy.alone import hints_alone, removes_alone
from pipeline.policy.condition import Condition, Language, tokens
from pipeline.policy.fields import FIELDS
from pipeline.policy.regions import COUNTRIES, INSTEAD

Name = Annotated[str, Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$(?!\n)", min_length=1, max_length=40)]
"""A rule's, queue's, harm's or policy's name: it becomes part of topics and metric labels."""

Word = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$(?!\n)", min_length=1, max_length=40)]
"""The name of a threshold or definition: conditions speak of `threshold.<word>` and `is.<word>`."""

Place = Annotated[
    str, Meta(pattern=r"^[A-Z]{2,12}$(?!\n)", description="ISO 3166-1 alpha-2, or a name in `jurisdictions`")
]
Threshold = Annotated[float, Meta(gt=0, le=1)]
Sentence = Annotated[str, Meta(min_length=1, max_length=200, description="plain words, without a full stop")]
Cel = Annotated[
    str, Meta(min_length=1, max_length=2000, description="a condition in CEL; docs/policy.md lists the fields")
]


class Jurisdiction(Section, frozen=True):
    """A name for several regions."""

    regions: Annotated[tuple[Region, ...], Meta(min_length=1)]


class Starts(StrEnum):
    """When a clock starts: with the request of the person shown, or with the decision."""

    REQUEST = "request"
    DECISION = "decision"


class Clock(Section, frozen=True):
    """A deadline that a law sets or the platform promises. `source`: where it is written; counsel decides what holds.

    `jurisdictions`: whose law it is; everywhere when empty. It then runs for requests that invoke that law, and for
    uploads that are shown there.
    """

    within: Duration
    source: Annotated[str, Meta(min_length=1, max_length=300)]
    starts: Starts = Starts.REQUEST
    jurisdictions: tuple[Place, ...] = ()


class Queue(Section, frozen=True):
    """What for, and how long a person needs for most tasks (the 90th percentile): work starts that much earlier.

    `people`: how many have to agree. `blind_first`: whether a person answers before they see the scores.
    `golden_share`: of its cases, how many are ones whose answer is known.
    """

    what: Sentence
    handling: Duration = "5m"
    people: Annotated[int, Meta(ge=1, le=2)] = 1
    blind_first: bool = False
    golden_share: Annotated[float, Meta(ge=0, le=0.5)] = 0.0


class Ground(StrEnum):
    """On what a restriction rests, as the DSA distinguishes: a law, or the platform's own terms."""

    ILLEGAL = "illegal"
    INCOMPATIBLE = "incompatible"


class Harm(Section, frozen=True):
    """A class of harm: what statements of reasons say of it, and how hard it is to look at (5: the hardest).

    `category`, `keywords`: the DSA Transparency Database's STATEMENT_CATEGORY_… and KEYWORD_…. `rule_text`: the law or
    the clause of the platform's terms.
    """

    what: Sentence
    severity: Annotated[int, Meta(ge=1, le=5)]
    ground: Ground = Ground.INCOMPATIBLE
    category: Annotated[str, Meta(pattern=r"^STATEMENT_CATEGORY_[A-Z_]+$(?!\n)")] = (
        "STATEMENT_CATEGORY_OTHER_VIOLATION_TC"
    )
    keywords: tuple[Annotated[str, Meta(pattern=r"^KEYWORD_[A-Z_]+$(?!\n)")], ...] = ()
    rule_text: Annotated[str, Meta(max_length=500)] = ""


class Exemption(Section, frozen=True):
    """Why rules that name it under `unless` leave an upload alone."""

    when: Cel
    reason: Sentence


class Review(Section, frozen=True):
    """Who should look, how urgently and by when.

    `deadline`: counted from the decision. `clocks`: whichever apply; the earliest of all holds.
    """

    queue: Name
    priority: Priority
    deadline: Duration
    clocks: tuple[Name, ...] = ()


class Mode(StrEnum):
    """`live` acts, `shadow` is only recorded, `off` is not looked at."""

    LIVE = "live"
    SHADOW = "shadow"
    OFF = "off"


class Rule(Section, frozen=True):
    """What follows when `when` holds and no exemption under `unless` does.

    `jurisdictions`: where the action applies, everywhere when empty; an upload that names no region is shown
    everywhere. `label`: the text for viewers. `reason` starts the sentence that the platform is given. `since`,
    `until`: from and to (not including) the beginning of that day, UTC. `owner`: who answers for it.
    """

    name: Name
    harm: Name
    when: Cel
    action: Action
    reason: Sentence
    owner: Annotated[str, Meta(max_length=100)] = ""
    unless: tuple[Name, ...] = ()
    jurisdictions: tuple[Place, ...] = ()
    review: Review | None = None
    label: Sentence | None = None
    mode: Mode = Mode.LIVE
    since: date | None = None
    until: date | None = None

    def __post_init__(self) -> None:
        if self.action is Action.ALLOW and self.review is None:
            raise ValueError("`allow` without a review does nothing")
        _check_action(self.action, self.review)
        if self.action is Action.LABEL and self.label is None:
            raise ValueError("the action `label` needs a `label`: the text for viewers")
        if self.label is not None and self.action not in (Action.LABEL, Action.LIMIT):
            raise ValueError("`label` (the text for viewers) goes with the actions `label` and `limit`")
        if self.since and self.until and self.since >= self.until:
            raise ValueError("`until` is not after `since`: it would never apply")

    def on(self, now: datetime) -> bool:
        """Whether it is looked at on this day."""
        return (
            self.mode is not Mode.OFF
            and (self.since is None or _midnight(self.since) <= now)
            and (self.until is None or now < _midnight(self.until))
        )

    @property
    def live(self) -> bool:
        """Whether it acts."""
        return self.mode is Mode.LIVE


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


class On(StrEnum):
    """What went wrong.

    `unjudged`: the upload as a whole could not be screened. `missing`: nobody, or too little of a detector, answered
    for a family. `uncertain`: from the lower edge of the family's abstain band upwards; not only inside it, so that
    what is surer than doubtful is never treated more mildly than what is doubtful.
    """

    UNJUDGED = "unjudged"
    MISSING = "missing"
    UNCERTAIN = "uncertain"


class FailMode(Section, frozen=True):
    """What follows when an upload or a family could not be judged.

    `families`: for `missing` (empty: any family) and `uncertain`. `causes`: for `unjudged` (empty: any cause).
    `when`: only where this holds too.
    """

    name: Name
    harm: Name
    reason: Sentence
    on: On
    action: Action
    when: Cel | None = None
    families: tuple[Family, ...] = ()
    causes: tuple[Reason, ...] = ()
    surfaces: tuple[Surface, ...] = ()
    unless: tuple[Name, ...] = ()
    review: Review | None = None

    def __post_init__(self) -> None:
        if self.action not in (Action.ALLOW, Action.LIMIT, Action.HOLD):
            raise ValueError(f"`{self.action}` is no fail mode: hold, limit, or allow with a review")
        if self.action is Action.ALLOW and self.review is None:
            raise ValueError("what could not be judged is not allowed without a review")
        _check_action(self.action, self.review)
        if self.on is On.UNJUDGED and self.families:
            raise ValueError("`families` does not go with `unjudged`, which concerns the whole upload")
        if self.on is not On.UNJUDGED and self.causes:
            raise ValueError(f"`causes` does not go with `{self.on}`")
        if self.on is On.UNCERTAIN and not self.families:
            raise ValueError("`uncertain` needs `families`")
        if self.on is not On.UNCERTAIN and self.unless:
            raise ValueError("`unless` goes with `uncertain` alone: nothing exempts from being looked at")

    def covers(self, surface: Surface, family: Family | None = None) -> bool:
        """Whether it applies on this surface, to this family."""
        return (not self.surfaces or surface in self.surfaces) and (not self.families or family in self.families)

    @property
    def always(self) -> bool:
        """Whether it applies whatever else is known."""
        return self.when is None and not self.unless


class PolicyFile(Section, frozen=True):
    """All that a policy file says. `thresholds`, `define`: numbers and conditions with a name, for conditions."""

    name: Name
    harms: Annotated[dict[Name, Harm], Meta(min_length=1)]
    queues: Annotated[dict[Name, Queue], Meta(min_length=1)]
    fusion: Fusion
    rules: Annotated[tuple[Rule, ...], Meta(min_length=1)]
    fail_modes: Annotated[tuple[FailMode, ...], Meta(min_length=1)]
    jurisdictions: dict[Place, Jurisdiction] = {}
    clocks: dict[Name, Clock] = {}
    thresholds: dict[Word, Threshold] = {}
    define: dict[Word, Cel] = {}
    exemptions: dict[Name, Exemption] = {}

    def regions(self, places: Iterable[Place]) -> frozenset[Region]:
        """The regions that names of jurisdictions and regions stand for."""
        return frozenset(
            region for place in places for region in (self.jurisdictions[place].regions if len(place) > 2 else (place,))
        )


@dataclass(frozen=True, slots=True)
class Wrong:
    """What is wrong with a policy, and where: a path into the file, and an offset into a condition's text."""

    path: tuple[str | int, ...]
    why: str
    offset: int | None = None


class UnsoundPolicy(ValueError):
    """A policy that contradicts itself, with everything that is wrong with it."""

    def __init__(self, wrongs: tuple[Wrong, ...]) -> None:
        super().__init__("; ".join(wrong.why for wrong in wrongs))
        self.wrongs = wrongs


@dataclass(frozen=True, slots=True)
class Conditions:
    """The policy's conditions, compiled, under the names of what they belong to; `fields`: all that they use."""

    language: Language
    rules: Mapping[str, Condition]
    fail_modes: Mapping[str, Condition]
    exemptions: Mapping[str, Condition]
    define: Mapping[str, Condition]

    fields: frozenset[str]


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy with its version, `name@digest`: the same words give the same version, comments and layout aside.

    `fused`: its fusion with the calibration in use. `fusion_version` changes only with what turns scores into signals:
    signals of another one must be made anew.
    """

    file: PolicyFile
    version: str
    fusion_version: str
    fused: Fused
    conditions: Conditions

    @property
    def name(self) -> str:
        """What the file calls itself."""
        return self.file.name

    @property
    def harms(self) -> Mapping[str, Harm]:
        """By name."""
        return self.file.harms

    @property
    def queues(self) -> Mapping[str, Queue]:
        """By name."""
        return self.file.queues

    @property
    def fusion(self) -> Fusion:
        """How scores become signals."""
        return self.file.fusion

    @property
    def rules(self) -> tuple[Rule, ...]:
        """In the order of the file, which means nothing."""
        return self.file.rules

    @property
    def fail_modes(self) -> tuple[FailMode, ...]:
        """In the order of the file, which means nothing."""
        return self.file.fail_modes

    @property
    def names(self) -> tuple[str, ...]:
        """Of all that may fire: what the trace names."""
        return (*(rule.name for rule in self.rules), *(mode.name for mode in self.fail_modes))


def versioned(file: PolicyFile, calibration: Calibration = NONE) -> Policy:
    """The policy that a file describes, with this calibration.

    Raises:
        UnsoundPolicy: they do not go together, or the file contradicts itself.
    """
    fused = Fused(fusion=file.fusion, calibration=calibration)
    named = tuple(_names(file))
    conditions, wrongs = _compiled(file)
    wrongs = (*named, *wrongs, *_uncovered(file), *_uncertain_uncovered(file, fused))
    if not wrongs:
        wrongs = tuple(_alone(file, fused, conditions))
    if wrongs:
        raise UnsoundPolicy(wrongs)
    return Policy(
        file=file,
        version=f"{file.name}@{_digest(file)}",
        fusion_version=f"fusion@{_digest(fused)}",
        fused=fused,
        conditions=conditions,
    )


def _compiled(file: PolicyFile) -> tuple[Conditions, tuple[Wrong, ...]]:
    """Every condition that is one, and what is wrong with the others."""
    wrongs: list[Wrong] = []
    broken: set[str] = set()

    def compiled(language: Language, texts: Mapping[str, tuple[tuple[str | int, ...], str]]) -> dict[str, Condition]:
        found = {}
        for name, (path, text) in texts.items():
            condition = language.compile(text)
            if isinstance(condition, Condition):
                found[name] = condition
            elif not any(token.text in broken for token in tokens(text)):  # what is wrong there was said
                wrongs.append(Wrong(path, condition.why, condition.offset))
        return found

    plain = Language(FIELDS, file.thresholds)
    define = compiled(plain, {name: (("define", name), text) for name, text in file.define.items()})
    broken.update(f"is.{name}" for name in file.define.keys() - define.keys())
    full = Language(FIELDS, file.thresholds, file.define)
    rules = compiled(full, {rule.name: (("rules", i, "when"), rule.when) for i, rule in enumerate(file.rules)})
    narrowed = [(i, mode.name, mode.when) for i, mode in enumerate(file.fail_modes) if mode.when is not None]
    fail_modes = compiled(full, {name: (("fail_modes", i, "when"), text) for i, name, text in narrowed})
    exemptions = {name: (("exemptions", name, "when"), each.when) for name, each in file.exemptions.items()}
    shields = compiled(full, exemptions)
    every = (*rules.values(), *fail_modes.values(), *shields.values())
    used = frozenset(name for condition in every for name in condition.fields)
    return Conditions(full, rules, fail_modes, shields, define, used), tuple(wrongs)


def _alone(file: PolicyFile, fused: Fused, conditions: Conditions) -> Iterable[Wrong]:
    """Rules by which models would do alone what they may not."""
    advisory = frozenset(family for family in Family if fused.advisory(family))
    for i, rule in enumerate(file.rules):
        when, unless = conditions.rules[rule.name], [conditions.exemptions[name] for name in rule.unless]
        why = None
        if rule.action is Action.REMOVE:
            why = removes_alone(conditions.language, when, unless)
        elif rule.live and rule.action is not Action.ALLOW:
            why = hints_alone(conditions.language, when, unless, advisory)
        if why:
            yield Wrong(("rules", i, "when"), why, 0)


def _names(file: PolicyFile) -> Iterable[Wrong]:
    """Every name that is used must be there, and be there once."""
    steps = [(("rules", i), rule) for i, rule in enumerate(file.rules)]
    steps += [(("fail_modes", i), mode) for i, mode in enumerate(file.fail_modes)]  # type: ignore[misc]
    seen: set[str] = set()

    def known(path: tuple[str | int, ...], what: str, names: Iterable[str], among: Iterable[str]) -> Iterable[Wrong]:
        among = sorted(among)
        for name in names:
            if name not in among:
                yield Wrong(path, f"there is no {what} {name!r}; known are: {', '.join(among) or 'none'}")

    for path, step in steps:
        if step.name in seen:
            yield Wrong((*path, "name"), f"the name {step.name!r} is used twice among rules and fail modes")
        seen.add(step.name)
        yield from known((*path, "harm"), "harm", [step.harm], file.harms)
        yield from known((*path, "unless"), "exemption", step.unless, file.exemptions)
        if step.review:
            yield from known((*path, "review", "queue"), "queue", [step.review.queue], file.queues)
            yield from known((*path, "review", "clocks"), "clock", step.review.clocks, file.clocks)
        if isinstance(step, Rule):
            yield from _places((*path, "jurisdictions"), step.jurisdictions, file)
    for name, clock in file.clocks.items():
        yield from _places(("clocks", name, "jurisdictions"), clock.jurisdictions, file)
    for name, group in file.jurisdictions.items():
        if len(name) == 2:
            yield Wrong(("jurisdictions", name), f"{name!r} reads like a country; give groups a longer name")
        yield from _places(("jurisdictions", name, "regions"), group.regions, file)


def _places(path: tuple[str | int, ...], places: Iterable[Place], file: PolicyFile) -> Iterable[Wrong]:
    for i, place in enumerate(places):
        if len(place) > 2 and place not in file.jurisdictions:
            known = ", ".join(sorted(file.jurisdictions)) or "none"
            yield Wrong((*path, i), f"there is no jurisdiction {place!r}; known are: {known}")
        if len(place) == 2 and place not in COUNTRIES:
            hint = f"; ISO 3166 says {INSTEAD[place]!r}" if place in INSTEAD else ""
            yield Wrong((*path, i), f"there is no country {place!r}{hint}")


def _uncovered(file: PolicyFile) -> Iterable[Wrong]:
    """On every surface something must be said of what cannot be judged."""
    where = ("fail_modes",)
    for surface in Surface:
        modes = [mode for mode in file.fail_modes if mode.on is On.UNJUDGED and not mode.causes and mode.always]
        if not any(mode.covers(surface) for mode in modes):
            yield Wrong(where, f"no fail mode says what becomes of an `unjudged` upload on the surface `{surface}`")
        for family in file.fusion.requires:
            yield from _covered(file, On.MISSING, family, surface)


def _uncertain_uncovered(file: PolicyFile, fused: Fused) -> Iterable[Wrong]:
    for family in file.fusion.requires:
        if fused.abstain(family):
            for surface in Surface:
                yield from _covered(file, On.UNCERTAIN, family, surface)


def _covered(file: PolicyFile, on: On, family: Family, surface: Surface) -> Iterable[Wrong]:
    if not any(mode.on is on and mode.when is None and mode.covers(surface, family) for mode in file.fail_modes):
        why = f"no fail mode says what follows when `{family}` is `{on}` on the surface `{surface}`"
        yield Wrong(("fail_modes",), why)


def _digest(content: PolicyFile | Fused) -> str:
    return sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()[:12]


def _check_action(action: Action, review: Review | None) -> None:
    if action is Action.HOLD and review is None:
        raise ValueError("`hold` means until a person decides: it needs a review")
    if action is Action.REMOVE and review is not None:
        raise ValueError("`remove` is final: a review goes with what applies until a person decides")


def trace_mode(mode: Mode) -> RuleMode:
    """How a trace names it. A rule that is off leaves none."""
    return RuleMode.LIVE if mode is Mode.LIVE else RuleMode.SHADOW
