"""Mixed uploads through Kafka, against the same decoding and inference called directly.

Both ways work on the same files, one after the other, with the same number under way at once, the same decoder children
and the same inference server; which goes first changes from pair to pair. Each pair has files of its own, so nothing is
decided from an earlier screening.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.decode.pool import DecodePool
from pipeline.decode.port import DecodeBudget
from pipeline.detect.ensemble import detect
from pipeline.detect.registry import load as load_registry
from pipeline.detect.triton import Triton
from pipeline.settings import Settings
from tests.benchmarks.bench import Bench
from tests.benchmarks.corpus import make_corpus
from tests.benchmarks.measured import Measured, cpu_seconds, measured
from tests.benchmarks.traffic import Traffic

_WARM_UP = 24


def measure(bench: Bench, uploads: int = 200, pairs: int = 3) -> list[Measured]:
    """Run `pairs` pairs of `uploads` each."""
    seen: set[str] = set()
    streamed, direct, ratios = [], [], []
    streamed_cpu, direct_cpu = [], []
    with Traffic(bench.config) as traffic:
        bench.tell("throughput: warming up")
        warm = _files(bench, _WARM_UP, 10_000, seen)
        traffic.send(warm)
        _directly(warm, bench.settings)
        for pair in range(pairs):
            bench.tell(f"throughput: writing files for pair {pair + 1} of {pairs}")
            paths = _files(bench, uploads, pair, seen)

            def through_kafka(paths: Sequence[Path] = paths) -> None:
                parts = (bench.worker_pid, bench.triton_pid, bench.kafka_pid)
                before = sum(map(cpu_seconds, parts))
                streamed.append(uploads / traffic.send(paths))
                streamed_cpu.append((sum(map(cpu_seconds, parts)) - before) / uploads)

            def directly(paths: Sequence[Path] = paths) -> None:
                others = (bench.worker_pid, bench.triton_pid, bench.kafka_pid)
                before = cpu_seconds(os.getpid(), without=others) + cpu_seconds(bench.triton_pid)
                direct.append(uploads / _directly(paths, bench.settings))
                spent = cpu_seconds(os.getpid(), without=others) + cpu_seconds(bench.triton_pid) - before
                direct_cpu.append(spent / uploads)

            ways: list[tuple[str, Callable[[], None]]] = [("through Kafka", through_kafka), ("directly", directly)]
            for name, way in ways if pair % 2 == 0 else reversed(ways):
                bench.tell(f"throughput: pair {pair + 1} of {pairs}, {name}")
                way()
            ratios.append(streamed[-1] / direct[-1])
            shutil.rmtree(paths[0].parent)
    of = f"{uploads} mixed uploads"
    return [
        measured(
            "throughput",
            f"{of} through Kafka: throughput against direct calls",
            "×",
            tuple(ratios),
            "at least",
            0.8,
            "Uploads a second from the first publish to the last `media.enforced` (Apache Kafka, one node; one worker "
            "process; Triton; ledger on SQLite), over those of a loop with as many files under way that calls the "
            "decoder pool and the ensemble against the same Triton; the same files for both, other files in each pair, "
            "which goes first in turn, all warm.",
        ),
        measured(
            "throughput",
            "the same in CPU: direct calls over the way through Kafka",
            "×",
            tuple(alone / all_of_it for alone, all_of_it in zip(direct_cpu, streamed_cpu, strict=True)),
            how="In CPU the ratio is what throughput would come to if nothing ever waited. It stays the same on a "
            "machine that has other things to do, where throughput does not.",
        ),
        measured("throughput", "uploads a second through Kafka", "/s", tuple(streamed)),
        measured("throughput", "uploads a second by direct calls", "/s", tuple(direct)),
        measured(
            "throughput",
            "CPU of an upload through Kafka (worker, decoders, Triton, broker)",
            "ms",
            tuple(1000 * each for each in streamed_cpu),
            how="The CPU seconds that the kernel counts for the processes named, over the number of uploads.",
        ),
        measured(
            "throughput",
            "CPU of an upload by direct calls (loop, decoders, Triton)",
            "ms",
            tuple(1000 * each for each in direct_cpu),
        ),
    ]


def _files(bench: Bench, count: int, seed: int, seen: set[str]) -> tuple[Path, ...]:
    paths = make_corpus(bench.place / f"set-{seed}", count, seed, bench.photos)
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    if len(digests) < count or digests & seen:
        raise RuntimeError("two files have the same contents: the ledger would answer for one of them")
    seen |= digests
    return paths


def _directly(paths: Sequence[Path], settings: Settings) -> float:
    """Seconds for decoding and inference alone."""
    return asyncio.run(_call(paths, settings))


async def _call(paths: Sequence[Path], settings: Settings) -> float:
    registry = load_registry(settings.detectors_file)
    infer = Triton(settings.triton_url, concurrency=settings.triton_concurrency, timeout=settings.triton_timeout)
    budget = DecodeBudget(
        frames=settings.decode_frames,
        max_side=settings.decode_max_side,
        wall_seconds=settings.decode_wall_seconds,
        memory_bytes=settings.decode_memory_bytes,
    )
    places = asyncio.Semaphore(settings.concurrency)
    async with DecodePool(settings.decode_workers, budget) as decode:

        async def one(path: Path) -> None:
            async with places:
                await detect(await decode(path), registry, infer, within=settings.item_deadline)

        await infer.server_ready()
        started = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for path in paths:
                group.create_task(one(path))
        seconds = time.monotonic() - started
    await infer.close()
    return seconds
