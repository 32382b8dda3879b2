"""How unusual measures are against those of genuine video: a range per measure, and how rare the whole is. Pure.

There are hardly any labelled forgeries for what eyes, light and small movements give away, and many genuine videos. So
nothing is trained on forgeries: a face is compared with genuine ones, and the score is the share of genuine windows
that are less unusual (a conformal measure of strangeness; Laxhammar and Falkman, 2010). It is a hint by construction:
one genuine window in twenty scores above .95.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec

from pipeline.detect.head import FOLDER
from pipeline.errors import ConfigError

_LIMIT = 6.0
"""Spreads beyond which a measure counts no more: a broken measure must not speak for all."""
_TOLD = 2.0
"""Spreads from which a measure is worth a word."""


class Range(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One measure in genuine video: median, robust spread (1.4826 × median absolute deviation), and how it is told.

    `says`: what it is, in words, with its unit; `side`: +1 where only more is unusual, −1 where only less is, 0 both.
    """

    measure: str
    median: float
    spread: float
    says: str
    side: int = 0


class Ranges(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`strangeness`: that of each genuine window, ascending. `trained`: figures for the reader."""

    name: str
    ranges: tuple[Range, ...]
    strangeness: tuple[float, ...]
    trained: dict[str, str | int | float]


@dataclass(frozen=True, slots=True)
class Normal:
    """What is usual. `digest`: changes with the file, and is part of the version of the detector that reads it."""

    file: Ranges
    digest: str

    @property
    def measures(self) -> tuple[str, ...]:
        """What is measured, in the order of the file."""
        return tuple(usual.measure for usual in self.file.ranges)

    def score(self, measures: Mapping[str, float]) -> float | None:
        """The share of genuine windows that are less unusual, 0–1; None when nothing could be measured."""
        how = strangeness(self.file.ranges, measures)
        if how is None:
            return None
        return bisect_right(self.file.strangeness, how) / (len(self.file.strangeness) + 1)

    def notes(self, measures: Mapping[str, float]) -> str:
        """What is unusual, the most unusual first, with what is usual; what was found usual otherwise."""
        away = [(departure(r, measures.get(r.measure, math.nan)), r) for r in self.file.ranges]
        odd = sorted(((z, r) for z, r in away if z >= _TOLD), key=lambda pair: -pair[0])
        if not odd:
            return "within what genuine video shows"
        return "; ".join(
            f"{r.says} {measures[r.measure]:.2g}, where genuine video has {r.median:.2g} ± {r.spread:.2g}"
            for _, r in odd[:3]
        )


def departure(usual: Range, value: float) -> float:
    """How many spreads a value lies off, on the side that counts; 0 where it could not be measured."""
    if not math.isfinite(value):
        return 0.0
    z = (value - usual.median) / usual.spread
    return min(_LIMIT, max(0.0, abs(z) if usual.side == 0 else z * usual.side))


def strangeness(ranges: tuple[Range, ...], measures: Mapping[str, float]) -> float | None:
    """The root mean square of the departures of what could be measured; None when less than half could."""
    taken = [r for r in ranges if math.isfinite(measures.get(r.measure, math.nan))]
    if 2 * len(taken) < len(ranges):
        return None
    return math.sqrt(math.fsum(departure(r, measures[r.measure]) ** 2 for r in taken) / len(taken))


@cache
def read_ranges(name: str, folder: Path = FOLDER) -> Normal:
    """The ranges in `<name>.json`. Raises ConfigError when they are missing or are none."""
    path = folder / f"{name}.json"
    try:
        data = path.read_bytes()
        return Normal(msgspec.json.decode(data, type=Ranges), hashlib.sha256(data).hexdigest()[:8])
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{path.name}: {error}") from None
