"""`unmask ledger …`: the schema, brought up to date before a release's processes start."""

from __future__ import annotations

import typer
from rich.console import Console

from pipeline.settings import Settings

ledger_app = typer.Typer(help="The database.", no_args_is_help=True)

out = Console()


@ledger_app.callback()
def group() -> None:
    """The database."""


@ledger_app.command("migrate")
def migrate() -> None:
    """Bring the schema up to date, under a lock; a newer schema is left alone. Workers do the same when they start."""
    from pipeline.ledger.ledger import SCHEMA, Ledger

    ledger = Ledger(Settings().ledger_url)
    try:
        ledger.migrate()
        ledger.check()
    finally:
        ledger.close()
    out.print(f"the schema is at least {SCHEMA}", highlight=False)
