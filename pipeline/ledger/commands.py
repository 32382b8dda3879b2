"""`unmask ledger …`: the schema of the database.

Exit status as everywhere: 0 done, 1 what was asked about does not hold, 2 the operator has to change something.
"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from pipeline.settings import Settings

ledger_app = typer.Typer(no_args_is_help=True, help="The database.")
out = Console()


@ledger_app.command("migrate")
def migrate() -> None:
    """Bring the schema up to date, as every worker does when it starts; a newer one is left alone."""
    from pipeline.ledger.ledger import Ledger

    ledger = Ledger(Settings().ledger_url)
    ledger.migrate()
    ledger.check()
    ledger.close()
    out.print("The schema is up to date.")


@ledger_app.command("back")
def back(
    revision: Annotated[str, typer.Argument(help="The older release's schema, such as 0005.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it, only say so.")] = False,
) -> None:
    """Take the schema back for an older release. What later steps added is lost (docs/ledger.md): back up first, and
    stop everything of this release, which would bring the schema forward again."""
    from pipeline.ledger.ledger import Ledger

    if not yes:
        out.print(f"Would go back to {revision}, and lose what later steps added (nothing was done: add --yes)")
        return
    ledger = Ledger(Settings().ledger_url)
    ledger.go_back(revision)
    ledger.close()
    out.print(f"The schema is {revision}.")
