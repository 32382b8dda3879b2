"""Run the samples through the whole stack and show what comes out, as it comes."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from rich.console import Console
from rich.live import Live
from rich.table import Table

from pipeline.audit import AuditReport
from pipeline.audit_facts import run_audit
from pipeline.console.accounts import make_account
from pipeline.decode.pool import DecodePool
from pipeline.decode.port import DecodeBudget
from pipeline.demo.samples import Sample, make_samples
from pipeline.events import DeadLetter, MediaEnforced, MediaUploaded, OutcomeStatus, ReviewDecided, ReviewRequested
from pipeline.events.codec import MalformedEvent, decode
from pipeline.events.values import Action
from pipeline.kafka import ClientConfig, client_config
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.people import People
from pipeline.models.build import build
from pipeline.policy.file import Policy, load
from pipeline.publish import send
from pipeline.report.make import make_report
from pipeline.review.people import EVERY_QUEUE, Person, Role
from pipeline.settings import Settings
from pipeline.show import action, audit_tables, listening_table
from pipeline.stack.up import Stack, StackOptions
from pipeline.topology import DEAD_LETTER, ENFORCED, REVIEW_DECIDED, UPLOADED, review_topic, topics

_PATIENCE_SECONDS = 240.0
_TOLD = frozenset({"face-blended.jpg", "clip.mp4"})
"""Samples that a page is written about."""
_KINDS: dict[str, type[MediaEnforced | DeadLetter | ReviewRequested]] = {
    ENFORCED: MediaEnforced,
    DEAD_LETTER: DeadLetter,
}


@dataclass(slots=True)
class _Case:
    """What came back for one sample."""

    sample: Sample
    media_id: str
    outcome: MediaEnforced | None = None
    task: ReviewRequested | None = None
    buried: DeadLetter | None = None
    seconds: float | None = None

    @property
    def answered(self) -> bool:
        if self.sample.path is None:
            return self.buried is not None
        return self.outcome is not None and (self.outcome.status is OutcomeStatus.FINAL or self.task is not None)

    @property
    def came_to(self) -> str:
        if self.task is not None:
            return self.task.queue
        if self.outcome is not None:
            return self.outcome.action.value
        return "dead letter" if self.buried is not None else "nothing"

    @property
    def as_expected(self) -> bool:
        return self.came_to in self.sample.expect


@dataclass(slots=True)
class _Board:
    """All samples, by media id."""

    cases: dict[str, _Case]
    started: float = field(default_factory=time.monotonic)

    def take(self, event: MediaEnforced | ReviewRequested | DeadLetter) -> None:
        broken = next((case for case in self.cases.values() if case.sample.path is None), None)
        case = self.cases.get(event.media_id) if event.media_id else broken
        if case is None:
            return
        match event:
            case MediaEnforced():
                case.outcome = event
            case ReviewRequested():
                case.task = event
            case DeadLetter():
                case.buried = event
        if case.answered and case.seconds is None:
            case.seconds = time.monotonic() - self.started

    def table(self) -> Table:
        answered = sum(case.answered for case in self.cases.values())
        table = Table(title=f"Uploads ({answered} of {len(self.cases)} answered)")
        for name, width in (("", 1), ("upload", 17), ("s", 5), ("applies", 8), ("queue", 10)):
            table.add_column(name, min_width=width, no_wrap=True)
        table.add_column("why", ratio=1)
        for case in self.cases.values():
            mark = "…" if not case.answered else ("[green]✓[/]" if case.as_expected else "[red]✗[/]")
            table.add_row(
                mark,
                case.sample.name,
                f"{case.seconds:.1f}" if case.seconds is not None else "",
                action(case.outcome.action) if case.outcome else "",
                case.task.queue if case.task else "",
                _why(case) if case.answered else f"[dim]{case.sample.about}[/]",
            )
        return table


def run_demo(settings: Settings, broker: str, *, keep: bool, console: Console) -> int:
    """Exit status 0: every upload was answered as it should be, and the audit holds."""
    place = settings.home.absolute() / "demo"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    policy = load(settings.policy_file, settings.calibration_file)
    with console.status("preparing") as status:
        build(settings.models_dir, settings.home, status.update)
        samples = make_samples(place / "media", settings.models_dir, settings.home, status.update)
        options = StackOptions(
            home=settings.home,
            models_dir=settings.models_dir,
            topics=topics(policy.queues, settings.kafka_partitions),
            broker="kafka" if broker == "kafka" else "embedded",
            kafka_data=place / "kafka",
            media_roots=(place / "media",),
            database_url=f"sqlite:///{place / 'ledger.sqlite'}",
            console=keep,
        )
        stack = Stack(options, lambda event: status.update(f"{event.part}: {event.kind}")).start()
    try:
        console.print(listening_table(stack.listening))
        config = client_config(settings, stack.bootstrap_servers)
        board = _screen(config, samples, policy.queues, console)
        decided = _decide_one(config, board, console)
        report = _audit(config, options.database_url or "")
        status_code = _summary(board, decided, report, console)
        pages = asyncio.run(_pages(board, options.database_url or "", policy, place))
        console.print("Pages for people, on two of them:", *map(str, pages), soft_wrap=True, highlight=False)
        if keep:
            _invite(stack, options.database_url or "", console)
            console.print("Everything stays up; Ctrl-C ends it.")
            _until_interrupted()
    finally:
        with console.status("ending"):
            stack.stop()
    return status_code


def _invite(stack: Stack, database_url: str, console: Console) -> None:
    """A lead's account for the review console. The password works once: another one is chosen with it."""
    ledger = Ledger(database_url)
    person = Person("demo", "Demo Lead", frozenset({Role.REVIEWER, Role.LEAD, Role.AUDITOR}), frozenset({EVERY_QUEUE}))
    password = make_account(People(ledger), person, datetime.now(UTC))
    ledger.close()
    assert stack.console is not None
    console.print(f"Review console: {stack.console.url}", highlight=False, soft_wrap=True)
    console.print(f"Sign in as `demo` with {password}", highlight=False, soft_wrap=True)
    console.print("It works once: choose a password of your own with it. Local accounts are not for production.")


