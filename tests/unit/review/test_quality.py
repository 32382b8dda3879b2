"""How good decisions are, in numbers with their intervals."""

from __future__ import annotations

from msgspec.structs import replace

from pipeline.events import MediaDecided
from pipeline.events.values import Action, Family, RuleHit, RuleMode
from pipeline.review.port import GoldenLook, Looked
from pipeline.review.quality import quality, share
from pipeline.route import route
from tests.records import decided, reviewed


def asked(name: str, *rules: str, shadow: str = "") -> MediaDecided:
    """A decision that these rules led to."""
    made = decided(name, review="faces")

    def hit(rule: str, mode: RuleMode) -> RuleHit:
        family = Family.FACE_SWAP if rule == "swap" else None
        return RuleHit(rule=rule, harm="fraud", action=Action.LIMIT, mode=mode, because="Why.", family=family)

    trace = tuple(hit(rule, RuleMode.LIVE) for rule in rules)
    trace += (hit(shadow, RuleMode.SHADOW),) if shadow else ()
    return replace(made, decision=replace(made.decision, trace=trace))


def test_rules_families_and_queues() -> None:
    """Precision of what each asked about; recall among what people restricted; shadow rules are not in it."""
    rows = []
    for name, rules, action, confirmed, denied in (
        ("m1", ("swap",), Action.REMOVE, (Family.FACE_SWAP,), ()),
        ("m2", ("swap", "ad"), Action.ALLOW, (), (Family.FACE_SWAP,)),
        ("m3", ("ad",), Action.LIMIT, (Family.FACE_SWAP,), ()),
        ("m4", ("swap",), Action.LABEL, (), ()),
    ):
        made = asked(name, *rules, shadow="new")
        task = route(made).task
        assert task is not None
        rows.append((made, replace(reviewed(task, action), confirmed=confirmed, denied=denied), "faces"))
    found = quality(rows, (), ())
    rules = {
        line.name: (line.precision.hits, line.precision.count, line.recall.hits, line.recall.count)
        for line in found.rules
    }
    assert rules == {"swap": (2, 3, 2, 3), "ad": (1, 2, 1, 3)}
    (family,) = found.families
    assert (family.precision.hits, family.precision.count) == (1, 2)
    assert (family.recall.hits, family.recall.count) == (1, 2)
    (queue,) = found.queues
    assert (queue.precision.hits, queue.precision.count, found.reviewed) == (3, 4, 4)


def test_people() -> None:
    """Golden tasks, changes of mind and appeals."""
    said = [("remove", "limit"), ("allow", "limit"), ("limit", "allow"), ("allow", "allow")]
    golden = [GoldenLook("faces", "ann", Action(right), Action(answer)) for right, answer in said]
    blind = [Looked("faces", Action.ALLOW, Action.LIMIT), Looked("faces", Action.LIMIT, Action.LIMIT)]
    found = quality((), golden, blind, (1, 4))
    (line,) = found.golden
    assert (line.precision.hits, line.precision.count, line.recall.hits, line.recall.count) == (1, 2, 1, 2)
    assert (found.changed.hits, found.changed.count) == (1, 2)
    assert (found.overturned.hits, found.overturned.count) == (1, 4)


def test_intervals() -> None:
    """Wilson's: 8 of 10 lies between 0.49 and 0.94; of nothing there is no value."""
    found = share(8, 10)
    assert found.low is not None
    assert found.high is not None
    assert (round(found.low, 3), round(found.high, 3)) == (0.490, 0.943)
    assert share(0, 0).value is None
    assert share(0, 5).low == 0.0
    assert share(5, 5).high == 1.0
