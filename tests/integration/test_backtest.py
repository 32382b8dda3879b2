"""Backtests of a generated week, against the same week counted by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import msgspec
import psycopg
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.ledger.ledger import Ledger
from pipeline.policy.backtest_result import Backtest
from pipeline.policy.backtest_run import Window, backtest, shadowed
from pipeline.policy.file import CALIBRATION, Sourced, read_calibration, sourced
from tests.generate_week import BEGIN, LENGTH, POLICY, Drawn, generate, week_policy
from tests.postgres import running_postgres
from tests.week_by_hand import STRENGTH, Flips, flips, latest, outcome

COUNT = 5_000
WEEK = Window(BEGIN, BEGIN + LENGTH)


@dataclass(frozen=True, slots=True)
class Week:
    """A ledger with a week in it, and what was drawn."""

    url: str
    drawn: list[Drawn]


def policy(*changes: tuple[str, str]) -> Sourced:
    """The week's policy with other words in it."""
    text = POLICY
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return sourced(text, "changed", read_calibration(CALIBRATION))


SWAP = ("swap: 0.80", "swap: 0.70")
SYNTHETIC = ("synthetic: 0.75", "synthetic: 0.85")
ALL_AS_SHADOWS = (
    "fail_modes:\n",
    re.sub(
        r"- name: (\S+)", r"- name: \1-copy\n    mode: shadow", POLICY.split("rules:\n")[1].split("fail_modes:\n")[0]
    )
    + "fail_modes:\n",
)


def written(url: str, count: int = COUNT) -> Week:
    """A generated week in an empty database."""
    ledger = Ledger(url)
    ledger.migrate()
    drawn = generate(ledger, count)
    ledger.close()
    return Week(url, drawn)


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Week:
    """In SQLite."""
    return written(f"sqlite:///{tmp_path_factory.mktemp('week') / 'week.sqlite'}")


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """An empty PostgreSQL."""
    with running_postgres() as server:
        yield server.url


def tried_on(
    week: Week, new: Sourced, old: Sourced | None = None, processes: int = 1, window: Window = WEEK
) -> Backtest:
    """The backtest."""
    return backtest(week.url, new, old, window, examples=10, processes=processes)


def agree(found: Backtest, by_hand: Flips) -> None:
    """Every count that both have is the same."""
    assert (found.flips, found.stricter, found.milder, found.review_only) == (
        by_hand.total,
        by_hand.stricter,
        by_hand.milder,
        by_hand.review,
    )
    assert {(t.before, t.after): t.uploads for t in found.actions} == dict(by_hand.actions)
    assert {split.name: split.flips for split in found.by_surface if split.flips} == dict(by_hand.surfaces)
    for load in found.queues:
        assert load.before == sum(n for (before, _), n in by_hand.queues.items() if before == load.queue)
        assert load.after == sum(n for (_, after), n in by_hand.queues.items() if after == load.queue)
    moves = {(b or "", a or ""): n for (b, a), n in by_hand.queues.items() if b != a}
    assert {(move.before, move.after): move.uploads for move in found.moves} == moves


def test_the_week_is_decided_as_counted_by_hand(week: Week) -> None:
    """What was recorded is what the plain comparisons say: the count by hand is a fair witness."""
    found = tried_on(week, policy())
    assert found.flips == 0
    by_hand = flips((one, outcome(one), outcome(one)) for one in latest(week.drawn))
    agree(found, by_hand)
    assert found.uploads == COUNT
    assert found.not_screened == sum(one.failed for one in latest(week.drawn))
    assert found.warnings == ()


@pytest.mark.parametrize("against", ["recorded", "file"])
def test_a_lower_threshold_flips_what_the_count_by_hand_flips(week: Week, against: str) -> None:
    """Flips, actions, surfaces and queues are exactly those of a brute-force count over the numbers drawn."""
    found = tried_on(week, policy(SWAP), policy() if against == "file" else None)
    by_hand = flips((one, outcome(one), outcome(one, swap=0.70)) for one in latest(week.drawn))
    assert by_hand.total > 10
    agree(found, by_hand)
    assert {cause.rule for cause in found.causes} == {"likely-swap", "likely-swap-in-ad"}
    assert all(cause.sign == "+" for cause in found.causes)


def test_a_higher_threshold_with_regional_rules(week: Week) -> None:
    """Uploads that change in one region alone count as flips, and are told apart by region."""
    found = tried_on(week, policy(SYNTHETIC))
    by_hand = flips((one, outcome(one), outcome(one, synthetic=0.85)) for one in latest(week.drawn))
    agree(found, by_hand)
    assert found.milder > 0
    regions = {split.name: split for split in found.by_region}

    def steps(one: Drawn, region: str) -> int:
        before, after = outcome(one), outcome(one, synthetic=0.85)
        then, now = (dict(each.regional).get(region, each.action) for each in (before, after))
        return STRENGTH.index(now) - STRENGTH.index(then)

    everywhere = [one for one in latest(week.drawn) if not one.regions]
    # An upload that names no region counts under a region only where something else changes there.
    apart = sum(steps(one, "DE") != steps(one, "") and steps(one, "DE") != 0 for one in everywhere)
    assert apart > 0
    for region, more in (("DE", apart), ("US", 0)):
        shown = [one for one in latest(week.drawn) if region in one.regions]
        assert regions[region].uploads == len(shown)
        assert regions[region].stricter + regions[region].milder == sum(steps(one, region) != 0 for one in shown) + more
    assert regions["everywhere"].uploads == len(everywhere)
    assert regions["everywhere"].milder == sum(steps(one, "") != 0 for one in everywhere)


