"""`unmask console …`: serve it, and manage local accounts."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
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


@console_app.command("token")
def token(
    name: Annotated[str, typer.Argument(help="Of the tool, as the audit log will name it.")],
    queue: Annotated[list[str] | None, typer.Option(help="A queue that it may work, or * for every one.")] = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="For how long it holds.")] = 90,
) -> None:
    """Make a token with which a platform's own tool uses the API (`Authorization: Bearer …`); prints it once."""
    from pipeline.ledger.ledger import Ledger
    from pipeline.ledger.people import People
    from pipeline.review.people import Person, Role

    ledger = Ledger(Settings().ledger_url)
    ledger.migrate()
    person = Person(name, name, frozenset({Role.INTEGRATION}), frozenset(queue or ["*"]))
    now = datetime.now(UTC)
    secret = People(ledger).open_session(person, now, now + timedelta(days=days))
    ledger.close()
    out.print(secret, highlight=False, soft_wrap=True)


@console_app.command("sign-out")
def sign_out(name: Annotated[str, typer.Argument(help="A person, or a tool that has tokens.")]) -> None:
    """End every session and token of somebody, at once."""
    from pipeline.ledger.ledger import Ledger
    from pipeline.ledger.people import People

    ledger = Ledger(Settings().ledger_url)
    ledger.migrate()
    count = People(ledger).end_sessions(name)
    ledger.close()
    out.print(f"{count} ended", highlight=False)


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
