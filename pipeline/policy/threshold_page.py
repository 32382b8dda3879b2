"""Proposals for thresholds as a diff to the policy file, as tables, and as a plot that loads nothing."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from html import escape

from rich.box import SIMPLE
from rich.table import Table

from pipeline.errors import ConfigError
from pipeline.policy.binomial import Interval
from pipeline.policy.file import Sourced
from pipeline.policy.thresholds import Point, Proposal, Proposals

_NUMBER = re.compile(r"[0-9.eE+-]+")


def changed(source: Sourced, values: dict[str, float]) -> str:
    """The policy file with these thresholds; every other character stays.

    Raises:
        ConfigError: a threshold is not written as a number of its own.
    """
    lines = source.text.splitlines(keepends=True)
    for name, value in values.items():
        place = source.places.of(("thresholds", name), 0)
        line = lines[place.line - 1] if place else ""
        found = _NUMBER.match(line, place.column - 1) if place else None
        if place is None or found is None:
            raise ConfigError(f"policy {source.origin}: thresholds.{name} is not written as a number")
        lines[place.line - 1] = f"{line[: found.start()]}{_number(value)}{line[found.end() :]}"
    return "".join(lines)


def diff(source: Sourced, values: dict[str, float]) -> str:
    """What to change in the file, for a person to apply (`patch -p0`)."""
    new = changed(source, values)
    pieces = difflib.unified_diff(
        source.text.splitlines(keepends=True), new.splitlines(keepends=True), source.origin, source.origin
    )
    return "".join(piece if piece.endswith("\n") else f"{piece}\n\\ No newline at end of file\n" for piece in pieces)


def _number(value: float) -> str:
    """Two decimals at least, as people write them."""
    return f"{value:.2f}" if round(value, 2) == value else f"{value:g}"


# --- tables ----------------------------------------------------------------------------------------------------------


def tables(found: Proposals) -> Iterator[Table]:
    """Thresholds, and hours of the queues."""
    table = Table(
        "threshold", "now", "next", "precision", "next", "of known ones", "next",
        title=f"{found.policy_version}: thresholds", box=SIMPLE, padding=(0, 1, 0, 0),
    )  # fmt: skip
    for each in found.proposals:
        moved = each.proposed != each.now
        table.add_row(
            each.name,
            _number(each.now),
            f"[bold]{_number(each.proposed)}[/]" if moved else "=",
            *(_short_interval(each, moved)),
        )
    yield table
    hours = Table("queue", "minutes a task", "hours a day now", "proposed", "at most", title="Work")
    for row in found.queues:
        minutes = f"{row.handling.seconds / 60:.1f} ({row.handling.source})" if row.handling else ""
        limit = "" if row.limit is None else f"{row.limit:g} {'✓' if row.fits else '[red]✗[/]'}"
        name = row.queue or "[bold]all[/]"
        hours.add_row(name, minutes, _hours(row.now), _hours(row.proposed), limit)
    yield hours


def reasons(found: Proposals) -> Iterator[str]:
    """Why each threshold is where it is proposed."""
    return (f"{each.name}: {each.why}" for each in found.proposals)


def _short_interval(each: Proposal, moved: bool) -> tuple[str, ...]:
    """Precision and share found, now and proposed; what stays is not said twice."""
    later = (each.precision, each.found) if moved else (None, None)
    pairs = ((each.precision_now, later[0]), (each.found_now, later[1]))
    return tuple(_brief(interval) for pair in pairs for interval in pair)


def _brief(interval: Interval | None) -> str:
    """`.91 (.80–.97)`: seven columns have to fit a terminal."""
    if interval is None:
        return "–"
    value, low, high = (f"{share:.2f}".removeprefix("0") for share in (interval.value, interval.low, interval.high))
    return f"{value} ({low}–{high})"


def _spoken(interval: Interval | None) -> str:
    return "–" if interval is None else f"{interval.value:.2f} ({interval.low:.2f}–{interval.high:.2f})"


def _hours(interval: Interval) -> str:
    return f"{interval.value:.1f} ({interval.low:.1f}–{interval.high:.1f})"


# --- plot ------------------------------------------------------------------------------------------------------------

_WIDE, _HIGH, _LEFT, _TOP = 560, 220, 52, 44
_ROW = _HIGH + _TOP + 56
_PRECISION, _WORK, _NOW, _NEXT = "#1f5fa8", "#b35a00", "#666666", "#0a7d38"


def svg(found: Proposals) -> str:
    """One panel per threshold that can be moved: precision with its interval, and hours, against its value."""
    shown = [each for each in found.proposals if each.curve]
    high = max(1, len(shown)) * _ROW + 16
    panels = "".join(_panel(each, found.precision, i * _ROW) for i, each in enumerate(shown))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE + 2 * _LEFT + 8} {high}" role="img"'
        f' width="{_WIDE + 2 * _LEFT + 8}" font-family="system-ui, sans-serif" font-size="12">'
        f'<rect width="100%" height="100%" fill="#ffffff"/>{panels}</svg>'
    )


def html(found: Proposals, patch: str) -> str:
    """A page with the plot, the numbers and the diff."""
    notes = "".join(f"<li>{escape(note)}</li>" for note in found.notes)
    rows = "".join(
        f"<tr><td>{escape(each.name)}</td><td>{_number(each.now)}</td><td>{_number(each.proposed)}</td>"
        f"<td>{_spoken(each.precision_now)}</td><td>{_spoken(each.precision)}</td>"
        f"<td>{_spoken(each.found_now)}</td><td>{_spoken(each.found)}</td><td>{escape(each.why)}</td></tr>"
        for each in found.proposals
    )
    work = "".join(
        f"<tr><td>{escape(row.queue or 'all')}</td><td>{_hours(row.now)}</td><td>{_hours(row.proposed)}</td>"
        f"<td>{'' if row.limit is None else f'{row.limit:g}'}</td></tr>"
        for row in found.queues
    )
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Thresholds of {escape(found.policy_version)}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 68rem; padding: 0 1rem; color: #1a1a1a;
  background: #fff }}
table {{ border-collapse: collapse; margin: 1rem 0 }} td, th {{ padding: .25rem .6rem; text-align: left;
  border-bottom: 1px solid #ddd; vertical-align: top }}
pre {{ background: #f5f5f5; padding: 1rem; overflow-x: auto }} svg {{ max-width: 100%; height: auto }}
</style>
<h1>Thresholds of {escape(found.policy_version)}</h1>
<p>{escape(found.sample)}. {found.per_day:,.0f} uploads a day; wanted precision {found.precision:g}. Brackets hold the
truth in 95 of 100 such samples.</p>
<ul>{notes}</ul>
<table><tr><th>threshold<th>now<th>proposed<th>precision now<th>proposed<th>of known ones above, now<th>proposed
<th>why</tr>
{rows}</table>
<table><tr><th>queue<th>hours a day now<th>proposed<th>at most</tr>{work}</table>
{svg(found)}
<h2>What to change</h2>
<pre>{escape(patch) or "nothing"}</pre>
</html>
"""


