"""What the console tells whoever watches it: the queues, the leases, the outbox, and what people answer here.

On a port of its own (`UNMASK_CONSOLE_METRICS_PORT`): numbers about people's work are not for everybody who may sign in.
Gauges are read from the ledger; every replica of the console shows the same ones, so they are to be joined by `max`.
Counters count what this process did. Labels are queues of the policy and closed sets, never a person.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import start_http_server

from pipeline import VERSION, log
from pipeline.errors import Transient
from pipeline.events.values import RequestKind
from pipeline.ledger.open_work import Leases, OpenWork, OutboxNumbers, QueueNumbers, Records
from pipeline.metrics import ANSWERS, WAIT_SECONDS, OutboxMetrics
from pipeline.moments import age
from pipeline.pause import pause
from pipeline.review.desk import Desk
from pipeline.review.port import Answer, Answered, Held, Stands

logger = log.get(__name__)

EVERY_SECONDS = 15.0
"""How often the ledger is read, about as often as metrics are asked for: every open task is looked at."""
HORIZONS = {"now": timedelta(0), "15m": timedelta(minutes=15), "1h": timedelta(hours=1), "4h": timedelta(hours=4)}
"""How far breaches are forecast: what has to be started until then."""
APPEAL_RESULTS = ("upheld", "overturned", "stricter")


class ConsoleMetrics:
    """The metrics of one console."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, why: str, *labels: str) -> Gauge:
            return Gauge(name, why, labels, registry=registry)

        def counter(name: str, why: str, *labels: str) -> Counter:
            return Counter(name, why, labels, registry=registry)

        # Whether people keep up.
        self.waiting = gauge("unmask_review_queue_tasks", "Open tasks that nobody has answered", "queue")
        self.leased = gauge("unmask_review_leased_tasks", "Of these, those that somebody holds", "queue")
        self.held = gauge("unmask_review_held_tasks", "Of these, those that are held back", "queue")
        self.overdue = gauge("unmask_review_overdue_tasks", "Of these, those past their deadline", "queue")
        self.oldest = gauge("unmask_review_oldest_age_seconds", "Age of the oldest of them; 0: none waits", "queue")
        self.slack = gauge(
            "unmask_review_slack_seconds",
            "Until work has to start on the most urgent one; no series: none waits",
            "queue",
        )
        self.due = gauge("unmask_review_due_tasks", "Tasks on which work has to start within", "queue", "within")
        self.expired = counter("unmask_review_leases_expired_total", "Leases that ran out without an answer", "queue")
        # What people do here.
        self.answers = counter("unmask_review_answers_total", "Answers given here", "queue", "action", "stands")
        self.undone = counter("unmask_review_answers_undone_total", "Answers taken back here")
        self.decision = Histogram(
            "unmask_review_decision_seconds",
            "From the request of a review to an answer given here",
            ("queue",),
            registry=registry,
            buckets=WAIT_SECONDS,
        )
        self.appeals = counter("unmask_review_appeals_total", "Appeals decided here", "result")
        # Whether what they say gets out, and whether this process sees the ledger.
        self.outbox = OutboxMetrics(registry)
        self.entries = gauge("unmask_audit_log_entries", "Entries of the audit log")
        self.statements = gauge("unmask_statements_queued", "Statements of reasons that are not sent yet")
        self.statements_age = gauge("unmask_statements_oldest_age_seconds", "Age of the first of them; 0: none waits")
        self.read = gauge("unmask_console_ledger_read_seconds", "When these numbers were read, Unix time")
        self.build = gauge("unmask_console_build_info", "1, with the version in use", "version")

        self.build.labels(VERSION).set(1)
        for result in APPEAL_RESULTS:
            self.appeals.labels(result)
        self._queues: set[str] = set()
        self._ended: set[UUID] | None = None

    def queues(self, names: Iterable[str]) -> None:
        """The queues of the policy in force; those of earlier ones keep their numbers."""
        for queue in set(names) - self._queues:
            self._queues.add(queue)
            self.expired.labels(queue)
            self.decision.labels(queue)
            for action in ANSWERS:
                for stands in Stands:
                    self.answers.labels(queue, action.value, stands.value)

    def show(
        self,
        queues: Mapping[str, QueueNumbers],
        leases: Leases,
        outbox: OutboxNumbers,
        records: Records,
        now: datetime,
    ) -> None:
        """What the ledger says now."""
        self.queues(queues)
        self.slack.clear()
        nothing = QueueNumbers(0, 0, 0, 0, None, None, (0,) * len(HORIZONS))
        for queue in self._queues:
            numbers = queues.get(queue, nothing)
            self.waiting.labels(queue).set(numbers.waiting)
            self.leased.labels(queue).set(numbers.leased)
            self.held.labels(queue).set(numbers.held)
            self.overdue.labels(queue).set(numbers.overdue)
            self.oldest.labels(queue).set(age(numbers.oldest, now))
            for within, count in zip(HORIZONS, numbers.urgent, strict=True):
                self.due.labels(queue, within).set(count)
            if numbers.slack is not None:
                self.slack.labels(queue).set(numbers.slack)
        self._leases(leases, now)
        self.outbox.show(outbox.waiting, outbox.due, age(outbox.oldest, now))
        self.entries.set(records.entries)
        self.statements.set(records.statements)
        self.statements_age.set(age(records.oldest, now))
        self.read.set(now.timestamp())

    def _leases(self, leases: Leases, now: datetime) -> None:
        """Count what ran out since the last look. What had run out before this process began is not counted, nor what
        was taken by somebody else between two looks."""
        ended = {lease: queue for lease, (queue, until) in leases.until.items() if until <= now}
        if self._ended is not None:
            for lease in ended.keys() - self._ended:
                self.expired.labels(ended[lease]).inc()
        self._ended = set(ended)

    def answered(self, held: Held, answer: Answer, done: Answered, now: datetime) -> None:
        """Somebody answered a case. An answer that speaks for several tasks counts for each."""
        swept = frozenset(done.swept)
        for task in held.tasks:
            if task.task_id not in swept:
                continue
            self.answers.labels(task.queue, answer.action.value, done.stands.value).inc()
            self.decision.labels(task.queue).observe(age(task.requested_at, now))
            if done.stands is Stands.SETTLED and task.request and task.request.kind is RequestKind.APPEAL:
                milder = task.provisional.strength - answer.action.strength
                result = "overturned" if milder > 0 else "stricter" if milder < 0 else "upheld"
                self.appeals.labels(result).inc()


