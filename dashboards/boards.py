"""The four dashboards. Beside every share stand the counts that it is made of."""

from __future__ import annotations

from dashboards.objectives import DRIFT_COUNT, DRIFT_GAP, FAILED, SLOW, Objective
from dashboards.panels import Board, Panel, Query, Row

_R = "[$__rate_interval]"


def rate(metric: str, by: str = "", where: str = "") -> str:
    """Per second, summed."""
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{where and f'{{{where}}}'}{_R}))"


def quantile(q: float, histogram: str, by: str = "", where: str = "") -> str:
    """A quantile of a histogram."""
    return f"histogram_quantile({q}, {rate(f'{histogram}_bucket', f'le, {by}' if by else 'le', where)})"


def hourly(q: float, histogram: str, by: str = "le") -> str:
    """A quantile of the last hour, where things are rare."""
    return f"histogram_quantile({q}, sum by ({by}) (increase({histogram}_bucket[1h])))"


def mean(histogram: str, by: str, where: str = "") -> str:
    """Sum by count."""
    return f"{rate(f'{histogram}_sum', by, where)} / {rate(f'{histogram}_count', by, where)}"


def heat(histogram: str, where: str = "") -> str:
    """How many per bucket and step."""
    return f"sum by (le) (increase({histogram}_bucket{where and f'{{{where}}}'}{_R}))"


def _quantiles(histogram: str, where: str = "") -> tuple[Query, ...]:
    return tuple(Query(quantile(q, histogram, where=where), f"p{q * 100:g}") for q in (0.5, 0.95, 0.99))


def _hour(metric: str, by: str) -> str:
    return f"sum by ({by}) (increase({metric}[1h]))"


def _budget(objective: Objective, left: str, why: str, counts: str, bad: str) -> tuple[Panel, Panel]:
    """What is left of an objective's budget, and the counts behind it."""

    def total(rate_of: str) -> str:
        return rate_of.replace("rate(", "increase(").replace("WINDOW", "3d")

    share = Query(f"1 - {objective.ratio}3d / {objective.budget}", "left")
    return (
        Panel(left, why, (share,), "percentunit", "number", limit=0.25, below=True, width=4),
        Panel(
            counts,
            "The counts behind the budget.",
            (Query(total(objective.bad), bad), Query(total(objective.all), "all")),
            "short",
            "number",
            width=4,
        ),
    )


_SCREEN = 'agent="screen"'

