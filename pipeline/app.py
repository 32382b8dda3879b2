"""The one place where settings become adapters, and adapters become a worker."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from signal import SIGHUP
from typing import Protocol, TypeVar

import faust
from faust.exceptions import ConsumerNotStarted
from faust.types import TP
from prometheus_client import CollectorRegistry, ProcessCollector

from pipeline import VERSION, log
from pipeline.agents.answer import answer_record, closing
from pipeline.agents.burial import bury_record
from pipeline.agents.delivery import DeliveryPolicy, Drain
from pipeline.agents.lag import LagWatch, bounds
from pipeline.agents.probes import checking, probes, serving
from pipeline.agents.publish import Send, publisher, waited_for
from pipeline.agents.route import route_record
from pipeline.agents.screen import bury_upload, screen_record
from pipeline.agents.sensor import MetricsSensor
from pipeline.agents.settle import settle_record
from pipeline.agents.watch import AgentWatch, Progress
from pipeline.agents.worker import WorkerApp, attach, sender, worker_app
from pipeline.breaker import Breaker, BreakerPolicy, State
from pipeline.decode.pool import DecodePool, DecodeUsage
from pipeline.decode.port import Clip, DecodeBudget
from pipeline.decode.sampling import version as sampling_version
from pipeline.detect.ensemble import detect
from pipeline.detect.known_content import HASHES
from pipeline.detect.port import Closer, Findings, Infer, ModelSpec, Tensors
from pipeline.detect.registry import load as load_registry
from pipeline.detect.triton import Triton
from pipeline.errors import ConfigError, Permanent, Reason, Stage, Transient
from pipeline.events import (
    MediaDecided,
    MediaEnforced,
    MediaUploaded,
    ReviewDecided,
    SubjectAnswered,
    SubjectRequested,
)
from pipeline.events.cloudevents import traceparent_of
from pipeline.events.subject import AnswerStatus, SubjectMatch
from pipeline.events.values import Failure
from pipeline.fetch.factory import from_settings as fetch_from_settings
from pipeline.fetch.origins import PerOrigin
from pipeline.kafka import client_config
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.policies import PolicyRecord
from pipeline.ledger.port import Following, KnownContent, OpenedRequest, SettledReview, Standing
from pipeline.match.at_hand import BanksAtHand, Floods
from pipeline.match.banks import Banks
from pipeline.match.copies import concerned, looked_back
from pipeline.match.match import Quarantined
from pipeline.metrics import AGENTS, Metrics, count_spans
from pipeline.policy.reload import Files, PolicyAtHand
from pipeline.policy.rules import Policy
from pipeline.reopen import facts_of, heeded, reopened
from pipeline.retry import RetryPolicy, retry
from pipeline.route import Routed, route
from pipeline.scan import existing_topics
from pipeline.screen import Known, Screening, screen, unscreenable
from pipeline.settings import Settings
from pipeline.statements.drafts import drafts
from pipeline.statements.rows import Draft
from pipeline.topology import DECIDED, REVIEW_DECIDED, REVIEW_REQUESTED, SUBJECT_REQUESTED, UPLOADED, review_topic
from pipeline.trace import LAST_SPANS_SECONDS, OFF, Tracing, tracing

T = TypeVar("T")

logger = log.get(__name__)

_BREAKER_LEVEL = {State.CLOSED: 0, State.HALF_OPEN: 1, State.OPEN: 2}
_LAG_SECONDS = 5.0
"""How often the lag gauges are brought up to date."""
_LAG_PATIENCE = 10.0
"""How long the broker may take to say where its partitions end."""
_LAG_KNOWN_SECONDS = 60.0
"""How long its last answer counts. What nobody knows any more is not told: an alert is on its absence."""
_JUDGING_SHARE = 0.8
"""The part of an item's deadline that judging may use; the rest is for writing the result."""


class InLedger(Protocol):
    """Run a blocking call on the ledger in a thread, behind its breaker."""

    def __call__(self, call: Callable[[], T]) -> Awaitable[T]:
        """What `call` returns."""
        ...


