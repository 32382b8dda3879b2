"""Which alerts fire while things break: a real Prometheus with the rules that are shipped.

Time. Most rules look at minutes to days and have to hold for minutes, so a run of ten minutes sees few alerts. There
are two honest ways to play them, and `Watch` has both:

- As they are (`by=1`), for random chaos: what fires then would have woken somebody. Only a fault that outlasts an
  alert's window and `for` can be expected to set it off.
- Faster (`by=20`), for one lasting fault after another (drill.py): every window, `offset`, `for` and interval is
  divided. What is compared stays: shares, counts, and what the parts themselves tell in seconds (a lag of 300 s is
  300 s). A count has to come about within a window that is `by` times shorter, so the faults are as much denser; and a
  short disturbance weighs `by` times more, so silence proves more than at full length.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from dashboards.make import RULES
from tests.prometheus import Prometheus, Rules

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = r"\d+(?:ms|[smhdw])"
_SPAN = re.compile(rf"(?<=\[)({_DURATION})(?=\])|(?<=offset )({_DURATION})\b")
_EVERY = 30.0
"""Seconds between two evaluations of alerts, as they are shipped."""
_GAP = 3.0
"""Evaluations without a sample after which an alert counts as over,"""
_BUSY = 8.0
"""and seconds that there have to be at least: on a busy machine Prometheus is late."""


def seconds(duration: str) -> float:
    """`15m` → 900."""
    number, unit = re.fullmatch(r"(\d+)(ms|[smhdw])", duration).groups()  # type: ignore[union-attr]
    return int(number) * _UNITS[unit]


def spans(expr: str) -> tuple[float, ...]:
    """The windows and offsets of an expression, in seconds."""
    return tuple(seconds(match[0]) for match in _SPAN.finditer(expr))


def faster(rules: Rules, by: float) -> Rules:
    """The same rules for a world that turns `by` times faster: windows, offsets, `for` and intervals are divided, to
    the millisecond. Names, labels and what is compared stay."""

    def less(duration: str) -> str:
        return f"{round(1000 * seconds(duration) / by)}ms"

    def played(rule: dict[str, object]) -> dict[str, object]:
        hurried = {**rule, "expr": _SPAN.sub(lambda match: less(match[0]), str(rule["expr"]))}
        return {**hurried, "for": less(str(rule["for"]))} if "for" in rule else hurried

    return {
        "groups": [
            {**group, "interval": less(group["interval"]), "rules": [played(rule) for rule in group["rules"]]}
            for group in rules["groups"]
        ]
    }


@dataclass(frozen=True, slots=True)
class Firing:
    """An alert fired. `labels`: those besides its name. `since`, `until`: Unix time; `until` None: it fires still."""

    alert: str
    labels: Mapping[str, str]
    since: float
    until: float | None


class Watch:
    """Prometheus over a run. Context manager; waits until all that is to be scraped at the beginning answers.

    Args:
        folder: for its data and its log; it must not exist.
        targets: job → host:port of each; the jobs stay, `targets()` changes the addresses.
        by: how many times faster the rules are played.
        scrape: seconds between two looks at a target.
    """

    def __init__(
        self, folder: Path, targets: Mapping[str, list[str]], by: float = 1.0, scrape: float | None = None
    ) -> None:
        self.by = by
        scrape = scrape or (2.0 if by > 1 else 5.0)
        self.prometheus = Prometheus(folder, targets, RULES, partial(faster, by=by), scrape)
        self._began = 0.0

    def __enter__(self) -> Self:
        self._began = time.time()
        self.prometheus.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.prometheus.__exit__(kind, error, at)

    def targets(self, targets: Mapping[str, list[str]]) -> None:
        """Scrape these from now on."""
        self.prometheus.targets(targets)

    def fired(self) -> tuple[Firing, ...]:
        """Everything that has fired so far, by when it began. To be asked while Prometheus runs."""
        now = time.time()
        found = self.prometheus.samples('ALERTS{alertstate="firing"}', now - self._began)
        longest = max(_GAP * _EVERY / self.by, _BUSY)
        firings = [each for series in found for each in firings_of(series.labels, series.points, longest, now)]
        return tuple(sorted(firings, key=lambda firing: (firing.since, firing.alert)))

    def quiet(self) -> bool:
        """No alert is pending or firing."""
        return not self.prometheus.firing()


def firings_of(
    labels: Mapping[str, str], points: tuple[tuple[float, float], ...], gap: float, now: float
) -> tuple[Firing, ...]:
    """One series of ALERTS as firings: samples more than `gap` seconds apart belong to two."""
    alert = labels["alertname"]
    rest = {name: value for name, value in labels.items() if name not in ("__name__", "alertname", "alertstate")}
    stretches: list[list[float]] = []
    for at, _ in points:
        if stretches and at - stretches[-1][-1] <= gap:
            stretches[-1].append(at)
        else:
            stretches.append([at])
    return tuple(Firing(alert, rest, each[0], each[-1] if now - each[-1] > gap else None) for each in stretches)