PIPELINE = Board(
    "unmask-pipeline",
    "Unmask: pipeline",
    "Are uploads answered, in time, and where does the time go.",
    (
        Row(
            "The promise",
            (
                *_budget(
                    FAILED,
                    "Budget left, failures",
                    "Of what may fail in three days, how much is left. Below 0 the promise is broken.",
                    "Failed by us, of all, 3 d",
                    "failed",
                ),
                *_budget(
                    SLOW,
                    "Budget left, latency",
                    "Of what may take longer than 60 s in three days, how much is left.",
                    "Slower than 60 s, of all, 3 d",
                    "slow",
                ),
                Panel(
                    "Burn rate",
                    "1: the budget lasts exactly its time. Pages come at 14.4 over an hour and at 6 over six hours.",
                    tuple(
                        Query(f"{objective.ratio}{window} / {objective.budget}", f"{objective.name} {window}")
                        for objective in (FAILED, SLOW)
                        for window in ("1h", "6h")
                    ),
                    "short",
                    limit=6,
                ),
            ),
        ),
        Row(
            "Throughput",
            (
                Panel(
                    "Uploads by outcome",
                    "How handling ended. `cancelled` is a worker that stopped: the item comes again.",
                    (Query(rate("unmask_items_total", "result", _SCREEN), "{{result}}"),),
                    "ops",
                ),
                Panel(
                    "Decisions by action",
                    "First decisions of each upload and round; with a review or without.",
                    (Query(rate("unmask_decisions_total", "action, review"), "{{action}}, review: {{review}}"),),
                    "ops",
                ),
                Panel(
                    "All agents",
                    "Items per second of each agent: what one writes the next has to read.",
                    (Query(rate("unmask_items_total", "agent"), "{{agent}}"),),
                    "ops",
                ),
            ),
        ),
        Row(
            "Latency",
            (
                Panel(
                    "From arrival to answer",
                    "From the record's time on the broker to the end of its handling: what the platform feels.",
                    _quantiles("unmask_item_age_seconds", _SCREEN),
                    "s",
                    limit=60,
                    traced=True,
                ),
                Panel(
                    "From arrival to answer, distribution",
                    "Two bands are two kinds of upload; a band that moves up is a backlog.",
                    (Query(heat("unmask_item_age_seconds", _SCREEN), "{{le}}"),),
                    "s",
                    "heatmap",
                    traced=True,
                ),
                Panel(
                    "Handling alone",
                    "Without the wait in the topic. Flat while arrival to answer grows: too few workers.",
                    _quantiles("unmask_item_seconds", _SCREEN),
                    "s",
                    traced=True,
                ),
            ),
        ),
        Row(
            "Backlog",
            (
                Panel(
                    "Lag, records",
                    "Not yet committed, as the broker counts.",
                    (Query("sum by (topic) (unmask_consumer_lag_records)", "{{topic}}"),),
                ),
                Panel(
                    "Lag, seconds",
                    "How long the oldest uncommitted record has waited, in the slowest partition.",
                    (Query("max by (topic) (unmask_consumer_lag_seconds)", "{{topic}}"),),
                    "s",
                    limit=300,
                ),
                Panel(
                    "Partitions held",
                    "By worker. The sum is what is being read at all; it must not fall.",
                    (
                        Query("sum (unmask_assigned_partitions)", "all"),
                        Query("unmask_assigned_partitions", "{{instance}}"),
                    ),
                ),
            ),
        ),
        Row(
            "Where the time goes",
            (
                Panel(
                    "Stages, mean",
                    "Per upload. Stages overlap between uploads, never within one.",
                    (Query(mean("unmask_stage_seconds", "stage"), "{{stage}}"),),
                    "s",
                    "stacked",
                ),
                Panel(
                    "Stages, p95",
                    "A stage whose tail grows alone names the dependency.",
                    (Query(quantile(0.95, "unmask_stage_seconds", "stage"), "{{stage}}"),),
                    "s",
                    traced=True,
                ),
                Panel(
                    "Stages, times per second",
                    "The counts behind both. Fewer of `detect` than of `fetch`: contents that were known.",
                    (Query(rate("unmask_stage_seconds_count", "stage"), "{{stage}}"),),
                    "ops",
                ),
            ),
        ),
        Row(
            "Saturation",
            (
                Panel(
                    "Places taken",
                    "Of the items that a worker may handle at once. At 1 all the time, more workers help.",
                    (
                        Query(
                            "sum by (agent) (unmask_items_in_flight) / sum by (agent) (unmask_items_limit)", "{{agent}}"
                        ),
                    ),
                    "percentunit",
                    limit=1,
                ),
                Panel(
                    "Processor, cores",
                    "The worker's own process. Decoding runs in children that are not in this number.",
                    (Query(f'rate(process_cpu_seconds_total{{job="unmask-worker"}}{_R})', "{{instance}}"),),
                ),
                Panel(
                    "Memory",
                    "Resident, of the worker's own process.",
                    (Query('process_resident_memory_bytes{job="unmask-worker"}', "{{instance}}"),),
                    "bytes",
                ),
            ),
        ),
        Row(
            "What fails",
            (
                Panel(
                    "Dead letters by reason",
                    "Broken files are everyday; `deadline`, `internal` and `…_unavailable` are ours.",
                    (Query(f"{rate('unmask_dead_letters_total', 'reason')} > 0", "{{reason}}"),),
                    "ops",
                    width=6,
                ),
                Panel(
                    "Dead letters, share of 1 h",
                    "Of all that was handled.",
                    (
                        Query(
                            f"{_hour('unmask_dead_letters_total', 'agent')} / {_hour('unmask_items_total', 'agent')}",
                            "{{agent}}",
                        ),
                    ),
                    "percentunit",
                    width=6,
                ),
                Panel(
                    "Dead letters, counts of 1 h",
                    "What the share is made of.",
                    (
                        Query(_hour("unmask_dead_letters_total", "agent"), "{{agent}}, buried"),
                        Query(_hour("unmask_items_total", "agent"), "{{agent}}, handled"),
                    ),
                    kind="bars",
                    width=6,
                ),
                Panel(
                    "Retries, and decoders that died",
                    "Retries say that a dependency wavers; dead decoders that files do.",
                    (
                        Query(rate("unmask_retries_total", "agent"), "retries of {{agent}}"),
                        Query(rate("unmask_decoder_deaths_total", "reason"), "{{reason}}"),
                    ),
                    "ops",
                    width=6,
                ),
            ),
        ),
        Row(
            "Duplicates",
            (
                Panel(
                    "Known contents, share",
                    "Uploads decided from the stored signals of the same bytes: work that was saved.",
                    (
                        Query(
                            f"{rate('unmask_reused_contents_total')} / {rate('unmask_items_total', where=_SCREEN)}",
                            "share",
                        ),
                    ),
                    "percentunit",
                ),
                Panel(
                    "Known contents, counts of 1 h",
                    "What the share is made of.",
                    (
                        Query("sum (increase(unmask_reused_contents_total[1h]))", "known"),
                        Query(f"sum (increase(unmask_items_total{{{_SCREEN}}}[1h]))", "all"),
                    ),
                    kind="number",
                    width=4,
                ),
                Panel(
                    "Records that came again",
                    "After a worker died or partitions moved. What was published first is published again.",
                    (Query(rate("unmask_repeated_records_total", "agent"), "{{agent}}"),),
                    "ops",
                    width=12,
                ),
            ),
        ),
        Row(
            "Kafka",
            (
                Panel(
                    "Rebalances",
                    "Each stands a worker still for a moment; many in a row mean that workers come and go.",
                    (Query("sum (increase(unmask_rebalances_total[15m]))", "in 15 min"),),
                    width=6,
                ),
                Panel(
                    "Length of rebalances",
                    "From revocation to assignment, p95 of the last hour.",
                    (
                        Query(
                            hourly(0.95, "unmask_rebalance_seconds"),
                            "p95",
                        ),
                    ),
                    "s",
                    width=6,
                    empty="no rebalance in the last hour",
                ),
                Panel(
                    "Sends",
                    "Records written, by result.",
                    (Query(rate("unmask_kafka_sends_total", "result"), "{{result}}"),),
                    "ops",
                    width=6,
                ),
                Panel(
                    "Sends and commits, p95",
                    "How fast the broker answers.",
                    (
                        Query(quantile(0.95, "unmask_kafka_send_seconds"), "send"),
                        Query(quantile(0.95, "unmask_kafka_commit_seconds"), "commit"),
                    ),
                    "s",
                    width=6,
                ),
            ),
        ),
    ),
)

