"""Thresholds that keep a precision and fit the hours: on samples of which the right answer is known."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest

from pipeline.errors import ConfigError
from pipeline.events import MediaDecided, MediaUploaded, ReviewDecided, Versions, ids
from pipeline.events.values import Action, Family, Signal, SignalStatus
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.recorded import Verdict
from pipeline.policy.case import Case
from pipeline.policy.decide import decide
from pipeline.policy.file import DEFAULT, Sourced, read, sourced
from pipeline.policy.threshold_data import from_scores, truth_of
from pipeline.policy.threshold_page import changed, diff, html, svg
from pipeline.policy.threshold_use import uses
from pipeline.policy.thresholds import (
    GRID,
    Evaluated,
    Item,
    Proposals,
    Reviewed,
    Sample,
    Wish,
    lowest_that_keeps,
    propose,
)
from pipeline.policy.workload import Handling, Source, cost
from pipeline.route import route

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)

POLICY = """\
name: small
harms: {impersonation: {what: a person is made to do what they did not, severity: 3}}
queues:
  faces: {what: possible swaps, handling: 6m}
  sound: {what: possible lip-sync, handling: 3m}
  rest: {what: what could not be screened}

thresholds:
  swap_possible: 0.60   # asks
  swap_likely: 0.70     # restricts
  lips: 0.50
  unused: 0.5
  exempting: 0.30
fusion:
  evidence: 0
  default: {top_share: 1.0, min_coverage: 0.0}
define: {swap: face_swap.probability >= threshold.swap_likely}
exemptions: {camera: {when: provenance.probability >= threshold.exempting, reason: a camera took it}}
rules:
  - {name: likely, harm: impersonation, reason: Likely, when: is.swap, unless: [camera], action: limit,
     review: {queue: faces, priority: 60, deadline: 4h}}
  - {name: possible, harm: impersonation, reason: Possible, when: face_swap.probability >= threshold.swap_possible,
     action: allow, review: {queue: faces, priority: 20, deadline: 1d}}
  - {name: lips, harm: impersonation, reason: Lips, when: lip_sync.probability >= threshold.lips,
     action: allow, review: {queue: sound, priority: 10, deadline: 1d}}
fail_modes:
  - {name: unreadable, harm: impersonation, reason: Unread, on: unjudged, action: hold,
     review: {queue: rest, priority: 5, deadline: 1d}}
