"""Ten million hashes: how long a lookup takes on one thread, whether it misses anything, and what it costs.

`python -m tests.benchmarks.banks [--hashes N] [--json]`. Needs about 2.5 GB of memory and 1.5 GB of disk for a while.
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
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from pipeline.match.banks import THRESHOLD
from pipeline.match.index import Codes, Near, build, open_saved
from pipeline.match.pdq import pdq
from tests.benchmarks.measured import Measured, measured

HASHES = 10_000_000
QUERIES = 400
CHECKED = 60
"""Queries that are also compared with every hash, one by one."""
_LIMIT_MS = 10.0


def main() -> int:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hashes", type=int, default=HASHES)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--opened", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.opened:
        print(json.dumps(_opened(arguments.opened)))
        return 0
    rows = measure(arguments.hashes)
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows]))
    else:
        for row in rows:
            print(f"{row.what}: {row.value:.3g} {row.unit} {row.spread or ''}")
    return 0 if all(row.passed for row in rows) else 1


def measure(count: int) -> list[Measured]:
    """Build, save, open elsewhere, ask."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (count, 32), dtype=np.uint8)
    with tempfile.TemporaryDirectory(prefix="unmask-banks-") as name:
        folder = Path(name)
        begin = time.process_time()
        build(codes).save(folder)
        built = time.process_time() - begin
        opened = _in_a_new_process(folder)
        near = open_saved(folder)
        rows = [int(row) for row in rng.integers(0, count, QUERIES)]
        apart = [int(d) for d in rng.integers(0, THRESHOLD + 1, QUERIES)]
        known = [_flipped(codes[row], d, rng) for row, d in zip(rows, apart, strict=True)]
        unknown = rng.integers(0, 256, (QUERIES, 32), dtype=np.uint8)
        for query in unknown[:50]:  # the first look-ups bring the tables into memory
            near.search(query[None], THRESHOLD)
        found_ms = [_milliseconds(near, query) for query in known]
        missed_ms = [_milliseconds(near, query) for query in unknown]
        found = sum(row in near.search(query[None], THRESHOLD).row for row, query in zip(rows, known, strict=True))
        same, scan_ms = _against_everything(near, Near(codes), known[:CHECKED])
        size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    how = (
        f"{count:,} random hashes; CPU time of one thread for one query within {THRESHOLD} of 256 bits, tables mapped "
        "from files and in memory. Known: a hash of the bank with 0 to 31 bits turned over. The spread's upper end is "
        "the 95th percentile."
    )
    frame = np.asarray(rng.integers(0, 256, (720, 1280, 3)), np.uint8)
    pdq(frame)
    return [
        _upper("one known hash looked up", found_ms, target=_LIMIT_MS, how=how),
        _upper("one unknown hash looked up", missed_ms, target=_LIMIT_MS),
        Measured(
            "banks", "known hashes that were found", "%", 100 * found / QUERIES, relation="at least", target=100.0
        ),
        Measured(
            "banks",
            "look-ups whose answer is that of comparing everything",
            "%",
            100 * same / CHECKED,
            relation="at least",
            target=100.0,
        ),
        _upper("for comparison: every hash compared", scan_ms),
        Measured("banks", "CPU to build the tables", "s", built),
        Measured("banks", "tables and hashes on disk, mapped and shared by all workers", "MB", size),
        Measured("banks", "to open them in a new process", "ms", opened["milliseconds"]),
        Measured("banks", "memory of that process for them, before the first look-up", "MB", opened["megabytes"]),
        measured("banks", "PDQ of a frame of 1280 × 720, CPU", "ms", [_pdq_ms(frame) for _ in range(30)]),
    ]


def _upper(what: str, each: Sequence[float], target: float | None = None, how: str = "") -> Measured:
    """The median, with the least and the 95th percentile."""
    spread = (min(each), float(np.percentile(each, 95)))
    return Measured("banks", what, "ms", float(np.median(each)), spread, "at most", target, how)


def _timed(call: Callable[[], object]) -> float:
    begin = time.thread_time()
    call()
    return 1000 * (time.thread_time() - begin)


def _milliseconds(near: Near, query: Codes) -> float:
    return _timed(lambda: near.search(query[None], THRESHOLD))


def _pdq_ms(frame: Codes) -> float:
    return _timed(lambda: pdq(frame))


def _against_everything(near: Near, plain: Near, queries: Sequence[Codes]) -> tuple[int, list[float]]:
    same, spent = 0, []
    for query in queries:
        begin = time.thread_time()
        every = plain.search(query[None], THRESHOLD)
        spent.append(1000 * (time.thread_time() - begin))
        same += np.array_equal(every.row, near.search(query[None], THRESHOLD).row)
    return same, spent


def _flipped(code: Codes, bits: int, rng: np.random.Generator) -> Codes:
    whole = np.unpackbits(code)
    whole[rng.choice(256, bits, replace=False)] ^= 1
    return np.packbits(whole)


def _in_a_new_process(folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.banks", "--opened", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ})
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _opened(folder: Path) -> dict[str, float]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.perf_counter()
    near = open_saved(folder)
    spent = 1000 * (time.perf_counter() - begin)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"milliseconds": spent, "megabytes": (after - before) / 1024, "hashes": len(near.codes)}


if __name__ == "__main__":
    sys.exit(main())