@dataclass(frozen=True, slots=True)
class CountedDesk(Desk):
    """The desk, and a count of what people do at it. Golden tasks do not count: they are as old as they are."""

    metrics: ConsoleMetrics

    def answer(self, who: str, lease_id: UUID, answer: Answer, now: datetime, people: Mapping[str, int]) -> Answered:
        """Decide, and count it."""
        held = self.work.holding(who, now)
        done = Desk.answer(self, who, lease_id, answer, now, people)
        if held is not None and held.lease_id == lease_id:
            self.metrics.answered(held, answer, done, now)
        return done

    def undo(self, who: str, answer_id: UUID, now: datetime) -> Held:
        """Take an answer back, and count that."""
        held = Desk.undo(self, who, answer_id, now)
        self.metrics.undone.inc()
        return held


async def keep(
    metrics: ConsoleMetrics,
    work: OpenWork,
    queues: Callable[[], Iterable[str]],
    clock: Callable[[], datetime],
    stop: asyncio.Event,
) -> None:
    """Read the ledger until told to stop. While it is away the numbers stay; `…_read_seconds` says how old they are."""
    while not stop.is_set():
        now = clock()
        try:
            metrics.queues(queues())
            metrics.show(*await asyncio.to_thread(read, work, now), now)
        except Transient as trouble:
            logger.warning("the queues cannot be counted", detail=trouble.detail)
        await pause(stop, EVERY_SECONDS)


def read(work: OpenWork, now: datetime) -> tuple[dict[str, QueueNumbers], Leases, OutboxNumbers, Records]:
    """Everything that `show` shows. Blocking."""
    return work.queues(now, tuple(HORIZONS.values())), work.leases(), work.outbox(now), work.records()


def expose(registry: CollectorRegistry, host: str, port: int) -> Callable[[], None]:
    """Serve /metrics in a thread of its own; returns what ends it. Raises OSError when the port is taken."""
    server, thread = start_http_server(port, host, registry)

    def end() -> None:
        server.shutdown()
        server.server_close()
        thread.join(5.0)

    return end