def test_what_was_recorded_under_other_policies(tmp_path: Path) -> None:
    """Against the record, changes of earlier policies show and are named; against the file, only the file's own do."""
    url = f"sqlite:///{tmp_path / 'mixed.sqlite'}"
    ledger = Ledger(url)
    ledger.migrate()
    drawn = generate(ledger, 2_000, policies=(policy(SYNTHETIC).policy, week_policy()))
    ledger.close()
    mixed, half = Week(url, drawn), BEGIN + LENGTH / 2
    found = tried_on(mixed, policy(SWAP))
    by_hand = flips(
        (one, outcome(one, synthetic=0.85 if one.at < half else 0.75), outcome(one, swap=0.70)) for one in latest(drawn)
    )
    agree(found, by_hand)
    assert len(found.decided_by) == 2
    assert any("2 policies" in warning for warning in found.warnings)
    alone = tried_on(mixed, policy(SWAP), policy())
    agree(alone, flips((one, outcome(one), outcome(one, swap=0.70)) for one in latest(drawn)))
    assert alone.flips < found.flips


def scaled(one: Drawn) -> Drawn:
    """The upload as a calibration sees it that takes a tenth off every score."""
    swap, synthesis, nudity = (s if s is None else round(0.9 * s, 6) for s in (one.swap, one.synthesis, one.nudity))
    return replace(one, swap=swap, synthesis=synthesis, nudity=nudity or 0.0)


@pytest.mark.parametrize("against", ["recorded", "file"])
def test_another_calibration_is_applied_to_stored_scores(week: Week, against: str) -> None:
    """Probabilities are made anew from the raw scores on record, and what a backtest cannot redo is said."""
    new = policy(("points: [[0, 0], [1, 1]]", "points: [[0, 0], [1, 0.9]]"), ("top_share: 0.1", "top_share: 0.2"))
    found = tried_on(week, new, policy() if against == "file" else None)
    by_hand = flips((one, outcome(one), outcome(scaled(one))) for one in latest(week.drawn))
    assert by_hand.total > 10
    agree(found, by_hand)
    assert found.anew == COUNT - found.not_screened
    assert any("made anew" in warning for warning in found.warnings)
    assert any("pools scores otherwise" in warning for warning in found.warnings) == (against == "file")


def test_every_round_or_the_latest(week: Week) -> None:
    """By default an upload counts once, as it was decided last; on request every round counts."""
    assert len(week.drawn) > COUNT
    assert tried_on(week, policy()).uploads == COUNT
    assert tried_on(week, policy(), window=Window(BEGIN, BEGIN + LENGTH, every_round=True)).uploads == len(week.drawn)


def test_a_part_of_the_week(week: Week) -> None:
    """Only what was decided in the window counts; of rounds that come later nothing is known in it."""
    end = BEGIN + timedelta(days=3)
    found = tried_on(week, policy(SWAP), window=Window(BEGIN + timedelta(days=1), end))
    inside = [one for one in week.drawn if BEGIN + timedelta(days=1) <= one.at < end]
    agree(found, flips((one, outcome(one), outcome(one, swap=0.70)) for one in inside))


def test_the_result_does_not_depend_on_who_shares_the_work(week: Week) -> None:
    """One process and two give the same result to the last byte."""
    one, two = (tried_on(week, policy(SWAP, SYNTHETIC), processes=count) for count in (1, 2))
    assert msgspec.json.encode(one) == msgspec.json.encode(two)


def test_the_database_makes_no_difference(week: Week, postgres: str) -> None:
    """PostgreSQL and SQLite give the same result to the last byte."""
    name = f"week_{uuid4().hex}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    there = written(postgres.replace("/postgres?", f"/{name}?"))
    assert there.drawn == week.drawn
    assert msgspec.json.encode(tried_on(there, policy(SWAP))) == msgspec.json.encode(tried_on(week, policy(SWAP)))


