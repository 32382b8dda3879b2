"""One HTML page of an evaluation: figures, plots, the worst errors with their pictures. It loads nothing."""

from __future__ import annotations

import base64
import io
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure as Plot

from pipeline.learn.evaluate import Evaluation, FamilyResult, Item
from pipeline.learn.measure import Figure, Quality
from pipeline.learn.scores import ScoreRow, of_family

mpl.rcParams.update({"svg.fonttype": "none", "font.size": 8, "axes.spines.top": False, "axes.spines.right": False})

_REAL, _FAKE, _LINE = "#2a7f62", "#b3402a", "#33415c"
_MOST_SOURCES = 12
_THUMBNAIL = 180

_STYLE = """
:root{color-scheme:light}
body{font:15px/1.5 system-ui,sans-serif;color:#1b2430;margin:0 auto;max-width:72rem;padding:2rem}
h1{font-size:1.7rem;margin:0 0 .3rem}h2{margin:2.4rem 0 .4rem;border-top:1px solid #d5dae2;padding-top:1.4rem}
h3{margin:1.2rem 0 .3rem;font-size:1rem}table{border-collapse:collapse;margin:.6rem 0;font-size:.87rem}
th,td{text-align:left;padding:.25rem .55rem .25rem 0;border-bottom:1px solid #e5e9ef;vertical-align:top}
td.n{font-variant-numeric:tabular-nums;white-space:nowrap}.warn{background:#fff5dc;border-left:4px solid #d99a1c;
padding:.5rem .9rem;margin:.4rem 0}.hint{background:#eef1f6;border-left:4px solid #6b7b95;padding:.5rem .9rem}
.muted{color:#5c6879}.wrong{display:flex;flex-wrap:wrap;gap:.8rem}.wrong figure{margin:0;width:190px;font-size:.78rem}
.wrong img{width:180px;height:auto;border:1px solid #d5dae2;display:block}svg{max-width:100%;height:auto}
nav a{margin-right:1rem}.scroll{overflow-x:auto}.interval{display:block;font-size:.9em}
"""


def page(evaluation: Evaluation, rows: Sequence[ScoreRow], items: Sequence[Item], title: str) -> str:
    """The page as text. `items`: where the pictures of the worst errors are read from."""
    paths = {item.file: item for item in items if not item.variant}
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p class=muted>{escape(_made(evaluation))}</p>",
        "".join(f"<div class=warn>{escape(warning)}</div>" for warning in evaluation.warnings),
        "".join(f"<p class=muted>{escape(note)}</p>" for note in evaluation.notes),
        _summary(evaluation),
        _costs(evaluation),
        *(_section(family, rows, paths) for family in evaluation.families),
        _failed(evaluation),
        f"<h2>Detectors</h2><p class=muted>{escape(', '.join(evaluation.detectors))}</p>",
    ]
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{escape(title)}</title><style>{_STYLE}</style><body>{''.join(parts)}</body></html>"
    )


def _made(evaluation: Evaluation) -> str:
    minutes = f"{evaluation.items} items in {evaluation.seconds / 60:.1f} min"
    return f"{minutes} · policy {evaluation.policy} · calibration {evaluation.calibration}"


def _summary(evaluation: Evaluation) -> str:
    head = (
        "<h2 id=summary>Summary</h2><p class=muted>Areas and rates with 95 % bootstrap intervals, resampled by item. "
        "Calibration error and false alarms are those of the probabilities in use; “in doubt”: the share for which the "
        "signal says that it cannot tell.</p><div class=scroll><table><tr><th>family<th>level<th>genuine<th>made<th>AUC"
        "<th>average precision<th>found at 1 % false alarms<th>at 5 %<th>calibration error<th>in doubt<th>false alarms"
        "<th>missed<th></tr>"
    )
    lines = []
    for family in evaluation.families:
        for level, found in (("upload", family.upload), ("frame", family.frame)):
            if found is None:
                counts = "".join("<td>–" for _ in range(6))
                if level == "upload":
                    lines.append(f"<tr><td>{_link(family)}<td>{level}{counts}{_trust(family)}<td>one label only")
                continue
            rates = "".join(f"<td class=n>{_figure(rate)}" for _, rate in found.tpr_at)
            kept = _trust(family) if level == "upload" else "<td><td><td><td>"
            note = "near chance" if found.near_chance else "a hint only" if family.advisory else ""
            lines.append(
                f"<tr><td>{_link(family) if level == 'upload' else ''}<td>{level}<td class=n>{found.real}"
                f"<td class=n>{found.fake}<td class=n>{_figure(found.area)}<td class=n>{_figure(found.precision)}"
                f"{rates}{kept}<td>{note}"
            )
    return head + "".join(lines) + "</table></div>"