def metrics_for(policy: Policy, registry: CollectorRegistry) -> Metrics:
    """The metrics of a process that works by this policy."""
    metrics = Metrics(registry)
    metrics.build.labels(VERSION).set(1)
    metrics.policy(policy.version, policy.fusion_version, policy.queues, time.time(), policy.names)
    return metrics


def banks_for(settings: Settings, metrics: Metrics, ledger: Floods | None) -> BanksAtHand:
    """The banks of known content, not yet opened. Without a ledger nothing is quarantined."""

    def told(banks: Banks, quarantined: Quarantined) -> None:
        metrics.banks(bank.name for bank in banks)
        for bank in banks:
            metrics.bank_entries.labels(bank.name).set(bank.size)
            metrics.quarantined.labels(bank.name).set(sum(name == bank.name for name, _ in quarantined))

    return BanksAtHand(settings.banks_dir, settings.home / "banks", ledger=ledger, timed=metrics.lookup.time, told=told)


@asynccontextmanager
async def screening(
    settings: Settings,
    policy: Policy,
    metrics: Metrics,
    known: Known,
    banks: BanksAtHand | None = None,
    traced: Tracing = OFF,
) -> AsyncIterator[tuple[Screening, Triton]]:
    """Everything that `screen` needs, opened, and closed at the end.

    Args:
        settings: where things are and what they may cost.
        policy: what to decide by.
        metrics: where stage times, breaker states and decoder deaths are counted.
        known: looks up contents that were judged before.
        banks: opened banks of known content; those of the settings, without a quarantine, when not given.
        traced: where stages and inference requests are told as spans.
    """
    if banks is None:
        banks = banks_for(settings, metrics, None)
        await asyncio.to_thread(banks.open)
    registry = load_registry(settings.detectors_file)
    async with AsyncExitStack() as parts:
        triton = Triton(settings.triton_url, concurrency=settings.triton_concurrency, timeout=settings.triton_timeout)
        parts.push_async_callback(triton.close)
        budget = DecodeBudget(
            frames=settings.decode_frames,
            max_side=settings.decode_max_side,
            wall_seconds=settings.decode_wall_seconds,
            memory_bytes=settings.decode_memory_bytes,
            cpu_seconds=settings.decode_cpu_seconds,
            audio_seconds=settings.decode_audio_seconds,
            forward_frames=settings.decode_forward_frames,
            closer_frames=settings.decode_closer_frames,
            native_side=settings.decode_native_side,
            trust_anchors=str(settings.trust_anchors) if settings.trust_anchors else None,
            identity_anchors=str(settings.identity_anchors) if settings.identity_anchors else None,
        )
        observe = partial(_count_deaths, metrics)
        pool = await parts.enter_async_context(DecodePool(settings.decode_workers, budget, observe=observe))
        spool = await parts.enter_async_context(fetch_from_settings(settings))
        source_level = _level(metrics, "source")

        def origin_breaker(origin: str) -> Breaker:
            return breaker(origin, Stage.FETCH, Reason.SOURCE_UNAVAILABLE, lambda _: source_level(fetch.worst))

        fetch = PerOrigin(spool, origin_breaker)
        metrics.models(dict.fromkeys(spec.name for _, spec in registry.models))
        infer = _resilient(
            _timed_inference(triton, metrics, traced),
            breaker("triton", Stage.DETECT, Reason.INFERENCE_UNAVAILABLE, _level(metrics, "triton")),
        )

        async def ask(clip: Clip, closer: Closer, within: float) -> Findings:
            return await detect(clip, registry, infer, closer=closer, within=within)

        yield (
            Screening(
                fetch=fetch,
                decode=pool,
                detect=ask,
                known=known,
                policy=policy,
                detectors=tuple(sorted((*registry.versions, policy.fusion_version, HASHES, *_how_read(budget)))),
                timed=_timer(metrics, traced),
                recognise=banks.recognise,
            ),
            triton,
        )


