"""What models may not do alone: remove, or restrict because of a family that was measured near chance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pipeline.events.values import Family
from pipeline.policy.condition import Condition, Language
from pipeline.policy.fields import FIELDS, Value
from pipeline.policy.reach import TooMany, World, nobody_vouches, not_judged, space

_TOO_MANY = "it speaks of too much at once; make several rules of it"


def removes_alone(language: Language, when: Condition, unless: Sequence[Condition]) -> str | None:
    """Why a rule that removes would do so although nobody but models and circumstances speaks for it."""
    try:
        found = next(_acting(language, when, unless, nobody_vouches()), None)
    except TooMany:
        return f"models alone never remove, and whether this rule lets them was not to be found out: {_TOO_MANY}"
    if found is None:
        return None
    return (
        "models alone never remove: a person, a record or a bank of known content has to vouch for it, and this holds "
        f"without ({found.told() or 'whatever is known'})"
    )


def hints_alone(
    language: Language, when: Condition, unless: Sequence[Condition], advisory: frozenset[Family]
) -> str | None:
    """Why a rule that restricts would do so on hints: families that are `advisory`."""
    hints = sorted(family for family in advisory if any(name.startswith(f"{family}.") for name in when.fields))
    if not hints:
        return None
    others = not_judged(family for family in Family if family not in advisory)
    silent = not_judged(Family)
    try:
        for found in _acting(language, when, unless, {**nobody_vouches(), **others}):
            there: dict[str, tuple[Value, ...]] = {name: (value,) for name, value in found.example.items()}
            if not any(_acting(language, when, unless, {**there, **nobody_vouches(), **silent})):
                return (
                    f"it rests on {', '.join(hints)} alone ({found.told()}), which the calibration marks as advisory: "
                    "measured too near chance to restrict anything; `allow` with a review may rest on it"
                )
    except TooMany:
        return f"whether it rests on {', '.join(hints)} alone was not to be found out: {_TOO_MANY}"
    return None


def _acting(
    language: Language, when: Condition, unless: Sequence[Condition], only: Mapping[str, tuple[Value, ...]]
) -> Iterator[World]:
    """The kinds of uploads on which a rule acts."""
    for world in space(language, [when, *unless], only):
        if acts(world, when, unless):
            yield world


def acts(world: World, when: Condition, unless: Iterable[Condition]) -> bool:
    """Whether a rule acts on this kind of upload."""
    return world.holds(when) and not any(world.holds(shield) for shield in unless)


def signals(when: Condition) -> tuple[Family, ...]:
    """The families on which a condition rests."""
    named = (name.partition(".")[0] for name in when.fields if FIELDS[name].evidence == "signal")
    return tuple(Family(name) for name in dict.fromkeys(named))
