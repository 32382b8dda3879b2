"""What was measured, for people: a table in the terminal, and docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from rich.table import Table

from pipeline import VERSION
from pipeline.stack.kafka import KAFKA_VERSION
from pipeline.stack.triton import WHEEL
from tests.benchmarks.measured import Measured

_INTRODUCTION = """\
# Benchmarks

Written by `make bench`; do not edit. What has a target is a ratio within one run, a difference between two things that
were measured in turn, or CPU time, so that another machine, or a busy one, comes to about the same. Rows without a
target inform. Values are medians; behind them the least and the most of what was measured.
"""
_TITLES = {
    "decode": "Decoding",
    "banks": "Banks of known content",
    "backtest": "Backtests of a policy",
    "desk": "Reviewers at work",
    "throughput": "Throughput",
    "reuse": "Contents that were judged before",
    "memory": "Memory and the length of a video",
    "plan": "What `unmask plan` predicts",
}
_PACKAGES = ("av", "faust-streaming", "aiokafka", "onnxruntime", "tritonclient", "numpy", "opencv-python-headless")


def table(rows: Sequence[Measured]) -> Table:
    """For the terminal."""
    shown = Table(title="Benchmarks")
    shown.add_column("")
    shown.add_column("what", ratio=1)
    for name in ("target", "measured", "least – most"):
        shown.add_column(name, justify="right", no_wrap=True)
    last = ""
    for row in rows:
        if last and row.benchmark != last:
            shown.add_section()
        last = row.benchmark
        mark = "" if row.target is None else "[green]✓[/]" if row.passed else "[red]✗[/]"
        shown.add_row(mark, row.what, target(row), amount(row.value, row.unit), spread(row))
    return shown


@dataclass(frozen=True, slots=True)
class At:
    """When a benchmark was run, and the machine's load average before."""

    at: str
    load: float


def document(rows: Sequence[Measured], when: Mapping[str, At]) -> str:
    """docs/benchmarks.md. `when`: by benchmark."""
    targets = [row for row in rows if row.target is not None]
    missed = [f"- {_TITLES.get(row.benchmark, row.benchmark)}: {row.what}" for row in targets if not row.passed]
    verdict = f"{len(targets) - len(missed)} of {len(targets)} targets are met." + (
        " Missed:\n\n" + "\n".join(missed) if missed else ""
    )
    parts = [_INTRODUCTION, _machine(), f"{verdict}\n"]
    for name in dict.fromkeys(row.benchmark for row in rows):
        group = [row for row in rows if row.benchmark == name]
        lines = [
            f"## {_TITLES.get(name, name)}\n",
            f"{when[name].at[:10]}, {when[name].at[11:16]} UTC; load before the run {when[name].load:g}.\n",
            "| what | target | measured | least – most | |",
            "|---|---|---|---|---|",
        ]
        for row in group:
            verdict = "" if row.target is None else "met" if row.passed else "**missed**"
            cells = (row.what.replace("|", "\\|"), target(row), amount(row.value, row.unit), spread(row), verdict)
            lines.append(f"| {' | '.join(cells)} |")
        parts.append("\n".join(lines) + "\n")
        parts += [f"{how}\n" for how in dict.fromkeys(row.how for row in group if row.how)]
    return "\n".join(parts)


def target(row: Measured) -> str:
    """`at most 5 ms`."""
    return "" if row.target is None else f"{row.relation} {amount(row.target, row.unit)}"


def spread(row: Measured) -> str:
    """`0.81 – 0.95`, in the row's unit."""
    return "" if row.spread is None else " – ".join(_figure(each) for each in row.spread)


def amount(value: float, unit: str) -> str:
    """Three figures and the unit."""
    return f"{_figure(value)} {unit}".rstrip()


def _figure(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def processor() -> str:
    """The CPU's model, as the kernel names it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "an unnamed CPU"


def _machine() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    cores = f"{len(os.sched_getaffinity(0))} cores of {processor()}"
    system = f"{platform.system()} {platform.release().partition('-')[0]}, Python {platform.python_version()}"
    return (
        f"Measured on {cores}, {system}: Unmask {VERSION}, "
        f"Apache Kafka {KAFKA_VERSION}, Triton from {WHEEL}, {packages}.\n"
    )
