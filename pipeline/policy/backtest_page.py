"""A backtest as one HTML page with plots; it loads nothing. Pure but for reading its own template."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from html import escape

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from pipeline.events.values import Action
from pipeline.policy.backtest_result import Backtest, DayLoad, Quality, QueueLoad, Split, Transition
from pipeline.policy.backtest_tables import SELECTIVE, headline, moved, shared, takes
from pipeline.policy.share import Share

STRICTER, MILDER, REVIEW, THEN, NOW = "#a8341e", "#22694f", "#8b97a8", "#b9c3d1", "#2f5d9b"
_WIDTH, _LEFT, _RIGHT, _LANE = 760, 210, 120, 26
_MOST_BARS = 15
_CHART = 190


def page(found: Backtest) -> str:
    """The page as text."""
    return _template().render(
        found=found,
        headline=headline(found),
        selective=SELECTIVE,
        matrix=_matrix(found.actions),
        splits=[
            (name, bars(splits))
            for name, splits in (("harm", found.by_harm), ("surface", found.by_surface), ("region", found.by_region))
            if any(each.flips for each in splits)
        ],
        hours=_hours(found.queues),
        moves=moved(found.moves),
        days=_days(found.days),
        quality=_quality((*found.quality, *found.families)),
        takes=takes,
        shared=shared,
        unknown={each.name: each.count for each in found.nobody_looked},
    )


@cache
def _template() -> Template:
    loader = PackageLoader("pipeline.policy", "")
    return Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).get_template("backtest.html")


def _matrix(actions: Sequence[Transition]) -> list[tuple[str, list[tuple[int, str]]]]:
    """Rows of (action then, [(uploads, tone)])."""
    counts = {(each.before, each.after): each.uploads for each in actions}

    def tone(before: Action, after: Action) -> str:
        if not counts.get((before.value, after.value)):
            return "none"
        steps = after.strength - before.strength
        return "same" if not steps else "stricter" if steps > 0 else "milder"

    return [(b.value, [(counts.get((b.value, a.value), 0), tone(b, a)) for a in Action]) for b in Action]


def bars(splits: Sequence[Split]) -> Markup:
    """Flips of each kind side by side: stricter, milder, review alone."""
    shown = [each for each in splits if each.flips][:_MOST_BARS]
    most = max((each.flips for each in shown), default=1)
    lines = []
    for i, each in enumerate(shown):
        x, y = float(_LEFT), i * _LANE + 4
        lines.append(_label(each.name, y))
        for count, colour in ((each.stricter, STRICTER), (each.milder, MILDER), (each.review, REVIEW)):
            width = (_WIDTH - _LEFT - _RIGHT) * count / most
            lines.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="16" fill="{colour}"/>')
            x += width
        of = f" of {each.uploads}" if each.uploads else ""
        lines.append(_text(x + 6, y + 12, f"{each.flips}{of}"))
    return _svg(lines, len(shown) * _LANE, "Flips: " + "; ".join(f"{each.name} {each.flips}" for each in shown))


def _hours(queues: Sequence[QueueLoad]) -> Markup:
    """Hours per queue, to the right what is added, to the left what is saved."""
    reach = max((abs(each.hours) for each in queues), default=0.0) or 1.0
    middle, half = (_LEFT + _WIDTH - _RIGHT) / 2, (_WIDTH - _RIGHT - _LEFT) / 2
    lines = [f'<line x1="{middle}" x2="{middle}" y1="0" y2="{len(queues) * _LANE}" stroke="#9aa5b4"/>']
    for i, each in enumerate(queues):
        y, width = i * _LANE + 4, half * abs(each.hours) / reach
        x = middle if each.hours >= 0 else middle - width
        colour = STRICTER if each.hours > 0 else MILDER
        lines.append(_label(each.queue, y))
        lines.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="16" fill="{colour}"/>')
        lines.append(_text(_WIDTH - _RIGHT + 10, y + 12, f"{each.hours:+.1f} h"))
    return _svg(lines, len(queues) * _LANE, "Hours: " + "; ".join(f"{q.queue} {q.hours:+.1f}" for q in queues))


def _days(days: Sequence[DayLoad]) -> Markup:
    """Review tasks a day, then and now."""
    most = max((max(each.before, each.after) for each in days), default=0) or 1
    step = (_WIDTH - 60) / max(1, len(days))
    width = min(36.0, step * 0.36)
    lines = [f'<line x1="50" x2="{_WIDTH}" y1="{_CHART}" y2="{_CHART}" stroke="#9aa5b4"/>']
    for i, each in enumerate(days):
        x = 56 + i * step
        for k, (count, colour) in enumerate(((each.before, THEN), (each.after, NOW))):
            height = (_CHART - 20) * count / most
            lines.append(
                f'<rect x="{x + k * width:.1f}" y="{_CHART - height:.1f}" width="{width:.1f}" height="{height:.1f}"'
                f' fill="{colour}"><title>{each.day}: {count}</title></rect>'
            )
        if i % (1 + len(days) // 12) == 0:
            lines.append(_text(x, _CHART + 16, each.day[5:]))
    lines += [_text(44, 24, str(most), "end"), _text(44, _CHART + 4, "0", "end")]
    return _svg(lines, _CHART + 24, f"Review tasks a day, up to {most}")


def _quality(rows: Sequence[Quality]) -> Markup:
    """Precision and recall with their intervals, then and now in turn."""
    lines, y = [], 0
    wide = (_WIDTH - _LEFT - 40) / 2
    starts = (_LEFT, _LEFT + wide + 30)
    for x, name in zip(starts, ("precision", "recall"), strict=True):
        lines.append(_text(x, 12, name))
    y = 24
    for each in rows:
        if each.side == "before":
            lines.append(_label(each.what.replace("_", " "), y))
        for x, value in zip(starts, (each.precision, each.recall), strict=True):
            lines.append(_whisker(value, x, wide, y + 8, THEN if each.side == "before" else NOW))
        y += 14 if each.side == "before" else 22
    return _svg(lines, y, "Precision and recall; the numbers are in the table below")


def _whisker(value: Share, x: float, wide: float, y: float, colour: str) -> str:
    frame = f'<line x1="{x}" x2="{x + wide:.1f}" y1="{y}" y2="{y}" stroke="#eceff3"/>'
    if value.share is None:
        return frame
    low, high, at = (x + wide * v for v in (value.low, value.high, value.share))
    return (
        f'{frame}<line x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="3"/>'
        f'<circle cx="{at:.1f}" cy="{y}" r="4.5" fill="{colour}"><title>{escape(shared(value))}</title></circle>'
    )


def _label(text: str, y: float) -> str:
    return _text(_LEFT - 10, y + 12, text if len(text) <= 30 else f"{text[:29]}…", "end")


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(lines: Sequence[str], height: float, label: str) -> Markup:
    """What is in `lines` is escaped already."""
    head = f'<svg viewBox="0 0 {_WIDTH} {max(height, 1):.0f}" role="img" aria-label="{escape(label, quote=True)}">'
    return Markup(f"{head}{''.join(lines)}</svg>")  # noqa: S704 - names are escaped where they are put in
