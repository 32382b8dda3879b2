"""`unmask policy check | show | fields | schema`: what a policy says, what it may say, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.policy.lint import Finding
    from pipeline.policy.rules import FailMode, Policy, Review, Rule

out = Console()

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
File = Annotated[Path | None, typer.Argument(help="The one in use when not given.")]


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What `unmask policy check --json` prints. `version` is empty where the file is refused."""

    file: str
    version: str
    findings: tuple[Finding, ...]


def add_to(app: typer.Typer) -> None:
    """Add these commands to `unmask policy`."""
    app.command("check")(check)
    app.command("show")(show)
    app.command("fields")(fields)
    app.command("schema")(schema)


def check(
    file: File = None,
    strict: Annotated[bool, typer.Option("--strict", help="Status 1 on warnings too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say everything that is wrong with a policy file, with line and column; status 1 on errors."""
    from pipeline.policy.file import DEFAULT
    from pipeline.policy.lint import Severity

    path = file or Settings().policy_file or DEFAULT
    checked = checked_file(path)
    errors = sum(each.severity is Severity.ERROR for each in checked.findings)
    warnings = len(checked.findings) - errors
    if as_json:
        out.print_json(msgspec.json.encode(checked).decode())
    else:
        for each in checked.findings:
            place = f"{path}:{each.line}:{each.column}" if each.line else str(path)
            subject = f"{each.rule}: " if each.rule else ""
            line = f"{place}: {each.severity}: {subject}{each.text}"
            out.print(line, highlight=False, soft_wrap=True, markup=False)
        out.print(f"{checked.version or path}: {errors} errors, {warnings} warnings", highlight=False, soft_wrap=True)
    raise typer.Exit(1 if errors or (strict and warnings) else 0)


def checked_file(path: Path) -> Checked:
    """What is wrong with a file: what keeps it from being loaded or, where it loads, what was probably not meant."""
    from pipeline.policy.file import read
    from pipeline.policy.lint import Finding, Severity, lint
    from pipeline.policy.places import BadPolicy

    try:
        source = read(path, Settings().calibration_file)
    except BadPolicy as error:
        found = tuple(
            Finding(
                Severity.ERROR,
                each.place.line if each.place else None,
                each.place.column if each.place else None,
                each.subject,
                each.why,
            )
            for each in error.problems
        )
        return Checked(file=str(path), version="", findings=found)
    return Checked(file=str(path), version=source.policy.version, findings=lint(source, datetime.now(UTC).date()))


def show(file: File = None, as_json: AsJson = False) -> None:
    """What a policy says, the strongest first: rules, fail modes, queues, clocks with their sources."""
    from pipeline.policy.file import load

    policy = load(file or Settings().policy_file, Settings().calibration_file)
    if as_json:
        shown = {"version": policy.version, "fusion_version": policy.fusion_version, "policy": policy.file}
        out.print_json(msgspec.json.encode(shown).decode())
        return
    for table in tables(policy):
        out.print(table)


def tables(policy: Policy) -> Iterable[Table]:
    """A policy for people."""
    rules = Table(title=f"{policy.version}: rules, the strongest first", show_lines=True)
    modes = Table(title="When something could not be judged", show_lines=True)
    for table in (rules, modes):
        table.add_column("rule" if table is rules else "fail mode", overflow="fold")
        table.add_column("when", overflow="fold", ratio=2)
        table.add_column("what follows", overflow="fold", ratio=1)
    for rule in sorted(policy.rules, key=lambda each: (-each.action.strength, each.name)):
        where = f"in {', '.join(rule.jurisdictions)}" if rule.jurisdictions else ""
        days = " ".join(f"{word} {day}" for word, day in (("from", rule.since), ("to", rule.until)) if day)
        state = "" if rule.live else f"[yellow]{rule.mode}[/]"
        unless = f"[dim]unless[/] {', '.join(rule.unless)}" if rule.unless else ""
        label = f"“{escape(rule.label)}”" if rule.label else ""
        rules.add_row(
            _lines(rule.name, f"[dim]{rule.harm}[/]", where, days, state),
            _lines(escape(rule.when.strip()), unless),
            _lines(f"[bold]{rule.action}[/]", label, _looks(rule)),
        )
    yield rules
    for mode in sorted(policy.fail_modes, key=lambda each: (-each.action.strength, each.name)):
        about = ", ".join((*mode.families, *mode.causes))
        when = f"[dim]where[/] {escape(mode.when.strip())}" if mode.when else ""
        where = f"on {', '.join(mode.surfaces)}" if mode.surfaces else ""
        modes.add_row(
            _lines(mode.name, f"[dim]{mode.harm}[/]", where),
            _lines(f"[bold]{mode.on}[/]{f': {about}' if about else ''}", when),
            _lines(f"[bold]{mode.action}[/]", _looks(mode)),
        )
    yield modes
    queues = Table("queue", "what for", "handling", title="Queues")
    for name, queue in policy.queues.items():
        queues.add_row(name, escape(queue.what), queue.handling)
    yield queues
    clocks = Table("clock", "within", "from", "where", "source", title="Clocks (counsel decides what holds)")
    for name, clock in policy.file.clocks.items():
        where = ", ".join(clock.jurisdictions) or "everywhere"
        clocks.add_row(name, clock.within, clock.starts.value, where, escape(clock.source.strip()))
    yield clocks


def _lines(*parts: str) -> str:
    return "\n".join(part for part in parts if part)


def _looks(step: Rule | FailMode) -> str:
    review: Review | None = step.review
    if review is None:
        return "nobody looks"
    clocks = f"[dim]clocks[/] {', '.join(review.clocks)}" if review.clocks else ""
    return _lines(f"{review.queue} in {review.deadline}, priority {review.priority}", clocks)


def fields(as_json: AsJson = False) -> None:
    """List the fields that conditions may use, with type and meaning."""
    from pipeline.events.values import Family
    from pipeline.policy.fields import FIELDS, rows

    if as_json:
        known = [
            {"name": each.name, "type": each.kind, "what": each.what, "values": each.values, "evidence": each.evidence}
            for each in FIELDS.values()
        ]
        out.print_json(msgspec.json.encode(known).decode())
        return
    table = Table("field", "type", "meaning", title="Fields of conditions")
    for row in rows():
        table.add_row(row.name, row.kind, escape(row.what.replace("`", "")))
    out.print(table)
    out.print(f"Families: {', '.join(Family)}", highlight=False)


def schema() -> None:
    """Print the JSON Schema of policy files, for editors."""
    from pipeline.policy.schema import written

    typer.echo(written(), nl=False)
