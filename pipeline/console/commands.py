"""`unmask console …`: serve it, and manage local accounts."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console

from pipeline import log
from pipeline.errors import ConfigError
from pipeline.settings import Settings

console_app = typer.Typer(help="The review console.", no_args_is_help=True)

out = Console()


@console_app.command("serve")
def serve() -> None:
    """Serve the console and publish what people decide, until a signal."""
    from pipeline.console.run import serve as run

    settings = Settings()
    log.configure(settings.log_level, settings.log_format)
    asyncio.run(run(settings))


@console_app.command("account")
def account(
    name: Annotated[str, typer.Argument(help="What the person types to sign in.")],
    role: Annotated[
        list[str] | None, typer.Option(help="reviewer, lead, admin, auditor, readonly or integration; several times.")
    ] = None,
    queue: Annotated[list[str] | None, typer.Option(help="A queue that is theirs, or * for every one.")] = None,
) -> None:
    """Make a local account, or give it a new password; prints the password, which works once. Not for production."""
    from pipeline.console.accounts import make_account
    from pipeline.ledger.ledger import Ledger
    from pipeline.ledger.people import People
    from pipeline.review.people import Person, Role

    if Settings().console_oidc_issuer is not None:
        raise ConfigError("people come in by the OpenID provider here: local accounts are off")
    try:
        roles = frozenset(Role(each) for each in role or ["reviewer"])
    except ValueError as error:
        raise ConfigError(f"{error}: known roles are {', '.join(Role)}") from None
    ledger = Ledger(Settings().ledger_url)
    ledger.migrate()
    person = Person(name, name, roles, frozenset(queue or ["*"]))
    password = make_account(People(ledger), person, datetime.now(UTC))
    ledger.close()
    out.print(f"{name}  {password}", highlight=False, soft_wrap=True)
