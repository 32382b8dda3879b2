"""`unmask policy …`: what the policy file says, and what is wrong with it.

Exit status as everywhere: 0 done, 1 what was asked about does not hold, 2 the operator has to change something.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipeline.settings import Settings

policy_app = typer.Typer(no_args_is_help=True, help="The policy file.")
out = Console()
err = Console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@policy_app.command("check")
def check(file: Annotated[Path | None, typer.Argument(help="The one in use when not given.")] = None) -> None:
    """Read a policy file and say what it holds, or what is wrong with it."""
    from pipeline.policy.file import load

    policy = load(file or Settings().policy_file, Settings().calibration_file)
    out.print(
        f"{policy.version}: {len(policy.rules)} rules, {len(policy.fail_modes)} fail modes, queues:", highlight=False
    )
    for queue in policy.queues:
        out.print(f"  {queue}", highlight=False)
