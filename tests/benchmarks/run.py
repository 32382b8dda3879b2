"""Every benchmark: `python -m tests.benchmarks.run [--only NAME …]`.

Shows a table. What was run takes its place in docs/benchmarks.json, from which docs/benchmarks.md is written, when all
were run or with `--keep`. Exit status 1: a target was missed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from pipeline.settings import Settings
from tests.benchmarks import memory, plan, reuse, throughput
from tests.benchmarks.bench import Bench, Tell, running
from tests.benchmarks.measured import Measured, read_row
from tests.benchmarks.plan_picture import picture
from tests.benchmarks.report import At, document, table

REPOSITORY = Path(__file__).parents[2]
NAMES = ("decode", "banks", "backtest", "desk", "throughput", "reuse", "memory", "plan")
_SHORT_UNITS = {"ratio": "×", "seconds": "s"}


def main() -> int:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=NAMES, nargs="+", default=NAMES, help="these alone")
    parser.add_argument("--keep", action="store_true", help="write the document although not all are run")
    parser.add_argument("--uploads", type=int, default=200, help="of a throughput run")
    parser.add_argument("--pairs", type=int, default=3, help="of throughput runs")
    parser.add_argument("--docs", type=Path, default=REPOSITORY / "docs", help="where the document goes")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the parts are ended and their files removed
    at, load = datetime.now(UTC), os.getloadavg()[0]
    rows: list[Measured] = []
    with _told(Console(stderr=True)) as tell:
        if "decode" in arguments.only:
            tell("decode")
            rows += _decode()
        if "banks" in arguments.only:
            tell("banks")
            rows += _alone("banks")
        if "backtest" in arguments.only:
            tell("backtest")
            rows += _alone("backtest")
        if "desk" in arguments.only:
            tell("desk")
            rows += _alone("desk")
        if set(arguments.only) - {"decode", "banks", "backtest", "desk"}:
            with running(Settings(), tell) as bench:
                rows += _on_the_stack(bench, arguments)
    console = Console()
    console.print(table(rows))
    if arguments.keep or set(arguments.only) == set(NAMES):
        _keep(arguments.docs, rows, At(at.isoformat(timespec="seconds"), round(load, 1)))
        console.print(f"written to {arguments.docs}/benchmarks.md and benchmarks.json")
    missed = [row for row in rows if not row.passed]
    for row in missed:
        console.print(f"[red]missed:[/] {row.what}")
    return 1 if missed else 0


def _keep(docs: Path, rows: list[Measured], at: At) -> None:
    """These rows instead of those that their benchmarks had, in the order of `NAMES`, and the document anew."""
    path = docs / "benchmarks.json"
    kept = json.loads(path.read_text()) if path.exists() else {"at": {}, "rows": []}
    when = {name: At(**each) for name, each in kept["at"].items()} | {row.benchmark: at for row in rows}
    others = [read_row(row) for row in kept["rows"]]
    merged = [row for row in others if row.benchmark not in {row.benchmark for row in rows}] + rows
    merged.sort(key=lambda row: NAMES.index(row.benchmark))
    when = {name: when[name] for name in NAMES if name in when}
    found = {
        "at": {name: asdict(each) for name, each in when.items()},
        "rows": [{**asdict(row), "passed": row.passed} for row in merged],
    }
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    (docs / "benchmarks.md").write_text(document(merged, when))


def _on_the_stack(bench: Bench, arguments: argparse.Namespace) -> list[Measured]:
    rows = []
    if "throughput" in arguments.only:
        rows += throughput.measure(bench, arguments.uploads, arguments.pairs)
    if "reuse" in arguments.only:
        rows += reuse.measure(bench)
    if "memory" in arguments.only:
        rows += memory.measure(bench)
    if "plan" in arguments.only:
        found, pairs = plan.measure(bench)
        rows += found
        (arguments.docs / "pictures" / "plan.svg").write_text(picture(pairs, plan.TOLERANCE))
    return rows


def _decode() -> list[Measured]:
    """In a process of its own, whose CPU and memory are its subject."""
    command = [sys.executable, "-m", "tests.benchmarks.decode", "--json"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"the decoding benchmark failed: {done.stderr.strip()[-2000:]}")
    return [
        Measured(
            "decode",
            figure["what"],
            _SHORT_UNITS.get(figure["unit"], figure["unit"]),
            figure["value"],
            target=figure["limit"],
            how="Each value compares the medians of repeats that alternate; CPU is that of all processes involved.",
        )
        for figure in json.loads(done.stdout)
    ]


def _alone(name: str) -> list[Measured]:
    """In a process of its own, which needs gigabytes for a while."""
    command = [sys.executable, "-m", f"tests.benchmarks.{name}", "--json"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"the benchmark {name} failed: {done.stderr.strip()[-2000:]}")
    return [read_row(row) for row in json.loads(done.stdout)]


@contextmanager
def _told(console: Console) -> Iterator[Tell]:
    """A line that says what is being done and for how long; a log where there is no terminal."""
    if not console.is_terminal:
        yield lambda what: console.print(f"{datetime.now(UTC):%H:%M:%S} {what}", highlight=False, soft_wrap=True)
        return
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console) as progress:
        line = progress.add_task("starting", total=None)
        yield lambda what: progress.update(line, description=what)


if __name__ == "__main__":
    sys.exit(main())
