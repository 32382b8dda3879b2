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
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from pipeline.audit import AuditReport, Violation
from pipeline.audit_facts import run_audit
from pipeline.errors import Reason
from pipeline.kafka import ClientConfig
from pipeline.ledger.ledger import Ledger
from pipeline.models.build import build
from pipeline.policy.file import load
from pipeline.settings import Settings
from pipeline.stack.kafka import Kafka
from pipeline.stack.ports import free_ports
from pipeline.stack.triton import Triton
from pipeline.stack.up import ConsoleProcess, Stack, StackOptions, worker_environment
from pipeline.topology import review_topic, topics
from tests.chaos.alarms import Struck, judge
from tests.chaos.fleet import READY_SECONDS, Fleet, Links, Saboteur, with_own_spool
from tests.chaos.origin import origin
from tests.chaos.platform_side import Account, Sender, Watcher, group_lag, publish
from tests.chaos.proxy import Network
from tests.chaos.recovery import Happened, recoveries
from tests.chaos.result import Acknowledge, Alerted, Options, Result, table, write_report
from tests.chaos.reviewers import Given, Reviewer, complaints
from tests.chaos.schedule import Fault, Kind, schedule, tally
from tests.chaos.uploads import Plan, plan, write_contents, write_poison
from tests.chaos.watch import Watch
from tests.postgres import Postgres, running_postgres

GROUP = "unmask-chaos"
OF_THE_LOAD = frozenset({"UnmaskDeadLetters"})
"""Alerts that the uploads set off by themselves: one in ten is broken."""

SETTLING_SECONDS = 20.0
"""How long answers may still come when nothing is left to read."""

START_WITH = 3
"""Workers. As peers join and leave there are two to four."""


REVIEWERS = 2
"""People at the console."""

DECODE_CPU_SECONDS = 4
"""Many times what any other medium of a run costs."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What runs: brokers, Triton, a database, the media's origin and the network; workers are the fleet's.

    `config`, `database_url`: straight, for those who look on. `environment`: a worker's, or the console's, by the
    network.
    """

    kafka: Kafka
    triton: Triton
    database: Postgres | None
    links: Links
    config: ClientConfig
    database_url: str
    queues: tuple[str, ...]
    stack_options: StackOptions
    environment: dict[str, str]

    def fleet(self, place: Path, tell: Callable[[str], None], acknowledge: Acknowledge, **changes: str) -> Fleet:
        """No workers yet; their logs go to `place`. `changes`: to their environment."""
        module = "pipeline.cli" if acknowledge == "ordered" else "tests.chaos.plain_worker"
        command = with_own_spool(place / "spool", (sys.executable, "-m", module, "worker"))
        options = replace(self.stack_options, home=place, worker_command=command)
        return Fleet(options, {**self.environment, "UNMASK_HOME": str(place), **changes}, tell)

    def console(self, place: Path, tell: Callable[[str], None]) -> ConsoleProcess:
        """Not started yet."""
        environment = {**self.environment, "UNMASK_HOME": str(place)}
        environment |= {"UNMASK_CONSOLE_GRACE_SECONDS": "2", "UNMASK_CONSOLE_LEASE_SECONDS": "30"}
        options = replace(
            self.stack_options, home=place, worker_first_attempts=1_000, worker_ready_within_s=READY_SECONDS
        )
        return ConsoleProcess(environment, options, lambda event: tell(f"console: {event.kind} {event.detail}"))

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
        network = undo.enter_context(Network())
        database, way, database_url = None, None, f"sqlite:///{place / 'ledger.sqlite'}"
        if options.database == "postgres":
            (port,) = free_ports(1)
            database = undo.enter_context(running_postgres(port))
            way, database_url = network.link(f"127.0.0.1:{port}"), database.url
        (place / "media").mkdir(exist_ok=True)
        media = network.link(undo.enter_context(origin(place / "media")))
        ports = free_ports(2 * options.brokers)
        doors = tuple(zip(ports[::2], ports[1::2], strict=True))
        queues = load(settings.policy_file).queues
        stack_options = StackOptions(
            home=settings.home,
            models_dir=settings.models_dir,
            topics=topics(queues, settings.kafka_partitions),
            broker="kafka",
            kafka_nodes=options.brokers,
            kafka_data=place / "kafka",
            kafka_doors=doors,
            workers=0,
            media_roots=(place / "media",),
            fetch_schemes=("http",),
            database_url=f"postgresql://postgres@{way.address}/postgres" if way else database_url,
        )
        stack = undo.enter_context(Stack(stack_options, lambda event: say(f"{event.part}: {event.kind}")))
        assert isinstance(stack.broker, Kafka)
        assert stack.triton is not None
        brokers = tuple(network.link(f"127.0.0.1:{behind}", told) for behind, told in doors)
        links = Links(brokers, network.link(stack.triton_url), way, media)
        environment = {
            **worker_environment(stack_options, ",".join(link.address for link in brokers), links.triton.address),
            "UNMASK_KAFKA_GROUP": GROUP,
            "UNMASK_DECODE_WORKERS": "1",
            "UNMASK_DECODE_CPU_SECONDS": str(DECODE_CPU_SECONDS),
            "UNMASK_TRITON_CONCURRENCY": "2",
            "UNMASK_FETCH_HOSTS": media.address,
            "UNMASK_FETCH_PRIVATE_ADDRESSES": "true",
        }
        config = {"bootstrap.servers": stack.bootstrap_servers}
        yield Parts(
            stack.broker,
            stack.triton,
            database,
            links,
            config,
            database_url,
            tuple(queues),
            stack_options,
            environment,
        )


