"""`unmask plan`: what to run, hire and pay for so many uploads a day.

Exit status as everywhere: 0 the objective is kept, 1 it is not, 2 the operator has to change something.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

out = Console()
err = Console(stderr=True)


def plan(
    inputs: Annotated[
        Path | None, typer.Argument(help="Demand, objective, prices; the file that ships if not given.")
    ] = None,
    uploads: Annotated[float | None, typer.Option(min=1, help="Uploads a day, instead of the file's.")] = None,
    duplicates: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of bytes seen before, instead of the file's.")
    ] = None,
    gpu_speed: Annotated[
        float | None, typer.Option(min=0.1, help="Infer on GPUs, each so many times as fast as one core (an estimate).")
    ] = None,
    costs: Annotated[Path | None, typer.Option(help="Measured costs of uploads; those that ship if not given.")] = None,
    measured: Annotated[
        str | None, typer.Option(help="Scale the costs to a running worker: http://HOST:PORT/metrics.")
    ] = None,
    page: Annotated[Path | None, typer.Option(help="Write an HTML page with plots.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Simulate a day, and say what it takes: workers, partitions, GPUs, database, people, money."""
    from pipeline.plan.page import page as to_page
    from pipeline.plan.read import from_worker, read_costs, read_inputs
    from pipeline.plan.size import make_plan
    from pipeline.plan.tables import plan_tables

    changes: dict[str, Any] = {}
    if uploads is not None:
        changes["demand.uploads_per_day"] = uploads
    if duplicates is not None:
        changes["demand.duplicates"] = duplicates
    if gpu_speed is not None:
        changes["worker.gpu_speed"] = {"value": gpu_speed, "known": "estimated", "how": "given by the operator"}
    wanted = read_inputs(inputs, changes)
    known = read_costs(costs)
    if measured is not None:
        known = from_worker(known, wanted.demand.shares, measured)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        bar = progress.add_task("starting", total=None)
        found = make_plan(
            wanted, known, lambda what, done, of: progress.update(bar, description=what, completed=done, total=of)
        )
    if page is not None:
        page.write_text(to_page(found, wanted.objective.seconds, known.how), encoding="utf-8")
        err.print(f"page: {page}", highlight=False, soft_wrap=True)
    if as_json:
        out.print_json(msgspec.json.encode(found).decode())
    else:
        out.print(plan_tables(found, known.how))
    raise typer.Exit(0 if found.holds else 1)
