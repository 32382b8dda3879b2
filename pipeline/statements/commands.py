"""`unmask report …`: statements of reasons, notices. Exit status as everywhere: 0, 1 or 2."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from pipeline import log
from pipeline.errors import UnmaskError
from pipeline.moments import utc
from pipeline.settings import Settings
from pipeline.statements.rows import Entry, StatementState

if TYPE_CHECKING:  # slow to load, and every command of `unmask` loads this module
    from pipeline.ledger.ledger import Ledger
    from pipeline.ledger.statements import Outbox
    from pipeline.statements.outbox import Flushed

app = typer.Typer(no_args_is_help=True, help="What is said of decisions: statements of reasons, notices.")
out = Console()
err = Console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@dataclass(frozen=True, slots=True)
class _Sent:
    """What `report dsa` did, and how the outbox stands afterwards."""

    to: str
    dry_run: bool
    batches: int
    sent: int
    already: int
    refused: dict[str, str]
    silent: list[str]
    trouble: str | None
    outbox: dict[str, int]

    @property
    def complete(self) -> bool:
        """Nothing that is due is left behind."""
        kept = self.outbox[StatementState.REFUSED.value] + self.outbox[StatementState.HELD_BACK.value]
        return not (kept or self.silent or self.trouble)


@app.command()
def dsa(
    to: Annotated[str, typer.Option(help="URL that takes batches (…/api/v1/statements), or a folder for files.")],
    since: Annotated[datetime | None, typer.Option(help="Only decisions from this time (UTC) on.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Send nothing; show what would be sent.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send the statements of reasons that are queued, once each.

    Status 1 when statements are refused, held back or not confirmed, or when the endpoint is away.
    """
    from pipeline.statements.outbox import Flushed

    log.configure("error", "console")
    when = utc(since)
    with _outbox() as outbox:
        waiting = outbox.entries([StatementState.QUEUED], since=when)
        done = Flushed() if dry_run else asyncio.run(_send(outbox, to, when))
        result = _Sent(to=to, dry_run=dry_run, **asdict(done), outbox=outbox.counts())
        if as_json:
            statements = [msgspec.Raw(entry.body.encode()) for entry in waiting] if dry_run else []
            _json({**asdict(result), "would_send": statements} if dry_run else asdict(result))
        else:
            out.print(_sent_table(result))
            if dry_run:
                out.print(_entries_table(waiting, "Would be sent"))
            _say_what_is_wrong(result, outbox)
    raise typer.Exit(0 if result.complete else 1)


async def _send(outbox: Outbox, to: str, since: datetime | None) -> Flushed:
    from pipeline.statements.folder import Folder
    from pipeline.statements.outbox import Deliver, flush
    from pipeline.statements.send import Endpoint

    secret = Settings().dsa_token
    token = None if secret is None else secret.get_secret_value()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    async with AsyncExitStack() as parts:
        if "://" in to:
            deliver: Deliver = (await parts.enter_async_context(Endpoint(to, token))).deliver
        else:
            deliver = Folder(Path(to)).deliver
        progress = parts.enter_context(Progress(*columns, console=err, transient=True))
        bar = progress.add_task("batches", total=None)
        return await flush(
            outbox,
            deliver,
            clock=lambda: datetime.now(UTC),
            since=since,
            on_step=lambda done, of: progress.update(bar, completed=done, total=of),
        )


