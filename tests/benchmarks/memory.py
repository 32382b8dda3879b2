"""The worker's resident memory while it screens a short video and a long one."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

from pipeline.demo.media import write_video
from tests import media
from tests.benchmarks.bench import Bench
from tests.benchmarks.corpus import photograph
from tests.benchmarks.measured import Measured, measured, peak_since_reset, reset_peak, tree_memory
from tests.benchmarks.traffic import Traffic

SHORT, LONG = 30.0, 2 * 3600.0


def measure(bench: Bench, times: int = 3) -> list[Measured]:
    """Screen a video of either length `times` times, each by a new worker process."""
    worker: dict[float, list[int]] = {SHORT: [], LONG: []}
    tree: dict[float, list[int]] = {SHORT: [], LONG: []}
    with Traffic(bench.config) as traffic:
        for i in range(times):
            for seconds in (SHORT, LONG) if i % 2 == 0 else (LONG, SHORT):
                bench.tell(f"memory: a video of {seconds:g} s, {i + 1} of {times}")
                path = _video(bench, seconds, seed=2 * i + (seconds == LONG))
                bench.worker.stop()
                bench.worker.begin()
                bench.worker.wait_ready()
                alone, together = _peaks(bench.worker_pid, traffic, path)
                worker[seconds].append(alone)
                tree[seconds].append(together)
                path.unlink()
    return [
        measured(
            "memory",
            "resident memory of the worker: two-hour video against 30-second video, difference",
            "%",
            tuple(100 * abs(long / short - 1) for short, long in zip(worker[SHORT], worker[LONG], strict=True)),
            "at most",
            10.0,
            "The peak of the worker process (VmHWM, from before the publish to `media.enforced`); 1280 × 720 H.264 "
            "with sound and a keyframe a second, each screened by a new worker process.",
        ),
        measured("memory", "peak of the worker, 30-second video", "MB", _mb(worker[SHORT])),
        measured("memory", "peak of the worker, two-hour video", "MB", _mb(worker[LONG])),
        measured(
            "memory",
            "peak of worker and decoder children, 30-second video",
            "MB",
            _mb(tree[SHORT]),
            how="Proportional set size of the whole tree, looked at every 50 ms.",
        ),
        measured("memory", "peak of worker and decoder children, two-hour video", "MB", _mb(tree[LONG])),
    ]


def _video(bench: Bench, seconds: float, seed: int) -> Path:
    """Ten seconds of pictures and sound, again and again."""
    rng = np.random.default_rng(seed)
    short = bench.place / f"take-{seed}.mp4"
    stills = [(photograph(rng, bench.photos, (1280, 720), face=face), 5.0) for face in (True, False)]
    write_video(short, stills)
    path = bench.place / f"video-{seed}-{seconds:g}.mp4"
    media.repeat_video(short.read_bytes(), path, seconds)
    short.unlink()
    return path


def _peaks(pid: int, traffic: Traffic, path: Path) -> tuple[int, int]:
    together = 0
    over = threading.Event()

    def watch() -> None:
        nonlocal together
        while not over.wait(0.05):
            together = max(together, tree_memory(pid))

    watcher = threading.Thread(target=watch)
    reset_peak(pid)
    watcher.start()
    try:
        traffic.send([path])
    finally:
        over.set()
        watcher.join()
    return peak_since_reset(pid), together


def _mb(sizes: list[int]) -> tuple[float, ...]:
    return tuple(size / 1e6 for size in sizes)
