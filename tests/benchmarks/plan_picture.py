"""What was predicted and what was measured, as one SVG: who lies on the line was foretold exactly. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_SIDE, _LEFT, _BOTTOM, _TOP, _GAP = 300, 56, 44, 34, 40
_COLOURS = ("#2f5d9b", "#b07a1c", "#a8341e", "#22694f")
_TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


@dataclass(frozen=True, slots=True)
class Pair:
    """One figure of one run."""

    name: str
    run: int
    predicted: float
    measured: float


def picture(pairs: Sequence[Pair], tolerance: float) -> str:
    """Two plots side by side with logarithmic axes: uploads a second, and seconds. The band is the tolerance."""
    rates = [pair for pair in pairs if pair.name == "uploads a second"]
    seconds = [pair for pair in pairs if pair.name != "uploads a second"]
    width, height = 2 * (_SIDE + _LEFT + _GAP), _SIDE + _TOP + _BOTTOM
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        'aria-label="Predicted against measured">'
        "<style>text{font:11px system-ui,sans-serif;fill:#4a5765}.t{font-size:13px;fill:#1d2733}</style>"
        f'<rect width="{width}" height="{height}" fill="#fff"/>'
        f"{_plot(0, 'Uploads a second, at most', rates, tolerance)}"
        f"{_plot(_SIDE + _LEFT + _GAP, 'Seconds from due to answered', seconds, tolerance)}</svg>\n"
    )


def _plot(left: float, title: str, pairs: Sequence[Pair], tolerance: float) -> str:
    values = [value for pair in pairs for value in (pair.predicted, pair.measured)]
    low, high = min(values) / 1.5, max(values) * 1.5

    def at(value: float) -> float:
        return _SIDE * math.log(min(max(value, low), high) / low) / math.log(high / low)

    def x(value: float) -> str:
        return f"{left + _LEFT + at(value):.1f}"

    def y(value: float) -> str:
        return f"{_TOP + _SIDE - at(value):.1f}"

    more = 1 + tolerance
    ends = ((low, low), (low * more, low), (high, high / more), (high, high), (high / more, high), (low, low * more))
    band = " ".join(f"{x(a)},{y(b)}" for a, b in ends)
    parts = [
        f'<text class="t" x="{left + _LEFT}" y="18">{escape(title)}</text>',
        f'<polygon points="{band}" fill="#e9eff7"/>',
        f'<line x1="{x(low)}" y1="{y(low)}" x2="{x(high)}" y2="{y(high)}" stroke="#8b97a8"/>',
        f'<rect x="{x(low)}" y="{y(high)}" width="{_SIDE}" height="{_SIDE}" fill="none" stroke="#8b97a8"/>',
    ]
    for tick in _TICKS:
        if low < tick < high:
            parts.append(f'<text x="{x(tick)}" y="{_TOP + _SIDE + 15}" text-anchor="middle">{tick:g}</text>')
            parts.append(f'<text x="{left + _LEFT - 6}" y="{y(tick)}" dy="4" text-anchor="end">{tick:g}</text>')
    names = list(dict.fromkeys(pair.name for pair in pairs))
    for pair in pairs:
        colour = _COLOURS[names.index(pair.name)]
        parts.append(
            f'<circle cx="{x(pair.predicted)}" cy="{y(pair.measured)}" r="4.5" fill="{colour}" fill-opacity="0.8">'
            f"<title>{escape(pair.name)}, run {pair.run + 1}: predicted {pair.predicted:.3g}, measured "
            f"{pair.measured:.3g}</title></circle>"
        )
    for n, name in enumerate(names):
        line = _TOP + 18 + 16 * n
        parts.append(f'<circle cx="{left + _LEFT + 14}" cy="{line - 4}" r="4.5" fill="{_COLOURS[n]}"/>')
        parts.append(f'<text x="{left + _LEFT + 24}" y="{line}">{escape(name)}</text>')
    foot = _TOP + _SIDE + 34
    parts.append(f'<text x="{left + _LEFT + _SIDE / 2}" y="{foot}" text-anchor="middle">predicted</text>')
    middle = _TOP + _SIDE / 2
    parts.append(
        f'<text transform="rotate(-90 {left + 14} {middle})" x="{left + 14}" y="{middle}" text-anchor="middle">'
        "measured</text>"
    )
    return "".join(parts)
