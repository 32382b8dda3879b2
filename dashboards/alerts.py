"""Recording rules and alerts. A page wakes somebody: uploads or people wait. A ticket waits for the day."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from dashboards.objectives import DRIFT_COUNT, DRIFT_GAP, OBJECTIVES, WINDOWS, Objective
from pipeline.topology import DECIDED, REVIEW_DECIDED, SUBJECT_REQUESTED, UPLOADED

Severity = Literal["page", "ticket"]

_READS = {"screen": UPLOADED, "route": DECIDED, "settle": REVIEW_DECIDED, "answer": SUBJECT_REQUESTED}


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recording rule."""

    name: str
    expr: str


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. `runbook`: the file in docs/runbooks whose section bears the alert's name. `board`: the dashboard to
    open first. `lasts`: how long it has to be so."""

    name: str
    severity: Severity
    expr: str
    lasts: str
    summary: str
    runbook: str
    board: str
    labels: dict[str, str] = field(default_factory=dict)


def _recorded(objective: Objective) -> tuple[Recorded, ...]:
    return tuple(Recorded(f"{objective.ratio}{window}", objective.expr(window)) for window in WINDOWS)


def _burns(objective: Objective, *steps: tuple[str, str, float]) -> str:
    """(long window, short window, factor): any of them, both windows at once."""

    def over(window: str, factor: float) -> str:
        return f"{objective.ratio}{window} > {factor} * {objective.budget}"

    return "\nor\n".join(f"({over(long, factor)} and {over(short, factor)})" for long, short, factor in steps)


def _gap(one: str, other: str) -> str:
    return f"max by (family) (abs({one} - on (family, le) {other}))"


_DUE = 'max by (queue) (unmask_review_due_tasks{within="1h"})'
_SHARE = "unmask:signal_probability:share"
_COUNT = "sum by (family) (increase(unmask_signal_probability_count[1d]{}))"
_SHADOW_COUNT = "sum by (family) (increase(unmask_shadow_signal_probability_count[1d]))"

RECORDED: dict[str, tuple[Recorded, ...]] = {
    "objectives": tuple(rule for objective in OBJECTIVES for rule in _recorded(objective)),
    "review": (
        # A queue in which nothing was answered counts all that is due: so it is, too, when no worker tells of reviews.
        Recorded(
            "unmask:review_breaches_ahead:1h",
            f"clamp_min({_DUE} - on (queue) (sum by (queue) (increase(unmask_reviews_total[1h])) or 0 * {_DUE}), 0)",
        ),
    ),
    "quality": (
        Recorded(
            _SHARE,
            "sum by (family, le) (increase(unmask_signal_probability_bucket[1d]))"
            f" / on (family) group_left {_COUNT.format('')}",
        ),
        Recorded(
            "unmask:signal_drift:gap",
            f"{_gap(_SHARE, f'{_SHARE} offset 7d')}\nand on (family) {_COUNT.format('')} >= {DRIFT_COUNT}\n"
            f"and on (family) {_COUNT.format(' offset 7d')} >= {DRIFT_COUNT}",
        ),
        Recorded(
            "unmask:shadow_signal_probability:share",
            "sum by (family, le) (increase(unmask_shadow_signal_probability_bucket[1d]))"
            f" / on (family) group_left {_SHADOW_COUNT}",
        ),
        Recorded(
            "unmask:signal_canary:gap",
            f"{_gap('unmask:shadow_signal_probability:share', _SHARE)}\nand on (family) {_SHADOW_COUNT} > 0\n"
            f"and on (family) {_COUNT.format('')} > 0",
        ),
    ),
}

_FAST = (("1h", "5m", 14.4), ("6h", "30m", 6))
_SLOWLY = (("1d", "2h", 3), ("3d", "6h", 1))

OBJECTIVE_ALERTS = tuple(
    Alert(
        f"UnmaskScreening{word}{speed}",
        severity,
        _burns(objective, *steps),
        "2m" if severity == "page" else "15m",
        f"Too many {objective.what}: the budget of a month is being used up {how}",
        "pipeline",
        "unmask-pipeline",
    )
    for objective, word in zip(OBJECTIVES, ("Fails", "Slow"), strict=True)
    for speed, severity, steps, how in (
        ("Fast", "page", _FAST, "within days"),
        ("Slowly", "ticket", _SLOWLY, "before the month is over"),
    )
)

CAUSES = (
    Alert(
        "UnmaskNoWorker",
        "page",
        "absent(unmask_build_info)",
        "2m",
        "No worker tells of itself: nothing is being screened, or nobody can see whether it is",
        "pipeline",
        "unmask-pipeline",
    ),
    *(
        Alert(
            "UnmaskStalled",
            "page",
            f'sum(unmask_consumer_lag_records{{topic="{topic}"}}) > 0\n'
            f'and sum(rate(unmask_items_total{{agent="{agent}"}}[5m])) == 0',
            "5m",
            f"Records wait in {topic} and the agent {agent} finishes none",
            "pipeline",
            "unmask-pipeline",
            {"agent": agent},
        )
        for agent, topic in _READS.items()
    ),
    Alert(
        "UnmaskLagging",
        "page",
        "max by (topic) (unmask_consumer_lag_seconds) > 300",
        "10m",
        "A record in {{ $labels.topic }} has waited for {{ $value | humanizeDuration }}",
        "pipeline",
        "unmask-pipeline",
    ),
    Alert(
        "UnmaskBreakerOpen",
        "page",
        'max by (dependency) (min_over_time(unmask_breaker_state{dependency!="source"}[2m])) > 0',
        "1m",
        "{{ $labels.dependency }} has been away for three minutes and is left alone",
        "inference",
        "unmask-inference",
    ),
    Alert(
        "UnmaskSourceAway",
        "ticket",
        # A breaker that is open stays so until the store is asked again, which may be never.
        'max(min_over_time(unmask_breaker_state{dependency="source"}[2m])) > 0\n'
        'and sum(increase(unmask_dead_letters_total{reason="source_unavailable"}[15m])) > 0',
        "5m",
        "A store that uploads are fetched from has been away for minutes",
        "pipeline",
        "unmask-inference",
    ),
    Alert(
        "UnmaskDeadLetters",
        "ticket",
        "sum(rate(unmask_dead_letters_total[15m])) / sum(rate(unmask_items_total[15m])) > 0.05\n"
        "and sum(increase(unmask_dead_letters_total[15m])) > 20",
        "5m",
        "{{ $value | humanizePercentage }} of all items are buried",
        "pipeline",
        "unmask-pipeline",
    ),
    Alert(
        "UnmaskDecodersDie",
        "ticket",
        "sum by (reason) (increase(unmask_decoder_deaths_total[15m])) > 10",
        "0m",
        "{{ $value | humanize }} decoder children died in 15 minutes ({{ $labels.reason }})",
        "pipeline",
        "unmask-pipeline",
    ),
    Alert(
        "UnmaskKafkaAway",
        "page",
        "absent(unmask_consumer_lag_records) and on () count(unmask_build_info) > 0",
        "3m",
        "Workers run and none of them reads: the brokers are away, or nobody holds a partition",
        "pipeline",
        "unmask-pipeline",
    ),
    Alert(
        "UnmaskSendsFail",
        "ticket",
        'sum(rate(unmask_kafka_sends_total{result="error"}[5m])) > 0\n'
        "or max(max_over_time(unmask_kafka_send_waits_seconds[2m])) > 60",
        "5m",
        "The broker refuses records, or leaves them waiting",
        "pipeline",
        "unmask-pipeline",
    ),
    Alert(
        "UnmaskRebalances",
        "ticket",
        "sum(increase(unmask_rebalances_total[15m])) / count(unmask_build_info) > 5",
        "10m",
        "Workers come and go: each saw {{ $value | humanize }} rebalances in 15 minutes",
        "pipeline",
        "unmask-pipeline",
    ),
    Alert(
        "UnmaskDetectorMissing",
        "page",
        'sum by (family) (rate(unmask_signals_total{status="missing"}[10m]))'
        " / sum by (family) (rate(unmask_signals_total[10m])) > 0.05\n"
        'and sum by (family) (increase(unmask_signals_total{status="missing"}[10m])) > 5',
        "5m",
        "{{ $value | humanizePercentage }} of uploads were not judged for {{ $labels.family }}",
        "inference",
        "unmask-quality",
    ),
    Alert(
        "UnmaskInferenceRejected",
        "ticket",
        'sum by (model) (increase(unmask_inference_requests_total{result="rejected"}[15m])) > 0',
        "5m",
        "{{ $labels.model }} refuses what workers send: they do not fit each other",
        "inference",
        "unmask-inference",
    ),
    Alert(
        "UnmaskScoresDrift",
        "ticket",
        f"unmask:signal_drift:gap > {DRIFT_GAP}",
        "1h",
        'Scores of {{ $labels.family }} are distributed otherwise than a week ago (gap {{ printf "%.2f" $value }})',
        "quality",
        "unmask-quality",
    ),
    Alert(
        "UnmaskPeopleDisagree",
        "ticket",
        'sum by (family) (increase(unmask_review_families_total{said="denied"}[1d]))'
        " / sum by (family) (increase(unmask_review_families_total[1d])) > 0.5\n"
        "and sum by (family) (increase(unmask_review_families_total[1d])) >= 50",
        "1h",
        "People rule out {{ $value | humanizePercentage }} of what is taken for {{ $labels.family }}",
        "quality",
        "unmask-quality",
    ),
    Alert(
        "UnmaskPolicyRefused",
        "ticket",
        "max(unmask_policy_refused) > 0",
        "2m",
        "A changed policy cannot be used; workers decide by the one before",
        "quality",
        "unmask-quality",
    ),
    Alert(
        "UnmaskPoliciesDiffer",
        "ticket",
        "count(count by (version, fusion) (unmask_policy_info)) > 1\nor max(unmask_policy_file_differs) > 0",
        "15m",
        "Workers decide by different policies, or hold a file that is not in force",
        "quality",
        "unmask-quality",
    ),
    Alert(
        "UnmaskReviewsOverdue",
        "page",
        "max by (queue) (unmask_review_overdue_tasks) > 0",
        "5m",
        "{{ $value }} tasks of {{ $labels.queue }} are past their deadline",
        "review",
        "unmask-review",
    ),
    Alert(
        "UnmaskReviewBreachesAhead",
        "page",
        "unmask:review_breaches_ahead:1h > 0",
        "15m",
        "{{ $labels.queue }}: {{ $value | humanize }} tasks have to be started within the hour and will not be",
        "review",
        "unmask-review",
    ),
    Alert(
        "UnmaskLeasesRunOut",
        "ticket",
        "max by (queue) (increase(unmask_review_leases_expired_total[1h])) > 20",
        "15m",
        "{{ $value | humanize }} cases of {{ $labels.queue }} were left open in an hour",
        "review",
        "unmask-review",
    ),
    Alert(
        "UnmaskOutboxStuck",
        "page",
        "max(unmask_outbox_oldest_age_seconds) > 120",
        "3m",
        "What people decided has not been published for {{ $value | humanizeDuration }}",
        "review",
        "unmask-review",
    ),
    Alert(
        "UnmaskAuditLogStuck",
        "page",
        "sum(increase(unmask_review_answers_total[15m])) > 5\n"
        "and max(unmask_audit_log_entries) - max(min_over_time(unmask_audit_log_entries[15m])) == 0",
        "5m",
        "People answer and the audit log does not grow",
        "review",
        "unmask-review",
    ),
    Alert(
        "UnmaskConsoleDown",
        "page",
        "absent(unmask_console_build_info)",
        "2m",
        "No console tells of itself: nobody can review, and answers are not published",
        "review",
        "unmask-review",
    ),
    Alert(
        "UnmaskConsoleBlind",
        "ticket",
        "time() - max(unmask_console_ledger_read_seconds) > 120",
        "2m",
        "No console has read the ledger for {{ $value | humanizeDuration }}: the numbers of reviews are old",
        "review",
        "unmask-review",
    ),
    Alert(
        "UnmaskAnswersLate",
        "ticket",
        'sum(increase(unmask_subject_answers_total{in_time="no"}[1h])) > 0',
        "0m",
        "Requests of persons shown were answered after their deadline",
        "review",
        "unmask-review",
    ),
    Alert(
        "UnmaskStatementsWait",
        "ticket",
        "max(unmask_statements_oldest_age_seconds) > 86400",
        "1h",
        "A statement of reasons has waited for {{ $value | humanizeDuration }}",
        "review",
        "unmask-review",
    ),
)

ALERTS: dict[str, tuple[Alert, ...]] = {"objectives": OBJECTIVE_ALERTS, "causes": CAUSES}