_REQUESTS = rate("nv_inference_request_success", "model")


def _server(part: str) -> str:
    return f"{rate(f'nv_inference_{part}_duration_us', 'model')} / {_REQUESTS} / 1e6"


_NO_GPU = "the server has no GPU, or runs with --allow-gpu-metrics=false"

INFERENCE = Board(
    "unmask-inference",
    "Unmask: inference",
    "What the inference server does, as the workers feel it and as it says itself.",
    (
        Row(
            "As workers feel it",
            (
                Panel(
                    "Request, p95",
                    "The wait for a place of the worker, the network and the server together.",
                    (Query(quantile(0.95, "unmask_inference_seconds", "model"), "{{model}}"),),
                    "s",
                    traced=True,
                ),
                Panel(
                    "Requests, distribution",
                    "All models.",
                    (Query(heat("unmask_inference_seconds"), "{{le}}"),),
                    "s",
                    "heatmap",
                    traced=True,
                ),
                Panel(
                    "Requests by result",
                    "`unavailable` is tried again; `rejected` means that tensors and model do not fit.",
                    (Query(rate("unmask_inference_requests_total", "result"), "{{result}}"),),
                    "ops",
                ),
                Panel(
                    "Failed, share by model",
                    "Of the requests of the last hour.",
                    (
                        Query(
                            'sum by (model) (increase(unmask_inference_requests_total{result!="ok"}[1h]))'
                            " / sum by (model) (increase(unmask_inference_requests_total[1h]))",
                            "{{model}}",
                        ),
                    ),
                    "percentunit",
                ),
                Panel(
                    "Requests by model, 1 h",
                    "The counts behind the share.",
                    (Query("sum by (model) (increase(unmask_inference_requests_total[1h]))", "{{model}}"),),
                    kind="bars",
                ),
                Panel(
                    "Breakers",
                    "0 closed, 1 half open, 2 open: while it is open nothing is asked.",
                    (Query("max by (dependency) (unmask_breaker_state)", "{{dependency}}"),),
                    limit=2,
                ),
            ),
        ),
        Row(
            "As the server says",
            (
                Panel(
                    "Request, mean",
                    "From the server's receipt to its answer.",
                    (Query(_server("request"), "{{model}}"),),
                    "s",
                ),
                Panel(
                    "Queue, mean",
                    "Before computing. It grows first when the server is full.",
                    (Query(_server("queue"), "{{model}}"),),
                    "s",
                ),
                Panel(
                    "Compute, mean",
                    "The model itself.",
                    (Query(_server("compute_infer"), "{{model}}"),),
                    "s",
                ),
                Panel(
                    "Where the server's time goes",
                    "Seconds per second, all models.",
                    tuple(
                        Query(f"sum (rate(nv_inference_{part}_duration_us{_R})) / 1e6", legend)
                        for part, legend in (
                            ("queue", "queue"),
                            ("compute_input", "input"),
                            ("compute_infer", "compute"),
                            ("compute_output", "output"),
                        )
                    ),
                    "s",
                    "stacked",
                ),
                Panel(
                    "Worker less server, mean",
                    "What lies between: the wait for a place, the network, (de)serialising.",
                    (
                        Query(
                            f"({mean('unmask_inference_seconds', 'model')}) - on (model) ({_server('request')})",
                            "{{model}}",
                        ),
                    ),
                    "s",
                ),
                Panel(
                    "Waiting requests",
                    "On the server, now.",
                    (Query("sum by (model) (nv_inference_pending_request_count)", "{{model}}"),),
                ),
            ),
        ),
        Row(
            "Batches",
            (
                Panel(
                    "Mean batch",
                    "Inferences per execution. 1 on a GPU under load: the batching delay is too short.",
                    (
                        Query(
                            f"{rate('nv_inference_count', 'model')} / {rate('nv_inference_exec_count', 'model')}",
                            "{{model}}",
                        ),
                    ),
                ),
                Panel(
                    "Inferences and executions, 1 h",
                    "The counts behind the mean.",
                    (
                        Query("sum by (model) (increase(nv_inference_count[1h]))", "{{model}}, inferences"),
                        Query("sum by (model) (increase(nv_inference_exec_count[1h]))", "{{model}}, executions"),
                    ),
                    kind="bars",
                ),
                Panel(
                    "Failures on the server",
                    "By model and reason.",
                    (Query(rate("nv_inference_request_failure", "model, reason"), "{{model}}: {{reason}}"),),
                    "ops",
                ),
            ),
        ),
        Row(
            "The machine",
            (
                Panel(
                    "Processor",
                    "Of the server's machine.",
                    (Query("nv_cpu_utilization", "{{instance}}"),),
                    "percentunit",
                    width=6,
                ),
                Panel(
                    "Memory",
                    "Of the server's machine.",
                    (
                        Query("nv_cpu_memory_used_bytes", "{{instance}}, used"),
                        Query("nv_cpu_memory_total_bytes", "{{instance}}, all"),
                    ),
                    "bytes",
                    width=6,
                ),
                Panel(
                    "GPU",
                    "Utilisation. Low while requests wait: batches are too small, or are fed too slowly.",
                    (Query("nv_gpu_utilization", "{{gpu_uuid}}"),),
                    "percentunit",
                    width=6,
                    empty=_NO_GPU,
                ),
                Panel(
                    "GPU memory",
                    "Used, of all.",
                    (
                        Query("nv_gpu_memory_used_bytes", "{{gpu_uuid}}, used"),
                        Query("nv_gpu_memory_total_bytes", "{{gpu_uuid}}, all"),
                    ),
                    "bytes",
                    width=6,
                    empty=_NO_GPU,
                ),
            ),
        ),
    ),
)