def _trust(family: FamilyResult) -> str:
    t = family.trust
    if t is None:
        return "<td>–<td>–<td>–<td>–"
    shares = "".join(f"<td class=n>{_share(value)}" for value in (t.abstained, t.false_positives, t.missed))
    return f"<td class=n>{t.error:.3f}{shares}"


def _link(family: FamilyResult) -> str:
    return f"<a href='#{family.family.value}'>{_name(family)}</a>"


def _name(family: FamilyResult) -> str:
    return escape(family.family.value.replace("_", " "))


def _share(share: float) -> str:
    return "–" if math.isnan(share) else f"{share:.1%}"


def _figure(figure: Figure) -> str:
    return f"{figure.value:.3f} <span class='muted interval'>[{figure.low:.3f}, {figure.high:.3f}]</span>"


def _costs(evaluation: Evaluation) -> str:
    if not evaluation.costs:
        return ""
    lines = "".join(
        f"<tr><td>{escape(c.kind)}<td class=n>{c.count}<td class=n>{c.cpu[0]:.2f} ({c.cpu[1]:.2f}–{c.cpu[2]:.2f})"
        f"<td class=n>{c.seconds[0]:.2f} ({c.seconds[1]:.2f}–{c.seconds[2]:.2f})"
        for c in evaluation.costs
    )
    return (
        "<h2 id=cost>Cost</h2><p class=muted>One upload after another, everything on this machine: median (least–most)."
        f"</p><table><tr><th>kind<th>uploads<th>CPU seconds<th>wall seconds{lines}</table>"
    )


def _section(family: FamilyResult, rows: Sequence[ScoreRow], paths: Mapping[str, Item]) -> str:
    parts = [f"<h2 id='{family.family.value}'>{_name(family)}</h2>"]
    if family.advisory:
        parts.append("<div class=hint>Advisory: measured too near chance for anything but a hint to a person.</div>")
    if family.unscored:
        told = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in family.unscored)
        parts.append(f"<p class=muted>Without a score: {escape(told)}.</p>")
    parts.append(_plots(family, rows))
    if family.kinds:
        parts.append(_table("By kind of manipulation, against all that is genuine", family.kinds))
    parts.append(_by_source(family))
    if family.robustness:
        parts.append(_table("Robustness: the same items, altered", family.robustness))
    if family.worst:
        parts.append(
            f"<h3>The worst errors</h3><div class=wrong>{''.join(_mistake(m, paths) for m in family.worst)}</div>"
        )
    return "".join(parts)


def _table(title: str, lines: Sequence[tuple[str, Quality]]) -> str:
    body = "".join(
        f"<tr><td>{escape(name.replace('_', ' '))}<td class=n>{q.real}<td class=n>{q.fake}<td class=n>{_figure(q.area)}"
        + "".join(f"<td class=n>{_figure(rate)}" for _, rate in q.tpr_at)
        for name, q in lines
    )
    head = "<th><th>genuine<th>made<th>AUC<th>found at 1 % false alarms<th>at 5 %"
    return f"<h3>{escape(title)}</h3><div class=scroll><table><tr>{head}{body}</table></div>"


def _by_source(family: FamilyResult) -> str:
    if not family.sources:
        return ""
    lines = []
    for source in family.sources:
        area = _figure(source.quality.area) if source.quality else "–"
        error = f"{source.error_left_out:.3f}" if source.error_left_out is not None else "–"
        own = source.error_refitted
        again = f"{own.mean:.3f} (to {own.high:.3f}; {own.items} of {own.items + own.rest})" if own else "–"
        lines.append(
            f"<tr><td>{escape(source.source)}<td class=n>{source.real}<td class=n>{source.fake}<td class=n>{area}"
            f"<td class=n>{source.flagged:.1%}<td class=n>{source.abstained:.1%}<td class=n>{error}<td class=n>{again}"
        )
    return (
        "<h3>By source</h3><p class=muted>The area is against the other label of all sources where a source holds one "
        "label only. The last columns are the calibration error of a curve fitted without this source, and on the rest "
        "of it of a curve fitted to some of its items: the mean of draws, what one in twenty exceeds, how many of how "
        "many.</p>"
        "<div class=scroll><table><tr><th>source<th>genuine<th>made<th>AUC<th>above the band<th>in doubt"
        f"<th>error, source left out<th>fitted to some of it{''.join(lines)}</table></div>"
    )


