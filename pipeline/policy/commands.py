"""`unmask policy …`: what the policy file says, and what is wrong with it.

Exit status as everywhere: 0 done, 1 what was asked about does not hold, 2 the operator has to change something.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.policy.backtest_command import add_to as add_backtests
from pipeline.policy.check_commands import add_to as add_check
from pipeline.policy.record_commands import add_to as add_record
from pipeline.policy.thresholds_command import add_to as add_thresholds
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.policy.cases import Ran

policy_app = typer.Typer(no_args_is_help=True, help="The policy file.")
add_check(policy_app)
add_backtests(policy_app)
add_record(policy_app)
add_thresholds(policy_app)
out = Console()
err = Console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@policy_app.command("test")
def run_cases(
    policy: Annotated[Path | None, typer.Argument(help="The one in use when not given.")] = None,
    cases: Annotated[Path | None, typer.Option(help="Left out: beside the policy, NAME.cases.yaml.")] = None,
    every: Annotated[bool, typer.Option("--all", help="List the cases that hold too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run the cases beside a policy: what should come of an upload, and whether it does."""
    from pipeline.policy.cases import beside, read
    from pipeline.policy.file import DEFAULT, load

    path = policy or Settings().policy_file or DEFAULT
    ran = read(cases or beside(path), load(path, Settings().calibration_file)).run()
    if as_json:
        out.print_json(msgspec.json.encode(ran).decode())
    else:
        if every or not ran.held:
            out.print(cases_table(ran, every))
        held = sum(result.held for result in ran.results)
        out.print(f"{ran.policy_version}: {held} of {len(ran.results)} cases hold", highlight=False)
        for kind, names in ran.idle.items():
            err.print(f"[yellow]no case for[/] {kind}: {', '.join(names)}", highlight=False, soft_wrap=True)
    raise typer.Exit(0 if ran.held else 1)


def cases_table(ran: Ran, every: bool) -> Table:
    """Cases that fail, or every one; of one that fails, the lines of what it expected, what came instead, and why."""
    table = Table("", "line", "case")
    for result in ran.results if every else (result for result in ran.results if not result.held):
        told = [escape(result.name)]
        told += [
            f"[red]line {miss.line}: {miss.what} should be {escape(miss.expected)}, came: {escape(miss.came)}[/]"
            for miss in result.misses
        ]
        if not result.held:
            told += [f"[dim]{escape(reason)}[/]" for reason in result.decision.reasons]
        table.add_row("[green]✓[/]" if result.held else "[red]✗[/]", str(result.line), "\n".join(told))
    return table