def _panel(each: Proposal, wanted: float, top: float) -> str:
    points = each.curve
    known = [point for point in points if point.precision is not None]
    most = max((point.hours for point in points), default=0.0) or 1.0
    y0, y1 = top + _TOP + _HIGH, top + _TOP

    def x(value: float) -> float:
        return _LEFT + value * _WIDE

    def y(share: float) -> float:
        return y0 - share * (y0 - y1)

    parts = [
        f'<text x="{_LEFT}" y="{top + 18}" font-weight="600" font-size="14">{escape(each.name)}</text>',
        f'<text x="{_LEFT}" y="{top + 34}" fill="#444">{escape(_short(each.why))}</text>',
        f'<rect x="{_LEFT}" y="{y1}" width="{_WIDE}" height="{_HIGH}" fill="none" stroke="#bbb"/>',
    ]
    if each.known_from:
        parts.append(
            f'<rect x="{x(0):.1f}" y="{y1}" width="{each.known_from * _WIDE:.1f}" height="{_HIGH}" fill="#eeeeee"/>'
            f'<text x="{x(0) + 6:.1f}" y="{y0 - 8}" fill="#555">too few judged</text>'
        )
    for tick in range(0, 11, 2):
        share = tick / 10
        parts.append(
            f'<text x="{x(share):.1f}" y="{y0 + 16}" text-anchor="middle">{share:.1f}</text>'
            f'<text x="{_LEFT + _WIDE + 6}" y="{y(share) + 4:.1f}" fill="{_WORK}">{share * most:.3g}</text>'
        )
        if known:
            parts.append(
                f'<text x="{_LEFT - 6}" y="{y(share) + 4:.1f}" text-anchor="end" fill="{_PRECISION}">{share:.1f}</text>'
            )
    if each.does == "restricts":
        parts.append(_dashed(_LEFT, y(wanted), _LEFT + _WIDE, y(wanted), _PRECISION))
    parts += [
        _band(known, x, y),
        _line([(x(p.value), y(p.precision.value)) for p in known if p.precision], _PRECISION),
        _line([(x(p.value), y(p.hours / most)) for p in points], _WORK),
        _dashed(x(each.now), y1, x(each.now), y0, _NOW),
        f'<text x="{x(each.now) - 4:.1f}" y="{y1 + 14}" fill="{_NOW}" text-anchor="end">now {_number(each.now)}</text>',
    ]
    if each.proposed != each.now:
        side, anchor = (-4, "end") if each.proposed > 0.5 else (4, "start")
        parts.append(
            f'<line x1="{x(each.proposed):.1f}" y1="{y1}" x2="{x(each.proposed):.1f}" y2="{y0}" stroke="{_NEXT}"'
            f' stroke-width="2"/><text x="{x(each.proposed) + side:.1f}" y="{y0 - 8}" fill="{_NEXT}"'
            f' text-anchor="{anchor}">proposed {_number(each.proposed)}</text>'
        )
    if known:
        parts.append(
            f'<text x="{_LEFT}" y="{y0 + 34}" fill="{_PRECISION}">precision of what it restricts, with 95 %</text>'
        )
    parts.append(
        f'<text x="{_LEFT + _WIDE}" y="{y0 + 34}" fill="{_WORK}" text-anchor="end">hours a day, all queues</text>'
    )
    return "".join(parts)


def _short(why: str) -> str:
    return why if len(why) <= 96 else f"{why[:95]}…"


def _band(points: Sequence[Point], x: Callable[[float], float], y: Callable[[float], float]) -> str:
    known = [(point.value, point.precision) for point in points if point.precision]
    up = [f"{x(value):.1f},{y(p.high):.1f}" for value, p in known]
    down = [f"{x(value):.1f},{y(p.low):.1f}" for value, p in reversed(known)]
    return f'<polygon points="{" ".join(up + down)}" fill="{_PRECISION}" opacity="0.15"/>' if known else ""


def _line(points: Sequence[tuple[float, float]], colour: str) -> str:
    path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>' if points else ""


def _dashed(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-dasharray="5 4"/>'