@app.command("statements")
def statements_(
    state: Annotated[list[StatementState] | None, typer.Option(help="Only these; may be given again.")] = None,
    media_id: Annotated[str | None, typer.Option(help="Only of this upload.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="So many at most, the oldest first.")] = 100,
    as_json: AsJson = False,
) -> None:
    """What is in the outbox, and why something was held back or refused."""
    with _outbox() as outbox:
        entries = outbox.entries(state or tuple(StatementState), media_id=media_id, limit=limit)
    if as_json:
        _json([_shown(entry) for entry in entries])
    else:
        out.print(_entries_table(entries, "Statements"))


@app.command()
def release(puids: Annotated[list[str], typer.Argument(help="Statements that were held back or refused.")]) -> None:
    """Queue statements as they are: somebody has looked, and answers for them. Status 1 when one is not there."""
    with _outbox() as outbox:
        count = outbox.release(puids)
    out.print(f"{count} of {len(puids)} queued")
    raise typer.Exit(0 if count == len(set(puids)) else 1)


@app.command()
def notice(
    media_id: Annotated[str, typer.Argument(help="The upload.")],
    appeal_url: Annotated[str | None, typer.Option(help="Where to complain; UNMASK_APPEAL_URL when not given.")] = None,
    as_json: AsJson = False,
) -> None:
    """What the uploader is to be told of the decision that applies now. Status 1 when there is none."""
    from pipeline.policy.file import load
    from pipeline.statements.notice import notice as written

    settings = Settings()
    policy = load(settings.policy_file, settings.calibration_file)
    with _outbox() as outbox, _ledger() as ledger:
        outcome = ledger.outcome(media_id)
        decided = ledger.decision(media_id, outcome.round) if outcome else None
        review = outbox.review_of(outcome) if outcome else None
    if outcome is None or decided is None:
        raise UnmaskError(f"no decision on {media_id}")
    found = written(decided, outcome, policy.harms, review=review, appeal_url=appeal_url or settings.appeal_url)
    if as_json:
        _json(found)
    elif found is None:
        out.print(f"{media_id}: nothing is restricted, so there is nothing to notify", highlight=False)
    else:
        out.print(found.text, highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(0 if found is not None else 1)


@contextmanager
def _ledger() -> Iterator[Ledger]:
    from pipeline.ledger.ledger import Ledger

    ledger = Ledger(Settings().ledger_url)
    try:
        ledger.check()
        yield ledger
    finally:
        ledger.close()


@contextmanager
def _outbox() -> Iterator[Outbox]:
    from pipeline.ledger.statements import Outbox

    with _ledger() as ledger:
        yield Outbox(ledger)


def _sent_table(result: _Sent) -> Table:
    table = Table("what", "count", title=f"Statements of reasons → {escape(result.to)}")
    if not result.dry_run:
        table.add_row("batches", str(result.batches))
        table.add_row("sent now", str(result.sent))
        table.add_row("of them the endpoint had already", str(result.already))
        table.add_row("refused now", str(len(result.refused)))
    for state, count in result.outbox.items():
        table.add_row(f"in the outbox: {state}", str(count))
    return table


def _say_what_is_wrong(result: _Sent, outbox: Outbox) -> None:
    if result.trouble:
        err.print(f"[red]stopped:[/] {escape(result.trouble)}; what is left stays queued", highlight=False)
    if result.silent:
        err.print(f"[red]not confirmed:[/] {', '.join(result.silent)}", highlight=False)
    if not result.complete:
        kept = outbox.entries([StatementState.REFUSED, StatementState.HELD_BACK], limit=20)
        if kept:
            err.print(_entries_table(kept, "Not sent"))
            err.print("`unmask report release PUID` queues one as it is.", highlight=False)


def _entries_table(entries: Sequence[Entry], title: str) -> Table:
    table = Table("puid", "upload", "since", "state", "restriction", "where", "why", title=title)
    for entry in entries:
        body = msgspec.json.decode(entry.body)
        where = body.get("territorial_scope", ())
        table.add_row(
            entry.puid,
            escape(entry.media_id),
            f"{entry.queued_at:%Y-%m-%d %H:%M}",
            entry.state.value,
            ", ".join(each.rpartition("_")[2].lower() for each in body.get("decision_visibility", ())),
            f"{len(where)} countries" if len(where) > 6 else ", ".join(where),
            escape(entry.why or "; ".join(_findings(entry))),
        )
    return table


def _findings(entry: Entry) -> Iterator[str]:
    for found in msgspec.json.decode(entry.findings):
        field = f" in {found['field']}" if found["field"] else ""
        yield f"{found['kind']}{field}: {found['excerpt']}"


def _shown(entry: Entry) -> dict[str, Any]:
    raw = {"body": msgspec.Raw(entry.body.encode()), "findings": msgspec.Raw(entry.findings.encode())}
    return {**asdict(entry), **raw}


def _json(value: Any) -> None:
    out.print_json(msgspec.json.encode(value).decode())
