"""A load's report for people."""

from __future__ import annotations

from rich.table import Table

from pipeline.load.find import Found
from pipeline.load.report import Latency, LoadReport


def load_table(report: LoadReport) -> Table:
    """Latencies by kind; what held for all of them below."""
    answers = ", ".join(f"{count} {name}" for name, count in report.answers.items() if count)
    table = Table(
        title="Load",
        caption=f"offered {report.offered:.2f}/s, achieved {report.achieved:.2f}/s, drop {report.drop:.2%}; "
        f"{answers or 'no answers'}; the producer was {report.late * 1000:.0f} ms late at most",
    )
    table.add_column("kind")
    for name in ("sent", "answered", "p50 s", "p95 s", "p99 s"):
        table.add_column(name, justify="right")
    for kind, latency in report.by_kind.items():
        table.add_row(kind, *_row(latency))
    table.add_section()
    table.add_row("all", *_row(report.all))
    return table


def found_table(found: Found) -> Table:
    """Every probe in the order of its rate, and the interval that they leave."""
    edge = "nothing failed" if found.fails is None else f"{found.fails:.2f}/s fails, by most of their probes"
    surely = f"up to {found.always:.2f}/s every probe held" + (
        "" if found.never is None else f", from {found.never:.2f}/s on every one failed"
    )
    table = Table(title="Highest rate", caption=f"{found.rate:.2f}/s holds, {edge}; {surely}")
    for name in ("rate /s", "sent", "achieved /s", "drop", "p50 s", "p95 s", "p99 s"):
        table.add_column(name, justify="right")
    table.add_column("")
    for each in sorted(found.tried, key=lambda tried: tried.rate):
        sent, _, *quantiles = _row(each.report.all)
        mark = "[green]holds[/]" if each.report.holds else "[red]fails[/]"
        table.add_row(
            f"{each.rate:.2f}", sent, f"{each.report.achieved:.2f}", f"{each.report.drop:.1%}", *quantiles, mark
        )
    return table


def _row(latency: Latency) -> tuple[str, ...]:
    quantiles = ("never" if each is None else f"{each:.2f}" for each in (latency.p50, latency.p95, latency.p99))
    return (str(latency.sent), str(latency.answered), *quantiles)
