"""What a panel is: plain data, from which make.py makes Grafana's JSON and render.py a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["lines", "stacked", "number", "bars", "heatmap"]


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL, and what each series is called. `legend` may hold labels: `{{agent}}`."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture.

    `why`: what to look for; it is the panel's description. `unit`: Grafana's name of it. `limit`: a line, or the value
    at which a number turns red. `width`: of 24 columns. `empty`: why there may be nothing to see while all is well; a
    panel that does not say so must never be empty. `traced`: whether its histogram names a trace per bucket.
    """

    title: str
    why: str
    queries: tuple[Query, ...]
    unit: str = "short"
    kind: Kind = "lines"
    limit: float | None = None
    below: bool = False
    width: int = 8
    empty: str = ""
    traced: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard. `uid` is part of links and never changes. `families`: whether it lets one choose a family."""

    uid: str
    title: str
    about: str
    rows: tuple[Row, ...]
    families: bool = False

    @property
    def panels(self) -> tuple[Panel, ...]:
        """Of all rows, in order."""
        return tuple(panel for row in self.rows for panel in row.panels)