def _max(metric: str, by: str = "queue", where: str = "") -> str:
    """Each replica of the console shows the same."""
    return f"max by ({by}) ({metric}{where and f'{{{where}}}'})"


REVIEW = Board(
    "unmask-review",
    "Unmask: review operations",
    "Do people keep up, and is what they say published.",
    (
        Row(
            "Now",
            (
                Panel(
                    "Waiting",
                    "Open tasks that nobody has answered, all queues.",
                    (Query(f"sum ({_max('unmask_review_queue_tasks')})", "waiting"),),
                    kind="number",
                    width=4,
                ),
                Panel(
                    "Past their deadline",
                    "0, or somebody waits longer than was promised.",
                    (Query(f"sum ({_max('unmask_review_overdue_tasks')})", "overdue"),),
                    kind="number",
                    limit=1,
                    width=4,
                ),
                Panel(
                    "Breaches ahead, 1 h",
                    "Tasks that have to be started within the hour and, at the pace of the last hour, will not be.",
                    (Query("sum (unmask:review_breaches_ahead:1h)", "breaches"),),
                    kind="number",
                    limit=1,
                    width=4,
                ),
                Panel(
                    "Held by somebody",
                    "Tasks under a lease.",
                    (Query(f"sum ({_max('unmask_review_leased_tasks')})", "leased"),),
                    kind="number",
                    width=4,
                ),
                Panel(
                    "Outbox",
                    "How long the first answer that may be published has waited.",
                    (Query("max (unmask_outbox_oldest_age_seconds)", "oldest"),),
                    "s",
                    "number",
                    limit=120,
                    width=4,
                ),
                Panel(
                    "Numbers as of",
                    "How old the console's numbers are.",
                    (Query("time() - max (unmask_console_ledger_read_seconds)", "age"),),
                    "s",
                    "number",
                    limit=60,
                    width=4,
                ),
            ),
        ),
        Row(
            "Queues",
            (
                Panel(
                    "Depth",
                    "Open tasks by queue.",
                    (Query(_max("unmask_review_queue_tasks"), "{{queue}}"),),
                    kind="stacked",
                ),
                Panel(
                    "Oldest",
                    "Age of the oldest task. Against its deadline it stands in the next panel.",
                    (Query(_max("unmask_review_oldest_age_seconds"), "{{queue}}"),),
                    "s",
                ),
                Panel(
                    "Slack of the most urgent",
                    "Until work has to start so that the deadline holds; below 0 it is late.",
                    (Query("min by (queue) (unmask_review_slack_seconds)", "{{queue}}"),),
                    "s",
                    limit=0,
                    below=True,
                ),
                Panel(
                    "To be started within",
                    "The forecast: each span includes the ones before.",
                    (Query(f"sum by (within) ({_max('unmask_review_due_tasks', 'queue, within')})", "{{within}}"),),
                    kind="bars",
                ),
                Panel(
                    "Breaches ahead by queue",
                    "To be started within the hour, less what was answered in the last one.",
                    (Query("unmask:review_breaches_ahead:1h", "{{queue}}"),),
                ),
                Panel(
                    "In and out",
                    "Tasks that came and answers that stand. In above out for long: more people, or fewer questions.",
                    (
                        Query(rate("unmask_review_tasks_total"), "in"),
                        Query(rate("unmask_reviews_total"), "out"),
                    ),
                    "ops",
                ),
            ),
        ),
        Row(
            "Answers",
            (
                Panel(
                    "Time to decision, p50 and p90",
                    "From the request to the answer that stands, of the last hour.",
                    tuple(
                        Query(
                            hourly(q, "unmask_review_wait_seconds", "le, queue"),
                            f"{{{{queue}}}}, p{q * 100:g}",
                        )
                        for q in (0.5, 0.9)
                    ),
                    "s",
                ),
                Panel(
                    "Time to decision at the console",
                    "The same of answers given here, before their time to be taken back is over.",
                    (
                        Query(
                            hourly(0.9, "unmask_review_decision_seconds"),
                            "p90",
                        ),
                        Query(
                            hourly(0.5, "unmask_review_decision_seconds"),
                            "p50",
                        ),
                    ),
                    "s",
                ),
                Panel(
                    "Answers by outcome, 1 h",
                    "Answers that stand.",
                    (Query("sum by (action) (increase(unmask_reviews_total[1h]))", "{{action}}"),),
                    kind="bars",
                ),
                Panel(
                    "In time, share",
                    "Of the answers of the last day, those before the deadline.",
                    (
                        Query(
                            'sum (increase(unmask_reviews_total{in_time="yes"}[1d]))'
                            " / sum (increase(unmask_reviews_total[1d]))",
                            "in time",
                        ),
                    ),
                    "percentunit",
                    "number",
                    limit=0.95,
                    below=True,
                    width=4,
                ),
                Panel(
                    "In time, counts",
                    "What the share is made of, 1 d.",
                    (Query("sum by (in_time) (increase(unmask_reviews_total[1d]))", "in time: {{in_time}}"),),
                    kind="number",
                    width=4,
                ),
                Panel(
                    "What answers amount to, 1 h",
                    "`second`: another person looks; `disputed`: two disagree. Taken back: in the grace time.",
                    (
                        Query("sum by (stands) (increase(unmask_review_answers_total[1h]))", "{{stands}}"),
                        Query("sum (increase(unmask_review_answers_undone_total[1h]))", "taken back"),
                    ),
                    kind="bars",
                ),
                Panel(
                    "Leases that ran out",
                    "Somebody left a case open. Many: the lease is too short, or the page loses people.",
                    (Query("sum by (queue) (increase(unmask_review_leases_expired_total[1h]))", "{{queue}}"),),
                ),
            ),
        ),
        Row(
            "Appeals and requests",
            (
                Panel(
                    "Appeals that ended milder, share",
                    "Of the appeals of the last day.",
                    (
                        Query(
                            'sum (increase(unmask_review_appeals_total{result="overturned"}[1d]))'
                            " / sum (increase(unmask_review_appeals_total[1d]))",
                            "overturned",
                        ),
                    ),
                    "percentunit",
                    "number",
                    width=6,
                    empty="no appeal was decided in the last day",
                ),
                Panel(
                    "Appeals, counts",
                    "What the share is made of, 1 d.",
                    (Query("sum by (result) (increase(unmask_review_appeals_total[1d]))", "{{result}}"),),
                    kind="number",
                    width=6,
                ),
                Panel(
                    "Requests of persons shown, 1 d",
                    "By kind.",
                    (Query("sum by (kind) (increase(unmask_subject_requests_total[1d]))", "{{kind}}"),),
                    kind="bars",
                    width=6,
                ),
                Panel(
                    "Answers to them, 1 d",
                    "Done in time, done late, or still open.",
                    (
                        Query(
                            "sum by (status, in_time) (increase(unmask_subject_answers_total[1d]))",
                            "{{status}}, in time: {{in_time}}",
                        ),
                    ),
                    kind="bars",
                    width=6,
                ),
            ),
        ),
        Row(
            "Ways out",
            (
                Panel(
                    "Outbox",
                    "`grace`: may still be taken back; `due`: waits for Kafka, and must not grow.",
                    (Query("max by (state) (unmask_outbox_records)", "{{state}}"),),
                ),
                Panel(
                    "Published",
                    "Records of the outbox per minute, and how many relays have the turn: one, or nobody publishes.",
                    (
                        Query(f"60 * {rate('unmask_outbox_published_total')}", "records/min"),
                        Query("sum (unmask_outbox_turn)", "have the turn"),
                    ),
                ),
                Panel(
                    "Audit log",
                    "Entries per minute. Answers without entries would be a breach of the promise to auditors.",
                    (
                        Query(f"60 * max (deriv(unmask_audit_log_entries{_R}))", "entries/min"),
                        Query(f"60 * {rate('unmask_review_answers_total')}", "answers/min"),
                    ),
                ),
                Panel(
                    "Statements that wait",
                    "Statements of reasons that `unmask report dsa` has not sent yet.",
                    (Query("max (unmask_statements_queued)", "waiting"),),
                    kind="number",
                    width=4,
                ),
                Panel(
                    "Oldest of them",
                    "A day is late.",
                    (Query("max (unmask_statements_oldest_age_seconds)", "oldest"),),
                    "s",
                    "number",
                    limit=86400,
                    width=4,
                ),
            ),
        ),
    ),
)