def test_shadow_copies_of_all_rules_change_nothing(week: Week) -> None:
    """Every rule once more, in shadow: no action, task, deadline or label of the week changes; only the trace does."""
    found = tried_on(week, policy(ALL_AS_SHADOWS))
    assert (found.flips, found.only_deadlines_or_labels, found.labels, found.hours) == (0, 0, 0, 0)
    copied = {each.rule: each.after for each in found.rules if each.mode == "shadow"}
    live: dict[str, int] = {}
    for each in found.rules:
        if each.mode in ("live", "exempted") and f"{each.rule}-copy" in copied:
            live[f"{each.rule}-copy"] = live.get(f"{each.rule}-copy", 0) + each.after
    assert copied == live
    # Beside the rule that it copies, a shadow would have made nothing stricter.
    assert all(rule.stricter == 0 and not rule.tasks for rule in found.shadow)


def test_a_rule_put_in_shadow_tells_what_it_would_have_done(week: Week) -> None:
    """What going live again would change is what taking it out changed."""
    rule = "  - name: likely-swap-in-ad\n"
    found = tried_on(week, policy((rule, f"{rule}    mode: shadow\n")))
    (shadow,) = found.shadow
    assert shadow.rule == "likely-swap-in-ad"
    assert shadow.stricter == found.milder > 0
    assert {(t.before, t.after): t.uploads for t in shadow.actions} == {
        (t.after, t.before): t.uploads for t in found.actions if t.before != t.after
    }


def test_shadow_report_from_recorded_traces(tmp_path: Path) -> None:
    """The report on what was recorded says what the backtest of the same policy says of its shadow rules."""
    url = f"sqlite:///{tmp_path / 'shadow.sqlite'}"
    tried = policy(("  - name: likely-swap-in-ad\n", "  - name: likely-swap-in-ad\n    mode: shadow\n"))
    ledger = Ledger(url)
    ledger.migrate()
    drawn = generate(ledger, 2_000, policies=(tried.policy,))
    ledger.close()
    report = shadowed(url, tried.policy, WEEK, processes=1)
    asked = [
        "policy",
        "shadow",
        "--since",
        "7d",
        "--until",
        WEEK.until.date().isoformat(),
        "--processes",
        "1",
        "--json",
    ]
    done = CliRunner().invoke(app, asked, env={"UNMASK_DATABASE_URL": url})
    assert [rule["rule"] for rule in msgspec.json.decode(done.stdout)["rules"]] == ["likely-swap-in-ad"]
    table = CliRunner().invoke(app, asked[:-1], env={"UNMASK_DATABASE_URL": url, "COLUMNS": "160"})
    assert "likely-swap-in-ad" in table.stdout
    assert report.rules == tried_on(Week(url, drawn), tried).shadow
    assert report.rules[0].hits == sum(
        not one.failed and one.surface == "ad" and (one.swap or 0) >= 0.80 for one in latest(drawn)
    )


def test_people_and_policy(week: Week) -> None:
    """Precision and recall count what was drawn: a person answered, and found something or not."""
    found = tried_on(week, policy(SWAP))
    asks = {each.side: each for each in found.quality if each.what == "asks a person"}
    assert asks["before"].precision.of == found.reviewed
    assert asks["before"].recall.share == 1.0  # nobody else was asked, so nobody else can have answered
    restricts = {each.side: each for each in found.quality if each.what == "restricts"}
    assert restricts["after"].recall.hits >= restricts["before"].recall.hits
    assert all(load.handling.reviews >= 30 for load in found.queues if load.handling.source == "measured")


def command(week: Week, tmp_path: Path, *arguments: str, new: Sourced | None = None) -> tuple[int, str]:
    """`unmask policy backtest`, as a process of its own would run it."""
    path = tmp_path / "new.yaml"
    path.write_text((new or policy(SWAP)).text)
    until = (BEGIN + LENGTH).date().isoformat()
    chosen = ["policy", "backtest", str(path), "--since", "7d", "--until", until, "--processes", "1", *arguments]
    done = CliRunner().invoke(app, chosen, env={"UNMASK_DATABASE_URL": week.url, "COLUMNS": "200"})
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def test_the_command_gates_a_build(week: Week, tmp_path: Path) -> None:
    """Status 1 and the bound by name where one is exceeded; 0 where all are kept."""
    status, said = command(week, tmp_path, "--max-flips", "0")
    assert status == 1
    assert "--max-flips" in said
    status, said = command(week, tmp_path, "--max-added-hours", "0")
    assert status == 1
    assert "--max-added-hours" in said
    status, said = command(week, tmp_path, "--max-flips", "5%", "--max-added-hours", "40")
    assert status == 0
    assert "exceeded" not in said


def test_the_command_writes_json_and_a_page(week: Week, tmp_path: Path) -> None:
    """Machines get the whole result; the page says the same and loads nothing."""
    page = tmp_path / "page.html"
    status, said = command(week, tmp_path, "--json", "--html", str(page))
    assert status == 0
    found = msgspec.json.decode(said[: said.rindex("}") + 1].encode(), type=Backtest)
    assert found.flips == tried_on(week, policy(SWAP)).flips > 0
    assert len(found.examples) == 20
    text = page.read_text()
    assert f"{found.flips} of {found.uploads} uploads" in text
    assert not re.search(r"""(src|href)\s*=|url\(|<script|@import""", text)
