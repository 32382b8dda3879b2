"""`python -m tests.chaos.run`: publish, break everything at random, wait until all is answered, audit, count.

Exit status 0 only if the promise holds: nothing lost, nothing answered in two ways.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from pipeline.audit import AuditReport, Violation
from pipeline.audit_facts import run_audit
from pipeline.kafka import ClientConfig
from pipeline.ledger.ledger import Ledger
from pipeline.models.build import build
from pipeline.policy.file import load
from pipeline.settings import Settings
from pipeline.stack.kafka import Kafka
from pipeline.stack.triton import Triton
from pipeline.stack.up import Stack, StackOptions, worker_environment
from pipeline.topology import review_topic, topics
from tests.chaos.fleet import Fleet, Saboteur
from tests.chaos.platform_side import Account, Sender, Watcher, group_lag, publish
from tests.chaos.schedule import Fault, Kind, schedule, tally
from tests.chaos.uploads import Plan, plan, write_contents
from tests.postgres import running_postgres

Acknowledge = Literal["ordered", "plain"]
"""`plain`: as Faust does by itself, to see that the audit finds what that loses."""

GROUP = "unmask-chaos"
SETTLING_SECONDS = 20.0
"""How long answers may still come when nothing is left to read."""

START_WITH = 3
"""Workers. As peers join and leave there are two to four."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a run is. `faults`: SIGKILLs and SIGTERMs of workers; the other faults come on top (see schedule.py)."""

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

    @property
    def publishing_seconds(self) -> float:
        return self.seconds or 11.0 * len(schedule(self.faults, self.each, 1.0, self.brokers, self.seed, self.kinds))

    @property
    def distinct_contents(self) -> int:
        return self.contents or min(200, max(40, self.uploads // 10))


@dataclass(frozen=True, slots=True)
class Result:
    """What came out. Encodes to JSON as it is."""

    options: Options
    uploads: int
    published: int
    contents: int
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
    disagreements: tuple[str, ...] = ()
    failures: dict[str, int] = field(default_factory=dict)
    reused: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Nothing lost, nothing answered in two ways, and the platform's own account says the same."""
        return not (self.lost or self.two_outcomes or self.violations or self.disagreements)


@dataclass(frozen=True, slots=True)
class Parts:
    """What runs: brokers, Triton and a database; the workers are the fleet's."""

    kafka: Kafka
    triton: Triton
    config: ClientConfig
    database_url: str
    queues: tuple[str, ...]
    stack_options: StackOptions
    environment: dict[str, str]

    def fleet(self, place: Path, tell: Callable[[str], None], acknowledge: Acknowledge, **changes: str) -> Fleet:
        """No workers yet; their logs go to `place`. `changes`: to their environment."""
        module = "pipeline.cli" if acknowledge == "ordered" else "tests.chaos.plain_worker"
        options = replace(self.stack_options, home=place, worker_command=(sys.executable, "-m", module, "worker"))
        return Fleet(options, {**self.environment, "UNMASK_HOME": str(place), **changes}, tell)

    def audit(self) -> AuditReport:
        """What `unmask audit` finds now."""
        ledger = Ledger(self.database_url)
        try:
            return run_audit(self.config, ledger)
        finally:
            ledger.close()


@dataclass(frozen=True, slots=True)
class Scene:
    """A run that is over: the workers are gone, brokers, Triton and ledger are still there, nothing moves."""

    parts: Parts
    place: Path
    result: Result


@contextmanager
def running(options: Options, settings: Settings, place: Path, say: Callable[[str], None]) -> Iterator[Parts]:
    """Start everything but the workers; data and logs go to `place`."""
    with ExitStack() as undo:
        database_url = f"sqlite:///{place / 'ledger.sqlite'}"
        if options.database == "postgres":
            database_url = undo.enter_context(running_postgres()).url
        queues = load(settings.policy_file).queues
        stack_options = StackOptions(
            home=settings.home,
            models_dir=settings.models_dir,
            topics=topics(queues, settings.kafka_partitions),
            broker="kafka",
            kafka_nodes=options.brokers,
            kafka_data=place / "kafka",
            workers=0,
            media_roots=(place / "media",),
            database_url=database_url,
        )
        stack = undo.enter_context(Stack(stack_options, lambda event: say(f"{event.part}: {event.kind}")))
        assert isinstance(stack.broker, Kafka)
        assert stack.triton is not None
        environment = {
            **worker_environment(stack_options, stack.bootstrap_servers, stack.triton_url),
            "UNMASK_KAFKA_GROUP": GROUP,
            "UNMASK_DECODE_WORKERS": "1",
            "UNMASK_TRITON_CONCURRENCY": "2",
        }
        config = {"bootstrap.servers": stack.bootstrap_servers}
        yield Parts(stack.broker, stack.triton, config, database_url, tuple(queues), stack_options, environment)


@contextmanager
def chaos(options: Options, settings: Settings, console: Console, place: Path) -> Iterator[Scene]:
    """Run it in `place`, an empty folder (logs, media, the brokers' data)."""
    with ExitStack() as undo:
        bars = undo.enter_context(_bars(console))
        say = bars.say
        say("models")
        build(settings.models_dir, settings.home, say)
        count = options.distinct_contents
        contents = write_contents(place / "media", count, options.seed, settings.models_dir, settings.home, say)
        planned = plan(options.uploads, contents, options.seed)
        parts = undo.enter_context(running(options, settings, place, say))
        log = undo.enter_context((place / "chaos.log").open("w", buffering=1))
        began = time.monotonic()

        def note(text: str) -> None:
            log.write(f"{time.strftime('%H:%M:%S')} {time.monotonic() - began:6.1f} {text}\n")

        fleet = parts.fleet(place, note, options.acknowledge)
        stop = threading.Event()
        undo.callback(fleet.stop)
        undo.callback(stop.set)
        say("workers")
        for number in range(START_WITH):
            worker = fleet.join()
            if number == 0:  # alone at first: it creates the database
                worker.wait_ready()
        topics_of_queues = [review_topic(queue) for queue in parts.queues]
        watcher = Watcher(parts.config, topics_of_queues, options.seed, share=0.7, twice=0.25)
        saboteur = Saboteur(fleet, parts.kafka, parts.triton, note)
        sender = Sender(parts.config)
        seconds = options.publishing_seconds
        faults = schedule(options.faults, options.each, seconds, options.brokers, options.seed, options.kinds)
        began = time.monotonic()
        hands = [
            threading.Thread(target=saboteur.carry_out, args=(faults, began, stop), daemon=True),
            threading.Thread(target=publish, args=(sender, planned.publications, seconds, stop), daemon=True),
        ]
        for hand in hands:
            hand.start()

        def show() -> None:
            bars.show(sender.taken, saboteur.done, faults, watcher.account, planned)

        say("chaos")
        while any(hand.is_alive() for hand in hands):
            show()
            time.sleep(0.5)
        sender.finish()
        saboteur.finish()
        published_at = time.monotonic()
        note("all published, all faults done")
        say("what is left")
        left = _wait(parts.config, planned, watcher.account, options.patience, show)
        answered_at = time.monotonic()
        note(f"waited: {left or 'all is answered'}")
        say("ending the workers")
        fleet.stop()
        watcher.stop()
        say("audit")
        audit_began = time.monotonic()
        report = parts.audit()
        ended = time.monotonic()
        times = {
            "publishing and faults": round(published_at - began, 1),
            "until all was answered": round(answered_at - published_at, 1),
            "audit": round(ended - audit_began, 1),
            "from the first upload to the end": round(ended - began, 1),
        }
        overdue = [f"{name} did not end within its grace period after SIGTERM" for name in fleet.overdue]
        disagreements = (*left, *overdue, *_disagreements(planned, watcher.account, report, faults, saboteur.done))
        result = _result(options, planned, watcher.account, report, saboteur.done, fleet.by_themselves)
        ledger = Ledger(parts.database_url)
        counts = ledger.counts()
        ledger.close()
        result = replace(
            result, disagreements=disagreements, failures=dict(counts.failures), reused=counts.reused, seconds=times
        )
        bars.close()
        yield Scene(parts, place, result)


def _result(
    options: Options, planned: Plan, account: Account, report: AuditReport, done: list[Fault], by_themselves: list[str]
) -> Result:
    two = {f.media_id for f in report.violations if f.kind in (Violation.CONTRADICTION, Violation.OUTCOME_DIFFERS)}
    return Result(
        options=options,
        uploads=len(planned.media_ids),
        published=len(planned.publications),
        contents=planned.contents,
        faults=tally(done),
        by_themselves=tuple(by_themselves),
        lost=sum(finding.kind is Violation.UNANSWERED for finding in report.violations),
        two_outcomes=len(two),
        violations=tuple(map(str, report.violations)),
        violations_by_kind=dict(Counter(finding.kind.value for finding in report.violations)),
        duplicates={**_fields(report.duplicates), "total": report.duplicates.total},
        stand=_fields(report.counts),
        reviews=len(account.first_answers),
        reviews_twice=account.answered_twice,
    )


def _wait(
    config: ClientConfig, planned: Plan, account: Account, patience: float, show: Callable[[], None]
) -> tuple[str, ...]:
    """Until everything is answered and acknowledged; returns what is not when patience ends, or when everything is
    acknowledged and still no answer comes."""
    began = caught_up = time.monotonic()
    while True:
        show()
        waiting = sum(not account.answered(media_id) for media_id in planned.media_ids)
        unsettled = sum(not account.settled(*task) for task in tuple(account.first_answers))
        unburied = planned.malformed - len(account.buried_events)
        try:
            lag = group_lag(config, GROUP)
        except Exception as error:  # noqa: BLE001 (an election may be under way; the next look tells)
            lag = -1
            trouble = str(error)
        unheard = len(account.unheard)
        if not (waiting or unsettled or unburied or unheard or lag):
            return ()
        now = time.monotonic()
        caught_up = caught_up if lag == 0 else now
        if now - began > patience or now - caught_up > SETTLING_SECONDS:
            found = {
                "uploads without an outcome": waiting,
                "reviews without a final outcome": unsettled,
                "broken events without a dead letter": unburied,
                "requests without an answer": unheard,
                "records that no worker acknowledged": lag,
            }
            told = [f"after {now - began:.0f} s: {count} {what}" for what, count in found.items() if count > 0]
            return (*told, *([f"lag unknown: {trouble}"] if lag < 0 else []))
        time.sleep(1.0)


def _disagreements(
    planned: Plan, account: Account, report: AuditReport, faults: tuple[Fault, ...], done: list[Fault]
) -> Iterator[str]:
    """Where the platform's own account, the plan and the audit tell different stories."""
    if len(done) != len(faults):
        yield f"{len(faults) - len(done)} faults did not take place"
    if report.counts.uploads != len(planned.media_ids):
        yield f"{len(planned.media_ids)} uploads were published, the audit read {report.counts.uploads}"
    if report.counts.malformed != planned.malformed:
        yield f"{planned.malformed} broken events were published, the audit read {report.counts.malformed}"
    if report.duplicates.uploaded != planned.repeats:
        yield f"{planned.repeats} events were published twice, the audit read {report.duplicates.uploaded}"
    if report.counts.requests != len(account.requested):
        yield f"{len(account.requested)} requests were made, the audit read {report.counts.requests}"
    for request_id in account.answered_in_two_ways:
        yield f"{request_id}: the platform read two different answers"
    for media_id in account.two_minded:
        yield f"{media_id}: the platform read two different outcomes"
    for media_id in account.overruled:
        yield f"{media_id}: the final outcome is not the first answer that a person gave"


def _fields(counts: object) -> dict[str, int]:
    return {name: getattr(counts, name) for name in counts.__dataclass_fields__}  # type: ignore[attr-defined]


class _Bars:
    def __init__(self, console: Console) -> None:
        columns = (
            TextColumn("{task.description:<10}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        )
        self._progress = Progress(*columns, TextColumn("{task.fields[note]}"), TimeElapsedColumn(), console=console)
        self._progress.start()
        self._published = self._progress.add_task("published", total=1, note="")
        self._answered = self._progress.add_task("answered", total=1, note="")
        self._faults = self._progress.add_task("faults", total=1, note="")

    def say(self, what: str) -> None:
        self._progress.update(self._published, note=what[:60])

    def show(self, taken: int, done: list[Fault], faults: tuple[Fault, ...], account: Account, planned: Plan) -> None:
        answered = len(account.latest)
        self._progress.update(self._published, completed=taken, total=len(planned.publications))
        self._progress.update(self._answered, completed=answered, total=len(planned.media_ids))
        self._progress.update(self._faults, completed=len(done), total=len(faults))

    def close(self) -> None:
        self._progress.stop()


@contextmanager
def _bars(console: Console) -> Iterator[_Bars]:
    bars = _Bars(console)
    try:
        yield bars
    finally:
        bars.close()


def table(result: Result) -> Table:
    """A result for people."""
    rows = Table("what", "count", title=f"Chaos, {result.options.brokers} broker(s), seed {result.options.seed}")
    rows.add_row("uploads", str(result.uploads))
    rows.add_row("records published (with repeats and broken events)", str(result.published))
    rows.add_row("distinct contents", str(result.contents))
    rows.add_row("decided from what was known of the bytes", str(result.reused))
    for kind, count in result.faults.items():
        rows.add_row(f"fault: {kind}", str(count))
    rows.add_row("workers that ended by themselves", str(len(result.by_themselves)))
    for state, count in result.stand.items():
        rows.add_row(f"audit: {state.replace('_', ' ')}", str(count))
    for reason, count in result.failures.items():
        rows.add_row(f"could not be judged: {reason}", str(count))
    rows.add_row("tasks that a person answered (of these twice)", f"{result.reviews} ({result.reviews_twice})")
    for kind, count in result.duplicates.items():
        rows.add_row(f"duplicates in the topics: {kind.replace('_', ' ')}", str(count))
    for what, seconds in result.seconds.items():
        rows.add_row(f"seconds: {what}", f"{seconds:.0f}")
    rows.add_row("[bold]lost[/]", f"[bold]{result.lost}[/]")
    rows.add_row("[bold]uploads with two different outcomes[/]", f"[bold]{result.two_outcomes}[/]")
    rows.add_row("[bold]violations[/]", f"[bold]{len(result.violations)}[/]")
    return rows


def arguments(given: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.run", description=__doc__.partition("\n")[0])
    parser.add_argument("--uploads", type=int, default=3000)
    parser.add_argument("--faults", type=int, default=24, help="SIGKILLs and SIGTERMs of workers; others come on top")
    parser.add_argument("--brokers", type=int, choices=(1, 3), default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="postgres")
    parser.add_argument("--seconds", type=float, help="of publishing; room for the faults when not given")
    parser.add_argument("--contents", type=int, help="distinct files")
    parser.add_argument(
        "--acknowledge",
        choices=("ordered", "plain"),
        default="ordered",
        help="plain: as Faust does by itself, to see that the audit finds what is lost",
    )
    parser.add_argument("--json", type=Path, help="write the result here too")
    parser.add_argument("--keep", type=Path, help="leave logs and media in this folder, which must not exist")
    return parser.parse_args(given)


def main(given: list[str]) -> int:
    """Exit status 0: the promise holds."""
    asked = arguments(given)
    options = Options(
        uploads=asked.uploads,
        faults=asked.faults,
        brokers=asked.brokers,
        seed=asked.seed,
        database=asked.database,
        acknowledge=asked.acknowledge,
        seconds=asked.seconds,
        contents=asked.contents,
    )
    console = Console()
    place = asked.keep.absolute() if asked.keep else Path(tempfile.mkdtemp(prefix="unmask-chaos-"))
    place.mkdir(parents=True, exist_ok=asked.keep is None)
    with chaos(options, Settings(), console, place) as scene:
        result = scene.result
        console.print(table(result))
        for line in (*result.violations[:20], *result.disagreements[:20], *result.by_themselves[:20]):
            console.print(f"  {line}", highlight=False)
        if result.violations:
            console.print(f"violations by kind: {result.violations_by_kind}")
    if asked.json:
        asked.json.write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    if result.holds and asked.keep is None:
        shutil.rmtree(place)
    else:
        console.print(f"logs: {place}")
    console.print("[green]the promise holds[/]" if result.holds else "[red]the promise does not hold[/]")
    return 0 if result.holds else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
