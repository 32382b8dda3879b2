"""What came out of a run: as JSON, as a table for people, and as the tables of docs/chaos.md."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec
from rich.table import Table

from tests.chaos.recovery import OfKind, Recovery, Spread, by_kind
from tests.chaos.schedule import Kind, schedule

Acknowledge = Literal["ordered", "plain"]
"""`plain`: as Faust does by itself, to see that the audit finds what that loses."""

BEGIN, END = "<!-- results -->\n", "<!-- end of results -->\n"
"""What a report writes lies between these lines."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a run is. `faults`: SIGKILLs and SIGTERMs of workers; the others come on top, `each` so often."""

    uploads: int
    faults: int
    each: int = 1
    kinds: tuple[Kind, ...] = tuple(Kind)
    brokers: Literal[1, 3] = 1
    seed: int = 1
    database: Literal["sqlite", "postgres"] = "postgres"
    acknowledge: Acknowledge = "ordered"
    seconds: float | None = None  # of publishing; so many that the faults have room when None
    contents: int | None = None  # distinct files; a tenth of the uploads, 40 to 200, when None
    patience: float = 420.0  # seconds for the rest after the last upload and the last fault
    poison: int = 8  # files that kill their decoder, whenever such a fault comes
    alerts: bool = True  # whether a Prometheus watches the run

    @property
    def publishing_seconds(self) -> float:
        return self.seconds or 11.0 * len(schedule(self.faults, self.each, 1.0, self.brokers, self.seed, self.kinds))

    @property
    def distinct_contents(self) -> int:
        return self.contents or min(200, max(40, self.uploads // 10))


@dataclass(frozen=True, slots=True)
class Alerted:
    """An alert that fired. `since`, `until`: seconds after the first upload; `until` None: it fired to the end."""

    alert: str
    labels: dict[str, str]
    since: float
    until: float | None


@dataclass(frozen=True, slots=True)
class Result:
    """What came out. Encodes to JSON as it is."""

    options: Options
    uploads: int
    published: int
    contents: int
    poison: int
    faults: dict[str, int]
    by_themselves: tuple[str, ...]
    lost: int
    two_outcomes: int
    violations: tuple[str, ...]
    violations_by_kind: dict[str, int]
    duplicates: dict[str, int]
    stand: dict[str, int]
    reviews: int
    reviews_twice: int
    at_console: int
    unreachable: int
    disagreements: tuple[str, ...] = ()
    failures: dict[str, int] = field(default_factory=dict)
    reused: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    recoveries: tuple[Recovery, ...] = ()
    alerts: tuple[Alerted, ...] = ()
    alerts_missing: tuple[str, ...] = ()
    alerts_unexpected: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Nothing lost, nothing answered in two ways, the platform's own account says the same, and the alerts were
        those that are called for."""
        broken = self.lost or self.two_outcomes or self.violations or self.disagreements
        return not (broken or self.alerts_missing or self.alerts_unexpected)


def rows(result: Result) -> Iterable[tuple[str, str]]:
    """What was counted, and how often."""
    yield "uploads", str(result.uploads)
    yield "records published, with repeats and broken events", str(result.published)
    yield "distinct contents", str(result.contents)
    yield "files that kill their decoder", str(result.poison)
    yield "decided from what was known of the bytes", str(result.reused)
    yield "faults", str(sum(result.faults.values()))
    yield "workers that ended by themselves", str(len(result.by_themselves))
    for state, count in result.stand.items():
        yield f"audit: {state.replace('_', ' ')}", str(count)
    for reason, count in result.failures.items():
        yield f"could not be judged: {reason}", str(count)
    yield "reviews (of these answered a second time, differently)", f"{result.reviews} ({result.reviews_twice})"
    yield "tasks answered at the console", str(result.at_console)
    yield "requests to the console that came to nothing", str(result.unreachable)
    for kind, count in result.duplicates.items():
        yield f"duplicates in the topics: {kind.replace('_', ' ')}", str(count)
    for what, seconds in result.seconds.items():
        yield f"seconds: {what}", f"{seconds:.0f}"
    yield "alerts that fired", ", ".join(sorted({each.alert for each in result.alerts})) or "none"
    yield "alerts that should have fired and did not", str(len(result.alerts_missing))
    yield "alerts that should not have fired and did", str(len(result.alerts_unexpected))
    yield "**lost**", f"**{result.lost}**"
    yield "**uploads with two different outcomes**", f"**{result.two_outcomes}**"
    yield "**violations, disagreements**", f"**{len(result.violations)}, {len(result.disagreements)}**"


def table(result: Result) -> tuple[Table, Table]:
    """A result for people: what was counted, and how soon what recovered."""
    counted = Table("what", "count", title=f"Chaos, {result.options.brokers} broker(s), seed {result.options.seed}")
    for what, count in rows(result):
        counted.add_row(what.replace("**", ""), count.replace("**", ""))
    recovered = Table(*_HEADINGS, title="Recovery, seconds: median (longest)")
    for kind in by_kind(result.recoveries):
        recovered.add_row(*_cells(kind))
    return counted, recovered


_HEADINGS = ("fault", "times", "lasted", "ready again", "next outcome", "backlog gone")


def _cells(kind: OfKind) -> tuple[str, ...]:
    never = f"; {kind.never} not within the run" if kind.never else ""
    return (
        kind.kind.value,
        str(kind.count),
        _words(kind.lasted),
        _words(kind.ready),
        _words(kind.first),
        _words(kind.backlog) + never,
    )


def _words(spread: Spread | None) -> str:
    return "" if spread is None else f"{spread.median:.0f} ({spread.longest:.0f})"


def as_markdown(result: Result, command: str) -> str:
    """The tables of docs/chaos.md."""
    lines = [f"`{command}`", "", "| what | count |", "|---|---|"]
    lines += [f"| {what} | {count} |" for what, count in rows(result)]
    lines += ["", "| " + " | ".join(_HEADINGS) + " |", "|---" * len(_HEADINGS) + "|"]
    lines += ["| " + " | ".join(_cells(kind)) + " |" for kind in by_kind(result.recoveries)]
    lines += ["", "| alert | labels | fired from, s | until, s |", "|---|---|---|---|"]
    for each in result.alerts:
        until = "the end" if each.until is None else f"{each.until:.0f}"
        lines.append(f"| {each.alert} | {_labels(each)} | {each.since:.0f} | {until} |")
    return "\n".join(lines) + "\n"


def _labels(alerted: Alerted) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(alerted.labels.items()))


def write_report(folder: Path, result: Result, command: str) -> None:
    """`chaos.json` in the folder, and the tables in its `chaos.md`, between the two lines for them."""
    (folder / "chaos.json").write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    page = folder / "chaos.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"{page} has no lines {BEGIN.strip()} and {END.strip()}")
    page.write_text(before + BEGIN + as_markdown(result, command) + END + after, encoding="utf-8")