@contextmanager
def chaos(options: Options, settings: Settings, console: Console, place: Path) -> Iterator[Scene]:
    """Run it in `place`, an empty folder (logs, media, the brokers' data)."""
    with ExitStack() as undo:
        bars = undo.enter_context(_bars(console))
        say = bars.say
        say("models")
        build(settings.models_dir, settings.home, say)
        parts = undo.enter_context(running(options, settings, place, say))
        seconds = options.publishing_seconds
        faults = schedule(options.faults, options.each, seconds, options.brokers, options.seed, options.kinds)
        planned = _write_media(options, faults, parts, place, settings, say)
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
        console_process = parts.console(place, note)
        undo.callback(console_process.stop)
        console_process.start()

        def targets() -> dict[str, list[str]]:
            return {
                "unmask-worker": fleet.addresses,
                "unmask-console": [console_process.metrics_address],
                "triton": [parts.triton.addresses.metrics],
            }

        watched = targets()
        watch = undo.enter_context(Watch(place / "prometheus", watched)) if options.alerts else None
        topics_of_queues = [review_topic(queue) for queue in parts.queues]
        watcher = Watcher(parts.config, topics_of_queues, options.seed, share=0.4, twice=0.25)
        given = Given()
        people = [
            Reviewer(number, console_process.url, parts.database_url, options.seed, given)
            for number in range(1, REVIEWERS + 1)
        ]
        sender = Sender(parts.config)
        published: dict[str, float] = {}
        poisonous = iter(planned.poison)

        def poison() -> str:
            some = tuple(islice(poisonous, options.poison))
            publish(sender, some, 1.0, published, stop)
            return f"{len(some)} files"

        saboteur = Saboteur(
            fleet, parts.kafka, parts.triton, parts.links, parts.database, console_process, poison, note
        )
        began, since = time.monotonic(), time.time()
        hands = [
            threading.Thread(target=saboteur.carry_out, args=(faults, began, stop), daemon=True),
            threading.Thread(
                target=publish, args=(sender, planned.publications, seconds, published, stop), daemon=True
            ),
        ]
        for hand in hands:
            hand.start()

        def show() -> None:
            nonlocal watched
            watcher.check()
            bars.show(sender.taken, saboteur.done, faults, watcher.account, planned)
            if watch is not None and watched != (now := targets()):
                watched = now
                watch.targets(now)

        say("chaos")
        while any(hand.is_alive() for hand in hands):
            show()
            time.sleep(0.5)
        note("all published, all faults begun")
        saboteur.finish()
        sender.finish()
        published_at = time.monotonic()
        note("all faults done")
        say("what is left")
        left = _wait(parts.config, planned, watcher.account, given, options.patience, show)
        for person in people:
            person.stop()
        # What they answered last waits for its grace time: the console has to live until it is published.
        left = left or _wait(parts.config, planned, watcher.account, given, options.patience, show)
        answered_at = time.monotonic()
        note(f"waited: {left or 'all is answered'}")
        fired = watch.fired() if watch is not None else ()
        say("ending the workers")
        console_process.stop()
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
        account = watcher.account
        overdue = [f"{name} did not end within its grace period after SIGTERM" for name in fleet.overdue]
        disagreements = (
            *left,
            *overdue,
            *complaints(given, account.reviews),
            *_disagreements(planned, account, report, faults, saboteur.done),
        )
        struck = [Struck(h.fault.kind, since + h.began - began, since + h.ended - began) for h in saboteur.done]
        verdict = judge(struck, fired, besides=OF_THE_LOAD)
        result = _result(options, planned, account, report, saboteur.done, fleet.by_themselves)
        ledger = Ledger(parts.database_url)
        counts = ledger.counts()
        ledger.close()
        result = replace(
            result,
            at_console=len(given.confirmed),
            unreachable=given.unreachable,
            disagreements=disagreements,
            failures=dict(counts.failures),
            reused=counts.reused,
            seconds=times,
            recoveries=recoveries(saboteur.done, published, account.answered_at),
            alerts=tuple(
                Alerted(f.alert, dict(f.labels), round(f.since - since, 1), f.until and round(f.until - since, 1))
                for f in fired
            ),
            alerts_missing=verdict.missing,
            alerts_unexpected=verdict.unexpected,
        )
        bars.close()
        yield Scene(parts, place, result)


