"""`unmask policy status` and `unmask policy at`: what is in force, and what was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from pipeline.errors import UnmaskError
from pipeline.moments import utc
from pipeline.policy.activations import PolicyWords, Switch, WorkerPolicy
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.ledger.policies import PolicyRecord

out = Console()

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


class Status(msgspec.Struct, frozen=True):
    """What `unmask policy status --json` prints. `agreed`: every worker decides by what is in force."""

    in_force: Switch | None
    coming: tuple[Switch, ...]
    workers: tuple[WorkerPolicy, ...]
    agreed: bool


class Kept(msgspec.Struct, frozen=True):
    """What `unmask policy at --json` prints. `switch`: the one in force at the moment that was asked for."""

    words: PolicyWords
    switch: Switch | None


def add_to(policy_app: typer.Typer) -> None:
    """Add the commands."""
    policy_app.command("status")(status)
    policy_app.command("at")(at)


def status(as_json: AsJson = False) -> None:
    """What is in force, what comes next, and what every worker decides by; status 1 when a worker differs."""
    with _record() as record:
        in_force, workers = record.at(), record.workers()
        coming = record.after(in_force.number) if in_force else ()
    agreed = in_force is not None and all(worker.key == in_force.key and worker.refused is None for worker in workers)
    found = Status(in_force, coming, workers, agreed)
    if as_json:
        out.print_json(msgspec.json.encode(found).decode())
    else:
        _show(found)
    raise typer.Exit(0 if agreed else 1)


def at(
    when: Annotated[str, typer.Argument(help="A moment (2026-03-01T12:00:00Z; no offset: UTC) or a policy's version.")],
    calibration: Annotated[bool, typer.Option("--calibration", help="Print the calibration instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the policy that was in force at a moment, or that a decision names, as it was written."""
    with _record() as record:
        kept = _kept(record, when)
    if as_json:
        out.print_json(msgspec.json.encode(kept).decode())
    else:
        typer.echo(kept.words.calibration if calibration else kept.words.policy, nl=False)


@contextmanager
def _record() -> Iterator[PolicyRecord]:
    from pipeline.ledger.ledger import Ledger
    from pipeline.ledger.policies import PolicyRecord

    ledger = Ledger(Settings().ledger_url)
    try:
        ledger.check()
        yield PolicyRecord(ledger)
    finally:
        ledger.close()


def _kept(record: PolicyRecord, when: str) -> Kept:
    switch = None
    if "@" in when:
        version, _, fusion = when.partition("+")
        keys = [key for key in record.known(version) if fusion in ("", key.fusion_version)]
        if not keys:
            raise UnmaskError(f"{when} was never in force, as far as this ledger knows")
        if len(keys) > 1:
            names = ", ".join(f"{key.version}+{key.fusion_version}" for key in keys)
            raise UnmaskError(f"{version} was in force with several calibrations; name one of {names}")
        key = keys[0]
    else:
        switch = record.at(_moment(when))
        if switch is None:
            raise UnmaskError(f"nothing was in force at {when}, as far as this ledger knows")
        key = switch.key
    words = record.words(key)
    if words is None:
        raise UnmaskError(f"the words of {key.version} are not on record")
    return Kept(words, switch)


def _moment(when: str) -> datetime:

    try:
        moment = utc(datetime.fromisoformat(when))
    except ValueError:
        raise UnmaskError(f"{when!r} is neither a moment (2026-03-01T12:00:00Z) nor a version (name@digest)") from None
    assert moment is not None
    return moment


def _show(found: Status) -> None:
    if found.in_force is None:
        out.print(
            "No policy was in force yet, as far as this ledger knows: the first worker that starts brings its own."
        )
        return
    switches = Table("", "policy", "calibration", "from", "asked for by", title="Policies")
    for label, each in (("in force", found.in_force), *(("coming", each) for each in found.coming)):
        if each is not None:
            moment = each.active_from.isoformat(timespec="milliseconds")
            switches.add_row(label, each.key.version, each.key.fusion_version, moment, each.proposed_by)
    workers = Table("worker", "decides by", "since", "its file", title="Workers")
    for worker in found.workers:
        since = worker.since.isoformat(timespec="milliseconds") if worker.since else "not on record yet"
        own = "[red]refused[/]" if worker.file is None else "the same" if worker.file == worker.key else "another"
        workers.add_row(worker.worker_id, worker.key.version, since, own)
    out.print(switches, workers)
    for worker in found.workers:
        if worker.refused:
            out.print(f"{worker.worker_id}: {worker.refused}", highlight=False, soft_wrap=True, markup=False)
