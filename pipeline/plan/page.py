"""A plan as one HTML page with plots as inline SVG; it loads nothing. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape

from pipeline.plan.size import Hour, Item, Plan
from pipeline.plan.tables import figure

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 760, 220, 60, 28, 16
_LOAD, _WORKERS, _PEOPLE, _TIMES = "#2f5d9b", "#8b97a8", "#a8341e", ("#22694f", "#b07a1c", "#a8341e")
_STYLE = """\
:root { color-scheme: light }
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2733; background: #fff; max-width: 800px; margin: 2rem auto;
  padding: 0 1rem }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 2rem }
td, th { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #dde3ea; vertical-align: top }
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
svg { width: 100%; height: auto } svg text { font: 11px system-ui, sans-serif; fill: #4a5765 }
.estimated { color: #8a5a00 } figure { margin: 1rem 0 2rem }"""


def page(plan: Plan, objective: float, how: str) -> str:
    """The page as text. `objective`: seconds, drawn into the latencies."""
    verdict = "is kept in every hour" if plan.holds else "is not kept in every hour"
    hours = plan.hours
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Unmask: a plan</title><style>{_STYLE}</style></head><body>
<h1>{figure(plan.uploads_per_day)} uploads a day</h1>
<p>The objective {verdict}. A worker holds {plan.rate_per_worker:.2f} uploads a second.</p>
{_plot("Uploads a second", hours, [("uploads a second", _LOAD, lambda hour: hour.rate)])}
{_plot("Workers, scaled to each hour", hours, [("workers", _WORKERS, lambda hour: hour.workers)])}
{_plot("Seconds until the outcome, simulated", hours, _quantiles(), objective)}
{_plot("Reviewers at work", hours, [("reviewers", _PEOPLE, lambda hour: hour.reviewers)])}
<h2>To run and to hire</h2>{_table(plan.items)}
<h2>To pay</h2>{_table(plan.costs)}
<p>{escape(how)}</p>
</body></html>
"""


Line = tuple[str, str, Callable[[Hour], float]]


def _quantiles() -> list[Line]:
    return [
        ("p50", _TIMES[0], lambda hour: hour.p50),
        ("p95", _TIMES[1], lambda hour: hour.p95),
        ("p99", _TIMES[2], lambda hour: hour.p99),
    ]


def _plot(title: str, hours: Sequence[Hour], lines: Sequence[Line], limit: float | None = None) -> str:
    top = max([limit or 0.0, *(line[2](hour) for line in lines for hour in hours)]) * 1.08 or 1.0

    def x(hour: int) -> float:
        return _LEFT + (_WIDTH - _LEFT - 70) * hour / (len(hours) - 1)

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * value / top

    parts = [
        f'<line x1="{_LEFT}" x2="{x(len(hours) - 1):.1f}" y1="{y(top * k / 4):.1f}" y2="{y(top * k / 4):.1f}" '
        f'stroke="#e3e8ee"/><text x="{_LEFT - 6}" y="{y(top * k / 4) + 4:.1f}" text-anchor="end">'
        f"{figure(top * k / 4)}</text>"
        for k in range(5)
    ]
    parts += [
        f'<text x="{x(hour):.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{hour}</text>'
        for hour in range(0, len(hours), 3)
    ]
    if limit is not None:
        parts.append(
            f'<line x1="{_LEFT}" x2="{x(len(hours) - 1):.1f}" y1="{y(limit):.1f}" y2="{y(limit):.1f}" stroke="#1d2733" '
            f'stroke-dasharray="4 4"/><text x="{_LEFT + 4}" y="{y(limit) - 4:.1f}">objective (p95)</text>'
        )
    for name, colour, value in lines:
        points = " ".join(f"{x(n):.1f},{y(value(hour)):.1f}" for n, hour in enumerate(hours))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        end = f'x="{x(len(hours) - 1) + 6:.1f}" y="{y(value(hours[-1])) + 4:.1f}"'
        parts.append(f'<text {end} style="fill:{colour}">{escape(name) if len(lines) > 1 else ""}</text>')
    return (
        f'<figure><figcaption>{escape(title)}, by hour (UTC)</figcaption><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'role="img" aria-label="{escape(title)}">{"".join(parts)}</svg></figure>'
    )


def _table(items: Iterable[Item]) -> str:
    rows = "".join(
        f'<tr><td>{escape(item.what)}</td><td class="n">{figure(item.value)}</td><td>{escape(item.unit)}</td>'
        f'<td class="{item.known.value}">{item.known.value}</td><td>{escape(item.how)}</td></tr>'
        for item in items
    )
    return f"<table>{rows}</table>"