def _write_media(
    options: Options,
    faults: tuple[Fault, ...],
    parts: Parts,
    place: Path,
    settings: Settings,
    say: Callable[[str], None],
) -> Plan:
    """The files, and what is uploaded. A third of the files is fetched from the origin, the others from the disk."""
    count = options.distinct_contents
    paths = write_contents(place / "media", count, options.seed, settings.models_dir, settings.home, say)
    poison = write_poison(place / "media", options.poison * sum(fault.kind is Kind.POISON for fault in faults))

    def uri(number: int, path: Path) -> str:
        return f"http://{parts.links.origin.address}/{path.name}" if number % 3 == 0 else path.as_uri()

    contents = tuple(uri(number, path) for number, path in enumerate(paths))
    return plan(options.uploads, contents, options.seed, tuple(path.as_uri() for path in poison))


def _result(
    options: Options,
    planned: Plan,
    account: Account,
    report: AuditReport,
    done: list[Happened],
    by_themselves: list[str],
) -> Result:
    two = {f.media_id for f in report.violations if f.kind in (Violation.CONTRADICTION, Violation.OUTCOME_DIFFERS)}
    return Result(
        options=options,
        uploads=len(planned.media_ids),
        published=len(planned.publications) + len(planned.poison),
        contents=planned.contents,
        poison=len(planned.poison),
        faults=tally(happened.fault for happened in done),
        by_themselves=tuple(by_themselves),
        lost=sum(finding.kind is Violation.UNANSWERED for finding in report.violations),
        two_outcomes=len(two),
        violations=tuple(map(str, report.violations)),
        violations_by_kind=dict(Counter(finding.kind.value for finding in report.violations)),
        duplicates={**_fields(report.duplicates), "total": report.duplicates.total},
        stand=_fields(report.counts),
        reviews=len(account.first_answers),
        reviews_twice=account.answered_twice,
        at_console=0,
        unreachable=0,
    )


def _wait(
    config: ClientConfig, planned: Plan, account: Account, given: Given, patience: float, show: Callable[[], None]
) -> tuple[str, ...]:
    """Until everything is answered and acknowledged; returns what is not when patience ends, or when everything is
    acknowledged and still no answer comes."""
    began = caught_up = time.monotonic()
    while True:
        show()
        waiting = sum(not account.answered(media_id) for media_id in planned.media_ids)
        unsettled = sum(not account.settled(*task) for task in tuple(account.first_answers))
        unpublished = sum(task_id not in account.reviews for task_id in tuple(given.confirmed))
        unburied = planned.malformed - len(account.buried_events)
        try:
            lag = group_lag(config, GROUP)
        except Exception as error:  # noqa: BLE001 (an election may be under way; the next look tells)
            lag = -1
            trouble = str(error)
        unheard = len(account.unheard)
        if not (waiting or unsettled or unpublished or unburied or unheard or lag):
            return ()
        now = time.monotonic()
        caught_up = caught_up if lag == 0 else now
        if now - began > patience or now - caught_up > SETTLING_SECONDS:
            found = {
                "uploads without an outcome": waiting,
                "reviews without a final outcome": unsettled,
                "answers at the console that are not published": unpublished,
                "broken events without a dead letter": unburied,
                "requests without an answer": unheard,
                "records that no worker acknowledged": lag,
            }
            told = [f"after {now - began:.0f} s: {count} {what}" for what, count in found.items() if count > 0]
            return (*told, *([f"lag unknown: {trouble}"] if lag < 0 else []))
        time.sleep(1.0)


