"""Every metric, declared once, with the reason for it. The registry is passed in; one process has one `/metrics`.

Conventions: base units, `_total` on counters; labels are closed sets that start at 0, never an id, a URL or a text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from pipeline.errors import Reason, Stage
from pipeline.events.subject import AnswerStatus
from pipeline.events.values import Action, Family, RequestKind, SignalStatus
from pipeline.topology import REVIEW_DECIDED, SUBJECT_REQUESTED
from pipeline.trace import SpanCounts, Tracing

_ITEM_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_STAGE_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
WAIT_SECONDS = (60, 300, 900, 1800, 3600, 7200, 14400, 28800, 86400, 172800, 604800)
"""From a minute to a week: deadlines of reviews lie between."""
_PROBABILITY = tuple(i / 20 for i in range(1, 21))

AGENTS = ("screen", "route", "settle", "answer")
_ANSWERS = (
    (AnswerStatus.RECEIVED, "open"),
    (AnswerStatus.UNKNOWN_CONTENT, "open"),
    *((AnswerStatus.DONE, in_time) for in_time in ("yes", "no", "open")),
)
"""With what is known of the deadline: `open` before the end, and where there was none."""
DEPENDENCIES = ("triton", "ledger", "source")
HIT_MODES = ("live", "shadow", "exempted")
"""How a rule fires: it acts, it is only recorded, or an exemption keeps it from acting."""
INFERENCE_RESULTS = ("ok", "unavailable", "rejected")
VERDICTS = ("confirmed", "denied")
"""What a person says of a manipulation that they looked for."""
ANSWERS = tuple(action for action in Action if action is not Action.HOLD)
"""What a person can answer: `hold` means until a person decides."""
STAGES = (Stage.FETCH, Stage.DECODE, Stage.DETECT, Stage.DECIDE)


class _Spans(Collector):
    def __init__(self, counts: SpanCounts) -> None:
        self._counts = counts

    def collect(self) -> Iterator[CounterMetricFamily]:
        family = CounterMetricFamily(
            "unmask_spans", "Spans that ended, that the collector took, and that it did not take", labels=["state"]
        )
        for state in ("ended", "delivered", "refused"):
            family.add_metric([state], getattr(self._counts, state))
        yield family


def count_spans(registry: CollectorRegistry, traced: Tracing) -> None:
    """Say how many spans were lost, where there are any."""
    if traced.counts is not None:
        registry.register(_Spans(traced.counts))


class Metrics:
    """The metrics of one worker."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, why: str, *labels: str) -> Counter:
            return Counter(name, why, labels, registry=registry)

        def gauge(name: str, why: str, *labels: str) -> Gauge:
            return Gauge(name, why, labels, registry=registry)

        def histogram(name: str, why: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(name, why, labels, registry=registry, buckets=buckets)

        # What the platform feels: how long from the record's arrival on the broker to the answer.
        self.age = histogram(
            "unmask_item_age_seconds", "From the record's timestamp to the end of its handling", _ITEM_SECONDS, "agent"
        )
        # What the worker spends, and whether it worked.
        self.items = counter("unmask_items_total", "Items handled, by how they ended", "agent", "result")
        self.handling = histogram(
            "unmask_item_seconds", "Handling of one item, retries included", _ITEM_SECONDS, "agent"
        )
        self.in_flight = gauge("unmask_items_in_flight", "Items being handled now", "agent")
        self.limit = gauge("unmask_items_limit", "Items that may be handled at once", "agent")
        self.retries = counter("unmask_retries_total", "Attempts repeated after transient trouble", "agent")
        self.dead_letters = counter("unmask_dead_letters_total", "Items buried, by cause", "agent", "reason")
        # Where the time of a screening goes.
        self.stage = histogram(
            "unmask_stage_seconds", "One stage of the screening of one upload", _STAGE_SECONDS, "stage"
        )
        # What was decided: the numbers that a trust-and-safety lead watches.
        self.decisions = counter("unmask_decisions_total", "Decisions of the policy", "action", "review")
        self.review_tasks = counter("unmask_review_tasks_total", "Review tasks published", "queue")
        self.rule_hits = counter("unmask_rule_hits_total", "Rules and fail modes that fired, by mode", "rule", "mode")
        self.reuse = counter(
            "unmask_reused_contents_total", "Uploads decided from the stored signals of the same bytes"
        )
        self.repeats = counter(
            "unmask_repeated_records_total", "Records that were not the first of their kind", "agent"
        )
        # What persons shown ask for, and whether they are answered in time.
        self.requests = counter("unmask_subject_requests_total", "Requests by persons shown", "kind")
        self.answers = counter("unmask_subject_answers_total", "Answers to persons shown", "status", "in_time")
        # Whether the signals drift or go missing.
        self.signals = counter("unmask_signals_total", "Signals by family and status", "family", "status")
        self.probability = histogram(
            "unmask_signal_probability", "Calibrated probability of scored signals", _PROBABILITY, "family"
        )
        # Detectors on trial: what they would have said, beside those that count.
        self.shadow_signals = counter(
            "unmask_shadow_signals_total", "Signals of detectors in shadow, by family and status", "family", "status"
        )
        self.shadow_probability = histogram(
            "unmask_shadow_signal_probability", "Probability of scored signals in shadow", _PROBABILITY, "family"
        )
        # What people make of it: whether the machine is right, family by family, and whether people are in time.
        self.reviews = counter("unmask_reviews_total", "Reviews that stand, by answer", "queue", "action", "in_time")
        self.review_wait = histogram(
            "unmask_review_wait_seconds",
            "From the request of a review to the answer that stands",
            WAIT_SECONDS,
            "queue",
        )
        self.review_families = counter(
            "unmask_review_families_total", "Manipulations that people confirmed or ruled out", "family", "said"
        )
        # Known content: whether banks find anything, whether they flood, and what asking them costs.
        self.matches = counter("unmask_bank_matches_total", "Matches with banks, counting or recorded", "bank", "mode")
        self.quarantined = gauge("unmask_quarantined_hashes", "Hashes that match suspiciously much", "bank")
        self.bank_entries = gauge("unmask_bank_entries", "Hashes or videos in a bank", "bank")
        self.lookup = histogram("unmask_bank_lookup_seconds", "One upload looked up in all banks", _STAGE_SECONDS)
        # Inference as the worker feels it: the network, the wait for a place and the server's own time together.
        self.inference = histogram(
            "unmask_inference_seconds", "One inference request, the wait for a place included", _STAGE_SECONDS, "model"
        )
        self.inferences = counter("unmask_inference_requests_total", "Inference requests", "model", "result")
        # Dependencies.
        self.breaker = gauge("unmask_breaker_state", "Circuit breaker: 0 closed, 1 half open, 2 open", "dependency")
        self.decoder_deaths = counter(
            "unmask_decoder_deaths_total", "Decoder children that died or were killed", "reason"
        )
        # Kafka, as this worker sees it.
        self.lag = gauge("unmask_consumer_lag_records", "Records not yet committed", "topic", "partition")
        self.lag_seconds = gauge(
            "unmask_consumer_lag_seconds",
            "How long the oldest record not yet committed has waited",
            "topic",
            "partition",
        )
        self.assigned = gauge("unmask_assigned_partitions", "Partitions that this worker holds")
        self.rebalances = counter("unmask_rebalances_total", "Rebalances that this worker took part in")
        self.rebalance = histogram("unmask_rebalance_seconds", "From revocation to assignment", _STAGE_SECONDS)
        self.sends = counter("unmask_kafka_sends_total", "Records sent, by result", "result")
        self.send = histogram("unmask_kafka_send_seconds", "From send to acknowledgement by the broker", _STAGE_SECONDS)
        self.send_waits = gauge(
            "unmask_kafka_send_waits_seconds", "How long the first record under way has waited for the broker"
        )
        self.commit = histogram("unmask_kafka_commit_seconds", "One offset commit", _STAGE_SECONDS)
        self.build = gauge("unmask_build_info", "1, with the version in use", "version")
        # Which policy decides, since when, and whether somebody's change did not come through.
        self.policy_info = gauge("unmask_policy_info", "1 for the policy in force", "version", "fusion")
        self.policy_since = gauge("unmask_policy_active_since_seconds", "When it came in force here, Unix time")
        self.policy_refused = gauge("unmask_policy_refused", "1: a changed policy could not be used; an earlier stays")
        self.policy_differs = gauge("unmask_policy_file_differs", "1: this worker's file is not what is in force")
        self.policy_reloads = counter(
            "unmask_policy_reloads_total", "Changed policies, by what became of them", "result"
        )

        for agent in AGENTS:
            for result in ("ok", "dead_letter", "cancelled"):
                self.items.labels(agent, result)
            for reason in Reason:
                self.dead_letters.labels(agent, reason.value)
            for labelled in (self.age, self.handling, self.in_flight, self.retries, self.repeats):
                labelled.labels(agent)
        for stage in STAGES:
            self.stage.labels(stage.value)
        for action in Action:
            for review in ("no", "yes"):
                self.decisions.labels(action.value, review)
        for result in ("ok", "refused", "unchanged"):
            self.policy_reloads.labels(result)
        for kind in RequestKind:
            self.requests.labels(kind.value)
        for answer, in_time in _ANSWERS:
            self.answers.labels(answer.value, in_time)
        for family in Family:
            self.probability.labels(family.value)
            self.shadow_probability.labels(family.value)
            for status in SignalStatus:
                self.signals.labels(family.value, status.value)
                self.shadow_signals.labels(family.value, status.value)
            for said in VERDICTS:
                self.review_families.labels(family.value, said)
        for dependency in DEPENDENCIES:
            self.breaker.labels(dependency).set(0)
        for reason in (Reason.DECODER_CRASHED, Reason.DECODER_TIMEOUT):
            self.decoder_deaths.labels(reason.value)
        for result in ("ok", "error"):
            self.sends.labels(result)

    def policy(
        self, version: str, fusion_version: str, queues: Iterable[str], since: float, rules: Iterable[str] = ()
    ) -> None:
        """The policy that is in force from now on. Queues of earlier ones keep counts: tasks may be open. `rules`: fail
        modes too; those of earlier policies keep counts, for decisions that are under way."""
        self.policy_info.clear()
        self.policy_info.labels(version, fusion_version).set(1)
        self.policy_since.set(since)
        for queue in queues:
            self.review_tasks.labels(queue)
            self.review_wait.labels(queue)
            for action in ANSWERS:
                for in_time in ("yes", "no"):
                    self.reviews.labels(queue, action.value, in_time)
        for rule in rules:
            for mode in HIT_MODES:
                self.rule_hits.labels(rule, mode)

    def models(self, names: Iterable[str]) -> None:
        """The models that detectors ask: the names come from the model repository, so the labels are a closed set."""
        for name in names:
            self.inference.labels(name)
            for result in INFERENCE_RESULTS:
                self.inferences.labels(name, result)

    def banks(self, names: Iterable[str]) -> None:
        """The banks of this worker: the names come from the operator's file, so the labels are a closed set."""
        for name in names:
            for mode in ("live", "recorded"):
                self.matches.labels(name, mode)
            self.quarantined.labels(name)


class OutboxMetrics:
    """Whether what people say gets out: what waits, which every console and relay reads from the ledger, and what this
    process published."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.records = Gauge(
            "unmask_outbox_records", "Answers that are not published yet", ("state",), registry=registry
        )
        self.age = Gauge(
            "unmask_outbox_oldest_age_seconds", "How long the first one that may go has waited", registry=registry
        )
        self.published = Counter(
            "unmask_outbox_published_total", "Records of the outbox published here", ("topic",), registry=registry
        )
        self.turn = Gauge(
            "unmask_outbox_turn", "1: this process publishes; 0: another does, or nobody", registry=registry
        )
        for state in ("grace", "due"):
            self.records.labels(state)
        for topic in (REVIEW_DECIDED, SUBJECT_REQUESTED):
            self.published.labels(topic)

    def show(self, waiting: int, due: int, age: float) -> None:
        """What waits now; `due`: of that, what may go. `age`: seconds that the first of these has waited."""
        self.records.labels("grace").set(waiting - due)
        self.records.labels("due").set(due)
        self.age.set(age)