"""


@pytest.fixture(scope="module")
def small() -> Sourced:
    return sourced(POLICY, "small.yaml")


def case(number: int, swap: float, lips: float = 0.0) -> Case:
    """An upload with these probabilities."""
    upload = MediaUploaded(media_id=f"m{number}", uri="s3://uploads/m", uploaded_at=BEGIN)
    pairs = ((Family.FACE_SWAP, swap), (Family.LIP_SYNC, lips))
    signals = tuple(Signal(family=f, status=SignalStatus.SCORED, probability=round(p, 4)) for f, p in pairs)
    return Case(upload=upload, now=BEGIN, signals=signals)


def drawn(count: int, seed: int, judged: Callable[[float], bool] = lambda _: True) -> Sample:
    """Uniform probabilities; where they say p a share p is manipulated: above t the precision is (1 + t) / 2."""
    rng = np.random.default_rng(seed)
    items = []
    for number in range(count):
        swap, lips = rng.random(2)
        truth = {Family.FACE_SWAP: bool(rng.random() < swap)} if judged(swap) else {}
        items.append(Item(case(number, swap, lips), number % 28, f"c{number}", truth))
    return Sample(items, "drawn")


def proposed(policy: Sourced, sample: Sample, **wish: object) -> Proposals:
    told = {"per_day": 1000.0, "precision": 0.9, **wish}
    return propose(policy.policy, sample, Wish(**told), lambda queue: cost(queue, {}, policy.policy))  # type: ignore[arg-type]


# --- statistics ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "review", "furthest"),
    [
        (0.9, np.ones_like, 0.90),  # right: .80
        (0.8, lambda p: np.where(p > 0.7, 1.0, 0.3), 0.73),  # right: .60, and little is known below .70
        (0.8, lambda p: np.where(p > 0.7, 1.0, 0.0), 0.75),  # nothing is known below .70
    ],
)
def test_proposals_keep_the_precision_on_fresh_uploads(
    wanted: float, review: Callable[[np.ndarray], np.ndarray], furthest: float
) -> None:
    """In at least 95 of 100 samples, wherever people looked; and not at the price of asking for far too much."""
    kept, values = 0, []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        scores = np.sort(rng.uniform(0.05, 1, 4000))[::-1]
        truth = np.where(rng.random(4000) < review(scores), rng.random(4000) < scores, np.nan)
        value = lowest_that_keeps(Reviewed(scores, truth), wanted, GRID)
        kept += value is None or (1 + value) / 2 >= wanted
        values += [] if value is None else [value]
    assert kept >= 190
    assert len(values) >= 190
    assert float(np.median(values)) <= furthest


def test_nothing_is_claimed_where_nobody_looked() -> None:
    """All that was judged is right, yet what was hardly judged is not vouched for."""
    scores = np.linspace(1, 0.1, 3000)
    truth = np.where(scores >= 0.6, 1.0, np.nan)
    truth[-1500::25] = 1.0  # one in 25 below
    known = Reviewed(scores, truth)
    assert known.known_from >= 0.58
    value = lowest_that_keeps(known, 0.9, GRID)
    assert value is not None
    assert value >= 0.6
    assert known.interval(0.4) is None


def test_an_evaluation_set_answers_for_the_share_that_is_given() -> None:
    """With rare manipulation few false alarms weigh much: the same files ask for a higher threshold, then for none."""
    rng = np.random.default_rng(0)
    fake = rng.beta(8, 2, 500)
    real = rng.beta(2, 8, 4000)
    scores = np.concatenate([fake, real])
    truth = np.concatenate([np.ones(500), np.zeros(4000)])
    order = np.argsort(-scores)
    found = [
        lowest_that_keeps(Evaluated(scores[order], truth[order], 500, 4000, share), 0.9, GRID)
        for share in (0.5, 0.05, 0.001)
    ]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0] < found[1]
    assert found[2] is None


# --- the policy ------------------------------------------------------------------------------------------------------


def test_only_lower_limits_of_one_family_are_moved(small: Sourced) -> None:
    """Through definitions too; what exempts, or what nothing uses, is left alone."""
    found = {use.name: use for use in uses(small.policy)}
    assert [rule.name for rule in found["swap_likely"].rules] == ["likely"]
    assert found["swap_likely"].family is Family.FACE_SWAP
    assert "exemption camera" in found["exempting"].otherwise
    assert found["unused"].otherwise
    shipped = {use.name: use for use in uses(read(None).policy)}
    assert not shipped["swap_likely"].otherwise
    assert shipped["contradiction"].otherwise


def test_what_restricts_moves_to_where_it_is_right_often_enough(small: Sourced) -> None:
    """Everything was judged: the threshold goes up to what is right, .80, or little above; what only asks stays."""
    found = proposed(small, drawn(4000, 1))
    by_name = {each.name: each for each in found.proposals}
    likely = by_name["swap_likely"]
    assert 0.80 <= likely.proposed <= 0.92
    assert likely.precision is not None
    assert likely.precision.low >= 0.88
    assert likely.precision_now is not None
    assert likely.precision_now.low <= 0.85 <= likely.precision_now.high
    assert likely.found is not None
    assert likely.found_now is not None
    assert likely.found.value < likely.found_now.value
    assert by_name["swap_possible"].proposed == 0.6
    assert by_name["swap_possible"].does == "asks"
    assert found.changes == {"swap_likely": likely.proposed}
    assert found.holds


def test_hours_are_those_of_the_tasks(small: Sourced) -> None:
    """1000 uploads a day, uniform: 40 % in `faces` at 6 minutes, half of the others in `sound` at 3."""
    found = proposed(small, drawn(2000, 2))
    hours = {row.queue: row.now for row in found.queues}
    for queue, right in (("faces", 1000 * 0.4 * 0.1), ("sound", 1000 * 0.6 * 0.5 * 0.05), ("rest", 0.0)):
        assert hours[queue].low <= right <= hours[queue].high
    assert hours[""].value == pytest.approx(sum(hours[queue].value for queue in ("faces", "sound", "rest")))


def test_capacity_holds_on_fresh_uploads_and_the_least_urgent_gives_way(small: Sourced) -> None:
    """First the rule of the lowest priority; what restricts keeps its precision."""
    found = proposed(small, drawn(2000, 3), hours=50.0)
    by_name = {each.name: each for each in found.proposals}
    assert found.holds
    assert 0.5 < by_name["lips"].proposed < 1
    assert by_name["swap_possible"].proposed == 0.6
    tight = proposed(small, drawn(2000, 3), hours=30.0)
    assert tight.holds
    by_name = {each.name: each for each in tight.proposals}
    assert by_name["lips"].proposed > 0.9
    assert by_name["swap_possible"].proposed > 0.6
    assert by_name["swap_likely"].proposed >= by_name["swap_possible"].proposed


def test_proposals_fit_the_hours_of_other_uploads(small: Sourced) -> None:
    """What the new thresholds cost is known: (1 - possible) in `faces`, and of the others (1 - lips) in `sound`."""
    kept = 0
    for seed in range(8):
        found = proposed(small, drawn(600, 100 + seed), hours=35.0, precision=0.7)
        assert found.holds
        values = {each.name: each.proposed for each in found.proposals}
        asked = min(values["swap_possible"], values["swap_likely"])
        kept += 100 * (1 - asked) + 50 * asked * (1 - values["lips"]) <= 35.0
    assert kept >= 7


def test_a_limit_of_one_queue_moves_what_fills_it(small: Sourced) -> None:
    """Other queues are left alone."""
    found = proposed(small, drawn(2000, 4), queues={"faces": 20.0})
    assert {"swap_possible"} <= set(found.changes) <= {"swap_possible", "swap_likely"}
    row = next(row for row in found.queues if row.queue == "faces")
    assert row.fits
    assert row.proposed.high <= 20.0
    with pytest.raises(ConfigError, match="no queue nobody"):
        proposed(small, drawn(300, 4), queues={"nobody": 1.0})


def test_what_thresholds_cannot_reach_is_said(small: Sourced) -> None:
    """A precision that nothing has; hours that not even the highest values leave."""
    never = proposed(small, drawn(1000, 5), precision=0.999, hours=500.0)
    assert not never.holds
    assert never.changes == {}
    assert any("judged" in each.why for each in never.proposals)
    full = proposed(small, drawn(1000, 5), hours=0.01)
    assert not full.holds
    assert any("do not fit" in note for note in full.notes)
    assert all(each.proposed <= 0.9 for each in full.proposals)  # nothing is given up for what cannot be reached


def test_too_few_are_refused_with_a_sentence(small: Sourced) -> None:
    """Few uploads; and many of which nobody judged any."""
    with pytest.raises(ConfigError, match="199 uploads are too few"):
        proposed(small, drawn(199, 6))
    with pytest.raises(ConfigError, match="too few were judged: 0 of"):
        proposed(small, drawn(500, 6, judged=lambda _: False))


def test_the_diff_changes_numbers_alone(small: Sourced) -> None:
    """Comments, order and spelling stay; the file that results has the values; an alias is refused."""
    text = changed(small, {"swap_likely": 0.85, "lips": 0.5})
    assert text == POLICY.replace("swap_likely: 0.70     # restricts", "swap_likely: 0.85     # restricts").replace(
        "lips: 0.50\n", "lips: 0.50\n"
    )
    assert sourced(text, "new").policy.file.thresholds["swap_likely"] == 0.85
    lines = diff(small, {"swap_likely": 0.85}).splitlines()
    assert [line for line in lines if line[:1] in "+-"][2:] == [
        "-  swap_likely: 0.70     # restricts",
        "+  swap_likely: 0.85     # restricts",
    ]
    assert diff(small, {}) == ""
    default = read(None)
    assert changed(default, dict(default.policy.file.thresholds)) == DEFAULT.read_text(encoding="utf-8").replace(
        "\r\n", "\n"
    )


def test_the_page_shows_every_threshold_that_can_move(small: Sourced) -> None:
    """Inline, with nothing to load."""
    found = proposed(small, drawn(2000, 7))
    page = html(found, diff(small, found.changes))
    for name in ("swap_possible", "swap_likely", "lips"):
        assert f">{name}</text>" in svg(found)
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "nan" not in page


def test_what_an_answer_says_of_a_family() -> None:
    """Named families count; `allow` denies what was judged; a restriction alone confirms a single suspicion."""
    said = decide(case(1, 0.9), sourced(POLICY, "small").policy)
    decided = MediaDecided(
        decision_id=uuid4(),
        media_id="m1",
        upload=case(1, 0.9).upload,
        decided_at=BEGIN,
        decision=said,
        versions=Versions(unmask="1", policy="p"),
        signals=case(1, 0.9).signals,
    )
    assert truth_of(decided, None) == {}
    assert truth_of(decided, Verdict(Action.ALLOW)) == {Family.FACE_SWAP: False, Family.LIP_SYNC: False}
    assert truth_of(decided, Verdict(Action.REMOVE)) == {Family.FACE_SWAP: True}
    assert truth_of(decided, Verdict(Action.REMOVE, denied=(Family.FACE_SWAP,))) == {Family.FACE_SWAP: False}
    assert truth_of(decided, Verdict(Action.ALLOW, confirmed=(Family.FACE_SWAP,))) == {Family.FACE_SWAP: True}


# --- the command -----------------------------------------------------------------------------------------------------


def unmask(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "policy", "thresholds", str(folder / "small.yaml"), *arguments],
        env={**os.environ, "UNMASK_DATABASE_URL": f"sqlite:///{folder / 'ledger.sqlite'}", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_command_proposes_from_a_ledger(small: Sourced, tmp_path: Path) -> None:
    """Recorded uploads with their reviews give JSON, a plot and a diff; the file itself is not touched."""
    (tmp_path / "small.yaml").write_text(POLICY)
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    ledger.migrate()
    now = datetime.now(UTC)
    rng = np.random.default_rng(8)
    for number in range(500):
        swap = float(rng.random())
        at = now - timedelta(days=10) + timedelta(minutes=number * 25)
        upload = case(number, swap).upload
        one = Case(upload=upload, now=at, signals=case(number, swap).signals)
        decided = MediaDecided(
            decision_id=ids.decision_id(upload.media_id, 1),
            media_id=upload.media_id,
            upload=upload,
            decided_at=at,
            decision=decide(one, small.policy),
            versions=Versions(unmask="1", policy=small.policy.version, detectors=(small.policy.fusion_version,)),
            sha256=f"{number:064x}",
            signals=one.signals,
        )
        routed = route(decided)
        ledger.record_decision(decided, routed.task, routed.outcome)
        if routed.task is not None:
            made = bool(rng.random() < 0.3 + 0.7 * swap)
            ledger.record_review(
                ReviewDecided(
                    review_id=uuid4(),
                    task_id=routed.task.task_id,
                    media_id=upload.media_id,
                    action=Action.LIMIT if made else Action.ALLOW,
                    decided_at=at + timedelta(minutes=5),
                    reviewer_id="r",
                    confirmed=(Family.FACE_SWAP,) if made else (),
                )
            )
    ledger.close()
    done = unmask(tmp_path, "--json", "--precision", "0.8", "--reviewer-hours", "1", "--plot", str(tmp_path / "p.svg"))
    assert done.returncode in (0, 1), done.stderr
    told = json.loads(done.stdout)
    assert told["proposals"]["uploads"] == 500
    likely = next(each for each in told["proposals"]["proposals"] if each["name"] == "swap_likely")
    assert likely["precision"] is not None
    assert likely["known_from"] >= 0.6 - 0.05
    assert (tmp_path / "p.svg").read_text().startswith("<svg")
    assert (tmp_path / "small.yaml").read_text() == POLICY
    only = unmask(tmp_path, "--diff", "--precision", "0.8", "--reviewer-hours", "1")
    assert only.stdout == told["diff"]
    none = unmask(tmp_path, "--since", "1h")
    assert none.returncode == 2
    assert "nothing was decided" in none.stderr


def test_an_evaluation_set_needs_a_share(tmp_path: Path) -> None:
    """It does not know how rare manipulation is; `evaluation.json` stands for the scores beside it."""
    (tmp_path / "small.yaml").write_text(POLICY)
    lines = ["file,label,made,signal,level,status,score,probability"]
    rng = np.random.default_rng(9)
    for number in range(400):
        fake = number % 2
        score = rng.beta(8, 2) if fake else rng.beta(2, 8)
        made = "face_swap" if fake else ""
        lines.append(f"f{number},{'fake' if fake else 'real'},{made},face_swap,upload,scored,{score:.4f},{score:.4f}")
    (tmp_path / "scores.csv").write_text("\n".join(lines) + "\n")
    sample = from_scores(tmp_path / "evaluation.json", 0.3)
    assert (len(sample.items), sum(bool(item.fake) for item in sample.items)) == (400, 200)
    refused = unmask(tmp_path, "--from", str(tmp_path / "scores.csv"))
    assert refused.returncode == 2
    assert "--share-manipulated" in refused.stderr
    done = unmask(
        tmp_path, "--from", str(tmp_path / "scores.csv"), "--share-manipulated", "0.3", "--precision", "0.8", "--json"
    )
    assert done.returncode == 0, done.stderr
    likely = next(e for e in json.loads(done.stdout)["proposals"]["proposals"] if e["name"] == "swap_likely")
    assert likely["proposed"] != likely["now"]


def test_handling_is_the_policys_where_nothing_was_measured(small: Sourced) -> None:
    """Six minutes a task, as the file says."""
    assert cost("faces", {}, small.policy) == Handling(360.0, Source.POLICY)
