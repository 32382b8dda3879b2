"""What an upload costs whose bytes were judged before, against its first screening.

Everything is real: the file is fetched and hashed, the ledger is asked (SQLite, and PostgreSQL with its server's CPU),
and policy decides. CPU time, not time: the machine may have other things to do.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import numpy as np
from PIL import Image
from prometheus_client import CollectorRegistry

from pipeline.app import breaker, metrics_for, screening
from pipeline.errors import Reason, Stage
from pipeline.events import MediaUploaded
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.port import KnownContent
from pipeline.route import route
from pipeline.screen import Screening, screen
from tests.benchmarks.bench import Bench
from tests.benchmarks.corpus import photograph
from tests.benchmarks.measured import Measured, cpu_seconds, measured
from tests.postgres import running_postgres

_BYTES = range(200_000, 400_000)
"""A typical photograph."""


@dataclass(frozen=True, slots=True)
class _Costs:
    """CPU seconds: of each photograph's first screening, and of each of its repeats."""

    first: list[float]
    known: list[float]


def measure(bench: Bench, photographs: int = 20, repeats: int = 15) -> list[Measured]:
    """Screen each photograph once, and then `repeats` times more."""
    rows = []
    folder = bench.place / "photographs"
    try:
        bench.tell("reuse: writing photographs")
        with running_postgres() as postgres:
            ledgers = (
                ("SQLite", f"sqlite:///{bench.place.parent / 'reuse.sqlite'}", None),
                ("PostgreSQL", postgres.url, postgres.pid),
            )
            for seed, (name, url, server) in enumerate(ledgers):
                paths = _photographs(folder, bench, photographs, seed)
                bench.tell(f"reuse: {photographs} photographs, once and {repeats} times again, {name}")
                costs = asyncio.run(_screen_all(paths, repeats, bench, url, server))
                rows += _rows(name, costs)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return rows


def _rows(database: str, costs: _Costs) -> list[Measured]:
    first, known = sorted(costs.first)[len(costs.first) // 2], costs.known
    return [
        measured(
            "reuse",
            f"known digest against its first screening, {database}",
            "×",
            tuple(cost / first for cost in known),
            "at most",
            1 / 20,
            "CPU seconds of the worker's `screen` (fetch, hash, look-up, policy) on photographs of 200–400 KB that are "
            "on record, over the median of their first screenings, where decoder children and Triton count too; the "
            "database server's CPU counts where there is one.",
        ),
        measured("reuse", f"known digest, CPU, {database}", "ms", tuple(1000 * cost for cost in known), "at most", 5.0),
        measured("reuse", f"first screening, CPU, {database}", "ms", tuple(1000 * cost for cost in costs.first)),
    ]


async def _screen_all(paths: Sequence[Path], repeats: int, bench: Bench, url: str, server: int | None) -> _Costs:
    ledger = Ledger(url)
    ledger.migrate()
    metrics = metrics_for(bench.policy, CollectorRegistry())
    guard = breaker("ledger", Stage.ROUTE, Reason.LEDGER_UNAVAILABLE, metrics)

    async def known(sha256: str, detectors: tuple[str, ...]) -> KnownContent | None:
        return await guard.call(lambda: asyncio.to_thread(ledger.known_content, sha256, detectors))

    others = tuple(pid for pid in (bench.worker_pid, bench.kafka_pid, bench.triton_pid, server) if pid is not None)

    def elsewhere() -> float:
        """CPU of decoder children, inference and database; this process is counted apart, and finer."""
        children = cpu_seconds(os.getpid(), without=others) - sum(os.times()[:4])
        return children + cpu_seconds(bench.triton_pid) + (cpu_seconds(server) if server else 0.0)

    async with screening(bench.settings, bench.policy, metrics, known) as (by, _):
        try:
            warm, *rest = paths
            for path in (warm, warm):
                await _screened(path, by, ledger)
            first = [await _cost(path, by, ledger, elsewhere) for path in rest]
            before = elsewhere()
            known_costs = [await _known_cost(path, by) for path in rest for _ in range(repeats)]
            share = (elsewhere() - before) / len(known_costs)
        finally:
            ledger.close()
    return _Costs(first, [cost + share for cost in known_costs])


async def _cost(path: Path, by: Screening, ledger: Ledger, elsewhere: Callable[[], float]) -> float:
    there, here = elsewhere(), time.process_time()
    await _screened(path, by, ledger)
    return time.process_time() - here + elsewhere() - there


async def _known_cost(path: Path, by: Screening) -> float:
    upload = _upload(path)
    here = time.process_time()
    decided = await screen(upload, 1, now=datetime.now(UTC), within=60.0, by=by)
    cost = time.process_time() - here
    if decided.reused_from is None:
        raise RuntimeError("a file that is on record was screened anew")
    return cost


async def _screened(path: Path, by: Screening, ledger: Ledger) -> None:
    decided = await screen(_upload(path), 1, now=datetime.now(UTC), within=60.0, by=by)
    routed = route(decided)
    await asyncio.to_thread(ledger.record_decision, decided, routed.task, routed.outcome)


def _upload(path: Path) -> MediaUploaded:
    return MediaUploaded(media_id=str(uuid4()), uri=path.as_uri(), uploaded_at=datetime.now(UTC))


def _photographs(folder: Path, bench: Bench, count: int, seed: int) -> tuple[Path, ...]:
    """`count` and one more, to warm up with: half of them show a face."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(20_000 + seed)
    paths: list[Path] = []
    while len(paths) <= count:
        path = folder / f"{seed}-{len(paths)}.jpg"
        picture = photograph(rng, bench.photos, (1600, 1200), face=len(paths) % 2 == 0)
        Image.fromarray(picture).save(path, quality=int(rng.integers(80, 95)))
        if path.stat().st_size in _BYTES:
            paths.append(path)
    return tuple(paths)
