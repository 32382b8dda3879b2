"""`unmask models train | golden | refit | compare | promote | rescore`: heads from manifests and from reviews.

Exit status as everywhere: 0 done, 1 refused (a head that is no better), 2 the operator has to change something.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress
from rich.table import Table

from pipeline.errors import ConfigError
from pipeline.learn.promote import Step
from pipeline.settings import Settings

out = Console()
err = Console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Since = Annotated[int, typer.Option(min=1, help="Only what was decided in so many days.")]

_FRAME_LIMITS = {"style_transfer": 300}
"""Pictures of each label that the shipped head was trained on: more did not help."""
_MOST_WORKERS = 8
"""Processes that read pictures for training, at most: each holds the encoder."""
_SMALL = Path("pipeline") / "detect" / "heads"


@dataclass(frozen=True, slots=True)
class _Job:
    """What a trainer is given. `advance`: (done, of) of the slow part."""

    head: str
    manifest: Path
    models: Path
    out: Path
    home: Path
    seed: int
    limit: int | None
    progress: Callable[[str], None]
    advance: Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class _Trainer:
    """How a head is trained, and where it goes: a model's folder, or the package's small heads when None."""

    run: Callable[[_Job], Any]
    model: str | None = None


def _face(job: _Job) -> Any:
    from pipeline.learn.train import train_head

    return train_head(
        job.head, job.manifest, job.models, job.out, home=job.home, seed=job.seed, progress=job.progress,
        advance=job.advance, limit=job.limit, workers=min(_MOST_WORKERS, os.cpu_count() or 1),
    )  # fmt: skip


def _frame(job: _Job) -> Any:
    from pipeline.learn.whole_image import train_whole_image

    return train_whole_image(
        job.head, job.manifest, job.models, job.out, home=job.home, seed=job.seed, progress=job.progress,
        limit=job.limit or _FRAME_LIMITS.get(job.head),
    )  # fmt: skip


def _voice(job: _Job) -> Any:
    from pipeline.learn.voice import train_voice

    return train_voice(job.manifest, job.models, job.out, home=job.home, seed=job.seed, progress=job.progress)


def _lips(job: _Job) -> Any:
    from pipeline.learn.mouth import train_lip_sync

    return train_lip_sync(job.manifest, job.models, job.out, home=job.home, seed=job.seed, progress=job.progress)


def _splice(job: _Job) -> Any:
    from pipeline.learn.splices import train_splice

    return train_splice(job.manifest, job.out, home=job.home, seed=job.seed, progress=job.progress)


def _edit(job: _Job) -> Any:
    from pipeline.learn.edits import train_local_edit

    return train_local_edit(job.manifest, job.out, home=job.home, seed=job.seed, progress=job.progress)


def _ranges(job: _Job) -> Any:
    from pipeline.learn.normal_ranges import train_ranges

    return train_ranges(
        job.head, job.manifest, job.models, job.out, home=job.home, seed=job.seed, progress=job.progress
    )


TRAINERS: Mapping[str, _Trainer] = {
    "swap": _Trainer(_face, "face_forgery"),
    "synthesis": _Trainer(_face, "face_forgery"),
    "image_synthesis": _Trainer(_frame),
    "style_transfer": _Trainer(_frame),
    "voice_clone": _Trainer(_voice),
    "lip_sync": _Trainer(_lips),
    "splice": _Trainer(_splice),
    "local_edit": _Trainer(_edit),
    "eyes_and_head": _Trainer(_ranges),
    "lighting": _Trainer(_ranges),
    "reenactment": _Trainer(_ranges),
}
"""Every head that ships, and what makes it."""


def train(
    head: Annotated[str, typer.Argument(help=f"One of: {', '.join(TRAINERS)}.")],
    manifest: Annotated[Path, typer.Option(help="CSV: file, label, family, source, licence, split.")],
    output: Annotated[Path | None, typer.Option(help="Where the head goes; its own place when not given.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same head.")] = 0,
    limit: Annotated[int | None, typer.Option(min=2, help="At most so many real and so many fake files.")] = None,
) -> None:
    """Train a head from a manifest, on two cores in minutes, and say how good it is on sources that it did not see."""
    trainer = TRAINERS.get(head)
    if trainer is None:
        raise ConfigError(f"no such head: {head}; there are {', '.join(TRAINERS)}")
    settings = Settings()
    folder = settings.models_dir / trainer.model if trainer.model else _SMALL
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=err, transient=True) as bar:
        reading = bar.add_task(head, total=None)

        def advance(done: int, total: int) -> None:
            bar.update(reading, completed=done, total=total)

        report = trainer.run(
            _Job(
                head=head,
                manifest=manifest,
                models=settings.models_dir,
                out=output or folder / f"{head}.json",
                home=settings.home,
                seed=seed,
                limit=limit,
                progress=bar.console.print,
                advance=advance,
            )
        )
    out.print(str(report), highlight=False, markup=False)


def gather(
    output: Annotated[Path, typer.Option(help="Folder for the pictures and their manifest.")],
    listing: Annotated[
        Path | None, typer.Option(help="CSV of pictures in packages; the shipped one if not given.")
    ] = None,
    also: Annotated[list[Path] | None, typer.Option(help="A manifest to join to it; may be given again.")] = None,
) -> None:
    """Fetch the training pictures that travel in packages, each checked, and join them to a manifest."""
    from pipeline.learn.gather import gather as run

    with err.status("gathering") as status:
        place = listing or Settings().models_dir / "clip_embedding" / "training.csv"
        manifest = run(place, output, also=also or (), progress=status.update)
    out.print(f"{manifest}", highlight=False, soft_wrap=True)


def golden(
    head: Annotated[str, typer.Argument(help="swap or synthesis.")],
    manifest: Annotated[Path, typer.Option(help="CSV: file, label, family, source, split.")],
    output: Annotated[Path, typer.Option(help="Where the set goes (.npz).")],
    split: Annotated[list[str] | None, typer.Option(help="Only files of this split; may be given again.")] = None,
) -> None:
    """Make a golden set of a head: faces with certain labels, as the head reads them. No pictures are kept in it."""
    from pipeline.learn.evaluate import read_items
    from pipeline.learn.golden import make_golden
    from pipeline.learn.refit import family_of

    settings = Settings()
    with err.status("golden set") as status:
        items = read_items(manifest, tuple(split or ()))
        made = make_golden(items, family_of(head), output, settings.models_dir, settings.home, status.update)
    out.print(f"{output}: {int((~made.fake).sum())} genuine and {int(made.fake.sum())} manipulated faces")


def refit(
    head: Annotated[str, typer.Argument(help="swap or synthesis.")],
    golden: Annotated[Path, typer.Option(help="A golden set of `unmask models golden`.")],
    days: Since = 90,
    output: Annotated[
        Path | None, typer.Option(help="Folder for the new head; `heads` in the home if not given.")
    ] = None,
    seed: Annotated[int, typer.Option(help="For folds and intervals.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Fit a face head again to reviewers' decisions in the ledger, without the media. Status 1 when it is no better."""
    from pipeline.learn.golden import read_golden
    from pipeline.learn.refit import Head, family_of, learnable, stacked
    from pipeline.learn.refit import refit as run
    from pipeline.models.build import read_head

    settings = Settings()
    path = settings.models_dir / "face_forgery" / f"{head}.json"
    family = family_of(head)
    old, named = read_head(path), msgspec.json.decode(path.read_bytes())
    reviewed = stacked(learnable(_judged(days), family))
    report = run(
        head,
        Head(old.weight.astype("f8"), float(old.bias)),
        str(path),
        named["features"],
        reviewed,
        read_golden(golden),
        output or settings.home / "heads",
        seed,
    )
    if as_json:
        out.print_json(msgspec.json.encode(report, enc_hook=str).decode())
    else:
        out.print(str(report), highlight=False, markup=False)
    raise typer.Exit(0 if report.promotable else 1)


