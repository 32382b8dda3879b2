"""A policy, typed. What a policy may not say is refused here, so a `Policy` that exists is sound.

The strongest claim that models may make alone is that a person should look: no rule on signals removes anything, and
what could not be judged is never simply allowed.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Annotated

import msgspec
from msgspec import Meta

from pipeline.calibration import NONE, Calibration, Section
from pipeline.errors import Reason
from pipeline.events.values import Action, Family, Priority, Region, RuleMode, Surface
from pipeline.fuse import Fused, Fusion

Name = Annotated[str, Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$(?!\n)", min_length=1, max_length=40)]
"""A rule's, queue's or policy's name: it becomes part of topics and metric labels."""

Threshold = Annotated[float, Meta(gt=0, le=1, description="fires at this probability and above")]
Sentence = Annotated[str, Meta(min_length=1, max_length=200, description="plain words, without a full stop")]
Duration = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,2}[mhd]$(?!\n)", description="30m, 4h or 2d")]

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


class Review(Section, frozen=True):
    """Who should look, how urgently and by when (counted from the decision)."""

    queue: Name
    priority: Priority
    deadline: Duration

    @property
    def within(self) -> timedelta:
        """The deadline as a length of time."""
        return timedelta(**{_UNITS[self.deadline[-1]]: int(self.deadline[:-1])})


class Rule(Section, frozen=True):
    """What follows when all conditions hold.

    `when`: families and the probability at or above which each fires; all must. `surfaces`, `regions`: where the rule
    applies, everywhere when empty; an upload that names no region is shown everywhere, so every region's rules apply.
    `label`: the text for viewers when the action is `label`. `reason` starts the sentence that the platform is given.
    """

    name: Name
    harm: Name
    reason: Sentence
    action: Action
    when: dict[Family, Threshold] = {}
    declared_synthetic: bool | None = None
    surfaces: tuple[Surface, ...] = ()
    regions: tuple[Region, ...] = ()
    review: Review | None = None
    label: Sentence | None = None
    mode: RuleMode = RuleMode.LIVE

    def __post_init__(self) -> None:
        if not self.when and self.declared_synthetic is None:
            raise ValueError("a rule needs a condition: `when` or `declared_synthetic`")
        if self.action is Action.REMOVE and self.when:
            raise ValueError("models alone never remove: use `hold` with a review")
        if self.action is Action.ALLOW and self.review is None:
            raise ValueError("`allow` without a review does nothing")
        _check_action(self.action, self.review)
        if (self.action is Action.LABEL) != (self.label is not None):
            raise ValueError("`label` (the text for viewers) goes with the action `label`, and the action with it")


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
    """

    name: Name
    harm: Name
    reason: Sentence
    on: On
    action: Action
    families: tuple[Family, ...] = ()
    causes: tuple[Reason, ...] = ()
    surfaces: tuple[Surface, ...] = ()
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

    def covers(self, surface: Surface, family: Family | None = None) -> bool:
        """Whether it applies on this surface, to this family."""
        return (not self.surfaces or surface in self.surfaces) and (not self.families or family in self.families)


class PolicyFile(Section, frozen=True):
    """All that a policy file says. `queues`: name and what for."""

    name: Name
    queues: Annotated[dict[Name, Sentence], Meta(min_length=1)]
    fusion: Fusion
    rules: Annotated[tuple[Rule, ...], Meta(min_length=1)]
    fail_modes: Annotated[tuple[FailMode, ...], Meta(min_length=1)]

    def __post_init__(self) -> None:
        steps: tuple[Rule | FailMode, ...] = (*self.rules, *self.fail_modes)
        if twice := _repeated(step.name for step in steps):
            raise ValueError(f"the name {twice!r} is used twice among rules and fail modes")
        for step in steps:
            if step.review and step.review.queue not in self.queues:
                known = ", ".join(sorted(self.queues))
                raise ValueError(f"{step.name!r} sends to the queue {step.review.queue!r}; known are: {known}")
        for surface in Surface:
            if not any(mode.on is On.UNJUDGED and not mode.causes and mode.covers(surface) for mode in self.fail_modes):
                raise ValueError(f"no fail mode says what becomes of an `unjudged` upload on the surface `{surface}`")
            for family in self.fusion.requires:
                self._check_covered(On.MISSING, family, surface)

    def _check_covered(self, on: On, family: Family, surface: Surface) -> None:
        if not any(mode.on is on and mode.covers(surface, family) for mode in self.fail_modes):
            raise ValueError(f"no fail mode says what follows when `{family}` is `{on}` on the surface `{surface}`")


class Policy(PolicyFile, frozen=True):
    """A policy with its version, `name@digest`: the same words give the same version, comments and layout aside.

    `fused`: its fusion with the calibration in use. `fusion_version` changes only with what turns scores into signals:
    signals of another one must be made anew.
    """

    version: str
    fusion_version: str
    fused: Fused

    def __post_init__(self) -> None:
        super().__post_init__()
        for family in self.fusion.requires:
            if self.fused.abstain(family):
                for surface in Surface:
                    self._check_covered(On.UNCERTAIN, family, surface)
        for rule in self.rules:
            hints = [family for family in rule.when if self.fused.advisory(family)]
            acts = rule.mode is RuleMode.LIVE and rule.action is not Action.ALLOW
            if acts and hints and len(hints) == len(rule.when):
                raise ValueError(
                    f"{rule.name!r} rests on {', '.join(hints)} alone, which the calibration calls advisory: "
                    "`allow` with a review is all that may follow"
                )


def versioned(file: PolicyFile, calibration: Calibration = NONE) -> Policy:
    """The policy that a file describes, with this calibration. Raises ValueError when they do not go together."""
    fused = Fused(fusion=file.fusion, calibration=calibration)
    return Policy(
        name=file.name,
        queues=file.queues,
        fusion=file.fusion,
        rules=file.rules,
        fail_modes=file.fail_modes,
        version=f"{file.name}@{_digest(file)}",
        fusion_version=f"fusion@{_digest(fused)}",
        fused=fused,
    )


def _digest(content: PolicyFile | Fused) -> str:
    return sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()[:12]


def _check_action(action: Action, review: Review | None) -> None:
    if action is Action.HOLD and review is None:
        raise ValueError("`hold` means until a person decides: it needs a review")
    if action is Action.REMOVE and review is not None:
        raise ValueError("`remove` is final: a review goes with what applies until a person decides")


def _repeated(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
