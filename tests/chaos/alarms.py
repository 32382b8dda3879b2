"""Which alerts a fault has to set off, may set off, and must not. Pure: what was broken and what fired go in.

Times are those of the rules as they are shipped; a run that plays them `by` times faster says so (watch.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dashboards.alerts import ALERTS, RECORDED
from tests.chaos.schedule import Kind
from tests.chaos.watch import Firing, seconds, spans

SLACK = 45.0
"""Seconds that an alert may take beyond what is due: looks at the ledger and at the lag every 5 s, scrapes,
evaluations, and a machine that is busy."""


@dataclass(frozen=True, slots=True)
class Struck:
    """A part was broken. `kind`: a key of `EXPECTED`. `began`, `ended`: Unix time."""

    kind: str
    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class Due:
    """An alert that has to fire when a fault lasts long enough.

    `state`: seconds until what is told has come so far, the same however fast the rules are played. `rule`: seconds of
    the rule's own, of its window (as far as it has to fill) and of its `for`. `labels`: that it has to bear.
    `afterwards`: it is told only once the fault is over, by what comes late then; `rule` counts from there.
    """

    alert: str
    state: float
    rule: float
    labels: Mapping[str, str] = field(default_factory=dict)
    afterwards: bool = False

    def needs(self, by: float) -> float:
        """Seconds until it fires."""
        return self.state + self.rule / by


@dataclass(frozen=True, slots=True)
class Expected:
    """Of one kind of fault. Alerts that are not named must not fire."""

    must: tuple[Due, ...] = ()
    may: frozenset[str] = frozenset()

    @property
    def named(self) -> frozenset[str]:
        """All that it can set off."""
        return self.may | {due.alert for due in self.must}


@dataclass(frozen=True, slots=True)
class Verdict:
    """`missing`: what had to fire and did not. `unexpected`: what fired though nothing that was broken explains it."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """All that should fire did, and nothing else."""
        return not (self.missing or self.unexpected)


_FAILS = frozenset({"UnmaskScreeningFailsFast", "UnmaskScreeningFailsSlowly"})
_LATE = frozenset({"UnmaskScreeningSlowFast", "UnmaskScreeningSlowSlowly"})
_BEHIND = _LATE | {"UnmaskLagging"}
_RESTLESS = _BEHIND | {"UnmaskRebalances"}
_UNJUDGED = _FAILS | _BEHIND | {"UnmaskDetectorMissing", "UnmaskDeadLetters", "UnmaskBreakerOpen"}
_NO_LEDGER = _BEHIND | {"UnmaskBreakerOpen", "UnmaskStalled", "UnmaskConsoleBlind", "UnmaskOutboxStuck"}
_NO_BROKER = _FAILS | _RESTLESS | {"UnmaskSendsFail", "UnmaskStalled", "UnmaskOutboxStuck", "UnmaskDeadLetters"}
_NO_BROKER |= {"UnmaskKafkaAway"}
_NO_SOURCE = _FAILS | _BEHIND | {"UnmaskSourceAway", "UnmaskDeadLetters"}

TRITON_AWAY = Due("UnmaskBreakerOpen", 15, 180, {"dependency": "triton"})
LEDGER_AWAY = Due("UnmaskBreakerOpen", 15, 180, {"dependency": "ledger"})
CONSOLE_BLIND = Due("UnmaskConsoleBlind", 120, 120)
SOURCE_AWAY = Due("UnmaskSourceAway", 15, 420)
KAFKA_AWAY = Due("UnmaskKafkaAway", 80, 180)
CONSOLE_DOWN = Due("UnmaskConsoleDown", 0, 120)

_TRITON = Expected((TRITON_AWAY,), _UNJUDGED)
_LEDGER = Expected((LEDGER_AWAY, CONSOLE_BLIND), _NO_LEDGER)
_BROKER = Expected(may=_NO_BROKER)  # where there are three, the others go on
_CONSOLE = Expected((CONSOLE_DOWN,), frozenset({"UnmaskOutboxStuck"}))

CHAOS: dict[str, Expected] = {
    Kind.WORKER_KILLED: Expected(may=_RESTLESS),
    Kind.WORKER_TERMINATED: Expected(may=_RESTLESS),
    Kind.WORKER_FROZEN: Expected(may=_RESTLESS),
    # Its ages and lags are off by as much as its clock.
    Kind.WORKER_SKEWED: Expected(may=_RESTLESS),
    Kind.PEER_JOINS: Expected(may=_RESTLESS),
    Kind.PEER_LEAVES: Expected(may=_RESTLESS),
    Kind.BROKER_KILLED: _BROKER,
    Kind.BROKER_STOPPED: _BROKER,
    Kind.KAFKA_SLOW: Expected(may=_RESTLESS),
    Kind.KAFKA_SILENT: Expected((KAFKA_AWAY,), _NO_BROKER),
    Kind.TRITON_KILLED: Expected(may=_UNJUDGED),
    Kind.TRITON_STOPPED: Expected(may=_UNJUDGED),
    Kind.STUB_KILLED: Expected(may=_UNJUDGED),
    Kind.TRITON_SLOW: Expected(may=_UNJUDGED),
    Kind.TRITON_SILENT: _TRITON,
    Kind.DATABASE_KILLED: _LEDGER,
    Kind.DATABASE_STOPPED: _LEDGER,
    Kind.DATABASE_SLOW: Expected(may=_NO_LEDGER),
    Kind.DATABASE_CUT: _LEDGER,
    Kind.DATABASE_SILENT: _LEDGER,
    Kind.CONSOLE_KILLED: _CONSOLE,
    Kind.CONSOLE_STOPPED: _CONSOLE,
    Kind.ORIGIN_SLOW: Expected(may=_NO_SOURCE),
    Kind.ORIGIN_CUT: Expected(may=_NO_SOURCE),
    Kind.SPOOL_FULL: Expected(may=_NO_SOURCE),
    Kind.POISON: Expected(may=frozenset({"UnmaskDecodersDie", "UnmaskDeadLetters"})),
}
"""Random faults, most of them short, under load."""

DRILLS: dict[str, Expected] = {
    "triton-stopped": Expected(
        (TRITON_AWAY, Due("UnmaskDetectorMissing", 20, 600)), _FAILS | _BEHIND | {"UnmaskDeadLetters"}
    ),
    "model-does-not-fit": Expected(
        (Due("UnmaskInferenceRejected", 30, 600),), frozenset({"UnmaskDetectorMissing", "UnmaskBreakerOpen"}) | _BEHIND
    ),
    "worker-frozen": Expected(
        (
            Due("UnmaskNoWorker", 5, 120),
            Due("UnmaskScreeningSlowFast", 75, 420, afterwards=True),
            Due("UnmaskScreeningSlowSlowly", 75, 1800, afterwards=True),
        ),
        frozenset({"UnmaskLagging"}),
    ),
    "database-away": Expected(
        (
            LEDGER_AWAY,
            CONSOLE_BLIND,
            Due("UnmaskLagging", 300, 600, {"topic": "media.decided"}),
            *(Due("UnmaskStalled", 15, 600, {"agent": agent}) for agent in ("route", "settle", "answer")),
        ),
        _LATE,
    ),
    "broker-away": Expected((KAFKA_AWAY, Due("UnmaskOutboxStuck", 125, 180)), _NO_BROKER),
    "topic-missing": Expected((Due("UnmaskSendsFail", 75, 300),), frozenset({"UnmaskStalled"}) | _BEHIND),
    "broken-events": Expected((Due("UnmaskDeadLetters", 15, 600),)),
    "decoders-killed": Expected((Due("UnmaskDecodersDie", 15, 300),), frozenset({"UnmaskDeadLetters"})),
    "source-away": Expected(
        (
            SOURCE_AWAY,
            Due("UnmaskScreeningFailsFast", 15, 420),
            Due("UnmaskScreeningFailsSlowly", 15, 900),
        ),
        frozenset({"UnmaskDeadLetters"}) | _BEHIND,
    ),
    "peers-come-and-go": Expected((Due("UnmaskRebalances", 30, 1500),), _BEHIND),
    "policy-refused": Expected((Due("UnmaskPolicyRefused", 10, 120),)),
    "policies-differ": Expected((Due("UnmaskPoliciesDiffer", 30, 900),)),
    "nobody-answers": Expected(
        (
            Due("UnmaskReviewsOverdue", 15, 300),
            Due("UnmaskReviewBreachesAhead", 15, 930),
            Due("UnmaskAnswersLate", 15, 30, afterwards=True),
        )
    ),
    "cases-left-open": Expected((Due("UnmaskLeasesRunOut", 45, 900),)),
    "audit-log-stuck": Expected((Due("UnmaskAuditLogStuck", 15, 1200),)),
    "console-stopped": Expected((CONSOLE_DOWN,)),
    "statements-wait": Expected((Due("UnmaskStatementsWait", 15, 3600),)),
    "people-disagree": Expected((Due("UnmaskPeopleDisagree", 30, 3600),)),
}
"""One lasting fault after another, on a small stack (drill.py)."""


def judge(
    faults: Iterable[Struck],
    fired: Iterable[Firing],
    by: float = 1.0,
    besides: frozenset[str] = frozenset(),
    expected: Mapping[str, Expected] = CHAOS,
) -> Verdict:
    """Hold what fired against what was broken.

    A fault has to set an alert off when it lasts for what the alert needs and `SLACK` more. An alert is explained by a
    fault that names it and that was there when it began to fire, or had been within the alert's reach.

    Args:
        faults: what was broken, in any order.
        fired: what `Watch.fired` says at the end.
        by: how many times faster the rules were played.
        besides: alerts that the load itself may set off.
        expected: the table.
    """
    struck, seen = tuple(faults), tuple(fired)
    missing = tuple(
        f"{due.alert} {dict(due.labels)}: not by a fault of {fault.ended - fault.began:.0f} s ({fault.kind})"
        for fault in struck
        for due in expected[fault.kind].must
        if _due(due, fault, by) and not any(_answers(due, fault, firing, by) for firing in seen)
    )

    def explained(firing: Firing) -> bool:
        near = (f for f in struck if f.began <= firing.since <= f.ended + reach(firing.alert) / by + SLACK)
        return firing.alert in besides or any(firing.alert in expected[fault.kind].named for fault in near)

    unexpected = tuple(f"{f.alert} {dict(f.labels)} at {f.since:.0f}" for f in seen if not explained(f))
    return Verdict(missing, unexpected)


def _due(due: Due, fault: Struck, by: float) -> bool:
    lasted = fault.ended - fault.began
    return lasted >= due.state if due.afterwards else lasted >= due.needs(by) + SLACK


def _answers(due: Due, fault: Struck, firing: Firing, by: float) -> bool:
    if firing.alert != due.alert or not due.labels.items() <= firing.labels.items():
        return False
    until = fault.ended + (due.rule / by + SLACK if due.afterwards else 0.0)
    return firing.since <= until and (firing.until is None or firing.until >= fault.began)


def reach(alert: str) -> float:
    """How long after trouble an alert can still begin to fire: its longest window, and `for`. Seconds."""
    recorded = {rule.name: rule.expr for rules in RECORDED.values() for rule in rules}
    longest = 0.0
    for rule in (each for alerts in ALERTS.values() for each in alerts if each.name == alert):
        read = [rule.expr, *(expr for name, expr in recorded.items() if name in rule.expr)]
        windows = [span for expr in read for span in spans(expr)]
        longest = max(longest, max(windows, default=0.0) + seconds(rule.lasts))
    return longest