def _screen(config: ClientConfig, samples: Iterable[Sample], queues: Iterable[str], console: Console) -> _Board:
    board = _Board({})
    uploads = []
    for sample in samples:
        media_id = str(uuid4())
        board.cases[media_id] = _Case(sample, media_id)
        if sample.path is not None:
            uploads.append(_event(sample, media_id))
    consumer = _consumer(config, [ENFORCED, DEAD_LETTER, *(review_topic(queue) for queue in queues)])
    try:
        send(config, ((UPLOADED, upload.media_id, upload) for upload in uploads))
        _send_broken(config)
        with Live(board.table(), console=console, refresh_per_second=4) as live:
            _until(board, consumer, lambda: all(case.answered for case in board.cases.values()), live)
    finally:
        consumer.close()
    return board


def _until(board: _Board, consumer: Consumer, done: Callable[[], bool], live: Live | None = None) -> None:
    until = time.monotonic() + _PATIENCE_SECONDS
    while not done() and time.monotonic() < until:
        message = consumer.poll(0.25)
        if message is None or message.error():
            continue
        event = decode(message.value(), _KINDS.get(message.topic(), ReviewRequested))
        if not isinstance(event, MalformedEvent):
            board.take(event)
        if live is not None:
            live.update(board.table())


def _decide_one(config: ClientConfig, board: _Board, console: Console) -> MediaEnforced | None:
    """Answer one task as a reviewer's tool would, and wait for the final outcome."""
    case = next((case for case in board.cases.values() if case.task and case.task.queue == "faces"), None)
    if case is None or case.task is None:
        return None
    review = ReviewDecided(
        review_id=uuid4(),
        task_id=case.task.task_id,
        media_id=case.media_id,
        action=Action.REMOVE,
        decided_at=datetime.now(UTC),
        reviewer_id="demo-reviewer",
        reason="manipulated likeness",
    )
    consumer = _consumer(config, [ENFORCED])
    try:
        send(config, [(REVIEW_DECIDED, case.media_id, review)])
        alone = _Board({case.media_id: _Case(case.sample, case.media_id)})
        mine = alone.cases[case.media_id]
        with console.status("a reviewer decides one task"):
            _until(alone, consumer, lambda: mine.outcome is not None and mine.outcome.status is OutcomeStatus.FINAL)
        return mine.outcome if mine.outcome and mine.outcome.status is OutcomeStatus.FINAL else None
    finally:
        consumer.close()


