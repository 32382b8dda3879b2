"""`unmask policy backtest` and `unmask policy shadow`: what a policy would do, seen on what was recorded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from pipeline.errors import ConfigError
from pipeline.moments import is_length, length
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.policy.backtest_run import Progress

out = Console()
err = Console(stderr=True)

_MOST_PROCESSES = 8
"""More help little: each reads the database."""

Since = Annotated[str, typer.Option(help="From when: 12h or 7d before the end, or a date or moment (UTC).")]
Until = Annotated[str | None, typer.Option(help="Up to, not including: a date or moment (UTC); now if not given.")]
EveryRound = Annotated[
    bool, typer.Option("--every-round", help="Earlier rounds of an upload too, not its latest alone.")
]
Processes = Annotated[
    int | None, typer.Option(min=1, max=64, help="That share the work; one per processor if not given.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def backtest_command(
    new: Annotated[Path, typer.Argument(help="The policy file to try out.")],
    since: Since = "7d",
    until: Until = None,
    policy: Annotated[
        str,
        typer.Option(
            help="What to compare with: `recorded`, what was decided then; or a policy file, decided again on the same,"
            " so that what differs is the new file's doing alone."
        ),
    ] = "recorded",
    calibration: Annotated[
        Path | None, typer.Option(help="Of the new policy; the one in use if not given. The other side keeps that one.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with plots; it loads nothing.")] = None,
    examples: Annotated[int, typer.Option(min=0, max=1000, help="Uploads to show, the most consequential first.")] = 20,
    max_added_hours: Annotated[
        float | None, typer.Option(help="Status 1 when reviewers would need more hours on top, all queues together.")
    ] = None,
    max_flips: Annotated[
        str | None, typer.Option(help="Status 1 when more uploads would be treated otherwise: 500, or 2%.")
    ] = None,
    every_round: EveryRound = False,
    processes: Processes = None,
    as_json: AsJson = False,
) -> None:
    """Decide recorded uploads again under another policy, from their stored signals, and show what would differ."""
    from pipeline.policy.backtest_page import page
    from pipeline.policy.backtest_result import exceeded, flips_allowed
    from pipeline.policy.backtest_run import Window, backtest
    from pipeline.policy.backtest_tables import tables
    from pipeline.policy.file import read

    now = Settings()
    if max_flips is not None:
        try:
            flips_allowed(max_flips, 1)
        except ValueError:
            raise ConfigError(
                f"--max-flips {max_flips}: a number of uploads such as 500, or a share such as 2%"
            ) from None
    old = None if policy == "recorded" else read(Path(policy), now.calibration_file)
    tried = read(new, calibration or now.calibration_file)
    window = Window(*between(since, until, datetime.now(UTC)), every_round=every_round)
    with _told() as progress:
        found = backtest(
            now.ledger_url,
            tried,
            old,
            window,
            examples=examples,
            processes=processes or _processors(),
            progress=progress,
        )
    found = msgspec.structs.replace(found, exceeded=exceeded(found, max_added_hours, max_flips))
    if html is not None:
        html.write_text(page(found), encoding="utf-8")
    if as_json:
        out.print_json(msgspec.json.encode(found).decode())
    else:
        out.print(tables(found))
    if html is not None:
        err.print(f"page: {html}", highlight=False, soft_wrap=True)
    for sentence in found.exceeded:
        err.print(f"[red]exceeded:[/] {sentence}", highlight=False, soft_wrap=True)
    raise typer.Exit(1 if found.exceeded else 0)


def shadow_command(
    since: Since = "7d",
    until: Until = None,
    every_round: EveryRound = False,
    processes: Processes = None,
    as_json: AsJson = False,
) -> None:
    """What shadow rules would have done, from the traces of recorded decisions."""
    from pipeline.policy.backtest_run import Window, shadowed
    from pipeline.policy.backtest_tables import shadow_table
    from pipeline.policy.file import load

    now = Settings()
    policy = load(now.policy_file, now.calibration_file)
    window = Window(*between(since, until, datetime.now(UTC)), every_round=every_round)
    with _told() as progress:
        found = shadowed(now.ledger_url, policy, window, processes=processes or _processors(), progress=progress)
    if as_json:
        out.print_json(msgspec.json.encode(found).decode())
    else:
        out.print(shadow_table(found))


def add_to(app: typer.Typer) -> None:
    """Both commands."""
    app.command("backtest")(backtest_command)
    app.command("shadow")(shadow_command)


def between(since: str, until: str | None, now: datetime) -> tuple[datetime, datetime]:
    """From when to when.

    Raises:
        ConfigError: one of them is no moment, or the end is not after the beginning.
    """
    end = now if until is None else _moment("--until", until)
    begin = end - length(since) if is_length(since) else _moment("--since", since)
    if begin >= end:
        raise ConfigError(f"--since {since}: is not before the end, {end.isoformat(timespec='seconds')}")
    return begin, end


def _moment(option: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option} {text}: 12h, 7d, 2026-03-02 or 2026-03-02T08:00Z are understood") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _processors() -> int:
    return min(_MOST_PROCESSES, len(os.sched_getaffinity(0)))


@contextmanager
def _told() -> Iterator[Progress]:
    """A bar on stderr while it is being read."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, console=err, transient=True) as bar:
        line = bar.add_task("deciding again", total=None)
        yield lambda done, of: bar.update(line, completed=done, total=of)