def compare(days: Since = 30, as_json: AsJson = False) -> None:
    """Live and shadow scores of the same uploads side by side, and what reviewers said of them."""
    from pipeline.detect.refitted_faces import HEADS
    from pipeline.learn.refit import side_by_side
    from pipeline.policy.file import load

    fused = load(Settings().policy_file, Settings().calibration_file).fused
    judged = list(_judged(days))
    found = [side_by_side(judged, family, fused.suspicion(family)) for family in HEADS]
    if as_json:
        out.print_json(msgspec.json.encode(found).decode())
        return
    table = Table(
        "family", "uploads with both", "mean change", "newly suspicious", "no longer", "reviewed", "AUC live", "shadow",
        title=f"Live and shadow, {days} days",
    )  # fmt: skip
    for each in found:
        areas = [f"{area:.3f}" for area in each.areas] if each.areas else ["–", "–"]
        table.add_row(
            each.family.value.replace("_", " "), str(each.uploads), f"{each.mean_change:+.3f}", str(each.risen),
            str(each.fallen), str(each.reviewed), *areas,
        )  # fmt: skip
    out.print(table)


def promote(
    step: Annotated[Step, typer.Argument(help="shadow, live or back.")],
    heads: Annotated[list[Path] | None, typer.Argument(help="For shadow: the files of `unmask models refit`.")] = None,
    output: Annotated[Path | None, typer.Option(help="The new detectors file; in the home if not given.")] = None,
) -> None:
    """Move refitted heads into shadow beside the shipped ones, live, or back: writes a detectors file, no more."""
    from pipeline.detect.registry import DEFAULT, text_of
    from pipeline.learn.promote import promoted
    from pipeline.models.sources import write_atomically

    settings = Settings()
    place = output or settings.home / "detectors.yaml"
    now = settings.detectors_file or (place if place.is_file() else DEFAULT)
    text = promoted(text_of(now), step, tuple(str(head.absolute()) for head in heads or ()))
    write_atomically(place, text.encode())
    out.print(f"{place}: written from {now}. Use it: UNMASK_DETECTORS_FILE={place}, then restart the workers.")
    if step is not Step.SHADOW:
        out.print("Uploads that wait for a person were judged by the other heads: unmask models rescore --send")


