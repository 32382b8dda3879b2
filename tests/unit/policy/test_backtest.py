"""Counting what differs: parts add up, examples are drawn, bounds are kept."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import msgspec
import pytest

from pipeline.errors import ConfigError
from pipeline.events.codec import encode
from pipeline.events.values import Action
from pipeline.ledger.recorded import LeanDecided, Recorded, Verdict
from pipeline.policy.backtest import Question, Tally, chosen, tally
from pipeline.policy.backtest_command import between
from pipeline.policy.backtest_page import page
from pipeline.policy.backtest_result import Backtest, exceeded, flips_allowed, summed
from pipeline.policy.backtest_tables import headline
from pipeline.policy.file import CALIBRATION, parse, read_calibration
from pipeline.policy.rules import Policy
from tests.generate_week import BEGIN, LENGTH, POLICY, draw, recorded, week_policy

NOON = datetime(2026, 3, 9, 12, tzinfo=UTC)


def policy(*changes: tuple[str, str]) -> Policy:
    """The week's policy with other words in it."""
    text = POLICY
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return parse(text, "test", read_calibration(CALIBRATION))


LOWER = ("swap: 0.80", "swap: 0.55")


def records(count: int = 400) -> list[Recorded]:
    """Uploads as the ledger gives them back, every third with a person's answer where one was asked."""
    by = week_policy()
    found = []
    for i, one in enumerate(draw(count, seed=7)):
        decided = msgspec.json.decode(encode(recorded(one, by)), type=LeanDecided)
        asked = decided.decision.review is not None and i % 3 == 0
        answer = Verdict(Action.REMOVE if one.manipulated else Action.ALLOW) if asked else None
        found.append(Recorded(decided, answer))
    return found


def counted(parts: Sequence[Sequence[Recorded]], question: Question) -> Tally:
    """The parts counted one by one and added up."""
    whole = Tally()
    for part in parts:
        whole.add(tally(part, question), question.examples)
    return whole


def result(found: Tally, new: Policy, old: Policy | None = None) -> Backtest:
    """What is told of it."""
    return summed(found, new, old, BEGIN, BEGIN + LENGTH, {}, (), ())


def test_parts_add_up_whatever_the_parts() -> None:
    """Cut anywhere, the counts and the examples drawn are the same."""
    every, question = records(), Question(policy(LOWER), None, 3)
    whole = tally(every, question)
    rng = random.Random(0)
    for _ in range(3):
        cuts = [0, *sorted(rng.sample(range(1, len(every)), 4)), len(every)]
        parts = counted([every[a:b] for a, b in pairwise(cuts)], question)
        assert parts == whole


def test_the_other_side_may_be_a_file_or_the_record() -> None:
    """A file that says what was in force then gives the same flips as the record."""
    every, new = records(), policy(LOWER)
    by_record = result(tally(every, Question(new, None, 0)), new)
    by_file = result(tally(every, Question(new, policy(), 0)), new, policy())
    assert by_record.flips == by_file.flips > 0
    assert by_record.actions == by_file.actions
    assert by_record.against == "recorded"
    assert by_file.against == policy().version


def test_a_record_that_does_not_come_out_again_is_counted() -> None:
    """Where the same policy decides otherwise today, the code has changed, and the count says so."""
    (first, *rest) = records(60)
    changed = msgspec.structs.replace(first.decided.decision, action=Action.REMOVE)
    altered = Recorded(msgspec.structs.replace(first.decided, decision=changed), first.verdict)
    found = tally([altered, *rest], Question(week_policy(), None, 0))
    assert (found.totals["not reproduced"], found.totals["comparable"]) == (1, len(rest) + 1)


def test_examples_are_of_many_kinds() -> None:
    """The gravest first, one of each kind before a second one, never more than asked for, the same each time."""
    new = policy(LOWER)
    found = tally(records(2_000), Question(new, None, 5))
    severity = {name: harm.severity for name, harm in new.harms.items()}
    picked = chosen(found.examples, severity, 4)
    assert len(picked) == 4
    assert picked == chosen(dict(reversed(found.examples.items())), severity, 4)
    kinds = [next(kind for kind, some in found.examples.items() if each in some) for each in picked]
    assert len(set(kinds)) == min(4, len(found.examples))
    assert all(len(some) <= 5 for some in found.examples.values())
    assert chosen(found.examples, severity, 0) == []


def test_bounds_are_named_when_they_are_exceeded() -> None:
    """A sentence each, with the option's name; nothing when they are kept."""
    new = policy(LOWER)
    found = result(tally(records(), Question(new, None, 0)), new)
    assert exceeded(found, None, None) == ()
    assert exceeded(found, found.hours, str(found.flips)) == ()
    assert "--max-flips" in exceeded(found, None, "0%")[0]
    assert "--max-added-hours" in exceeded(found, found.hours - 0.1, None)[0]


@pytest.mark.parametrize("bound", ["many", "-1", "nan", "inf", "%", ""])
def test_a_bound_that_is_none(bound: str) -> None:
    """Refused, not taken for something else."""
    with pytest.raises(ValueError, match=r".*"):
        flips_allowed(bound, 100)


def test_flips_as_number_and_share() -> None:
    """Both are understood."""
    assert flips_allowed("12", 1000) == 12
    assert flips_allowed("1.5%", 1000) == pytest.approx(15)


def test_moments_and_lengths() -> None:
    """A length counts from the end; a date is its beginning, UTC; what is neither is refused with the option's name."""
    assert between("7d", None, NOON) == (NOON - timedelta(days=7), NOON)
    assert between("12h", "2026-03-09", NOON)[1] == datetime(2026, 3, 9, tzinfo=UTC)
    assert between("2026-03-02T10:00+02:00", None, NOON)[0] == datetime(2026, 3, 2, 8, tzinfo=UTC)
    for since, until, option in (
        ("yesterday", None, "--since"),
        ("7d", "soon", "--until"),
        ("2027-01-01", None, "--since"),
    ):
        with pytest.raises(ConfigError, match=option):
            between(since, until, NOON)


def test_nothing_recorded_is_said() -> None:
    """An empty time makes a page and a sentence, no division by zero."""
    found = result(Tally(), week_policy())
    assert "Nothing was recorded" in headline(found)
    assert "Nothing was recorded" in page(found)
    assert exceeded(found, None, None) == ()
    assert "Nothing was recorded" in exceeded(found, 10.0, None)[0]  # a gate that saw nothing must not open


def test_the_page_escapes_names() -> None:
    """Names come from a file and from uploads: they are text on the page, never markup."""
    new = policy(LOWER)
    found = tally(records(), Question(new, None, 0))
    found.turns["harm", "<b>x", next(iter(found.turns))[2]] += 1
    found.versions["<script>"] += 1
    text = page(result(found, new))
    assert "<b>x" not in text
    assert "<script" not in text
    assert "&lt;b&gt;x" in text
