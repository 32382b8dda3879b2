"""Values as tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.markup import escape
from rich.table import Column, Table

from pipeline.audit import AuditReport
from pipeline.calibration import Unit
from pipeline.events import MediaDecided, SubjectAnswered
from pipeline.events.values import Action, Signal, SignalStatus
from pipeline.learn.calibrate import Fitted
from pipeline.learn.evaluate import Evaluation
from pipeline.local import Screened
from pipeline.replay import ReplayPlan
from pipeline.stack.up import Listener

COLOURS = {
    Action.ALLOW: "green",
    Action.LABEL: "cyan",
    Action.LIMIT: "yellow",
    Action.HOLD: "magenta",
    Action.REMOVE: "red",
}


def action(value: Action) -> str:
    """An action in its colour."""
    return f"[{COLOURS[value]}]{value.value}[/]"


def signal(value: Signal) -> str:
    """`face swap 0.91 (0.84–0.95)`, or why there is no number."""
    name = value.family.value.replace("_", " ")
    if value.probability is None:
        return f"{name} {value.status.value.replace('_', ' ')}"
    band = "" if value.low is None or value.high is None else f" ({value.low:.2f}–{value.high:.2f})"
    unsure = " unsure" if value.status is SignalStatus.ABSTAINED else ""
    return f"{name} {value.probability:.2f}{band}{unsure}"


def screened_table(done: Iterable[Screened]) -> Table:
    """What `unmask screen` found."""
    table = Table("file", "kind", "looked at", "signals", "action", "queue", "why", title="Screened", show_lines=True)
    for each in done:
        decided = each.decided
        review = decided.decision.review
        table.add_row(
            each.path.name,
            decided.facts.kind.value if decided.facts else "–",
            looked_at(decided),
            "\n".join(signal(s) for s in decided.signals if s.status is not SignalStatus.NOT_APPLICABLE) or "–",
            action(decided.decision.action),
            review.queue if review else "–",
            "\n".join(decided.decision.reasons) or "–",
        )
    return table


def looked_at(decided: MediaDecided) -> str:
    """`24 frames, gap ≤ 5.0 s`: the coverage in words."""
    sampling = decided.sampling
    if sampling is None:
        return "nothing"
    parts = []
    if sampling.looked_at:
        parts.append(f"{len(sampling.looked_at)} frame{'s' if len(sampling.looked_at) > 1 else ''}")
    if sampling.largest_gap:
        parts.append(f"gap ≤ {sampling.largest_gap:.1f} s")
    if sampling.audio_seconds:
        parts.append(f"{sampling.audio_seconds:.0f} s sound")
    return ", ".join(parts) or "nothing"


def evaluation_table(evaluation: Evaluation) -> Group:
    """What `unmask evaluate` measured, a line per family, and what makes it look better than it is."""
    heads = ("genuine,\nmade", "found at\n1 %, 5 %", "error", "in\ndoubt", "false\nalarms", "")
    table = _narrow("Evaluation", "AUC\nper upload", *heads)
    for each in evaluation.families:
        upload, held = each.upload, each.trust
        area = upload.area if upload else None
        table.add_row(
            each.family.value.replace("_", " "),
            _area(area.value, area.low, area.high) if area else "one label\nonly",
            f"{upload.real}\n{upload.fake}" if upload else "–",
            "\n".join(f"{rate.value:.2f}" for _, rate in upload.tpr_at) if upload else "–",
            f"{held.error:.3f}" if held else "–",
            f"{held.abstained:.0%}" if held else "–",
            f"{held.false_positives:.1%}" if held else "–",
            "near\nchance" if upload and upload.near_chance else "a hint\nonly" if each.advisory else "",
        )
    return Group(table, *(f"[yellow]{warning}[/]" for warning in evaluation.warnings))


def calibration_table(fitted: Sequence[Fitted]) -> Group:
    """What `unmask calibrate` made of each family, and where a band says nothing of new sources."""
    heads = (
        "genuine,\nmade",
        "error\nbefore,\nafter",
        "in doubt\nfrom,\nto",
        "holds\nfor",
        "in\ndoubt",
        "false\nalarms,\nmissed",
        "",
    )
    table = _narrow("Calibration", "AUC", *heads)
    for each in fitted:
        made = each.calibration
        band = made.abstain
        table.add_row(
            each.family.value.replace("_", " "),
            _area(*made.auc) if made.auc else "–",
            f"{made.real}\n{made.fake}",
            f"{each.error_before:.3f}\n{each.error_after:.3f}",
            f"{band.low:.2f}\n{band.high:.2f}" if band else "–",
            "new\nsources" if made.by is Unit.SOURCES else "items",
            f"{each.abstained:.0%}",
            f"{each.false_positives:.1%}\n{each.missed:.1%}",
            "a hint\nonly" if made.advisory else "",
        )
    return Group(table, *(f"[yellow]{line}[/]" for each in fitted for line in _about_sources(each)))


def _about_sources(each: Fitted) -> Iterator[str]:
    """What a band does not promise, and what its promise came to."""
    made, name = each.calibration, each.family.value.replace("_", " ")
    known = f"{made.real_sources} source{'' if made.real_sources == 1 else 's'} of genuine items"
    if made.by is Unit.SOURCES and made.real_sources < each.sources_needed:
        yield f"{name}: {known}, {each.sources_needed} are needed: the band reaches to 1"
    elif made.by is Unit.SOURCES:
        yield f"{name}: left out one by one, {each.sources_above} of {known} have items above the band of the others"
        for kind in each.kinds_short:
            yield f"{name}: too few of them have {kind}: of {kind} by itself nothing is promised"
    elif made.real_sources < each.sources_needed:
        yield f"{name}: {known}, {each.sources_needed} are needed: nothing is promised of a new source"
    else:
        yield f"{name}: by items, as asked for: nothing is promised of a new source"


def _narrow(title: str, area: str, *heads: str) -> Table:
    """No wider than a terminal of 80 letters, whatever is measured: a figure that is cut says nothing."""
    table = Table(Column("family", min_width=11), Column(area, min_width=12), *heads, title=title)
    table.box, table.padding, table.pad_edge = SIMPLE_HEAD, (0, 1, 0, 0), False
    return table


def _area(value: float, low: float, high: float) -> str:
    return f"{value:.3f}\n[{low:.2f}, {high:.2f}]"


def listening_table(rows: Sequence[Listener]) -> Table:
    """What listens where."""
    table = Table("part", "what", "address", title="Listening")
    for row in rows:
        table.add_row(row.part, row.what, row.address)
    return table


def audit_tables(report: AuditReport) -> Group:
    """The counts, then every violation."""
    counts = Table("what", "count", title="Audit")
    for owner in (report.counts, report.duplicates):
        for name in owner.__dataclass_fields__:
            prefix = "repeats of " if owner is report.duplicates else ""
            counts.add_row(prefix + name.replace("_", " "), str(getattr(owner, name)))
    lines = [f"[red]{finding}[/red]" for finding in report.violations]
    lines += [f"[yellow]incomplete: {topic} no longer holds all that was written[/]" for topic in report.incomplete]
    verdict = "[green]the invariant holds[/]" if report.holds else f"[red]{len(report.violations)} violations[/]"
    return Group(counts, *lines, verdict)


def answer_line(said: SubjectAnswered) -> str:
    """What was said to a request: `received: 2 uploads opened again, until 2026-01-17 08:00 UTC`, and each upload."""
    words = said.status.value.replace("_", " ")
    if said.uploads:
        words += f": {len(said.uploads)} upload{'s' if len(said.uploads) > 1 else ''} opened again"
    if said.deadline is not None:
        words += f", until {said.deadline.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    if said.in_time is not None:
        words += ", in time" if said.in_time else ", [red]too late[/]"
    if said.left_out:
        words += f"; {said.left_out} more copies were left alone"
    lines = [
        f"  {escape(each.media_id)} round {each.round} ({each.match.value.replace('_', ' ')})"
        + ("" if each.action is None else f": {action(each.action)}")
        for each in said.uploads
    ]
    return "\n".join([words, *lines])


def replay_table(plan: ReplayPlan) -> Group:
    """What was sent again, or would be."""
    table = Table("media id", "stage", "reason", "buried at", "round", "detail", title="Replay")
    for resend in plan.resends:
        letter = resend.letter
        table.add_row(
            letter.media_id or "–",
            letter.failure.stage,
            letter.failure.reason,
            f"{letter.buried_at:%Y-%m-%d %H:%M:%S}",
            str(resend.round or "–"),
            letter.failure.detail[:80],
        )
    done = "sent" if plan.sent else "would be sent; repeat with --send to do it"
    return Group(table, f"{len(plan.resends)} {done}, {plan.already} were sent again before")
