"""`unmask load …`: offer uploads to a stack that runs, and say how it bears them.

Exit status as everywhere: 0 the bounds were kept, 1 one was not, 2 the operator has to change something.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pipeline.errors import ConfigError
from pipeline.load.mix import DEFAULT, Kind
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.kafka import ClientConfig
    from pipeline.load.media import Originals
    from pipeline.load.run import Tell

load_app = typer.Typer(invoke_without_command=True, help="Offer uploads at a rate, and follow each to its outcome.")
out = Console()
err = Console(stderr=True)

Media = Annotated[Path, typer.Option(help="Folder for the files; the workers must be allowed to read it.")]
MixOption = Annotated[str, typer.Option("--mix", help="KIND=WEIGHT,…; kinds: " + ", ".join(Kind) + ".")]
MaxDrop = Annotated[float | None, typer.Option(min=0, max=1, help="Share without an answer, at most.")]
MaxP95 = Annotated[float | None, typer.Option(min=0, help="Seconds from due to answered, at most, for 95 of 100.")]
Patience = Annotated[float, typer.Option(min=0, help="Seconds to wait for answers after the last upload.")]
Steady = Annotated[bool, typer.Option("--steady", help="Evenly, instead of by chance as from people.")]
Seed = Annotated[int, typer.Option(help="Of order and arrivals.")]
ThisCluster = Annotated[bool, typer.Option("--yes-this-cluster", help="Load a cluster that is not 127.0.0.1.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@load_app.callback()
def load(
    context: typer.Context,
    media: Media = Path("load-media"),
    rate: Annotated[float, typer.Option(min=0, help="Uploads a second.")] = 1.0,
    to: Annotated[float | None, typer.Option(min=0, help="Rise or fall to this rate; the same when not given.")] = None,
    seconds: Annotated[float, typer.Option(min=1, help="How long uploads are offered.")] = 60.0,
    warm_up: Annotated[float, typer.Option(min=0, help="Seconds before, at the first rate, that do not count.")] = 0.0,
    mix: MixOption = DEFAULT,
    max_drop: MaxDrop = None,
    max_p95: MaxP95 = None,
    patience: Patience = 60.0,
    steady: Steady = False,
    seed: Seed = 1,
    yes_this_cluster: ThisCluster = False,
    as_json: AsJson = False,
) -> None:
    """Offer a rate or a ramp of uploads; status 1 when a bound was not kept."""
    if context.invoked_subcommand is not None:
        return
    from pipeline.load.arrivals import Ramp
    from pipeline.load.mix import parse
    from pipeline.load.report import Bounds
    from pipeline.load.run import Load, run_load
    from pipeline.load.tables import load_table

    wanted = Load(
        Ramp(rate, rate if to is None else to, seconds),
        parse(mix),
        Bounds(max_drop, max_p95),
        warm_up=warm_up,
        patience=patience,
        steady=steady,
        seed=seed,
    )
    with _progress() as tell:
        config, originals = _ready(media, frozenset(wanted.mix.weights), yes_this_cluster, tell)
        report = run_load(config, wanted, originals, media, tell)
    if as_json:
        out.print_json(msgspec.json.encode(report).decode())
    else:
        out.print(load_table(report))
    for breach in report.breaches:
        err.print(f"[red]not kept:[/] {breach}", highlight=False, soft_wrap=True)
    raise typer.Exit(0 if report.holds else 1)


@load_app.command("find")
def load_find(
    max_p95: Annotated[float, typer.Option(min=0, help="The objective: seconds for 95 of 100 uploads.")] = 10.0,
    max_drop: Annotated[float, typer.Option(min=0, max=1, help="The objective: share without an answer.")] = 0.0,
    media: Media = Path("load-media"),
    low: Annotated[float, typer.Option(help="The first rate that is tried.")] = 0.5,
    high: Annotated[float, typer.Option(help="The highest that is tried.")] = 1000.0,
    precision: Annotated[float, typer.Option(min=0.01, max=0.9, help="How closely it is found, as a share.")] = 0.1,
    repeats: Annotated[int, typer.Option(min=1, help="Probes of each end of what is found, at most; odd.")] = 3,
    seconds: Annotated[
        float | None, typer.Option(min=1, help="Of each probe; nine times --max-p95 when not given.")
    ] = None,
    warm_up: Annotated[float, typer.Option(min=0, help="Seconds before each probe that do not count.")] = 15.0,
    mix: MixOption = DEFAULT,
    patience: Patience = 60.0,
    steady: Steady = False,
    seed: Seed = 1,
    yes_this_cluster: ThisCluster = False,
    as_json: AsJson = False,
) -> None:
    """The highest rate that holds an objective, by bisection; status 1 when none does.

    A short probe lets a rate pass that cannot be borne: its backlog has no time to grow. In nine times the objective a
    ninth too much falls behind by the objective.
    """
    if not 0 < low <= high:
        raise ConfigError("--low has to be above 0 and not above --high")
    if repeats % 2 == 0:
        raise ConfigError("--repeats has to be odd: most of the probes decide")
    from pipeline.load.arrivals import Ramp
    from pipeline.load.find import find_rate
    from pipeline.load.mix import parse
    from pipeline.load.report import Bounds, LoadReport
    from pipeline.load.run import Load, run_load
    from pipeline.load.tables import found_table

    shares = parse(mix)
    lasting = seconds or 9 * max_p95
    with _progress() as tell:
        config, originals = _ready(media, frozenset(shares.weights), yes_this_cluster, tell)

        def probe(rate: float, times: int) -> LoadReport:
            err.print(f"trying {rate:.2f}/s{' again' if times else ''}", highlight=False)
            wanted = Load(
                Ramp(rate, rate, lasting),
                shares,
                Bounds(max_drop, max_p95),
                warm_up=warm_up,
                patience=patience,
                steady=steady,
                seed=seed + 2 * times,  # the warm-up's is one more
            )
            report = run_load(config, wanted, originals, media, tell)
            err.print("  holds" if report.holds else f"  {'; '.join(report.breaches)}", highlight=False, soft_wrap=True)
            return report

        found = find_rate(probe, low=low, high=high, precision=precision, repeats=repeats)
    if as_json:
        out.print_json(msgspec.json.encode(found).decode())
    else:
        out.print(found_table(found))
    raise typer.Exit(0 if found.rate > 0 else 1)


def _ready(media: Path, kinds: frozenset[Kind], allowed: bool, tell: Tell) -> tuple[ClientConfig, Originals]:
    from pipeline.kafka import client_config
    from pipeline.load.media import make_originals
    from pipeline.load.run import check_target

    settings = Settings()
    config = client_config(settings)
    check_target(config, allowed=allowed)
    originals = make_originals(
        media / "originals", settings.home, settings.models_dir, kinds, lambda what: tell(what, 0, 0)
    )
    return config, originals


@contextmanager
def _progress() -> Iterator[Tell]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        bar = progress.add_task("starting", total=None)
        yield lambda what, done, of: progress.update(bar, description=what, completed=done, total=of or None)
