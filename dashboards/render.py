"""A dashboard as a picture, from a running Prometheus: `python -m dashboards.render http://127.0.0.1:9090 FOLDER`.

For a look at the numbers where no Grafana is at hand. The layout is the board's own.
"""

from __future__ import annotations

import io
import json
import math
import re
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import matplotlib as mpl
import numpy as np
from PIL import Image

from dashboards.boards import BOARDS
from dashboards.make import plain
from dashboards.panels import Board, Panel

mpl.use("Agg")
from matplotlib import pyplot as plt

_INK, _GRID, _BACK = "#24292f", "#d8dee4", "#ffffff"
_LONG = 34
_MOST_LINES, _MOST_BARS = 6, 10
_NUMBERS_HIGH = 0.45
"""How high a row of numbers is beside one of lines."""
_OVER_TIME = ("lines", "stacked", "heatmap")


class Line(Protocol):
    """A series as Prometheus gives it."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels."""

    @property
    def points(self) -> Sequence[tuple[float, float]]:
        """(time, value)."""


Ask = Callable[[str], Sequence[Line]]


@dataclass(frozen=True, slots=True)
class _Named:
    name: str
    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]

    @property
    def known(self) -> list[float]:
        """The values without the gaps, the last one last."""
        return [value for _, value in self.points if math.isfinite(value)]


def draw(board: Board, ask: Ask, path: Path) -> None:
    """Write the picture of one dashboard. `ask`: a query's series over the span that is shown."""
    rows = _laid_out(board)
    heights = [_NUMBERS_HIGH if all(panel.kind == "number" for panel in panels) else 1.0 for panels in rows]
    figure = plt.figure(figsize=(15, 0.6 + 2.0 * sum(heights)), facecolor=_BACK)
    grid = figure.add_gridspec(
        len(rows), 24, hspace=0.6, wspace=6.0, left=0.045, right=0.985, bottom=0.02, height_ratios=heights
    )
    found = [[_named(panel, ask) for panel in panels] for panels in rows]
    moments = [at for of_row in found for of_panel in of_row for each in of_panel for at, _ in each.points]
    figure.subplots_adjust(top=1 - 0.75 / figure.get_figheight())
    figure.suptitle(board.title, x=0.045, ha="left", fontsize=15, color=_INK, y=1 - 0.1 / figure.get_figheight())
    for y, panels in enumerate(rows):
        x = 0
        for panel, series in zip(panels, found[y], strict=True):
            axes = figure.add_subplot(grid[y, x : x + panel.width])
            x += panel.width
            axes.set_title(panel.title, fontsize=9, loc="left", color=_INK)
            axes.tick_params(labelsize=6, colors=_INK, length=2)
            for side in axes.spines.values():
                side.set_color(_GRID)
            _panel(axes, panel, series)
            if series and panel.kind in _OVER_TIME:
                axes.set_xlim(min(moments), max(moments))
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=80)
    plt.close(figure)
    with Image.open(drawn) as picture:
        picture.convert("RGB").quantize(128).save(path, optimize=True)


def _laid_out(board: Board) -> list[list[Panel]]:
    rows: list[list[Panel]] = []
    for row in board.rows:
        line: list[Panel] = []
        for panel in row.panels:
            if sum(each.width for each in line) + panel.width > 24:
                rows.append(line)
                line = []
            line.append(panel)
        rows.append(line)
    return rows


def _named(panel: Panel, ask: Ask) -> list[_Named]:
    found = []
    for query in panel.queries:
        for series in ask(query.expr):
            labels = series.labels
            name = re.sub(r"\{\{(\w+)\}\}", lambda match, of=labels: of.get(match[1], ""), query.legend)
            # Where there is no number the line has a gap.
            points = tuple((at, value if math.isfinite(value) else math.nan) for at, value in series.points)
            if any(math.isfinite(value) for _, value in points):
                found.append(_Named(name, labels, points))
    return found


def _panel(axes: Any, panel: Panel, series: list[_Named]) -> None:
    if not series:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.text(0.5, 0.5, panel.empty or "nothing", ha="center", va="center", fontsize=7, color="#8c959f", wrap=True)
        return
    {"lines": _lines, "stacked": _stacked, "number": _numbers, "bars": _bars, "heatmap": _heat}[panel.kind](
        axes, panel, series
    )


def _minutes(axes: Any) -> None:
    axes.grid(color=_GRID, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_formatter(lambda at, _: time.strftime("%H:%M:%S", time.gmtime(at)))
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(4))


