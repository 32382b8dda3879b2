"""The policy of the generated week, written out once more by hand, as plain comparisons of the numbers that were drawn.

Nothing here knows of rules, conditions, fusion or traces: what it counts is independent of the code that decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.generate_week import Drawn

STRENGTH = ("allow", "label", "limit", "hold")
REGIONS_OF_EUROPE = frozenset({"DE", "FR"})


class Outcome(NamedTuple):
    """What applies everywhere, what in which region where that differs, and the queue of the task, if any."""

    action: str
    regional: tuple[tuple[str, str], ...]
    queue: str | None


def outcome(one: Drawn, swap: float = 0.80, synthetic: float = 0.75) -> Outcome:
    """What follows from the numbers. `swap`, `synthetic`: the thresholds that tests change."""
    if one.failed:
        return Outcome("hold", (), "unreadable")
    swapped = one.swap is not None and one.swap >= swap
    made = one.synthesis is not None and one.synthesis >= synthetic
    doubtful = (one.swap or 0.0) >= 0.60 or (one.synthesis or 0.0) >= 0.60
    missing = one.swap is None or one.synthesis is None
    in_ad, vouching = one.surface == "ad", one.surface in ("ad", "profile")
    intimate = one.nudity >= 0.80 and (one.swap or 0.0) >= 0.50

    actions, queues = ["allow"], []  # queues: (hours until somebody has to start, queue)
    if one.declared:
        actions.append("label")
    if swapped and not one.consented:
        actions.append("limit")
        queues.append((4 - 0.1, "faces"))
    if swapped and in_ad:
        actions.append("hold")
        queues.append((2 - 0.1, "faces"))
    if intimate:
        actions.append("hold")
        queues.append((1 - 1 / 12, "intimate"))
    if made and not one.declared:
        queues.append((24 - 0.05, "synthetic"))
    if made and vouching:
        actions.append("limit")
        queues.append((8 - 0.05, "synthetic"))
    if missing:
        actions.append("limit")
        queues.append((24 - 1 / 15, "triage"))
    if doubtful and not one.consented:
        queues.append((48 - 1 / 15, "triage"))

    everywhere = max(actions, key=STRENGTH.index)
    there = max((everywhere, "label"), key=STRENGTH.index) if made else everywhere
    queue = min(queues)[1] if queues else None
    if there == everywhere:
        return Outcome(everywhere, (), queue)
    if one.regions and set(one.regions) <= REGIONS_OF_EUROPE:
        return Outcome(there, (), queue)
    shown = sorted(REGIONS_OF_EUROPE & set(one.regions)) if one.regions else sorted(REGIONS_OF_EUROPE)
    return Outcome(everywhere, tuple((region, there) for region in shown), queue)


@dataclass
class Flips:
    """The same counts as a backtest's, by hand."""

    total: int = 0
    stricter: int = 0
    milder: int = 0
    review: int = 0
    actions: Counter[tuple[str, str]] = field(default_factory=Counter)
    queues: Counter[tuple[str | None, str | None]] = field(default_factory=Counter)
    surfaces: Counter[str] = field(default_factory=Counter)


def latest(drawn: Iterable[Drawn]) -> list[Drawn]:
    """Each upload in its last round."""
    return list({one.media_id: one for one in drawn}.values())


def flips(pairs: Iterable[tuple[Drawn, Outcome, Outcome]]) -> Flips:
    """Count what differs between two outcomes of each upload."""
    found = Flips()
    for one, before, after in pairs:
        found.actions[before.action, after.action] += 1
        found.queues[before.queue, after.queue] += 1
        places = {"": (before.action, after.action)}
        for region in {region for region, _ in (*before.regional, *after.regional)}:
            places[region] = (
                dict(before.regional).get(region, before.action),
                dict(after.regional).get(region, after.action),
            )
        steps = [STRENGTH.index(b) - STRENGTH.index(a) for a, b in places.values()]
        most = max(steps, key=lambda step: (abs(step), step))
        if not most and before.queue == after.queue:
            continue
        found.total += 1
        found.surfaces[one.surface.value] += 1
        found.stricter += most > 0
        found.milder += most < 0
        found.review += not most
    return found
