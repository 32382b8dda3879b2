"""What decoding costs, as ratios within one run: `python -m tests.benchmarks.decode [--json]`.

Repeats of what is compared alternate, so that a noisy machine disturbs both sides alike. CPU seconds are user and
system time of every process that took part: for the pool the worker, the template and the child.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import av

from pipeline.decode import decoder, handover
from pipeline.decode.pool import DecodePool, DecodeUsage
from pipeline.decode.port import Clip, DecodeBudget
from tests import media

GOP = 250
"""Frames between keyframes: what x264 does when it is not told otherwise."""
FPS = 30


@dataclass(frozen=True, slots=True)
class Figure:
    """One comparison. `value` is held against `limit` (at most); the medians and spreads are of what was compared."""

    name: str
    what: str
    value: float
    limit: float | None
    unit: str
    medians: dict[str, float]
    spreads: dict[str, tuple[float, float]]
    repeats: int

    @property
    def holds(self) -> bool:
        """Whether the limit is kept; a figure without one only informs."""
        return self.limit is None or self.value <= self.limit


class MissingFfmpegError(RuntimeError):
    """The comparison is with the `ffmpeg` command, which is not installed."""


def figure(
    name: str,
    what: str,
    limit: float | None,
    ours: str,
    theirs: str,
    samples: dict[str, list[float]],
    combine: Callable[[float, float], float],
    unit: str = "ratio",
) -> Figure:
    """A figure from the medians of two of the samples."""
    medians = {key: round(statistics.median(values), 5) for key, values in samples.items()}
    return Figure(
        name,
        what,
        round(combine(medians[ours], medians[theirs]), 4),
        limit,
        unit,
        medians,
        {key: (round(min(values), 5), round(max(values), 5)) for key, values in samples.items()},
        len(samples[ours]),
    )


def two_minutes(path: Path, gop: int = GOP) -> int:
    """Write two minutes of moving 1080p H.264, keyframes every `gop` frames; how many keyframes it has."""
    options = {"preset": "veryfast", "crf": "23", "sc_threshold": "0"}
    source = media.video(width=1920, height=1080, seconds=gop / FPS, fps=FPS, gop=gop, options=options, motion=4)
    media.repeat_video(source, path, 120)
    with av.open(str(path)) as container:
        return sum(packet.is_keyframe for packet in container.demux(video=0))


async def keyframes(folder: Path, repeats: int) -> list[Figure]:
    """Keyframe decoding through the pool against the `ffmpeg` command on the same file."""
    path = folder / "two-minutes.mp4"
    count = two_minutes(path)
    budget = DecodeBudget(frames=count + 1)
    raw = ["-f", "rawvideo", "-y", os.devnull]
    only_keys = ["-skip_frame", "nokey", "-i", str(path), "-fps_mode", "passthrough"]
    commands = {
        "ffmpeg_nokey": [*only_keys, *raw],
        "ffmpeg_nokey_one_thread": ["-threads", "1", *only_keys, *raw],
        "ffmpeg_nokey_rgb_1280": [*only_keys, "-vf", "scale=1280:720:flags=area", "-pix_fmt", "rgb24", *raw],
    }
    samples: dict[str, list[float]] = {"pool": [], **{name: [] for name in commands}, "ffmpeg_full": []}
    async with _Meter(budget) as meter:
        for i in range(repeats):
            clip, cpu = await meter(path)
            assert len(clip.keyframes) == count, f"{len(clip.keyframes)} of {count} keyframes"
            samples["pool"].append(cpu)
            for name, command in commands.items():
                samples[name].append(_ffmpeg(command))
            if i < 3:
                samples["ffmpeg_full"].append(_ffmpeg(["-i", str(path), "-fps_mode", "passthrough", *raw]))
    file = f"two minutes of 1080p H.264 at {FPS} fps, {count} keyframes"
    ratio = float.__truediv__
    return [
        figure(
            "keyframes_against_ffmpeg",
            f"{file}: CPU of the pool (decode, RGB, 1280 × 720, hand-over to the worker) / CPU of "
            "`ffmpeg -skip_frame nokey -i F -f rawvideo /dev/null` (decode only, as stored)",
            1.1,
            "pool",
            "ffmpeg_nokey",
            samples,
            ratio,
        ),
        figure(
            "keyframes_against_ffmpeg_one_thread",
            "the same, `ffmpeg -threads 1`",
            None,
            "pool",
            "ffmpeg_nokey_one_thread",
            samples,
            ratio,
        ),
        figure(
            "keyframes_against_ffmpeg_same_output",
            "the same, ffmpeg also scales to 1280 × 720 and converts to RGB",
            None,
            "pool",
            "ffmpeg_nokey_rgb_1280",
            samples,
            ratio,
        ),
        figure(
            "keyframes_against_full_decode",
            f"{file}: CPU of the pool / CPU of `ffmpeg -i F -f rawvideo /dev/null` (all frames)",
            1 / 15,
            "pool",
            "ffmpeg_full",
            samples,
            ratio,
        ),
    ]


async def sandbox(folder: Path, repeats: int) -> list[Figure]:
    """What the sandbox adds to one photograph, in wall time."""
    path = folder / "photo.jpg"
    path.write_bytes(media.image("JPEG", 1280, 960, quality=90))
    budget = DecodeBudget()
    samples: dict[str, list[float]] = {"sandboxed": [], "in_process": [], "sandboxed_cpu": [], "in_process_cpu": []}
    async with _Meter(budget) as meter:
        for i in range(repeats + 5):
            await asyncio.sleep(0.02)
            started, cpu = time.perf_counter(), time.process_time()
            in_process(path, budget)
            alone, alone_cpu = time.perf_counter() - started, time.process_time() - cpu
            await asyncio.sleep(0.02)
            started = time.perf_counter()
            await meter.decode(path)
            enclosed = time.perf_counter() - started
            if i >= 5:  # the first ones warm caches on both sides
                samples["in_process"].append(alone)
                samples["in_process_cpu"].append(alone_cpu)
                samples["sandboxed"].append(enclosed)
                samples["sandboxed_cpu"].append((await meter(path))[1])
    return [
        figure(
            "sandbox_overhead",
            "a 1280 × 960 JPEG: wall time through the pool minus wall time of the same decoder in this process",
            0.015,
            "sandboxed",
            "in_process",
            samples,
            float.__sub__,
            "seconds",
        ),
        figure(
            "sandbox_overhead_cpu",
            "the same in CPU seconds of all processes",
            None,
            "sandboxed_cpu",
            "in_process_cpu",
            samples,
            float.__sub__,
            "seconds",
        ),
    ]


def memory(folder: Path, repeats: int) -> list[Figure]:
    """Resident memory of a worker that decoded a short video and of one that decoded a two-hour one."""
    options = {"preset": "ultrafast", "crf": "40", "sc_threshold": "0"}
    source = media.video(width=640, height=360, seconds=10, fps=25, gop=50, audio="aac", options=options)
    short, long = folder / "short.mp4", folder / "long.mp4"
    media.repeat_video(source, short, 30)
    media.repeat_video(source, long, 7200)
    samples: dict[str, list[float]] = {f"{kind}_{what}": [] for kind in ("short", "long") for what in ("rss", "cpu")}
    for _ in range(repeats):
        for kind, path in (("short", short), ("long", long)):
            command = [sys.executable, "-m", "tests.benchmarks.decode", "--worker", str(path)]
            answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            samples[f"{kind}_rss"].append(answer["rss"])
            samples[f"{kind}_cpu"].append(answer["cpu"])
    return [
        figure(
            "memory_of_two_hours",
            "resident bytes of a worker after three decodes: |two hours − 30 seconds| / 30 seconds",
            0.10,
            "long_rss",
            "short_rss",
            samples,
            lambda long, short: abs(long - short) / short,
        ),
        figure(
            "cpu_of_two_hours",
            "CPU of one decode of two hours / of 30 seconds, same budgets",
            None,
            "long_cpu",
            "short_cpu",
            samples,
            float.__truediv__,
        ),
    ]


def in_process(path: Path, budget: DecodeBudget) -> Clip:
    """The same decoder and the same hand-over without child or sandbox."""
    size = handover.capacity(budget)
    spool = handover.create(size)
    with path.open("rb") as file:
        try:
            out = handover.Outbox(spool, size)
            out.file(decoder.decode(file.fileno(), budget, out))
            clip = handover.collect(spool, size)
        finally:
            os.close(spool)
    assert isinstance(clip, Clip)
    return clip


class _Meter:
    """A pool of one, and the CPU seconds that a decode costs in all its processes."""

    def __init__(self, budget: DecodeBudget) -> None:
        self._usage: asyncio.Queue[DecodeUsage] = asyncio.Queue()
        self.decode = DecodePool(1, budget, observe=self._usage.put_nowait)

    async def __aenter__(self) -> _Meter:
        await self.decode.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.decode.close()

    async def __call__(self, path: Path) -> tuple[Clip, float]:
        while not self._usage.empty():
            self._usage.get_nowait()
        own, template = time.process_time(), _cpu_of(self.decode.pid)
        clip = await self.decode(path)
        usage = await self._usage.get()
        return clip, time.process_time() - own + _cpu_of(self.decode.pid) - template + usage.cpu_seconds


def _cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _ffmpeg(arguments: list[str]) -> float:
    program = shutil.which("ffmpeg")
    if program is None:
        raise MissingFfmpegError("the comparison needs the `ffmpeg` command (Debian: apt-get install ffmpeg)")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([program, "-v", "error", "-nostdin", *arguments], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


async def _worker(path: Path) -> dict[str, float]:
    """Decode three times; what stays resident in this process and what the last one cost."""
    async with _Meter(DecodeBudget(audio_seconds=30)) as meter:
        for _ in range(3):
            clip, cpu = await meter(path)
            del clip
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return {"rss": pages * os.sysconf("SC_PAGE_SIZE"), "cpu": cpu}


def run(repeats: int) -> list[Figure]:
    """All figures."""
    with tempfile.TemporaryDirectory(prefix="unmask-bench-") as name:
        folder = Path(name)
        return [
            *asyncio.run(keyframes(folder, repeats)),
            *asyncio.run(sandbox(folder, repeats * 8)),
            *memory(folder, 3),
        ]


def main() -> int:
    """Print the figures; status 1 when a limit is not kept, 2 when they cannot be measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(asyncio.run(_worker(arguments.worker))))
        return 0
    try:
        figures = run(arguments.repeats)
    except MissingFfmpegError as error:
        print(error, file=sys.stderr)
        return 2
    if arguments.json:
        json.dump([{**asdict(f), "holds": f.holds} for f in figures], sys.stdout, indent=2)
        print()
    else:
        out = io.StringIO()
        for f in figures:
            limit = "" if f.limit is None else f"  at most {f.limit:.4g}: {'holds' if f.holds else 'MISSED'}"
            out.write(f"{f.name:38s} {f.value:8.4f} {f.unit}{limit}\n    {f.what}\n")
        print(out.getvalue(), end="")
    return 0 if all(f.holds for f in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
