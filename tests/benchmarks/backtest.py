"""A generated week decided again: what it costs, whether memory stays, and whether the flips are those counted by hand.

`python -m tests.benchmarks.backtest [--uploads N] [--json]`. Needs 3 GB of disk for a while.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.ledger.ledger import Ledger
from pipeline.policy.backtest_run import Window, backtest
from pipeline.policy.file import CALIBRATION, DEFAULT, Sourced, read_calibration, sourced
from tests.benchmarks.measured import Measured, cpu_seconds, peak_since_reset
from tests.generate_week import BEGIN, LENGTH, POLICY, generate
from tests.postgres import running_postgres
from tests.week_by_hand import flips, latest, outcome

UPLOADS = 100_000
PROCESSES = 2
_REPOSITORY = Path(__file__).parents[2]
_LIMIT_CPU = 60.0 * PROCESSES
"""Seconds: a minute on two processors."""
_HOW = (
    "Decided again by two processes from stored signals; a recorded upload takes about 15 KB of the database. CPU, user"
    " and system, of all processes of the command from start to end, the database server's where there is one."
)


@dataclass(frozen=True, slots=True)
class Run:
    """One backtest in a process of its own. `peak`: bytes, of the largest process."""

    wall: float
    cpu: float
    peak: int
    uploads: int
    flips: int


def main() -> int:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uploads", type=int, default=UPLOADS)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", nargs=3, metavar=("URL", "AGAINST", "SHARE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        url, against, share = arguments.one
        print(json.dumps(asdict(_one(url, against, float(share)))))
        return 0
    rows = measure(arguments.uploads)
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows]))
    else:
        for row in rows:
            print(f"{row.what}: {row.value:.4g} {row.unit}")
    return 0 if all(row.passed for row in rows) else 1


def measure(uploads: int) -> list[Measured]:
    """Generate the week in each database, and decide it again."""
    rows: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix="unmask-week-") as name:
        url = f"sqlite:///{name}/week.sqlite"
        wanted = _generated(url, uploads)
        against_record, against_file = _run(url, "recorded"), _run(url, "file")
        rows += [
            _cpu(f"{uploads:,} recorded uploads against what was decided, SQLite", against_record.cpu, uploads),
            _wall(against_record),
            _cpu("the same against another policy file, decided again too", against_file.cpu, uploads),
            _wall(against_file),
            _cpu("the default policy on the same, against what was decided", _run(url, "default").cpu, uploads),
            Measured(
                "backtest",
                "flips that differ from a count by hand over the numbers drawn",
                "",
                float(abs(against_record.flips - wanted) + abs(against_file.flips - wanted)),
                target=0.0,
                how=f"The count by hand knows of no rules; it found {wanted} flips of {uploads:,}.",
            ),
            _memory(_run(url, "recorded", share=0.1), against_record),
            Measured("backtest", "peak of the largest process", "MB", against_record.peak / 1e6),
        ]
    with running_postgres() as server:
        url = server.url
        if _generated(url, uploads) != wanted:
            raise AssertionError("the same seed drew another week")
        before = cpu_seconds(server.pid)
        run = _run(url, "recorded")
        rows += [
            _cpu("against what was decided, PostgreSQL", run.cpu + cpu_seconds(server.pid) - before, uploads),
            _wall(run),
        ]
    return rows


def _cpu(what: str, seconds: float, uploads: int) -> Measured:
    return Measured("backtest", f"{what}: CPU", "s", seconds, target=_LIMIT_CPU * uploads / UPLOADS, how=_HOW)


def _wall(run: Run) -> Measured:
    return Measured("backtest", "the same in seconds as they passed", "s", run.wall)


def _memory(part: Run, whole: Run) -> Measured:
    grown = 100 * max(0.0, whole.peak / part.peak - 1)
    what = "peak memory of the largest process: the whole week against a tenth of it, difference"
    return Measured("backtest", what, "%", grown, target=20.0)


def _generated(url: str, uploads: int) -> int:
    """The week, in the database; how many flips the changed threshold makes, counted by hand."""
    ledger = Ledger(url)
    ledger.migrate()
    drawn = generate(ledger, uploads)
    ledger.close()
    return flips((one, outcome(one), outcome(one, swap=0.70)) for one in latest(drawn)).total


def _run(url: str, against: str, share: float = 1.0) -> Run:
    command = [sys.executable, "-m", "tests.benchmarks.backtest", "--one", url, against, str(share)]
    done = subprocess.run(command, cwd=_REPOSITORY, capture_output=True, text=True, check=True)
    return Run(**json.loads(done.stdout))


def _one(url: str, against: str, share: float) -> Run:
    begin = time.perf_counter()
    changed = _policy(POLICY.replace("swap: 0.80", "swap: 0.70"))
    new = _policy(DEFAULT.read_text()) if against == "default" else changed
    old = _policy(POLICY) if against == "file" else None
    window = Window(BEGIN, BEGIN + LENGTH * share)
    found = backtest(url, new, old, window, examples=20, processes=PROCESSES)
    wall = time.perf_counter() - begin
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(each.ru_utime + each.ru_stime for each in used)
    # Not its own ru_maxrss: the kernel starts that at the size of the process that started this one.
    peak = max(peak_since_reset(os.getpid()), used[1].ru_maxrss * 1024)
    return Run(wall, cpu, peak, found.uploads, found.flips)


def _policy(text: str) -> Sourced:
    return sourced(text, "benchmark", read_calibration(CALIBRATION))


if __name__ == "__main__":
    sys.exit(main())