def _how_read(budget: DecodeBudget) -> tuple[str, ...]:
    """How files are sampled, and who may vouch for credentials: the lists' words, since paths stay when those change.

    Raises:
        ConfigError: a list cannot be read.
    """
    sampled = sampling_version(replace(budget, trust_anchors=None, identity_anchors=None))
    lists = (("anchors", budget.trust_anchors), ("identity_anchors", budget.identity_anchors))
    return (sampled, *(f"{name}@{_digest_of(path, name)}" for name, path in lists if path is not None))


def _digest_of(path: str, name: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:8]
    except OSError as error:
        raise ConfigError(f"UNMASK_{'TRUST_ANCHORS' if name == 'anchors' else name.upper()}: {error}") from None


def breaker(name: str, stage: Stage, reason: Reason, on_state: Callable[[State], None]) -> Breaker:
    """A circuit breaker that tells of its turns: to the log, and to `on_state`."""

    def turned(dependency: str, state: State) -> None:
        logger.warning("breaker", dependency=dependency, state=state.value)
        on_state(state)

    return Breaker(name, BreakerPolicy(failures=5, open_seconds=2.0), stage=stage, reason=reason, on_state=turned)


def _level(metrics: Metrics, dependency: str) -> Callable[[State], None]:
    gauge = metrics.breaker.labels(dependency)
    return lambda state: gauge.set(_BREAKER_LEVEL[state])


def run_worker(settings: Settings) -> None:
    """Run until a signal: every agent, in one process. Ends the process, non-zero when it had to crash."""
    prometheus = CollectorRegistry()
    ProcessCollector(registry=prometheus)
    metrics = Metrics(prometheus)
    metrics.build.labels(VERSION).set(1)
    for agent in AGENTS:
        metrics.limit.labels(agent).set(settings.concurrency)
    drain = Drain()
    app = worker_app(settings, drain)
    app.sensors.add(MetricsSensor(metrics))

    def report(
        decided: MediaDecided, outcome: MediaEnforced, review: ReviewDecided | None, before: Standing | None
    ) -> tuple[Draft, ...]:
        return drafts(decided, outcome, review, before, harms=policies.harms)

    ledger = Ledger(settings.ledger_url, report)
    ledger.migrate()
    policies = policies_for(settings, ledger, metrics)
    policies.open()
    _wire(app, settings, ledger, policies, metrics, prometheus)
    faust.Worker(
        app, loglevel="WARN", override_logging=False, redirect_stdouts=False, quiet=True
    ).execute_from_commandline()


def policies_for(settings: Settings, ledger: Ledger, metrics: Metrics) -> PolicyAtHand:
    """The policy in force, not yet opened; kept up to date with the files of the settings and with the ledger."""
    client = client_config(settings)

    def missing(queues: Iterable[str]) -> tuple[str, ...]:
        there = existing_topics(client, REVIEW_REQUESTED)
        return tuple(queue for queue in queues if review_topic(queue) not in there)

    return PolicyAtHand(
        Files(settings.policy_file, settings.calibration_file),
        PolicyRecord(ledger),
        metrics,
        worker_id=f"{socket.gethostname()}-{os.getpid()}",
        lead=timedelta(seconds=max(settings.policy_lead_seconds, 2 * settings.policy_poll_seconds)),
        missing=missing,
    )


