"""Where a policy uses its named thresholds, and how. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pipeline.events.values import Action, Family
from pipeline.policy.condition import Token, tokens
from pipeline.policy.rules import FailMode, Policy, Rule


@dataclass(frozen=True, slots=True)
class Use:
    """A threshold that rules compare one family's probability with: from it upwards they fire.

    `rules`: the live ones, and fail modes. `otherwise`: why it cannot be moved by what is known of scores; empty when
    it can.
    """

    name: str
    value: float
    family: Family | None
    rules: tuple[Rule | FailMode, ...] = field(default=())
    otherwise: str = ""

    @property
    def priority(self) -> int:
        """The highest of the reviews that its rules ask for; 101 where one restricts without asking."""
        asked = [rule.review.priority if rule.review else 101 for rule in self.rules]
        return max(asked, default=0)

    @property
    def restricts(self) -> bool:
        """Whether a rule does something before a person has looked."""
        return any(rule.action is not Action.ALLOW for rule in self.rules)


def uses(policy: Policy) -> tuple[Use, ...]:
    """How each named threshold is used, in the order of the file."""
    found = []
    for name, value in policy.file.thresholds.items():
        families: set[Family] = set()
        rules: list[Rule | FailMode] = []
        odd: list[str] = []
        steps: tuple[Rule | FailMode, ...] = (*policy.rules, *policy.fail_modes)
        for rule in steps:
            here = list(_compared(rule.when or "", name, policy.file.define))
            families.update(family for family in here if family is not None)
            odd += [rule.name] if None in here else []
            rules += [rule] if here and (isinstance(rule, FailMode) or rule.live) else []
        for exemption, each in policy.file.exemptions.items():  # there more of a score would do less
            odd += [f"exemption {exemption}"] if list(_compared(each.when, name, policy.file.define)) else []
        found.append(Use(name, value, *_sole(families, rules, odd)))
    return tuple(found)


def _sole(
    families: set[Family], rules: list[Rule | FailMode], odd: list[str]
) -> tuple[Family | None, tuple[Rule | FailMode, ...], str]:
    if odd:
        return None, tuple(rules), f"it is not only a lower limit of one probability: {', '.join(odd)}"
    if len(families) > 1:
        return None, tuple(rules), f"several families are compared with it: {', '.join(sorted(families))}"
    if not rules:
        return None, (), "no live rule uses it"
    return next(iter(families)), tuple(rules), ""


def _compared(text: str, name: str, define: Mapping[str, str]) -> Iterator[Family | None]:
    """The family that is compared with the threshold, for each time; None where it is used in another way."""
    found = [token for token in tokens(text) if token.text not in "()"]
    for i, token in enumerate(found):
        if token.kind != "name":
            continue
        if token.text == f"threshold.{name}":
            yield _family(found, i)
        elif token.text.startswith("is.") and (defined := define.get(token.text[3:])) is not None:
            yield from _compared(defined, name, define)


def _family(found: list[Token], i: int) -> Family | None:
    if i < 2 or found[i - 1].text not in (">=", ">"):
        return None
    family, _, what = found[i - 2].text.partition(".")
    if what != "probability" or family not in {each.value for each in Family}:
        return None
    return Family(family)