_F = 'family=~"$family"'


def _day(metric: str, by: str, where: str = "") -> str:
    return f"sum by ({by}) (increase({metric}{where and f'{{{where}}}'}[1d]))"


def _signal_share(status: str) -> str:
    some = _day("unmask_signals_total", "family", f'{_F},status="{status}"')
    return f"{some} / {_day('unmask_signals_total', 'family', _F)}"


_DENIED = _day("unmask_review_families_total", "family", f'{_F},said="denied"')

QUALITY = Board(
    "unmask-quality",
    "Unmask: model quality",
    "Do the detectors still say what they said, do they say it at all, and do people agree.",
    (
        Row(
            "Scores",
            (
                Panel(
                    "Scores, distribution",
                    "Calibrated probabilities of the families chosen above.",
                    (Query(heat("unmask_signal_probability", _F), "{{le}}"),),
                    "percentunit",
                    "heatmap",
                ),
                Panel(
                    "Scores, mean of 1 d",
                    "By family.",
                    (
                        Query(
                            f"{_day('unmask_signal_probability_sum', 'family', _F)}"
                            f" / {_day('unmask_signal_probability_count', 'family', _F)}",
                            "{{family}}",
                        ),
                    ),
                    "percentunit",
                ),
                Panel(
                    "Above one half, share of 1 d",
                    "How often a family is more likely than not.",
                    (
                        Query(
                            f'1 - unmask:signal_probability:share{{le="0.5",{_F}}}',
                            "{{family}}",
                        ),
                    ),
                    "percentunit",
                ),
                Panel(
                    "Scores, counts of 1 d",
                    "What the two are made of.",
                    (Query(_day("unmask_signal_probability_count", "family", _F), "{{family}}"),),
                    kind="bars",
                ),
                Panel(
                    "Drift in a week",
                    "The largest gap between the distributions of a day and of the day a week before, where both have "
                    f"{DRIFT_COUNT} scores.",
                    (Query(f"unmask:signal_drift:gap{{{_F}}}", "{{family}}"),),
                    "percentunit",
                    limit=DRIFT_GAP,
                    empty="there is no week of history, or too few scores",
                ),
                Panel(
                    "Scores of the day a week ago",
                    "The counts behind the drift.",
                    (
                        Query(
                            f"sum by (family) (increase(unmask_signal_probability_count{{{_F}}}[1d] offset 7d))",
                            "{{family}}",
                        ),
                    ),
                    kind="bars",
                    empty="there is no week of history",
                ),
            ),
        ),
        Row(
            "Silence",
            (
                Panel(
                    "Abstained, share of 1 d",
                    "The detector looked and would not say.",
                    (Query(_signal_share("abstained"), "{{family}}"),),
                    "percentunit",
                ),
                Panel(
                    "Missing, share of 1 d",
                    "Nobody answered. Anything above 0 means uploads that were not judged in full.",
                    (Query(_signal_share("missing"), "{{family}}"),),
                    "percentunit",
                    limit=0.05,
                ),
                Panel(
                    "Signals by status, 1 d",
                    "The counts behind both.",
                    (Query(_day("unmask_signals_total", "family, status", _F), "{{family}}, {{status}}"),),
                    kind="bars",
                ),
            ),
        ),
        Row(
            "People",
            (
                Panel(
                    "Overturned by people, share of 1 d",
                    "Of the families that people judged, how many they ruled out.",
                    (
                        Query(
                            f"{_DENIED} / {_day('unmask_review_families_total', 'family', _F)}",
                            "{{family}}",
                        ),
                    ),
                    "percentunit",
                ),
                Panel(
                    "Confirmed and ruled out, 1 d",
                    "The counts behind the share. A share of five answers says nothing.",
                    (Query(_day("unmask_review_families_total", "family, said", _F), "{{family}}, {{said}}"),),
                    kind="bars",
                ),
                Panel(
                    "Appeals that ended milder, 1 d",
                    "And all that were decided.",
                    (
                        Query('sum (increase(unmask_review_appeals_total{result="overturned"}[1d]))', "milder"),
                        Query("sum (increase(unmask_review_appeals_total[1d]))", "all"),
                    ),
                    kind="number",
                ),
            ),
        ),
        Row(
            "Canary against live",
            (
                Panel(
                    "Mean score, in shadow and live, 1 d",
                    "A detector on trial sees the same uploads as those that count.",
                    (
                        Query(
                            f"{_day('unmask_shadow_signal_probability_sum', 'family', _F)}"
                            f" / {_day('unmask_shadow_signal_probability_count', 'family', _F)}",
                            "{{family}}, shadow",
                        ),
                        Query(
                            f"{_day('unmask_signal_probability_sum', 'family', _F)}"
                            f" / {_day('unmask_signal_probability_count', 'family', _F)}",
                            "{{family}}, live",
                        ),
                    ),
                    "percentunit",
                ),
                Panel(
                    "Largest gap of the distributions, 1 d",
                    "Between shadow and live, of the families that both know.",
                    (Query(f"unmask:signal_canary:gap{{{_F}}}", "{{family}}"),),
                    "percentunit",
                    empty="no family is judged both live and in shadow",
                ),
                Panel(
                    "Scores in shadow, 1 d",
                    "The counts behind both.",
                    (Query(_day("unmask_shadow_signal_probability_count", "family", _F), "{{family}}"),),
                    kind="bars",
                ),
                Panel(
                    "Signals in shadow by status, 1 d",
                    "Whether the detectors on trial say anything at all.",
                    (Query(_day("unmask_shadow_signals_total", "family, status", _F), "{{family}}, {{status}}"),),
                    kind="bars",
                    width=6,
                ),
                Panel(
                    "Rules, live",
                    "How often each rule acted, 1 h.",
                    (
                        Query(
                            'topk(15, sum by (rule) (increase(unmask_rule_hits_total{mode="live"}[1h])) > 0)',
                            "{{rule}}",
                        ),
                    ),
                    kind="bars",
                    width=6,
                ),
                Panel(
                    "Rules in shadow, and exempted",
                    "What would have happened, 1 h.",
                    (
                        Query(
                            "topk(15, sum by (rule, mode) "
                            '(increase(unmask_rule_hits_total{mode=~"shadow|exempted"}[1h])))',
                            "{{rule}}, {{mode}}",
                        ),
                    ),
                    kind="bars",
                    width=6,
                ),
                Panel(
                    "Policy in force",
                    "One line per version; two at once for longer than a switch takes: a worker hangs behind.",
                    (Query("count by (version) (unmask_policy_info)", "{{version}}"),),
                    width=6,
                ),
            ),
        ),
        Row(
            "Known content",
            (
                Panel(
                    "Matches by bank",
                    "Counting, or recorded only.",
                    (Query(rate("unmask_bank_matches_total", "bank, mode"), "{{bank}}, {{mode}}"),),
                    "ops",
                    empty="no banks are set up",
                ),
                Panel(
                    "Quarantined hashes",
                    "They match suspiciously much and do not count.",
                    (Query("max by (bank) (unmask_quarantined_hashes)", "{{bank}}"),),
                    empty="no banks are set up",
                ),
                Panel(
                    "Look-up, p95",
                    "One upload in all banks.",
                    (Query(quantile(0.95, "unmask_bank_lookup_seconds"), "p95"),),
                    "s",
                    empty="no banks are set up",
                ),
            ),
        ),
    ),
    families=True,
)

BOARDS = (PIPELINE, INFERENCE, REVIEW, QUALITY)