def _wire(
    app: WorkerApp,
    settings: Settings,
    ledger: Ledger,
    policies: PolicyAtHand,
    metrics: Metrics,
    prometheus: CollectorRegistry,
) -> None:
    """Attach the agents in flow order, and say what to open before they start."""
    progress, behind = Progress(), LagWatch()
    traced = tracing(settings.otlp_endpoint)
    count_spans(prometheus, traced)
    send = waited_for(_traced_send(sender(app), traced), metrics.send_waits)
    publish = publisher(send, source=f"urn:unmask:{settings.kafka_group}")
    ledger_guard = breaker("ledger", Stage.ROUTE, Reason.LEDGER_UNAVAILABLE, _level(metrics, "ledger"))
    in_ledger = _in_ledger(ledger_guard, traced)
    parts = AsyncExitStack()
    late = _Late()

    async def known(sha256: str, detectors: tuple[str, ...]) -> KnownContent | None:
        try:
            found = await in_ledger(lambda: ledger.known_content(sha256, detectors))
        except Transient as trouble:
            # Reuse saves work; without the ledger the bytes are judged anew, and routing waits for it.
            logger.warning("known contents cannot be looked up", detail=trouble.detail)
            return None
        if found is not None:
            metrics.reuse.inc()
        return found

    async def judge(upload: MediaUploaded, round_: int) -> MediaDecided:
        within = settings.item_deadline * _JUDGING_SHARE
        now = datetime.now(UTC)
        by = late.screening.under(policies.at(now))  # to the end, whatever comes in force meanwhile
        return await screen(upload, round_, now=now, within=within, by=by)

    def fail_mode(upload: MediaUploaded, round_: int, why: Failure) -> MediaDecided:
        return unscreenable(upload, round_, why, now=datetime.now(UTC), policy=policies.policy)

    async def record_decision(decided: MediaDecided, routed: Routed, asked: str | None) -> MediaDecided:
        return await in_ledger(lambda: ledger.record_decision(decided, routed.task, routed.outcome, asked))

    async def record_review(review: ReviewDecided) -> SettledReview | None:
        settled = await in_ledger(lambda: ledger.record_review(review))
        # Otherwise another one, or a copy of this, was on record before.
        if settled is not None and settled.review is review and not settled.superseded:
            _count_review(metrics, settled)
        return settled

    async def record_final(outcome: MediaEnforced) -> MediaEnforced:
        return await in_ledger(lambda: ledger.record_final(outcome))

    async def open_request(request: SubjectRequested) -> OpenedRequest:
        now, policy = datetime.now(UTC), policies.policy

        def reopen(before: Standing, match: SubjectMatch) -> Following:
            decided = reopened(before, facts_of(request, match, now), policy, now)
            routed = route(decided)
            return Following(decided, routed.task, routed.outcome)

        def open_all() -> OpenedRequest:
            since = looked_back(request, now, timedelta(days=settings.request_window_days))
            found = concerned(request, ledger, since=since, most=settings.request_copies)
            return ledger.record_request(request, found, reopen, now)

        return await in_ledger(open_all)

    async def heed(decided: MediaDecided) -> MediaDecided:
        if decided.round == 1 or decided.request is not None:
            return decided
        before = await in_ledger(lambda: ledger.standing(decided.media_id))
        return decided if before is None else heeded(decided, before, policies.policy)

    async def finished(outcome: MediaEnforced) -> tuple[SubjectAnswered, ...]:
        return await in_ledger(lambda: ledger.finish_requests(outcome.media_id, outcome.round))

    told = partial(_count_answer, metrics)
    close = closing(finished, publish, told)

    attach(
        app,
        "screen",
        UPLOADED,
        handle=screen_record(judge, publish),
        bury=bury_upload(fail_mode, publish),
        policy=DeliveryPolicy(settings.concurrency, settings.item_deadline),
        watch=AgentWatch("screen", metrics, progress, behind, traced),
    )
    # Routing and settling depend on the ledger and the broker alone: an outage is waited out, never buried.
    attach(
        app,
        "route",
        DECIDED,
        handle=route_record(record_decision, publish, partial(_count, metrics), heed, close),
        bury=bury_record(publish),
        policy=DeliveryPolicy(settings.concurrency, None),
        watch=AgentWatch("route", metrics, progress, behind, traced),
    )
    attach(
        app,
        "settle",
        REVIEW_DECIDED,
        handle=settle_record(record_review, record_final, publish, close),
        bury=bury_record(publish),
        policy=DeliveryPolicy(settings.concurrency, None),
        watch=AgentWatch("settle", metrics, progress, behind, traced),
    )
    attach(
        app,
        "answer",
        SUBJECT_REQUESTED,
        handle=answer_record(open_request, publish, told),
        bury=bury_record(publish),
        policy=DeliveryPolicy(settings.concurrency, None),
        watch=AgentWatch("answer", metrics, progress, behind, traced),
    )

    async def open_parts() -> None:
        parts.push_async_callback(asyncio.to_thread, traced.close, LAST_SPANS_SECONDS)
        parts.callback(ledger.close)
        parts.push_async_callback(asyncio.to_thread, policies.close)
        parts.callback(_keep_policy(policies, settings.policy_poll_seconds).cancel)
        banks = banks_for(settings, metrics, ledger)
        await asyncio.to_thread(banks.open)
        kept = asyncio.create_task(banks.keep())
        parts.callback(kept.cancel)
        late.screening, triton = await parts.enter_async_context(
            screening(settings, policies.policy, metrics, known, banks, traced)
        )

        async def triton_trouble() -> str | None:
            return None if await triton.server_ready() else f"no answer from {settings.triton_url}"

        async def kafka_trouble() -> str | None:
            return None if _held(app) else "no partitions assigned yet"

        checks = {"kafka": kafka_trouble, "triton": triton_trouble, "ledger": checking(ledger.check)}
        application = probes(prometheus, progress, settings.stall_seconds, checks)
        await parts.enter_async_context(serving(application, settings.http_host, settings.http_port))
        lag = asyncio.create_task(_watch_lag(app, metrics, behind))
        parts.callback(lag.cancel)

    app.open_parts = open_parts
    app.close_parts = parts.aclose


