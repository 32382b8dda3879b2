"""A plan for people in a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group
from rich.table import Table

from pipeline.plan.size import Item, Plan


def plan_tables(plan: Plan, how: str) -> Group:
    """What to run, what it costs, the hours of a day."""
    verdict = "the objective is kept in every hour" if plan.holds else "THE OBJECTIVE IS NOT KEPT IN EVERY HOUR"
    title = f"{figure(plan.uploads_per_day)} uploads a day: {plan.rate_per_worker:.2f}/s a worker; {verdict}"
    hours = Table(title="Hours of a day", caption=how)
    for name in ("hour", "uploads /s", "workers", "busy", "p50 s", "p95 s", "p99 s", "reviewers"):
        hours.add_column(name, justify="right")
    for each in plan.hours:
        hours.add_row(
            str(each.hour),
            figure(each.rate),
            figure(each.workers),
            f"{each.busy:.0%}",
            *(f"{value:.2f}" for value in (each.p50, each.p95, each.p99)),
            figure(each.reviewers),
        )
    return Group(_items(title, plan.items), _items("Cost", plan.costs), hours)


def figure(value: float) -> str:
    """Three figures, with thousands set apart where there are some."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == round(value) else f"{value:.3g}"


def _items(title: str, items: Iterable[Item]) -> Table:
    table = Table(title=title)
    table.add_column("")
    table.add_column("", justify="right")
    table.add_column("")
    table.add_column("known")
    table.add_column("how", ratio=1)
    for item in items:
        table.add_row(item.what, figure(item.value), item.unit, item.known.value, item.how)
    return table
