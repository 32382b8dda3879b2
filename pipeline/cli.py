"""`unmask …`: thin commands, one per verb. People get tables, machines get `--json`; trouble goes to stderr.

Exit status: 0 done; 1 what was asked about does not hold (a violation, a difference); 2 the operator has to change
something.
"""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
import signal
import sys
import threading
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn
from uuid import uuid4

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import pipeline.one_thread  # noqa: F401 (before anything that imports NumPy)
from pipeline import VERSION, log
from pipeline.calibration import Unit
from pipeline.console.commands import console_app
from pipeline.errors import Reason, Stage, UnmaskError
from pipeline.events.values import RequestKind, Surface
from pipeline.learn.commands import add_to as add_learning
from pipeline.ledger.commands import ledger_app
from pipeline.load.commands import load_app
from pipeline.match.commands import app as banks_app
from pipeline.moments import is_length, length, utc
from pipeline.plan.command import plan
from pipeline.policy.commands import policy_app
from pipeline.settings import Settings
from pipeline.statements.commands import app as report_app

app = typer.Typer(no_args_is_help=True, help="Screen uploaded media for deepfakes and manipulation, on a Kafka stream.")
stack_app = typer.Typer(no_args_is_help=True, help="Every part on one machine.")
topics_app = typer.Typer(no_args_is_help=True, help="The topics of a cluster.")
models_app = typer.Typer(no_args_is_help=True, help="The Triton model repository.")
app.add_typer(stack_app, name="stack")
app.add_typer(topics_app, name="topics")
add_learning(models_app)
app.add_typer(models_app, name="models")
app.add_typer(policy_app, name="policy")
app.add_typer(banks_app, name="banks")
app.add_typer(report_app, name="report")
app.add_typer(console_app, name="console")
app.add_typer(ledger_app, name="ledger")
app.add_typer(load_app, name="load")
app.command()(plan)

out = Console()
err = Console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


class BrokerChoice(StrEnum):
    """Which broker `stack up` and `demo` start."""

    EMBEDDED = "embedded"
    KAFKA = "kafka"


def main() -> NoReturn:
    """The entry point: errors of Unmask's own end with a sentence and status 2, not with a traceback."""
    try:
        app()
    except UnmaskError as error:
        err.print(f"[red]unmask:[/red] {error}", highlight=False)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0)


@app.command()
def version() -> None:
    """Print the version."""
    out.print(VERSION)


@app.command()
def worker() -> None:
    """Run the agents (screen, route, settle) until a signal. Settings come from the environment."""
    from pipeline.app import run_worker

    settings = Settings()
    log.configure(settings.log_level, settings.log_format)
    run_worker(settings)


@app.command()
def relay() -> None:
    """Publish what people decide in the console, until a signal; for consoles with UNMASK_CONSOLE_RELAY=false."""
    from pipeline.relay import run

    settings = Settings()
    log.configure(settings.log_level, settings.log_format)
    asyncio.run(run(settings))


@app.command()
def settings() -> None:
    """List every setting: its environment variable, what it is now, what it means."""
    now = Settings()
    table = Table("variable", "value", "meaning", title="Settings")
    for name, field in Settings.model_fields.items():
        table.add_row(f"UNMASK_{name.upper()}", str(getattr(now, name)), field.description)
    out.print(table)


