"""`MediaDecided` and pictures → one HTML page that loads nothing. Pure but for reading its own template."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from textwrap import wrap

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from pipeline.events import MediaDecided
from pipeline.events.values import CredentialState, Evidence, Family, MediaFacts, Signal, SignalStatus
from pipeline.fuse import Fused
from pipeline.report import words
from pipeline.report.pictures import Shot

_WIDTH, _LANE, _LEFT = 900, 36, 170
_LABEL = 24
"""Letters of a lane's name that fit into `_LEFT`; longer ones take two lines."""
_FACTS = 24


@dataclass(frozen=True, slots=True)
class _Row:
    """One family in the table; shares are per cent of the bar."""

    name: str
    state: str
    tone: str
    sureness: str
    agreement: str
    probability: float | None = None
    low: float = 0.0
    width: float = 0.0
    band: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class _Told:
    """One piece of evidence with its pictures."""

    name: str
    moment: str
    score: str
    note: str
    shot: Shot


def page(decided: MediaDecided, name: str, by: Fused, shots: Mapping[tuple[Family, Evidence], Shot]) -> str:
    """The report on one upload.

    Args:
        decided: what was found; nothing is judged here.
        name: how the file is called.
        by: where doubt and suspicion begin, for the words and bars.
        shots: pictures of the evidence that has a moment.
    """
    judged = [signal for signal in decided.signals if signal.status is not SignalStatus.NOT_APPLICABLE]
    found, doubtful = standing(judged, by)
    ordered = sorted(judged, key=lambda s: (s not in found, s not in doubtful, s.advisory, -(s.probability or 0)))
    idle = [words.NAMES[s.family] for s in decided.signals if s.status is SignalStatus.NOT_APPLICABLE]
    return _template().render(
        decided=decided,
        name=name,
        what=_what(decided),
        when=f"{decided.decided_at:%d %B %Y, %H:%M} UTC",
        tone="found" if found else "doubt" if doubtful or decided.failure else "clear",
        headline=words.headline(decided, found, doubtful),
        action=words.ACTIONS[decided.decision.action],
        rows=[_row(signal, found, doubtful, decided, by) for signal in ordered],
        nothing=", ".join(idle),
        timeline=_timeline(decided, ordered),
        shots=list(_shots(ordered, shots)),
        told=[line for signal in ordered for line in _without_picture(signal, shots)],
        credentials=_credentials(decided.facts),
        facts=list(_provenance(decided.facts)),
        matches=[_match(decided, i) for i in range(len(decided.matches))],
        looked=words.looked_at(decided),
        limits=[(_spoken(signal.family), words.limits().get(signal.family, "")) for signal in ordered],
    )


@cache
def _template() -> Template:
    loader = PackageLoader("pipeline.report", "")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined).get_template("page.html")


def standing(signals: Sequence[Signal], by: Fused) -> tuple[list[Signal], list[Signal]]:
    """Signals that say that something is there, and those that cannot tell. A hint is never a finding."""
    found, doubtful = [], []
    for signal in signals:
        if signal.probability is None or signal.family is Family.NUDITY:
            continue
        band = by.abstain(signal.family)
        if signal.status is SignalStatus.ABSTAINED or (
            signal.advisory and signal.probability >= by.suspicion(signal.family)
        ):
            doubtful.append(signal)
        elif signal.probability >= (band.high if band else by.suspicion(signal.family)):
            found.append(signal)
    return found, [signal for signal in doubtful if not signal.advisory]


def _what(decided: MediaDecided) -> str:
    facts = decided.facts
    if facts is None:
        return "It could not be read."
    parts = [facts.kind.value.capitalize()]
    if facts.width and facts.height:
        parts.append(f"{facts.width} × {facts.height} pixels")
    if facts.duration:
        parts.append(f"{words.clock(facts.duration)} long")
    codecs = ", ".join(dict.fromkeys(track.codec for track in facts.tracks))
    parts.append(codecs or facts.container)
    if decided.size:
        parts.append(f"{decided.size / 1e6:.1f} MB")
    return " · ".join(parts)


def _row(signal: Signal, found: Sequence[Signal], doubtful: Sequence[Signal], decided: MediaDecided, by: Fused) -> _Row:
    state, tone = (
        ("found", "found") if signal in found else ("cannot tell", "doubt") if signal in doubtful else ("", "")
    )
    if not state:
        state = "not judged" if signal.probability is None else "a hint" if signal.advisory else "not found"
    band = by.abstain(signal.family)
    agreed = next((each.note for each in decided.agreement if each.about is signal.family), "")
    return _Row(
        name=_spoken(signal.family),
        state=state,
        tone=tone,
        sureness=words.sureness(signal),
        agreement=f"Other methods: {agreed}." if agreed else "",
        probability=None if signal.probability is None else round(100 * signal.probability, 1),
        low=round(100 * (signal.low or 0.0), 1),
        width=round(100 * ((signal.high or 0.0) - (signal.low or 0.0)), 1),
        band=(round(100 * band.low, 1), round(100 * (band.high - band.low), 1)) if band else None,
    )


def _spoken(family: Family) -> str:
    name = words.NAMES[family].removeprefix("a ").removeprefix("an ")
    return name[:1].upper() + name[1:]


