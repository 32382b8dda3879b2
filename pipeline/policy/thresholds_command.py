"""`unmask policy thresholds`: values that keep a precision and fit reviewers' hours. It proposes; a person commits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from pipeline.errors import ConfigError
from pipeline.policy.backtest_command import Since, Until, between
from pipeline.settings import Settings

out = Console()
err = Console(stderr=True)

LEDGER = "ledger"


def add_to(policy_app: typer.Typer) -> None:
    """Add the command."""
    policy_app.command("thresholds")(thresholds)


def thresholds(
    policy: Annotated[Path | None, typer.Argument(help="The one in use when not given.")] = None,
    source: Annotated[
        str, typer.Option("--from", help="`ledger`, or scores.csv or evaluation.json of `unmask evaluate`.")
    ] = LEDGER,
    since: Since = "30d",
    until: Until = None,
    uploads_per_day: Annotated[
        float | None, typer.Option(min=1, help="As many as are to be handled; as recorded if not given.")
    ] = None,
    reviewer_hours: Annotated[float | None, typer.Option(min=0, help="Of all reviewers in a day.")] = None,
    queue_hours: Annotated[
        list[str] | None, typer.Option(help="Of one queue in a day, as faces=10; repeatable.")
    ] = None,
    precision: Annotated[
        float, typer.Option(min=0.5, max=0.999, help="What restricts by itself must be right so often, at least.")
    ] = 0.95,
    share_manipulated: Annotated[
        float | None,
        typer.Option(help="With an evaluation set: the share of your uploads that are manipulated (0.002)."),
    ] = None,
    most: Annotated[int, typer.Option(min=1000, help="Uploads to work with; of more, a random part.")] = 20_000,
    diff: Annotated[bool, typer.Option("--diff", help="Print the diff to the policy file alone.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Write the plot: page.html or plot.svg; it loads nothing.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Propose thresholds from what people found and the hours they have; status 1 when not all can be reached."""
    from pipeline.policy import threshold_page
    from pipeline.policy.file import read
    from pipeline.policy.threshold_data import from_ledger, from_scores
    from pipeline.policy.thresholds import Wish, propose
    from pipeline.policy.workload import cost, handling

    now = Settings()
    sourced = read(policy or now.policy_file, now.calibration_file)
    measured = {}
    if source == LEDGER:
        from pipeline.ledger.recorded import Records, Span

        records = Records(now.ledger_url)
        try:
            records.check()
            span = Span(*between(since, until, datetime.now(UTC)))
            with err.status("reading what was recorded"):
                sample, recorded_a_day = from_ledger(records, span, sourced.policy, most)
                measured = handling(records.answers(span))
        finally:
            records.close()
    else:
        if share_manipulated is None or not 0 < share_manipulated < 1:
            raise ConfigError(
                "precision depends on how much of the traffic is manipulated, and an evaluation set does not know that:"
                " say --share-manipulated, such as 0.002"
            )
        if uploads_per_day is None and (reviewer_hours is not None or queue_hours):
            raise ConfigError("an evaluation set does not know how many uploads there are: say --uploads-per-day")
        sample, recorded_a_day = from_scores(Path(source), share_manipulated), 1.0
    wish = Wish(uploads_per_day or recorded_a_day, reviewer_hours, precision, _queues(queue_hours or []))
    with err.status("deciding again"):
        found = propose(sourced.policy, sample, wish, lambda queue: cost(queue, measured, sourced.policy))
    patch = threshold_page.diff(sourced, found.changes)
    if plot is not None:
        page = threshold_page.svg(found) if plot.suffix == ".svg" else threshold_page.html(found, patch)
        plot.write_text(page, encoding="utf-8")
    if as_json:
        out.print_json(msgspec.json.encode({"proposals": found, "diff": patch}).decode())
    elif diff:
        typer.echo(patch, nl=False)
    else:
        out.print(f"{found.sample}; {found.per_day:,.0f} uploads a day", highlight=False, markup=False)
        for table in threshold_page.tables(found):
            out.print(table)
        for note in (*threshold_page.reasons(found), *found.notes):
            out.print(f"· {note}", highlight=False, markup=False)
        typer.echo(f"\n{patch}" if patch else "\nNothing to change.", nl=not patch)
    raise typer.Exit(0 if found.holds else 1)


def _queues(given: Sequence[str]) -> dict[str, float]:
    limits = {}
    for each in given:
        queue, _, hours = each.partition("=")
        try:
            limits[queue] = float(hours)
        except ValueError:
            raise ConfigError(f"--queue-hours {each}: say a queue and hours, as faces=10") from None
    return limits