def rescore(
    queue: Annotated[str | None, typer.Option(help="Only tasks of this queue.")] = None,
    send: Annotated[bool, typer.Option("--send", help="Publish them again; without it, only show which.")] = False,
    as_json: AsJson = False,
) -> None:
    """Judge the uploads again that wait for a person: each opens a new round, by the detectors that run now."""
    from pipeline.kafka import client_config
    from pipeline.ledger.ledger import Ledger
    from pipeline.publish import send as publish
    from pipeline.topology import UPLOADED

    ledger = Ledger(Settings().ledger_url)
    try:
        tasks = ledger.open_tasks(queue)
    finally:
        ledger.close()
    if send:
        publish(
            client_config(Settings()),
            [(UPLOADED, task.media_id, task.upload) for task in tasks],
            source="urn:unmask:rescore",
            rounds={task.media_id: task.round + 1 for task in tasks},
        )
    if as_json:
        out.print_json(msgspec.json.encode([(task.media_id, task.queue, task.round + 1) for task in tasks]).decode())
        return
    table = Table("media id", "queue", "waiting since", "round", title="Rescore")
    for task in tasks:
        table.add_row(task.media_id, task.queue, f"{task.requested_at:%Y-%m-%d %H:%M}", str(task.round + 1))
    out.print(table)
    out.print(f"{len(tasks)} {'sent' if send else 'would be sent; repeat with --send to do it'}")


def _judged(days: int) -> Any:
    from pipeline.ledger.ledger import Ledger

    ledger = Ledger(Settings().ledger_url)
    try:
        yield from ledger.judged(datetime.now(UTC) - timedelta(days=days))
    finally:
        ledger.close()


def add_to(models: typer.Typer) -> None:
    """Hang the commands into `unmask models`."""
    for command in (train, gather, golden, refit, compare, promote, rescore):
        models.command()(command)