_OF_DECODERS = {Reason.DECODER_TIMEOUT, Reason.DECODER_CRASHED}


def _disagreements(
    planned: Plan, account: Account, report: AuditReport, faults: tuple[Fault, ...], done: list[Happened]
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
    for each in planned.poison:
        if account.buried.get(str(each.media_id)) != {Reason.DECODER_TIMEOUT}:
            yield f"{each.media_id} kills its decoder: buried for {account.buried.get(str(each.media_id), 'nothing')}"
    for media_id, reasons in account.buried.items():
        if reasons & _OF_DECODERS and not media_id.startswith("poison-"):
            yield f"{media_id} is harmless, and was buried for {reasons}"
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

    def show(
        self, taken: int, done: list[Happened], faults: tuple[Fault, ...], account: Account, planned: Plan
    ) -> None:
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


def arguments(given: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.run", description=__doc__.partition("\n")[0])
    parser.add_argument("--uploads", type=int, default=3000)
    parser.add_argument("--faults", type=int, default=16, help="SIGKILLs and SIGTERMs of workers; others come on top")
    parser.add_argument("--each", type=int, default=2, help="how often each other fault happens")
    parser.add_argument("--kinds", default=",".join(Kind.__members__), help="what may happen, of: %(default)s")
    parser.add_argument("--brokers", type=int, choices=(1, 3), default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="postgres")
    parser.add_argument("--minutes", type=float, help="of publishing; room for the faults when not given")
    parser.add_argument("--contents", type=int, help="distinct files")
    parser.add_argument(
        "--acknowledge",
        choices=("ordered", "plain"),
        default="ordered",
        help="plain: as Faust does by itself, to see that the audit finds what is lost",
    )
    parser.add_argument("--no-alerts", action="store_true", help="without a Prometheus that watches")
    parser.add_argument("--json", type=Path, help="write the result here too")
    parser.add_argument("--report", type=Path, help="write chaos.json into this folder, and the tables of its chaos.md")
    parser.add_argument("--keep", type=Path, help="leave logs and media in this folder, which must not exist")
    return parser.parse_args(given)


def main(given: list[str]) -> int:
    """Exit status 0: the promise holds."""
    asked = arguments(given)
    options = Options(
        uploads=asked.uploads,
        faults=asked.faults,
        each=asked.each,
        kinds=tuple(Kind[name] for name in asked.kinds.split(",")),
        brokers=asked.brokers,
        seed=asked.seed,
        database=asked.database,
        acknowledge=asked.acknowledge,
        seconds=asked.minutes and 60 * asked.minutes,
        alerts=not asked.no_alerts,
        contents=asked.contents,
    )
    console = Console()
    place = asked.keep.absolute() if asked.keep else Path(tempfile.mkdtemp(prefix="unmask-chaos-"))
    place.mkdir(parents=True, exist_ok=asked.keep is None)
    with chaos(options, Settings(), console, place) as scene:
        result = scene.result
        for each in table(result):
            console.print(each)
        told = (result.violations, result.disagreements, result.by_themselves)
        for line in (
            *(line for lines in told for line in lines[:20]),
            *result.alerts_missing,
            *result.alerts_unexpected,
        ):
            console.print(f"  {line}", highlight=False)
        if result.violations:
            console.print(f"violations by kind: {result.violations_by_kind}")
    if asked.json:
        asked.json.write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    if asked.report:
        write_report(asked.report, result, "python -m tests.chaos.run " + " ".join(_without_report(given)))
    if result.holds and asked.keep is None:
        shutil.rmtree(place)
    else:
        console.print(f"logs: {place}")
    console.print("[green]the promise holds[/]" if result.holds else "[red]the promise does not hold[/]")
    return 0 if result.holds else 1


def _without_report(given: list[str]) -> list[str]:
    """The arguments that say what the run was."""
    kept, skip = [], False
    for word in given:
        if not skip and word not in ("--report", "--json", "--keep"):
            kept.append(word)
        skip = word in ("--report", "--json", "--keep")
    return kept


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