@app.command()
def screen(
    files: Annotated[list[Path], typer.Argument(help="Images, videos or sound files.")],
    surface: Annotated[Surface, typer.Option(help="Where the uploads are meant to appear.")] = Surface.POST,
    report: Annotated[
        Path | None, typer.Option(help="Write a page on the file for people: verdict, evidence, limits. One file only.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Judge local files through the same stages as the stream, without Kafka."""
    from pipeline.decode.pool import DecodePool
    from pipeline.decode.port import DecodeBudget
    from pipeline.local import screen_files, triton_at_hand
    from pipeline.policy.file import load
    from pipeline.show import screened_table

    for path in files:
        if not path.is_file():
            raise UnmaskError(f"no such file: {path}")
    if report is not None and len(files) != 1:
        raise UnmaskError("--report is about one file: name one, or leave it out")
    log.configure("error", "console")
    policy = load(Settings().policy_file, Settings().calibration_file)

    async def judge() -> Any:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=err, transient=True) as progress:
            bar = progress.add_task("starting", total=len(files))
            async with triton_at_hand(Settings(), lambda what: progress.update(bar, description=what)) as url:
                progress.update(bar, description="screening")
                at_hand = Settings().model_copy(update={"triton_url": url})
                return await screen_files(files, at_hand, policy, surface, lambda _: progress.advance(bar))

    done = asyncio.run(judge())
    if as_json:
        out.print_json(msgspec.json.encode([each.decided for each in done]).decode())
    else:
        out.print(screened_table(done))
    if report is not None:
        from pipeline.report.make import make_report

        async def write() -> str:
            async with DecodePool(1, DecodeBudget()) as decode:
                return await make_report(files[0], done[0].decided, policy.fused, decode)

        report.write_text(asyncio.run(write()), encoding="utf-8")
        err.print(f"report: {report}", highlight=False, soft_wrap=True)


@stack_app.command("up")
def stack_up(
    broker: Annotated[BrokerChoice, typer.Option(help="embedded: from PyPI; kafka: Apache Kafka 4 (Java 17).")] = (
        BrokerChoice.EMBEDDED
    ),
    kafka_nodes: Annotated[int, typer.Option(min=1, max=3, help="1 or 3.")] = 1,
    workers: Annotated[int, typer.Option(min=0, help="Worker processes.")] = 1,
    console: Annotated[bool, typer.Option(help="The review console too.")] = True,
    media_root: Annotated[list[Path] | None, typer.Option(help="A folder that `file:` URIs may be read from.")] = None,
    triton_url: Annotated[str | None, typer.Option(help="gRPC address of a Triton that runs already.")] = None,
) -> None:
    """Start and supervise broker, topics, Triton and workers; Ctrl-C ends all."""
    from pipeline.show import listening_table
    from pipeline.stack.up import Stack

    chosen = _stack_options(broker, kafka_nodes, workers, tuple(media_root or ()), triton_url)
    options = dataclasses.replace(chosen, console=console)
    for ending in (signal.SIGINT, signal.SIGTERM):  # a shell's background jobs begin with SIGINT ignored
        signal.signal(ending, signal.default_int_handler)
    with err.status("starting") as status:
        stack = Stack(options, lambda event: status.update(f"{event.part}: {event.kind} {event.detail}"[:100])).start()
    try:
        out.print(listening_table(stack.listening))
        out.print("For other commands, in another shell:")
        out.print(f"  export UNMASK_KAFKA_BOOTSTRAP_SERVERS={stack.bootstrap_servers}", highlight=False, soft_wrap=True)
        out.print(f"  export UNMASK_DATABASE_URL={options.database_url}", highlight=False, soft_wrap=True)
        out.print("Ctrl-C ends everything.")
        threading.Event().wait()
    except KeyboardInterrupt:
        pass
    finally:
        with err.status("ending"):
            stack.stop()


@topics_app.command("diff")
def topics_diff(as_json: AsJson = False) -> None:
    """What a cluster's topics lack; status 1 when something does."""
    from pipeline.kafka import client_config
    from pipeline.topics import diff

    changes = diff(_topic_specs(), client_config(Settings()))
    _show_changes(changes, as_json)
    raise typer.Exit(1 if changes else 0)


@topics_app.command("apply")
def topics_apply(
    raise_partitions: Annotated[bool, typer.Option(help="Add partitions where there are fewer.")] = False,
    alter_config: Annotated[bool, typer.Option(help="Set what differs in existing topics.")] = False,
    as_json: AsJson = False,
) -> None:
    """Create the missing topics; change existing ones where asked. Never deletes."""
    from pipeline.kafka import client_config
    from pipeline.topics import apply

    changes = apply(
        _topic_specs(),
        client_config(Settings()),
        replication=Settings().kafka_replication,
        raise_partitions=raise_partitions,
        alter_config=alter_config,
    )
    _show_changes(changes, as_json)
    raise typer.Exit(0 if all(change.applied for change in changes) else 1)


@app.command()
def audit(
    settled: Annotated[
        float | None, typer.Option(help="Leave uploads alone that are younger than so many seconds: still under way.")
    ] = None,
    chain: Annotated[
        bool, typer.Option("--chain", help="Verify the hash chain of the console's audit log instead; prints its head.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Prove from topics and ledger that every upload has exactly one outcome; status 1 when it has not."""
    if chain:
        _audit_chain(as_json)
    from pipeline.audit_facts import run_audit
    from pipeline.kafka import client_config
    from pipeline.ledger.ledger import Ledger
    from pipeline.show import audit_tables

    ledger = Ledger(Settings().ledger_url)
    until = None if settled is None else datetime.now(UTC) - timedelta(seconds=settled)
    report = run_audit(client_config(Settings()), ledger, until=until)
    ledger.close()
    if as_json:
        out.print_json(msgspec.json.encode(report).decode())
    else:
        out.print(audit_tables(report))
    raise typer.Exit(0 if report.holds else 1)


@app.command()
def purge(
    before: Annotated[
        datetime | None, typer.Option(help="Uploads that were last decided on before this (UTC).")
    ] = None,
    older_than: Annotated[str | None, typer.Option(help="The same by age: 30d, 12h.")] = None,
    uploader: Annotated[str | None, typer.Option(help="Uploads of this uploader.")] = None,
    media_id: Annotated[list[str] | None, typer.Option(help="These uploads.")] = None,
    also_waiting: Annotated[bool, typer.Option(help="Also what a person still has to decide on.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it, only count.")] = False,
    as_json: AsJson = False,
) -> None:
    """Forget what uploads looked like, who made them and what was written: evidence and personal data in the ledger.

    That they were decided on, and how, stays. Afterwards every text column is searched for what was named: status 1
    when something is left."""
    from pipeline.ledger.ledger import Ledger
    from pipeline.ledger.purge import Purge, Which

    if older_than is not None:
        if not is_length(older_than):
            raise UnmaskError(f"--older-than {older_than}: minutes, hours or days, such as 90d")
        before = datetime.now(UTC) - length(older_than)
    if before is None and uploader is None and not media_id:
        raise UnmaskError("name what to forget: --older-than, --before, --uploader or --media-id")
    ledger = Ledger(Settings().ledger_url)
    ledger.check()
    which = Which(utc(before), uploader, tuple(media_id or ()))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        bar = progress.add_task("forgetting" if yes else "counting", total=None)
        found = Purge(ledger).forget(
            which,
            also_waiting=also_waiting,
            dry_run=not yes,
            progress=lambda done, of: progress.update(bar, completed=done, total=of),
        )
    # Ids of uploads are the platform's own and stay as keys; an uploader's is searched for.
    left = Purge(ledger).traces([uploader]) if yes and uploader else {}
    ledger.close()
    if as_json:
        out.print_json(msgspec.json.encode({"found": found, "left": left, "done": yes}).decode())
    else:
        verb = "Forgotten" if yes else "To forget (nothing was done: add --yes)"
        counts = f"{found.uploads} uploads, {found.decisions} decisions, {found.tasks} tasks, {found.reviews} reviews"
        out.print(f"{verb}: {counts}, {found.contents} contents", highlight=False, soft_wrap=True)
        if found.waiting and not also_waiting:
            out.print(f"Left alone: {found.waiting} uploads that wait for a person (--also-waiting)", highlight=False)
        for column, count in left.items():
            out.print(f"[red]Still there: {count} in {column}[/]", highlight=False)
    raise typer.Exit(1 if left else 0)


def _audit_chain(as_json: bool) -> NoReturn:
    from pipeline.ledger.ledger import Ledger
    from pipeline.ledger.work import Work
    from pipeline.review.chain import verify

    ledger = Ledger(Settings().ledger_url)
    ledger.check()
    found = verify(Work(ledger).log_entries())
    ledger.close()
    if as_json:
        out.print_json(msgspec.json.encode(found).decode())
    elif found.broken_at is None:
        out.print(f"The chain holds: {found.entries} entries, head {found.head}", highlight=False, soft_wrap=True)
    else:
        out.print(f"[red]Broken at entry {found.broken_at}: {found.why}[/]", highlight=False, soft_wrap=True)
    raise typer.Exit(0 if found.broken_at is None else 1)


@app.command()
def replay(
    stage: Annotated[Stage | None, typer.Option(help="Only what failed in this stage.")] = None,
    reason: Annotated[Reason | None, typer.Option(help="Only what failed for this reason.")] = None,
    since: Annotated[datetime | None, typer.Option(help="Only what was buried at or after this time (UTC).")] = None,
    until: Annotated[datetime | None, typer.Option(help="Only what was buried before this time (UTC).")] = None,
    media_id: Annotated[str | None, typer.Option(help="Only this upload.")] = None,
    send: Annotated[bool, typer.Option("--send", help="Send them; without it, only show what would be sent.")] = False,
    as_json: AsJson = False,
) -> None:
    """Publish dead letters again, each as a new round of its upload. Without `--send` it only shows which."""
    from pipeline.kafka import client_config
    from pipeline.replay import Selection
    from pipeline.replay import replay as run
    from pipeline.show import replay_table

    selection = Selection(stage=stage, reason=reason, since=utc(since), until=utc(until), media_id=media_id)
    plan = run(client_config(Settings()), selection, dry_run=not send)
    if as_json:
        out.print_json(msgspec.json.encode(plan).decode())
    else:
        out.print(replay_table(plan))


@app.command()
def publish(
    files: Annotated[list[Path], typer.Argument(help="Files inside a folder that the workers may read.")],
    surface: Annotated[Surface, typer.Option(help="Where the uploads appear.")] = Surface.POST,
    declared_synthetic: Annotated[bool, typer.Option(help="The uploader says that it is synthetic.")] = False,
) -> None:
    """Publish an upload event for each file, as a platform would; prints the media ids."""
    from pipeline.kafka import client_config
    from pipeline.publish import publish_files

    for upload in publish_files(client_config(Settings()), files, surface=surface, declared=declared_synthetic):
        out.print(f"{upload.media_id}  {upload.uri}", highlight=False, soft_wrap=True)


@app.command()
def request(
    media_id: Annotated[str | None, typer.Argument(help="The upload that is meant, with its copies.")] = None,
    consent: Annotated[str | None, typer.Option(help="Instead: every upload that carried this reference.")] = None,
    kind: Annotated[RequestKind, typer.Option(help="What the person shown asks for.")] = RequestKind.REMOVAL,
    harm: Annotated[str, typer.Option(help="What the person calls it, in the policy's words.")] = "",
    jurisdiction: Annotated[str | None, typer.Option(help="Whose law the person invokes: US, IN, …")] = None,
    received_at: Annotated[datetime | None, typer.Option(help="When it reached you (UTC); now if not given.")] = None,
    request_id: Annotated[str | None, typer.Option("--id", help="Your id of it; a new one if not given.")] = None,
    wait: Annotated[float, typer.Option(min=0, help="Show what is answered, for so many seconds at most.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Publish a request by a person shown, as a platform would; the content is opened again and the clock starts."""
    from pipeline.ask import ask, ask_and_wait
    from pipeline.events import SubjectRequested
    from pipeline.events.codec import MalformedEvent, decode, encode
    from pipeline.kafka import client_config
    from pipeline.show import answer_line

    if (media_id is None) == (consent is None):
        raise UnmaskError("say what is meant: a MEDIA_ID, or --consent REFERENCE")
    asked = SubjectRequested(
        request_id=request_id or str(uuid4()),
        kind=kind,
        received_at=utc(received_at) or datetime.now(UTC),
        media_id=media_id,
        consent_reference=consent,
        jurisdiction=jurisdiction,
        harm=harm,
    )
    if isinstance(wrong := decode(encode(asked), SubjectRequested), MalformedEvent):
        raise UnmaskError(f"{wrong.where}: {wrong.why}")
    config = client_config(Settings())
    if not wait:
        ask(config, asked)
        out.print(asked.request_id, highlight=False, soft_wrap=True)
        return
    answered = False
    for said in ask_and_wait(config, asked, wait):
        answered = True
        if as_json:
            out.print_json(msgspec.json.encode(said).decode())
        else:
            out.print(answer_line(said), highlight=False, soft_wrap=True)
    if not answered:
        err.print(f"no answer to {asked.request_id} within {wait:g} s", highlight=False)
    raise typer.Exit(0 if answered else 1)


@models_app.command("build")
def models_build(
    gpu: Annotated[
        Path | None, typer.Option(help="Write a repository for a Triton server with GPUs into this folder as well.")
    ] = None,
) -> None:
    """Assemble the repository from pinned, hashed sources and the committed heads."""
    from pipeline.models.build import build
    from pipeline.models.gpu import build_for_gpu

    with err.status("models") as status:
        report = build(Settings().models_dir, Settings().home, status.update)
    table = Table("model", "MB", "seconds", "")
    for model in report.models:
        state = "built" if model.fresh else "up to date"
        table.add_row(model.name, f"{model.size / 1e6:.1f}", f"{model.seconds:.1f}", state)
    out.print(table)
    if gpu is not None:
        with err.status("models for GPUs") as status:
            for each in build_for_gpu(Settings().models_dir, gpu, Settings().home, status.update):
                how = f"{each.products} products in 32 bits" if each.products else "the same graph"
                out.print(f"{each.path}: {how}", highlight=False, soft_wrap=True)


@models_app.command("verify")
def models_verify(
    server: Annotated[bool, typer.Option(help="Ask the server at UNMASK_TRITON_URL too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare every detector's tensors with config.pbtxt and the running server; status 1 on a difference."""
    from pipeline.detect.registry import load
    from pipeline.detect.triton import Triton
    from pipeline.models.verify import verify

    async def compare() -> Any:
        client = Triton(Settings().triton_url) if server else None
        try:
            return await verify(Settings().models_dir, load(Settings().detectors_file), client)
        finally:
            if client is not None:
                await client.close()

    report = asyncio.run(compare())
    if as_json:
        out.print_json(msgspec.json.encode(report).decode())
    else:
        for difference in report.differences:
            out.print(f"[red]differs[/red] {difference}", highlight=False)
        out.print(f"{len(report.models)} models compared, {len(report.differences)} differences")
    raise typer.Exit(0 if report.ok else 1)


@app.command()
def evaluate(
    manifest: Annotated[Path, typer.Argument(help="CSV: file, label (real | fake), family, group or source, [split].")],
    output: Annotated[Path, typer.Option(help="Folder for the page, the table, the scores; a run goes on from there.")],
    split: Annotated[list[str] | None, typer.Option(help="Only files of this split; may be given again.")] = None,
    family: Annotated[
        list[str] | None, typer.Option(help="Only this kind of manipulation, and what is genuine.")
    ] = None,
    most: Annotated[int | None, typer.Option(min=1, help="So many of each label, kind and source at most.")] = None,
    made: Annotated[
        int, typer.Option(min=0, help="Make so many manipulated copies of genuine files per kind that can be made.")
    ] = 0,
    robustness: Annotated[int, typer.Option(min=0, help="So many files of each kind are judged altered as well.")] = 40,
    training: Annotated[
        Path | None,
        typer.Option(help="Manifest of what heads were trained on, for near-duplicates; this one if not given."),
    ] = None,
    seed: Annotated[int, typer.Option(help="For draws and intervals.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Judge labelled files by the real stages and say what each signal is worth: page, table, JSON, scores."""
    from pipeline.learn.evaluate import Options
    from pipeline.learn.evaluate import evaluate as run
    from pipeline.local import triton_at_hand
    from pipeline.policy.file import load
    from pipeline.show import evaluation_table

    log.configure("error", "console")
    policy = load(Settings().policy_file, Settings().calibration_file)
    options = Options(
        manifest=manifest,
        output=output,
        splits=tuple(split or ()),
        families=tuple(family or ()),
        most=most,
        made=made,
        robustness=robustness,
        training=training or manifest,
        seed=seed,
    )

    async def judge() -> Any:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=err, transient=True) as progress:
            bar = progress.add_task("starting", total=None)

            def on_step(what: str, done: int, of: int) -> None:
                progress.update(bar, description=what[:60], completed=done, total=of or None)

            async with triton_at_hand(Settings(), lambda what: on_step(what, 0, 0)) as url:
                at_hand = Settings().model_copy(update={"triton_url": url})
                return await run(options, at_hand, policy, on_step)

    found = asyncio.run(judge())
    if as_json:
        out.print_json(msgspec.json.encode(found).decode())
    else:
        out.print(evaluation_table(found))
        err.print(f"{output / 'evaluation.html'}", highlight=False, soft_wrap=True)


@app.command()
def calibrate(
    scores: Annotated[list[Path], typer.Argument(help="CSV files of scores with labels, as `unmask evaluate` writes.")],
    output: Annotated[Path, typer.Option(help="Where the calibration goes; use it by UNMASK_CALIBRATION_FILE.")],
    base: Annotated[
        Path | None, typer.Option(help="What is kept where the scores say too little; the one in use when not given.")
    ] = None,
    name: Annotated[str, typer.Option(help="Of the calibration; with a digest it is part of every decision.")] = "own",
    error_rate: Annotated[float, typer.Option(help="Share of genuine items above the band of doubt, at most.")] = 0.05,
    miss_rate: Annotated[
        float | None, typer.Option(help="Share of manipulated items below the band; the error rate if not given.")
    ] = None,
    odds: Annotated[
        float | None,
        typer.Option(
            help="Share of manipulated uploads that probabilities are meant for; as in the scores if not given."
        ),
    ] = None,
    by: Annotated[
        Unit | None,
        typer.Option(
            help="Of whose genuine items the error rate is promised; of new sources if the scores name enough of them."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a calibration file: what scores are worth on your own traffic, and where they say nothing."""
    from pipeline.detect.registry import load
    from pipeline.learn.calibrate import calibrate as fit
    from pipeline.learn.calibrate import looked_at_again
    from pipeline.learn.scores import read_scores
    from pipeline.models.sources import write_atomically
    from pipeline.policy.file import CALIBRATION, read_calibration
    from pipeline.show import calibration_table

    known = read_calibration(base or Settings().calibration_file or CALIBRATION)
    rows = [row for path in scores for row in read_scores(path)]
    made, fitted = fit(rows, known, name=name, error_rate=error_rate, miss_rate=miss_rate, odds=odds, by=by)
    write_atomically(output, msgspec.json.format(msgspec.json.encode(made, order="deterministic"), indent=1) + b"\n")
    if as_json:
        out.print_json(msgspec.json.encode(fitted).decode())
    else:
        out.print(calibration_table(fitted))
        err.print(f"{output}: {len(fitted)} families of {len(rows)} scores; use it: UNMASK_CALIBRATION_FILE={output}")
        if again := looked_at_again(made, {each.family for each in fitted}, load(Settings().detectors_file).closer):
            err.print(
                f"So that videos in doubt by it are looked at again, in the detectors file: {again}", markup=False
            )


@app.command()
def demo(
    keep: Annotated[bool, typer.Option(help="Stay up afterwards, until Ctrl-C.")] = False,
    broker: Annotated[BrokerChoice, typer.Option(help="embedded or kafka.")] = BrokerChoice.EMBEDDED,
) -> None:
    """Generate sample media, run them through the whole stack, and show what came out."""
    from pipeline.demo.run import run_demo

    raise typer.Exit(run_demo(Settings(), broker.value, keep=keep, console=out))


def _topic_specs() -> Any:
    from pipeline.policy.file import load
    from pipeline.topology import topics

    return topics(load(Settings().policy_file).queues, Settings().kafka_partitions)


def _stack_options(
    broker: BrokerChoice, nodes: int, workers: int, roots: tuple[Path, ...], triton_url: str | None
) -> Any:
    from pipeline.kafka import client_config
    from pipeline.models.build import build
    from pipeline.stack.up import StackOptions

    now = Settings()
    if triton_url is None:
        with err.status("models") as status:
            build(now.models_dir, now.home, status.update)
    existing = now.kafka_bootstrap_servers
    database = now.ledger_url
    if broker is BrokerChoice.EMBEDDED and not existing and now.database_url is None:
        # The embedded broker begins empty, and so must the ledger of what was read from it.
        ledger = now.home.absolute() / "embedded" / "ledger.sqlite"
        shutil.rmtree(ledger.parent, ignore_errors=True)
        ledger.parent.mkdir(parents=True)
        database = f"sqlite:///{ledger}"
    return StackOptions(
        home=now.home,
        models_dir=now.models_dir,
        topics=_topic_specs(),
        broker=broker.value,
        kafka_nodes=3 if nodes == 3 else 1,
        workers=workers,
        media_roots=roots,
        fetch_schemes=now.fetch_schemes,
        database_url=database,
        bootstrap_servers=existing,
        security=client_config(now) if existing else {},
        replication=now.kafka_replication,
        triton_url=triton_url,
    )


def _show_changes(changes: Any, as_json: bool) -> None:
    if as_json:
        out.print_json(msgspec.json.encode(changes).decode())
        return
    for change in changes:
        out.print(f"{'done' if change.applied else 'differs'}  {change}", highlight=False, soft_wrap=True)
    if not changes:
        out.print("every topic is as it should be")


if __name__ == "__main__":
    main()
