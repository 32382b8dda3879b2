"""When uploads are offered: at a rate, or at one that rises or falls from the first second to the last. Pure.

The load is open: an upload is due when it is due, whatever became of those before it, as on a platform whose users do
not wait for each other. Latency is counted from that moment, so a producer that falls behind cannot hide it.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from pipeline.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Ramp:
    """Uploads a second, from `start` to `end` in a straight line over `seconds`. The same at both ends: a rate."""

    start: float
    end: float
    seconds: float

    def __post_init__(self) -> None:
        if min(self.start, self.end) < 0 or self.start + self.end <= 0 or self.seconds <= 0:
            raise ConfigError("rates must not be negative, one must be above 0, and the time must be above 0")

    @property
    def uploads(self) -> float:
        """How many are expected."""
        return (self.start + self.end) / 2 * self.seconds


def even(ramp: Ramp) -> tuple[float, ...]:
    """Seconds from the beginning at which each upload is due, as evenly as the rate allows."""
    return tuple(_at(ramp, n + 0.5) for n in range(math.floor(ramp.uploads + 1e-9)))


def by_chance(ramp: Ramp, seed: int) -> tuple[float, ...]:
    """A Poisson process of that rate: uploads of people who know nothing of each other. Bursts are part of it."""
    rng = random.Random(seed)  # noqa: S311 (arrivals, no secret)
    found: list[float] = []
    expected = rng.expovariate(1.0)
    while expected < ramp.uploads:
        found.append(_at(ramp, expected))
        expected += rng.expovariate(1.0)
    return tuple(found)


def _at(ramp: Ramp, expected: float) -> float:
    """When so many uploads are expected to have come: the inverse of start · t + (end − start) · t² / (2 · seconds)."""
    slope = (ramp.end - ramp.start) / ramp.seconds
    if abs(slope) < 1e-12:
        return expected / ramp.start
    root = max(0.0, ramp.start * ramp.start + 2 * slope * expected)
    return 2 * expected / (ramp.start + math.sqrt(root))
