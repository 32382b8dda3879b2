"""What a benchmark measured, against its target; and how the cost of processes is read."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

import psutil


@dataclass(frozen=True, slots=True)
class Measured:
    """One row of the table.

    `benchmark` is the runner's name for the group, `what` the row. `value` is held against `target`; `relation` says on
    which side of it it has to be. No target: for information. `spread`: the least and the most that was measured, where
    the value is a median of single measurements. `how`: for the document.
    """

    benchmark: str
    what: str
    unit: str
    value: float
    spread: tuple[float, float] | None = None
    relation: Literal["at most", "at least"] = "at most"
    target: float | None = None
    how: str = ""

    @property
    def passed(self) -> bool:
        """Whether the target is met, or there is none."""
        if self.target is None:
            return True
        return self.value <= self.target if self.relation == "at most" else self.value >= self.target


def read_row(row: Mapping[str, Any]) -> Measured:
    """A row as JSON has it."""
    spread = row["spread"] and tuple(row["spread"])
    return Measured(**{**{name: value for name, value in row.items() if name != "passed"}, "spread": spread})


def measured(
    benchmark: str,
    what: str,
    unit: str,
    each: Sequence[float],
    relation: Literal["at most", "at least"] = "at most",
    target: float | None = None,
    how: str = "",
) -> Measured:
    """A row whose value is the median of single measurements."""
    return Measured(benchmark, what, unit, median(each), (min(each), max(each)), relation, target, how)


def cpu_seconds(root: int, without: Collection[int] = ()) -> float:
    """CPU seconds, user and system, of a process and all that it started, those that ended and were waited for too.

    `without`: pids whose trees are left out. The kernel counts in hundredths of a second.
    """
    total = 0.0
    for process in _tree(root, without):
        try:
            spent = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += spent.user + spent.system + spent.children_user + spent.children_system
    return total


def peak_since_reset(pid: int) -> int:
    """The largest resident memory, bytes, since `reset_peak`."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise LookupError(f"the kernel does not say the peak of process {pid}")


def reset_peak(pid: int) -> None:
    """Have the kernel forget the peak so far."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def tree_memory(root: int) -> int:
    """Memory of a process and all that it started, bytes; what they share is counted once (PSS)."""
    total = 0
    for process in _tree(root):
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total


def _tree(root: int, without: Collection[int] = ()) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    waiting = [psutil.Process(root)]
    while waiting:
        process = waiting.pop()
        if process.pid in without:
            continue
        found.append(process)
        try:
            waiting += process.children()
        except psutil.NoSuchProcess:
            continue
    return found
