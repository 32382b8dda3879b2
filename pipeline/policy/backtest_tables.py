"""A backtest as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pipeline.policy.backtest_result import (
    Backtest,
    CauseCount,
    ExampleShown,
    Quality,
    ShadowReport,
    ShadowRule,
    Split,
    Transition,
)
from pipeline.policy.share import Share
from pipeline.policy.workload import Handling, Source

SELECTIVE = (
    "Only uploads that somebody asked a person about have a human answer. Shares are of those alone: what nobody looked"
    " at, right or wrong, is not in them, so recall is too high, and what a new policy adds is not judged at all."
)
_COLOURS = {"allow": "green", "label": "cyan", "limit": "yellow", "hold": "magenta", "remove": "red"}
_MOST_ROWS = 15


def tables(found: Backtest) -> RenderableType:
    """All of it, the headline first."""
    return Group(*_parts(found))


def headline(found: Backtest) -> str:
    """What a lead wants to know first, in a sentence or three."""
    if not found.uploads:
        return "Nothing was recorded in this time."
    against = "what was decided" if found.against == "recorded" else found.against
    turned = ", ".join(
        f"{count} {word}"
        for count, word in (
            (found.stricter, "stricter"),
            (found.milder, "milder"),
            (found.review_only, "in review alone"),
        )
        if count
    )
    flips = (
        f"{found.flips} of {found.uploads} uploads ({found.flipped:.2%}) would be treated otherwise than by {against}"
    )
    daily = found.hours / found.days_long
    hours = f"Reviewers: {found.hours:+.1f} hours in {found.days_long:.3g} days ({daily:+.1f} a day)"
    return f"{flips}{': ' + turned if turned else ''}. {hours}."


def _parts(found: Backtest) -> Iterator[RenderableType]:
    yield Text(f"{found.new} against {found.against}", style="bold")
    yield Text(f"{found.since:%Y-%m-%d %H:%M} – {found.until:%Y-%m-%d %H:%M} UTC", style="dim")
    yield Text(headline(found))
    if not found.uploads:
        return
    yield Text(
        f"{found.not_screened} uploads could not be screened; people looked at {found.reviewed}. Decided then by "
        + ", ".join(f"{each.name} ({each.count})" for each in found.decided_by)
    )
    for warning in found.warnings:
        yield Text(f"! {warning}", style="yellow")
    yield _actions(found)
    for title, splits in (("harm", found.by_harm), ("surface", found.by_surface), ("region", found.by_region)):
        if any(each.flips for each in splits):
            yield _split(title, splits)
    if found.queues:
        yield _queues(found)
    if found.due or found.clocks:
        yield _due(found)
    if found.causes:
        yield _causes(found.causes)
    if found.shadow:
        yield _shadow("Shadow rules: what they would have done, each by itself", found.shadow, found.uploads)
    if found.quality:
        yield _quality(found)
    if found.examples:
        yield _examples(found.examples)


def _actions(found: Backtest) -> Table:
    table = Table("then", "now", "uploads", title="Actions that apply everywhere")
    table.columns[2].justify = "right"
    for each in found.actions:
        style = "dim" if each.before == each.after else None
        table.add_row(_action(each.before), _action(each.after), str(each.uploads), style=style)
    return table


def _split(title: str, splits: Sequence[Split]) -> Table:
    of = ("uploads",) if any(each.uploads for each in splits) else ()
    table = Table(title, *of, "stricter", "milder", "review alone", title=f"Flips by {title}")
    for column in table.columns[1:]:
        column.justify = "right"
    for each in splits[:_MOST_ROWS]:
        counts = (*((each.uploads,) if of else ()), each.stricter, each.milder, each.review)
        table.add_row(escape(each.name), *(str(n or "–") for n in counts))
    if len(splits) > _MOST_ROWS:
        table.caption = f"and {len(splits) - _MOST_ROWS} more in --json and --html"
    return table


def _queues(found: Backtest) -> Table:
    table = Table("queue", "then", "now", "added", "removed", "a task takes", "hours", title="Review tasks")
    for column in (1, 2, 3, 4, 6):
        table.columns[column].justify = "right"
    for each in found.queues:
        counts = (each.before, each.after, each.added, each.removed)
        table.add_row(escape(each.queue), *map(str, counts), takes(each.handling), f"{each.hours:+.1f}")
    table.add_row("all", "", "", "", "", "", f"{found.hours:+.1f}", style="bold")
    if moves := moved(found.moves):
        table.caption = escape(moves)
    return table


def moved(moves: Sequence[Transition]) -> str:
    """`27 triage → faces; 4 nobody → faces`: the most first."""
    ordered = sorted(moves, key=lambda each: (-each.uploads, each.before, each.after))
    told = [f"{each.uploads} {each.before or 'nobody'} → {each.after or 'nobody'}" for each in ordered]
    more = f"; and {len(told) - _MOST_ROWS} more kinds" if len(told) > _MOST_ROWS else ""
    return "; ".join(told[:_MOST_ROWS]) + more


def takes(handling: Handling) -> str:
    """`161 s, as 62 reviews took`."""
    if handling.source is Source.MEASURED:
        return f"{handling.seconds:.0f} s, mean of {handling.reviews} reviews"
    return f"{handling.seconds:.0f} s, the policy's 90th percentile"


def _due(found: Backtest) -> Table:
    table = Table("queue", "earlier", "later", "on average", "more urgent", "less urgent", title="Tasks due otherwise")
    for each in found.due:
        counts = (each.earlier, each.later)
        table.add_row(
            escape(each.queue), *map(str, counts), f"{each.hours:+.1f} h", str(each.more_urgent), str(each.less_urgent)
        )
    if found.clocks:
        told = (f"{each.before or 'no clock'} → {each.after or 'no clock'}: {each.uploads}" for each in found.clocks)
        table.caption = escape("; ".join(told))
    return table


def _causes(causes: Sequence[CauseCount]) -> Table:
    table = Table("", "rule or fail mode", "stricter", "milder", "review alone", title="Which rules are behind it")
    for column in table.columns[2:]:
        column.justify = "right"
    for each in causes[:_MOST_ROWS]:
        why = f" (left alone: {each.exempted_by})" if each.exempted_by else ""
        counts = (each.stricter, each.milder, each.review)
        table.add_row(each.sign, escape(f"{each.rule}{why}"), *(str(n or "–") for n in counts))
    table.caption = "+ acts now and did not, - no longer, ~ otherwise; an upload may count for several"
    return table


def shadow_table(found: ShadowReport) -> Table:
    """What `unmask policy shadow` found."""
    title = f"Shadow rules, {found.since:%Y-%m-%d %H:%M} – {found.until:%Y-%m-%d %H:%M} UTC: {found.uploads} uploads"
    return _shadow(title, found.rules, found.uploads)


def _shadow(title: str, rules: Sequence[ShadowRule], uploads: int) -> Table:
    table = Table("rule", "hits", "exempted", "stricter", "tasks", "hours", "people acted on", title=title)
    for column in (1, 2):
        table.columns[column].justify = "right"
    for each in rules:
        table.add_row(
            escape(each.rule),
            f"{each.hits} ({each.hits / uploads:.2%})" if uploads else "0",
            str(each.exempted or "–"),
            "\n".join(f"{t.uploads} {t.before} → {t.after}" for t in each.actions) or "–",
            "\n".join(f"{t.count} {escape(t.name)}" for t in each.tasks) or "–",
            f"{each.hours:+.1f}",
            shared(each.right),
        )
    table.caption = SELECTIVE if rules else "no shadow rule fired"
    return table


def shared(value: Share) -> str:
    """`74 % (67–80 %) of 178`."""
    if value.share is None:
        return "nobody looked"
    return f"{value.share:.0%} ({value.low:.0%}–{value.high:.0%}) of {value.of}"


def _quality(found: Backtest) -> Table:
    table = Table("", "side", "precision", "recall", title="Against what people decided (95 % intervals)")
    rows: tuple[Quality, ...] = (*found.quality, *found.families)
    for each in rows:
        side = "then" if each.side == "before" else "now"
        table.add_row(escape(each.what.replace("_", " ")), side, shared(each.precision), shared(each.recall))
    unknown = {each.name: each.count for each in found.nobody_looked}
    table.caption = (
        f"{SELECTIVE} Asked about or restricted, and nobody looked: {unknown['before']} then, {unknown['after']} now."
    )
    return table


def _examples(examples: Sequence[ExampleShown]) -> Table:
    table = Table("upload", "where", "then", "now", "because of", "a person", title="Examples", show_lines=True)
    for each in examples:
        table.add_row(
            escape(each.media_id) + (f" (round {each.round})" if each.round > 1 else ""),
            escape(f"{each.surface.value} {', '.join(each.regions)}".strip()),
            _outcome(each.before, each.queue_before),
            _outcome(each.after, each.queue_after),
            escape("\n".join((*each.causes, *each.reasons_after[:1]))),
            _action(each.verdict.value) if each.verdict else "–",
        )
    return table


def _outcome(action: str, queue: str | None) -> str:
    return _action(action) + (f"\n→ {escape(queue)}" if queue else "")


def _action(text: str) -> str:
    colour = _COLOURS.get(text)
    return f"[{colour}]{text}[/]" if colour else escape(text)