async def _pages(board: _Board, database_url: str, policy: Policy, folder: Path) -> list[Path]:
    """What `unmask screen --report` writes, of what the stream decided."""
    pages = []
    ledger = Ledger(database_url)
    async with DecodePool(1, DecodeBudget()) as decode:
        for case in board.cases.values():
            if case.sample.name in _TOLD and case.sample.path is not None:
                decided = await asyncio.to_thread(ledger.decision, case.media_id, 1)
                if decided is not None:
                    page = folder / f"{case.sample.path.stem}.html"
                    page.write_text(await make_report(case.sample.path, decided, policy.fused, decode), "utf-8")
                    pages.append(page)
    ledger.close()
    return pages


def _audit(config: ClientConfig, database_url: str) -> AuditReport:
    ledger = Ledger(database_url)
    try:
        return run_audit(config, ledger)
    finally:
        ledger.close()


def _summary(board: _Board, decided: MediaEnforced | None, report: AuditReport, console: Console) -> int:
    by_action: dict[str, int] = {}
    by_queue: dict[str, int] = {}
    for case in board.cases.values():
        if case.outcome is not None and case.task is None:
            by_action[case.outcome.action.value] = by_action.get(case.outcome.action.value, 0) + 1
        if case.task is not None:
            by_queue[case.task.queue] = by_queue.get(case.task.queue, 0) + 1
    console.print()
    console.print(audit_tables(report))
    console.print(f"Final by policy: {_counted(by_action)}")
    console.print(f"Waiting for a person: {_counted(by_queue)}")
    console.print(f"Dead letters: {report.counts.dead_letters}, byte for byte, for `unmask replay`")
    if decided is not None:
        console.print(f"A reviewer decided one task: {action(decided.action)}, final: {decided.reasons[0]}")
    wrong = [case for case in board.cases.values() if not case.as_expected]
    for case in wrong:
        expected = " or ".join(sorted(case.sample.expect))
        console.print(f"[red]{case.sample.name}: came to {case.came_to}, expected {expected}[/]")
    return 0 if report.holds and not wrong and decided is not None else 1


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "nothing"


def _why(case: _Case) -> str:
    if case.outcome is not None and case.outcome.reasons:
        return case.outcome.reasons[0]
    return case.buried.failure.detail if case.buried else ""


def _event(sample: Sample, media_id: str) -> MediaUploaded:
    assert sample.path is not None
    return MediaUploaded(
        media_id=media_id,
        uri=sample.path.as_uri(),
        uploaded_at=datetime.now(UTC),
        size=sample.path.stat().st_size,
        attributes={"sample": sample.name},
        **sample.context,
    )


def _send_broken(config: ClientConfig) -> None:
    producer = Producer(dict(config))
    producer.produce(UPLOADED, key="broken", value=b'{"schema": "media.uploaded/1", "media_id": 7')
    producer.flush(10)


def _consumer(config: ClientConfig, names: list[str]) -> Consumer:
    """Every partition from its beginning, without a group: joining one takes an embedded broker up to half a minute."""
    consumer = Consumer({**config, "group.id": "demo", "enable.auto.commit": "false"})
    found = consumer.list_topics(timeout=15).topics
    consumer.assign([TopicPartition(name, part, OFFSET_BEGINNING) for name in names for part in found[name].partitions])
    return consumer


def _until_interrupted() -> None:
    try:
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        pass