def _keep_policy(policies: PolicyAtHand, every: float) -> asyncio.Task[None]:
    """Keep the policy up to date; SIGHUP looks at once."""
    wake = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(SIGHUP, wake.set)
    kept = asyncio.create_task(policies.keep(every, wake))

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            logger.critical("policies are not kept up to date any more", exc_info=error)

    kept.add_done_callback(ended)
    return kept


class _Late:
    """What the agents use and only `open_parts` can make."""

    screening: Screening


def _in_ledger(guard: Breaker, traced: Tracing) -> InLedger:
    async def in_ledger(call: Callable[[], T]) -> T:
        with traced.span("ledger", remote=True):
            return await guard.call(lambda: asyncio.to_thread(call))

    return in_ledger


def _traced_send(send: Send, traced: Tracing) -> Send:
    async def traced_send(topic: str, key: bytes | None, value: bytes, headers: tuple[tuple[str, bytes], ...]) -> None:
        with traced.sending(topic, traceparent_of(headers)):
            await send(topic, key, value, headers)

    return traced_send


def _resilient(infer: Infer, guard: Breaker) -> Infer:
    """Inference that is tried again while the caller has time, and left alone while it is down."""

    async def resilient(model: ModelSpec, tensors: Tensors, *, within: float) -> Tensors:
        until = time.monotonic() + within

        async def once() -> Tensors:
            return await infer(model, tensors, within=max(0.001, until - time.monotonic()))

        return await retry(lambda: guard.call(once), within=within, policy=RetryPolicy(first=0.1, longest=2.0))

    return resilient


def _timed_inference(infer: Infer, metrics: Metrics, traced: Tracing) -> Infer:
    """Each attempt counts by itself."""

    async def timed(model: ModelSpec, tensors: Tensors, *, within: float) -> Tensors:
        result, began = "unavailable", time.perf_counter()
        with traced.span(f"triton {model.name}", remote=True):
            try:
                answer = await infer(model, tensors, within=within)
                result = "ok"
            except Permanent:
                result = "rejected"
                raise
            finally:
                seconds = time.perf_counter() - began
                metrics.inference.labels(model.name).observe(seconds, traced.exemplar())
                metrics.inferences.labels(model.name, result).inc()
        return answer

    return timed


