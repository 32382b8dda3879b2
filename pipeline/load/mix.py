"""What kinds of uploads are offered, and in which order. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pipeline.errors import ConfigError


class Kind(StrEnum):
    """Uploads that cost a different amount, or take another way through the flow."""

    IMAGE = "image"
    SHORT_VIDEO = "short-video"
    LONG_VIDEO = "long-video"
    AUDIO = "audio"
    REUPLOAD = "reupload"
    BROKEN = "broken"


DEFAULT = "image=78,short-video=5,long-video=1,audio=4,reupload=10,broken=2"
"""An assumption about a platform with mostly pictures, not a measurement of one: give your own."""


@dataclass(frozen=True, slots=True)
class Mix:
    """How much of each kind; positive weights, which need not sum to anything."""

    weights: Mapping[Kind, float]

    @property
    def shares(self) -> dict[Kind, float]:
        """The weights as shares of one."""
        total = sum(self.weights.values())
        return {kind: weight / total for kind, weight in self.weights.items()}


@dataclass(frozen=True, slots=True)
class Planned:
    """One upload to come. `number`: which file of its kind. `again`: the position of the upload that it repeats."""

    kind: Kind
    number: int
    again: int | None = None


def parse(text: str) -> Mix:
    """`image=80,audio=20` as a mix. Raises ConfigError with what is wrong."""
    weights: dict[Kind, float] = {}
    for part in text.split(","):
        name, equals, amount = part.strip().partition("=")
        if name not in Kind.__members__.values():
            raise ConfigError(f"mix: no kind {name!r}; there are {', '.join(Kind)}")
        try:
            weight = float(amount) if equals else 1.0
        except ValueError:
            raise ConfigError(f"mix: {amount!r} is no number") from None
        if not 0 <= weight < float("inf"):
            raise ConfigError(f"mix: {name}={amount} is no share")
        if Kind(name) in weights:
            raise ConfigError(f"mix: {name} is there twice")
        weights[Kind(name)] = weight
    wanted = {kind: weight for kind, weight in weights.items() if weight > 0}
    if not wanted:
        raise ConfigError("mix: nothing is offered")
    if Kind.REUPLOAD in wanted and not wanted.keys() - {Kind.REUPLOAD, Kind.BROKEN}:
        raise ConfigError("mix: re-uploads, and nothing readable that they could repeat")
    return Mix(wanted)


def planned(mix: Mix, count: int, seed: int) -> tuple[Planned, ...]:
    """The same for the same seed. Shares are kept as closely as whole numbers can, in a mixed order; a re-upload
    repeats any earlier readable upload; where so few are planned that there is none, it is one."""
    rng = random.Random(seed)  # noqa: S311 (an order, no secret)
    kinds = list(_in_shares(mix, count))
    rng.shuffle(kinds)
    _let_one_be_first(kinds)
    readable = [kind for kind in mix.weights if kind not in (Kind.REUPLOAD, Kind.BROKEN)]
    stand_in = readable[0] if readable else Kind.BROKEN
    numbers = dict.fromkeys(Kind, 0)
    found: list[Planned] = []
    repeatable: list[int] = []
    for position, drawn in enumerate(kinds):
        kind = drawn
        if kind is Kind.REUPLOAD:
            if repeatable:
                found.append(Planned(kind, found[first := rng.choice(repeatable)].number, first))
                continue
            kind = stand_in
        found.append(Planned(kind, numbers[kind]))
        numbers[kind] += 1
        if kind is not Kind.BROKEN:
            repeatable.append(position)
    return tuple(found)


def _let_one_be_first(kinds: list[Kind]) -> None:
    """Something to repeat before the first re-upload: the two change places."""
    first = next((n for n, kind in enumerate(kinds) if kind is Kind.REUPLOAD), None)
    other = next((n for n, kind in enumerate(kinds) if kind not in (Kind.REUPLOAD, Kind.BROKEN)), None)
    if first is not None and other is not None and first < other:
        kinds[first], kinds[other] = kinds[other], kinds[first]


def _in_shares(mix: Mix, count: int) -> Iterator[Kind]:
    """Largest remainders, so that a run of a hundred has its one long video."""
    exact = {kind: share * count for kind, share in mix.shares.items()}
    whole = {kind: int(amount) for kind, amount in exact.items()}
    by_rest = sorted(exact, key=lambda kind: whole[kind] - exact[kind])
    for kind in by_rest[: count - sum(whole.values())]:
        whole[kind] += 1
    for kind, times in whole.items():
        yield from [kind] * times