def _timeline(decided: MediaDecided, signals: Sequence[Signal]) -> Markup | str:
    """A lane per family with evidence in time, over the moments that were looked at. SVG by hand: it is a few lines."""
    duration = decided.facts.duration if decided.facts else None
    lanes = [signal for signal in signals if any(evidence.at is not None for evidence in signal.evidence)]
    if not duration or decided.sampling is None:
        return ""
    height = _LANE * (len(lanes) + 1) + 34

    def x(at: float) -> float:
        return round(_LEFT + (_WIDTH - _LEFT - 12) * min(1.0, max(0.0, at / duration)), 1)

    parts = [f'<rect x="{_LEFT}" y="4" width="{_WIDTH - _LEFT - 12}" height="{_LANE - 8}" fill="#e9edf2" rx="4"/>']
    parts.append(f'<text x="0" y="{_LANE - 9}">looked at</text>')
    for window in decided.sampling.windows:
        width = max(2.0, x(window.end) - x(window.start))
        parts.append(
            f'<rect x="{x(window.start)}" y="4" width="{width:.1f}" height="{_LANE - 8}" fill="#b9c3d1" rx="2"/>'
        )
    parts += [
        f'<line x1="{x(at)}" x2="{x(at)}" y1="4" y2="{_LANE - 4}" stroke="#33415c" stroke-width="1.5"/>'
        for at in decided.sampling.looked_at
    ]
    for lane, signal in enumerate(lanes, start=1):
        base = lane * _LANE + _LANE - 6
        parts += _label(_spoken(signal.family), base - 4)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - 12}" y1="{base}" y2="{base}" stroke="#dfe4eb"/>')
        for evidence in signal.evidence:
            if evidence.at is None:
                continue
            tall = round((_LANE - 8) * evidence.score, 1)
            width = max(4.0, x(evidence.until) - x(evidence.at)) if evidence.until is not None else 4.0
            colour = "#a8341e" if evidence.score >= 0.5 else "#8d99aa"
            parts.append(
                f'<rect x="{x(evidence.at) - (2 if evidence.until is None else 0):.1f}" y="{base - tall:.1f}" '
                f'width="{width:.1f}" height="{max(1.0, tall)}" fill="{colour}" rx="1">'
                f"<title>{words.clock(evidence.at)}: {evidence.score:.2f}</title></rect>"
            )
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        anchor = "start" if share == 0 else "end" if share == 1 else "middle"
        parts.append(
            f'<text x="{x(share * duration)}" y="{height - 6}" text-anchor="{anchor}" fill="#5b6777">'
            f"{words.clock(share * duration)}</text>"
        )
    caption = (
        '<p class="soft small">Upright lines: moments that were looked at; grey: stretches looked at closely. '
        "Bars: evidence, the higher the stronger; only the strongest pieces of each method are kept.</p>"
    )
    drawing = (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" font-size="13" font-family="inherit">{"".join(parts)}</svg>'
    )
    return Markup(drawing + caption)  # noqa: S704 - all of a stranger's words in it are escaped


def _label(name: str, base: float) -> Iterator[str]:
    """The lines of a lane's name, the last one on `base`."""
    lines = wrap(name, _LABEL)
    for line, text in enumerate(lines, start=1):
        yield f'<text x="0" y="{base - 14 * (len(lines) - line)}">{escape(text)}</text>'


def _shots(signals: Sequence[Signal], shots: Mapping[tuple[Family, Evidence], Shot]) -> Iterator[_Told]:
    for signal in signals:
        for evidence in signal.evidence:
            shot = shots.get((signal.family, evidence))
            if shot is not None:
                moment = words.clock(evidence.at) if evidence.at else ""
                yield _Told(_spoken(signal.family), moment, _cut(evidence.score), _sentence(evidence.note), shot)


def _without_picture(signal: Signal, shots: Mapping[tuple[Family, Evidence], Shot]) -> Iterator[str]:
    for evidence in signal.evidence:
        if (signal.family, evidence) not in shots and evidence.note and evidence.score > 0:
            moment = ""
            if evidence.at is not None and evidence.until is not None:
                moment = f" from {words.clock(evidence.at)} to {words.clock(evidence.until)}"
            elif evidence.at:
                moment = f" at {words.clock(evidence.at)}"
            yield f"{_spoken(signal.family)}{moment}: {evidence.note} (score {_cut(evidence.score)})."


def _cut(score: float) -> str:
    """Cut, not rounded: 0.996 is not certainty."""
    return f"{math.floor(score * 100 + 1e-9) / 100:.2f}"


def _sentence(note: str) -> str:
    return note[:1].upper() + note[1:]


def _credentials(facts: MediaFacts | None) -> str:
    held = facts.credentials if facts else None
    return words.CREDENTIALS[held.state] if held else words.CREDENTIALS[CredentialState.ABSENT]


def _provenance(facts: MediaFacts | None) -> Iterator[tuple[str, str]]:
    if facts is None:
        return
    held = facts.credentials
    if held is not None and held.state is not CredentialState.ABSENT:
        yield from (
            (name, value)
            for name, value in (
                ("signed by", held.issuer or ""),
                ("signed at", held.signed_at or ""),
                ("written by", held.generator or ""),
                ("what was done", "; ".join(held.actions)),
                ("source types", ", ".join(held.source_types)),
                ("what does not fit", ", ".join(held.codes)),
                ("note", held.note),
            )
            if value
        )
    for key, value in facts.metadata[:_FACTS]:
        if not key.endswith("packet"):
            yield key, value[:200]


def _match(decided: MediaDecided, i: int) -> str:
    match = decided.matches[i]
    standing = "" if match.live else " (recorded only)"
    return f"Known content: on the list “{match.bank}”, {match.distance} of 256 bits differ{standing}. {match.note}"
