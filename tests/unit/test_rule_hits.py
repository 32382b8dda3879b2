"""What is counted of the rules that fire."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from pipeline.app import _count, metrics_for
from pipeline.events import MediaDecided
from pipeline.events.values import Action, RuleHit, RuleMode
from pipeline.metrics import HIT_MODES
from pipeline.policy.file import load
from tests.records import decided, routed


def hit(rule: str, mode: RuleMode = RuleMode.LIVE, exempted_by: str | None = None) -> RuleHit:
    """A rule that fired."""
    return RuleHit(rule=rule, harm="fraud", action=Action.LIMIT, mode=mode, because="", exempted_by=exempted_by)


def traced(*hits: RuleHit) -> MediaDecided:
    """A decision with this trace."""
    event = decided("m1")
    return replace(event, decision=replace(event.decision, trace=hits))


@pytest.mark.parametrize(
    ("fired", "effect"),
    [
        (hit("r"), "live"),
        (hit("r", RuleMode.SHADOW), "shadow"),
        (hit("r", exempted_by="satire"), "exempted"),
        (hit("r", RuleMode.SHADOW, "satire"), "shadow"),
    ],
)
def test_hits_are_counted_by_what_they_do(fired: RuleHit, effect: str) -> None:
    """A hit counts as live, shadow or exempted, once an upload however many families it speaks of."""
    registry = CollectorRegistry()
    metrics = metrics_for(load(None), registry)
    event = traced(fired, fired)
    _count(metrics, event, routed(event), True)  # type: ignore[arg-type]
    found = {
        mode: registry.get_sample_value("unmask_rule_hits_total", {"rule": "r", "mode": mode}) for mode in HIT_MODES
    }
    assert found[effect] == 1
    assert sum(value or 0 for value in found.values()) == 1


def test_repeats_count_no_hits() -> None:
    """A record that comes again fires nothing."""
    registry = CollectorRegistry()
    event = traced(hit("r"))
    _count(metrics_for(load(None), registry), event, routed(event), False)  # type: ignore[arg-type]
    assert registry.get_sample_value("unmask_rule_hits_total", {"rule": "r", "mode": "live"}) is None


def test_every_rule_of_the_policy_starts_at_zero() -> None:
    """An alert can tell a rule that never fired from one that nobody has; a new policy's rules join the old ones."""
    registry = CollectorRegistry()
    policy = load(None)
    metrics = metrics_for(policy, registry)
    metrics.policy("next@1", "fusion@1", policy.queues, 0.0, ("a-new-rule",))
    for rule in (*policy.names, "a-new-rule"):
        assert registry.get_sample_value("unmask_rule_hits_total", {"rule": rule, "mode": "shadow"}) == 0.0