def _value(number: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{100 * number:.3g} %"
    if unit == "bytes":
        return f"{number / 2**30:.1f} GB" if number >= 2**30 else f"{number / 2**20:.0f} MB"
    if unit == "s":
        for name, seconds in (("d", 86400), ("h", 3600), ("min", 60)):
            if abs(number) >= 2 * seconds:
                return f"{number / seconds:.3g} {name}"
        return f"{number:.3g} s"
    return f"{number:.3g}" if abs(number) < 1000 else f"{number:,.0f}"


def _axis(axes: Any, panel: Panel) -> None:
    axes.yaxis.set_major_formatter(lambda number, _: _value(number, panel.unit))
    axes.yaxis.set_major_locator(mpl.ticker.MaxNLocator(4))


def _lines(axes: Any, panel: Panel, series: list[_Named]) -> None:
    _minutes(axes)
    # Those that say most come first: many models and queues share a panel.
    ranked = sorted(series, key=lambda each: -max(map(abs, each.known)))
    for number, each in enumerate(ranked):
        label = each.name[:_LONG] if number < _MOST_LINES else None
        axes.plot(*zip(*each.points, strict=True), linewidth=1.2, label=label)
    highest = max(max(each.known) for each in series)
    if panel.limit is not None and panel.limit <= 2 * highest:  # a limit far away would press the lines flat
        axes.axhline(panel.limit, color="#cf222e", linewidth=0.9, linestyle="--")
    if min(min(each.known) for each in series) >= 0:
        axes.set_ylim(0, None if highest > 0 else 1)
    _axis(axes, panel)
    axes.legend(fontsize=5.5, loc="best", frameon=False)


def _stacked(axes: Any, panel: Panel, series: list[_Named]) -> None:
    _minutes(axes)
    moments = sorted({at for each in series for at, _ in each.points})
    values = np.nan_to_num([[dict(each.points).get(at, 0.0) for at in moments] for each in series])
    axes.stackplot(moments, values, labels=[each.name[:_LONG] for each in series], alpha=0.75)
    _axis(axes, panel)
    axes.legend(fontsize=5.5, loc="upper left", frameon=False)


def _numbers(axes: Any, panel: Panel, series: list[_Named]) -> None:
    axes.axis("off")
    for number, each in enumerate(series[:4]):
        last = each.known[-1]
        bad = panel.limit is not None and (last < panel.limit if panel.below else last >= panel.limit)
        y = 1 - (number + 0.6) / max(1, min(4, len(series)))
        axes.text(0.0, y, _value(last, panel.unit), fontsize=15 if len(series) < 3 else 11, va="center",
                  color="#cf222e" if bad else "#1a7f37")  # fmt: skip
        axes.text(1.0, y, each.name[:_LONG], fontsize=7, va="center", ha="right", color=_INK)


def _bars(axes: Any, panel: Panel, series: list[_Named]) -> None:
    ranked = sorted(series, key=lambda each: -each.known[-1])[:_MOST_BARS]
    names, values = [each.name[:_LONG] for each in ranked], [each.known[-1] for each in ranked]
    axes.barh(range(len(values)), values, color="#54aeff")
    axes.set_xlim(0, 1.05 * max(values) or 1)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.invert_yaxis()
    for y, (name, value) in enumerate(zip(names, values, strict=True)):
        axes.text(0, y, f" {name}: {_value(value, panel.unit)}", va="center", fontsize=6, color=_INK)


def _heat(axes: Any, _: Panel, series: list[_Named]) -> None:
    """Cumulative buckets, taken apart."""
    ordered = sorted(series, key=lambda each: float(each.labels["le"].replace("+Inf", "inf")))
    moments = sorted({at for each in ordered for at, _ in each.points})
    upto = np.nan_to_num([[dict(each.points).get(at, 0.0) for at in moments] for each in ordered])
    counts = np.diff(upto, axis=0, prepend=0.0).clip(min=0)
    axes.pcolormesh(moments, range(len(ordered)), counts, cmap="Blues", shading="nearest")
    _minutes(axes)
    step = max(1, len(ordered) // 6)
    axes.set_yticks(range(0, len(ordered), step))
    axes.set_yticklabels([f"≤ {each.labels['le']}" for each in ordered[::step]])


@dataclass(frozen=True, slots=True)
class _Series:
    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


def _asker(url: str, hours: float) -> Ask:
    if not url.startswith(("http://", "https://")):
        raise SystemExit(f"not the URL of a Prometheus: {url}")

    def ask(expr: str) -> list[_Series]:
        end = time.time()
        asked = {"query": plain(expr), "start": end - hours * 3600, "end": end, "step": max(15, hours * 3600 / 300)}
        query = f"{url}/api/v1/query_range?{urllib.parse.urlencode(asked)}"
        with urllib.request.urlopen(query, timeout=30) as answer:  # noqa: S310 - the scheme is looked at above
            found = json.load(answer)["data"]["result"]
        return [_Series(each["metric"], tuple((at, float(value)) for at, value in each["values"])) for each in found]

    return ask


def main() -> None:
    """URL of Prometheus, folder, and how many hours to show (1)."""
    url, folder, *hours = sys.argv[1:]
    for board in BOARDS:
        path = Path(folder) / f"{board.uid.removeprefix('unmask-')}.png"
        draw(board, _asker(url.rstrip("/"), float(hours[0]) if hours else 1.0), path)


if __name__ == "__main__":
    main()
