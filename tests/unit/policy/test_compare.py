"""What two decisions on one upload differ in, and why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pipeline.events.values import Action, Decision, RegionalDecision, ReviewNeed, RuleHit, RuleMode
from pipeline.policy.compare import EVERYWHERE, Cause, Place, Turn, compare, harm_of
from tests.strategies import decisions

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def hit(rule: str, action: Action = Action.LIMIT, queue: str | None = None, exempted_by: str | None = None) -> RuleHit:
    """A live rule that fired."""
    return RuleHit(
        rule=rule, harm=f"harm-of-{rule}", action=action, mode=RuleMode.LIVE, because="", queue=queue,
        exempted_by=exempted_by,
    )  # fmt: skip


def need(queue: str, hours: int = 4, clock: str | None = None, priority: int = 50) -> ReviewNeed:
    """A task that is due so many hours after noon."""
    return ReviewNeed(queue=queue, harm="fraud", priority=priority, deadline=NOON + timedelta(hours=hours), clock=clock)


def said(action: Action = Action.ALLOW, review: ReviewNeed | None = None, *trace: RuleHit, **more: object) -> Decision:
    """A decision."""
    return Decision(action=action, reasons=(), policy_version="p", review=review, trace=trace, **more)  # type: ignore[arg-type]


def regional(action: Action, *regions: str) -> RegionalDecision:
    """What applies there."""
    return RegionalDecision(regions=regions, action=action, reasons=())


@given(decisions)
def test_a_decision_does_not_differ_from_itself(decision: Decision) -> None:
    """No change, whatever the decision."""
    assert compare(decision, decision) is None


@given(decisions, decisions)
def test_both_ways_are_opposite(one: Decision, other: Decision) -> None:
    """What is stricter one way is milder the other; places and queues are swapped."""
    there, back = compare(one, other), compare(other, one)
    assert (there is None) == (back is None)
    if there and back:
        opposite = {Turn.STRICTER: Turn.MILDER, Turn.MILDER: Turn.STRICTER}
        assert back.turn == (opposite.get(there.turn, there.turn) if there.turn else None)
        assert back.queues == there.queues[::-1]
        assert {(p.where, p.after, p.before) for p in back.places} == set(there.places)


@given(decisions, st.text(max_size=5))
def test_words_alone_are_no_difference(decision: Decision, words: str) -> None:
    """Reasons and the policy's version may differ: nobody is treated otherwise."""
    import msgspec

    assert compare(decision, msgspec.structs.replace(decision, reasons=(words,), policy_version=words)) is None


def test_a_stricter_action_names_the_rule_that_wants_it() -> None:
    """Of two rules that begin to act, the one with the stronger action is the cause."""
    after = said(Action.HOLD, None, hit("holds", Action.HOLD), hit("labels", Action.LABEL))
    change = compare(said(), after)
    assert change is not None
    assert (change.turn, change.steps) == (Turn.STRICTER, 3)
    assert change.places == (Place(EVERYWHERE, Action.ALLOW, Action.HOLD),)
    assert change.causes == (Cause("+", "holds"),)


def test_an_exemption_is_named() -> None:
    """A rule that no longer acts because of an exemption says which."""
    before = said(Action.LIMIT, None, hit("limits"))
    change = compare(before, said(Action.ALLOW, None, hit("limits", exempted_by="satire")))
    assert change is not None
    assert change.turn is Turn.MILDER
    assert [str(cause) for cause in change.causes] == ["- limits (left alone: satire)"]


def test_a_rule_that_acts_otherwise() -> None:
    """The same rule with another action is marked so."""
    change = compare(
        said(Action.LIMIT, None, hit("r")), said(Action.HOLD, None, hit("r", Action.HOLD)),
    )  # fmt: skip
    assert change is not None
    assert change.causes == (Cause("~", "r"),)


def test_tasks_come_go_and_move() -> None:
    """Without a change of action a flip is one of review; the cause is who asks for the queue."""
    asked = said(Action.ALLOW, need("faces"), hit("asks", Action.ALLOW, "faces"))
    for before, after, sign in ((said(), asked, "+"), (asked, said(), "-")):
        change = compare(before, after)
        assert change is not None
        assert change.turn is Turn.REVIEW
        assert change.causes == (Cause(sign, "asks"),)
    moved = compare(asked, said(Action.ALLOW, need("triage"), hit("other", Action.ALLOW, "triage")))
    assert moved is not None
    assert moved.queues == ("faces", "triage")
    assert set(moved.causes) == {Cause("+", "other"), Cause("-", "asks")}


def test_a_deadline_alone_is_no_flip() -> None:
    """The same task with another deadline, clock or priority is told apart, and treats nobody otherwise."""
    change = compare(
        said(review=need("faces", 48)), said(review=need("faces", 2, clock="law", priority=60)),
    )  # fmt: skip
    assert change is not None
    assert change.turn is None
    assert change.later == timedelta(hours=-46)
    assert change.priority == 10
    assert change.clocks == (None, "law")


def test_a_region_alone_is_a_flip() -> None:
    """The strongest change in any place gives the direction, with what applies elsewhere unchanged."""
    before = said(Action.LABEL, regional=(regional(Action.LIMIT, "DE"),))
    after = said(Action.LABEL, regional=(regional(Action.HOLD, "DE", "FR"),))
    change = compare(before, after)
    assert change is not None
    assert change.turn is Turn.STRICTER
    assert set(change.places) == {Place("DE", Action.LIMIT, Action.HOLD), Place("FR", Action.LABEL, Action.HOLD)}
    assert change.regions == {"DE", "FR"}


def test_the_harm_is_that_of_the_stronger_outcome() -> None:
    """What is lifted counts under the harm that it was imposed for, as far as the record says."""
    strong, weak = said(Action.HOLD, harm="fraud"), said(Action.LABEL, harm="undisclosed-synthesis")
    assert harm_of(strong, weak) == harm_of(weak, strong) == "fraud"
    assert harm_of(said(Action.HOLD, None, hit("old", Action.HOLD)), weak) == "harm-of-old"
    assert harm_of(said(), said()) == "none"