def _count_deaths(metrics: Metrics, usage: DecodeUsage) -> None:
    if usage.reason in (Reason.DECODER_CRASHED, Reason.DECODER_TIMEOUT):
        metrics.decoder_deaths.labels(usage.reason.value).inc()


def _count(metrics: Metrics, decided: MediaDecided, routed: Routed, first: bool) -> None:
    if not first:
        metrics.repeats.labels("route").inc()
        return
    metrics.decisions.labels(decided.decision.action.value, "yes" if routed.task else "no").inc()
    if routed.task is not None:
        metrics.review_tasks.labels(routed.task.queue).inc()
    for rule, mode in {(hit.rule, hit.effect) for hit in decided.decision.trace}:
        metrics.rule_hits.labels(rule, mode).inc()
    for match in decided.matches:
        metrics.matches.labels(match.bank, "live" if match.live else "recorded").inc()
    for signal in decided.signals:
        metrics.signals.labels(signal.family.value, signal.status.value).inc()
        if signal.probability is not None:
            metrics.probability.labels(signal.family.value).observe(signal.probability)
    for signal in decided.shadow:
        metrics.shadow_signals.labels(signal.family.value, signal.status.value).inc()
        if signal.probability is not None:
            metrics.shadow_probability.labels(signal.family.value).observe(signal.probability)


def _count_review(metrics: Metrics, settled: SettledReview) -> None:
    review, task = settled.review, settled.task
    in_time = "yes" if review.decided_at <= task.deadline else "no"
    metrics.reviews.labels(task.queue, review.action.value, in_time).inc()
    waited = (review.decided_at - task.requested_at).total_seconds()
    metrics.review_wait.labels(task.queue).observe(max(0.0, waited))
    for said, families in (("confirmed", review.confirmed), ("denied", review.denied)):
        for family in families:
            metrics.review_families.labels(family.value, said).inc()


def _count_answer(metrics: Metrics, said: SubjectAnswered, new: bool) -> None:
    if not new:
        metrics.repeats.labels("answer").inc()
        return
    if said.status is not AnswerStatus.DONE:
        metrics.requests.labels(said.kind.value).inc()
    in_time = {None: "open", True: "yes", False: "no"}[said.in_time]
    metrics.answers.labels(said.status.value, in_time).inc()


def _timer(metrics: Metrics, traced: Tracing) -> Callable[[Stage], AbstractContextManager[None]]:
    @contextmanager
    def timed(stage: Stage) -> Iterator[None]:
        began = time.perf_counter()
        with traced.span(stage.value):
            try:
                yield
            finally:
                metrics.stage.labels(stage.value).observe(time.perf_counter() - began, traced.exemplar())

    return timed


def _held(app: WorkerApp) -> frozenset[TP]:
    """The partitions that this worker holds; none before its consumer has started."""
    try:
        return frozenset(app.consumer.assignment())
    except ConsumerNotStarted:
        return frozenset()


async def _watch_lag(app: WorkerApp, metrics: Metrics, behind: LagWatch) -> None:
    """Keep the lag of the partitions that this worker holds; partitions that left are dropped."""
    answered = time.monotonic()
    while True:
        await asyncio.sleep(_LAG_SECONDS)
        held = _held(app)
        metrics.assigned.set(len(held))
        behind.forget(held)
        try:
            begins, ends = await bounds(app.consumer, held, _LAG_PATIENCE)
        except Transient as trouble:
            logger.warning("the lag is not known", detail=trouble.detail)
            if time.monotonic() - answered > _LAG_KNOWN_SECONDS:
                metrics.lag.clear()
                metrics.lag_seconds.clear()
            continue
        answered = time.monotonic()
        done = {tp: app.consumer.committed_to(tp) for tp in held}
        metrics.lag.clear()
        metrics.lag_seconds.clear()
        for tp, lag in behind.look(ends, begins, done, time.time()).items():
            metrics.lag.labels(tp.topic, str(tp.partition)).set(lag.records)
            if lag.seconds is not None:
                metrics.lag_seconds.labels(tp.topic, str(tp.partition)).set(lag.seconds)
