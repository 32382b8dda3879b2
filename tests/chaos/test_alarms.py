"""The table of alarms, its judge, and the rules played faster, without anything that runs."""

from __future__ import annotations

import re

import pytest
import yaml

from dashboards.alerts import ALERTS, RECORDED
from dashboards.make import RULES, rules_yaml
from tests.chaos.alarms import CHAOS, SLACK, Due, Expected, Struck, judge, reach
from tests.chaos.schedule import Kind
from tests.chaos.watch import Firing, faster, firings_of, seconds, spans

NAMES = {alert.name for alerts in ALERTS.values() for alert in alerts}
TABLE = {
    "part away": Expected((Due("UnmaskBreakerOpen", 10, 180, {"dependency": "triton"}),), frozenset({"UnmaskLagging"})),
    "worker frozen": Expected((Due("UnmaskScreeningSlowFast", 60, 120, afterwards=True),)),
}


def firing(alert: str, since: float, until: float | None = None, **labels: str) -> Firing:
    return Firing(alert, labels, since, until)


def test_every_kind_of_fault_is_in_the_table() -> None:
    """A kind that is added to the schedule needs its alerts said."""
    assert CHAOS.keys() == set(Kind)


def test_the_table_names_alerts_and_labels_that_exist() -> None:
    """An alert that is renamed is found here."""
    assert {name for expected in CHAOS.values() for name in expected.named} <= NAMES


def test_a_long_fault_has_to_set_its_alert_off() -> None:
    """It lasts for what the alert needs and the slack, and nothing fires."""
    assert judge([Struck("part away", 0, 190 + SLACK)], [], expected=TABLE).missing
    assert judge([Struck("part away", 0, 189 + SLACK)], [], expected=TABLE).holds


def test_rules_that_are_played_faster_are_due_sooner() -> None:
    """What the rule takes is divided, what the state takes is not."""
    assert judge([Struck("part away", 0, 19 + SLACK)], [], by=20, expected=TABLE).missing
    assert judge([Struck("part away", 0, 18 + SLACK)], [], by=20, expected=TABLE).holds


@pytest.mark.parametrize(
    ("seen", "right"),
    [
        (firing("UnmaskBreakerOpen", 200, dependency="triton"), True),
        (firing("UnmaskBreakerOpen", 90, 150, dependency="triton"), True),
        (firing("UnmaskBreakerOpen", 200, dependency="ledger"), False),
        (firing("UnmaskBreakerOpen", 401, dependency="triton"), False),
        (firing("UnmaskBreakerOpen", 50, 99, dependency="triton"), False),
    ],
)
def test_it_has_to_be_that_alert_with_its_labels_while_the_fault_lasts(seen: Firing, right: bool) -> None:
    """One of another dependency does not do, nor one that was over before or began after."""
    assert (judge([Struck("part away", 100, 400)], [seen], expected=TABLE).missing == ()) is right


def test_an_alert_of_late_answers_is_due_after_the_fault() -> None:
    """What a frozen worker answers late is told when it has woken."""
    fault = Struck("worker frozen", 0, 60)
    assert judge([fault], [], expected=TABLE).missing
    assert judge([fault], [firing("UnmaskScreeningSlowFast", 170)], expected=TABLE).holds
    assert judge([Struck("worker frozen", 0, 50)], [], expected=TABLE).holds


def test_an_alert_that_no_fault_explains_is_unexpected() -> None:
    """It is not in the fault's row, or no fault was near."""
    away = Struck("part away", 100, 150)
    assert judge([away], [firing("UnmaskLagging", 120)], expected=TABLE).holds
    assert judge([away], [firing("UnmaskConsoleDown", 120)], expected=TABLE).unexpected
    assert judge([away], [firing("UnmaskLagging", 99)], expected=TABLE).unexpected
    assert judge([], [firing("UnmaskLagging", 120)], expected=TABLE).unexpected
    assert judge([], [firing("UnmaskDeadLetters", 1)], besides=frozenset({"UnmaskDeadLetters"}), expected=TABLE).holds


def test_an_alert_may_follow_a_fault_within_its_reach() -> None:
    """A window that still holds the fault, and `for`."""
    away = Struck("part away", 0, 50)
    late = 50 + reach("UnmaskLagging") + SLACK
    assert judge([away], [firing("UnmaskLagging", late)], expected=TABLE).holds
    assert judge([away], [firing("UnmaskLagging", late + 1)], expected=TABLE).unexpected


def test_reach_is_the_longest_window_and_for() -> None:
    """Those of recorded series count."""
    assert reach("UnmaskLagging") == 600
    assert reach("UnmaskDeadLetters") == 900 + 300
    assert reach("UnmaskScreeningSlowFast") == 6 * 3600 + 120


@pytest.mark.parametrize("name", [path.stem for path in RULES.glob("*.yaml")])
def test_faster_rules_differ_in_their_durations_alone(name: str) -> None:
    """Windows, offsets, `for` and intervals are a tenth; with durations taken out, the words are the same."""
    shipped = yaml.safe_load(rules_yaml(name))
    played = faster(shipped, 10)
    for before, after in zip(shipped["groups"], played["groups"], strict=True):
        assert seconds(after["interval"]) == seconds(before["interval"]) / 10
        for rule, hurried in zip(before["rules"], after["rules"], strict=True):
            assert spans(hurried["expr"]) == tuple(span / 10 for span in spans(rule["expr"]))
            assert _without_spans(hurried["expr"]) == _without_spans(rule["expr"])
            if "for" in rule:
                assert seconds(hurried["for"]) == seconds(rule["for"]) / 10
            unchanged = ("alert", "record", "labels", "annotations")
            assert {key: rule.get(key) for key in unchanged} == {key: hurried.get(key) for key in unchanged}


def test_no_duration_of_a_rule_is_overlooked() -> None:
    """Whatever stands in brackets or after `offset` is read."""
    for expr in [rule.expr for rules in (*RECORDED.values(), *ALERTS.values()) for rule in rules]:
        assert len(spans(expr)) == expr.count("[") + expr.count(" offset ")


def test_samples_far_apart_are_two_firings() -> None:
    """One that goes on to the end is not over."""
    points = ((10.0, 1.0), (12.0, 1.0), (30.0, 1.0), (32.0, 1.0))
    labels = {"__name__": "ALERTS", "alertname": "A", "alertstate": "firing", "agent": "screen"}
    first, second = firings_of(labels, points, 4.0, 33.0)
    assert (first.alert, first.labels, first.since, first.until) == ("A", {"agent": "screen"}, 10.0, 12.0)
    assert (second.since, second.until) == (30.0, None)


def _without_spans(expr: str) -> str:
    return re.sub(r"\[\w+\]|offset \w+", "", expr)