def _plots(family: FamilyResult, rows: Sequence[ScoreRow]) -> str:
    plot = Plot(figsize=(11, 2.9), layout="constrained")
    roc, pr, reliable, sources = plot.subplots(1, 4, width_ratios=(1, 1, 1, 1.5))
    for level, found, style in (("upload", family.upload, "-"), ("frame", family.frame, ":")):
        if found is not None:
            roc.plot(*zip(*found.roc, strict=True), style, color=_LINE, label=level)
            pr.plot(*zip(*found.pr, strict=True), style, color=_LINE, label=level)
    roc.plot([0, 1], [0, 1], color="#c3cad5", lw=0.8)
    roc.set(title="ROC", xlabel="false alarms", ylabel="found", xlim=(0, 1), ylim=(0, 1.02))
    pr.set(title="Precision and recall", xlabel="found", ylabel="of those flagged, made", xlim=(0, 1), ylim=(0, 1.02))
    if family.upload is not None:
        roc.legend(frameon=False, loc="lower right")
    reliable.plot([0, 1], [0, 1], color="#c3cad5", lw=0.8)
    if family.trust is not None:
        bins = family.trust.bins
        largest = max(b.count for b in bins)
        reliable.scatter(
            [b.said for b in bins], [b.true for b in bins], s=[60 * b.count / largest for b in bins], color=_LINE
        )
    reliable.set(title="Reliability", xlabel="probability", ylabel="true", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    _by_source_plot(sources, of_family(rows, family.family))
    packed = io.StringIO()
    plot.savefig(packed, format="svg", metadata={"Date": None})
    text = packed.getvalue()
    return f"<div class=scroll>{text[text.index('<svg') :]}</div>"


def _by_source_plot(axes: Any, rows: Sequence[ScoreRow]) -> None:
    """One strip of dots per source and label: where the scores lie, and how far sources differ among themselves."""
    strips: dict[tuple[str, bool], list[float]] = defaultdict(list)
    for row in rows:
        strips[row.source, row.fake].append(row.score or 0.0)
    largest = sorted(strips, key=lambda strip: -len(strips[strip]))[:_MOST_SOURCES]
    rng = np.random.default_rng(0)
    for place, (source, fake) in enumerate(sorted(largest, key=lambda s: (s[1], s[0]))):
        values = np.array(strips[source, fake])
        axes.scatter(
            values, place + rng.uniform(-0.25, 0.25, len(values)), s=5, alpha=0.5, color=_FAKE if fake else _REAL, lw=0
        )
    names = [source.rpartition("/")[2][:24] for source, _ in sorted(largest, key=lambda s: (s[1], s[0]))]
    axes.set_yticks(range(len(names)), names)
    axes.set(title="Scores by source (green: genuine)", xlim=(-0.02, 1.02), xlabel="pooled score")


def _mistake(mistake: Any, paths: Mapping[str, Item]) -> str:
    item = paths.get(mistake.file)
    picture = thumbnail(item) if item else ""
    what = "made, not found" if mistake.fake else "genuine, flagged"
    return (
        f"<figure>{picture}<b>{what}: {mistake.probability:.2f}</b><br><span class=muted>{escape(mistake.file[-60:])}"
        f"</span><br>{escape(mistake.evidence[:160])}</figure>"
    )


def thumbnail(item: Item) -> str:
    """A small picture of a still, as part of the page; nothing for other media or what cannot be read."""
    image = cv2.imread(str(item.path), cv2.IMREAD_COLOR)
    if image is None:
        return ""
    scale = _THUMBNAIL / max(image.shape[:2])
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
    done, packed = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 75])
    return f"<img alt='' src='data:image/jpeg;base64,{base64.b64encode(packed.tobytes()).decode()}'>" if done else ""


def _failed(evaluation: Evaluation) -> str:
    if not evaluation.failed:
        return ""
    lines = "".join(f"<tr><td>{escape(file)}<td>{escape(why)}" for file, why in evaluation.failed)
    return f"<h2>Not judged</h2><table>{lines}</table>"
