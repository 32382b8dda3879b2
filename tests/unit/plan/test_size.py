"""From inputs to a plan."""

from __future__ import annotations

import pytest

from pipeline.errors import ConfigError
from pipeline.load.mix import Kind
from pipeline.plan import size
from pipeline.plan.flow import Cell
from pipeline.plan.inputs import Known
from pipeline.plan.page import page
from pipeline.plan.read import read_costs, read_inputs, scaled
from pipeline.plan.size import capacity, highest_rate, make_plan
from tests.unit.plan.sample import COSTS, inputs


@pytest.fixture(autouse=True)
def _shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer uploads a simulation: these tests look at the plan, not at its second digit."""
    monkeypatch.setattr(size, "_UPLOADS", 60)
    monkeypatch.setattr(size, "_PROBES", 6)


def test_a_worker_holds_no_more_than_its_cores_allow() -> None:
    """Two cores, half a second each."""
    assert capacity(Cell(), COSTS, {Kind.IMAGE: 1.0}) == pytest.approx(4.0)
    assert 2 < highest_rate(Cell(), COSTS, {Kind.IMAGE: 1.0}, 5.0, 0.95) < 4.0


def test_ten_times_the_uploads_take_ten_times_the_machines() -> None:
    """Up to whole workers; and the fleet of a billion a day comes out of the same cell, in the same time."""
    million, ten, billion = (make_plan(inputs(demand__uploads_per_day=n), COSTS) for n in (1e6, 1e7, 1e9))
    assert million.rate_per_worker == ten.rate_per_worker == billion.rate_per_worker
    assert ten.value("workers") <= 10 * million.value("workers") <= ten.value("workers") + 10
    assert billion.value("workers") == pytest.approx(100 * ten.value("workers"), rel=0.02)
    assert billion.value("clusters") > ten.value("clusters")
    assert billion.value("partitions") >= billion.value("workers")
    # Larger teams lose less to chance, and never need more than in proportion.
    assert billion.value("reviewers at the peak") <= 1000 * million.value("reviewers at the peak")


def test_content_that_was_seen_before_is_almost_free() -> None:
    """Half duplicates: about half the workers."""
    fresh = make_plan(inputs(demand__uploads_per_day=1e8), COSTS)
    half = make_plan(inputs(demand__uploads_per_day=1e8, demand__duplicates=0.5), COSTS)
    assert half.value("workers") < 0.65 * fresh.value("workers")
    assert half.value("rows written at the peak") < fresh.value("rows written at the peak")


def test_the_day_follows_its_curve_and_the_objective_is_kept() -> None:
    """Each hour has the workers of its load, and a day of hours is a day's uploads."""
    plan = make_plan(inputs(demand__uploads_per_day=1e7), COSTS)
    assert sum(hour.rate for hour in plan.hours) * 3600 == pytest.approx(1e7)
    by_rate = sorted(plan.hours, key=lambda hour: hour.rate)
    assert [hour.workers for hour in by_rate] == sorted(hour.workers for hour in by_rate)
    assert plan.holds == all(hour.held <= 5.0 for hour in plan.hours)


def test_gpus_replace_cores_and_are_marked_as_estimated() -> None:
    """Inference leaves the workers; what follows from a guessed speed is a guess."""
    gpu = {"value": 20.0, "known": "estimated", "how": "a guess"}
    plain = make_plan(inputs(demand__uploads_per_day=1e8), COSTS)
    fast = make_plan(inputs(demand__uploads_per_day=1e8, worker__gpu_speed=gpu), COSTS)
    assert fast.value("worker cores") < plain.value("worker cores")
    assert fast.value("GPUs") > 0
    assert plain.value("GPUs") == 0
    assert {item.known for item in fast.items if item.what in ("workers", "p95")} == {Known.ESTIMATED}


def test_what_single_uploads_exceed_is_out_of_reach() -> None:
    """No number of workers makes one upload faster."""
    with pytest.raises(ConfigError, match="out of reach"):
        make_plan(inputs(objective__seconds=0.1), COSTS)


def test_a_kind_of_which_nothing_is_known_is_refused() -> None:
    """Rather than counted as free."""
    with pytest.raises(ConfigError, match="long-video"):
        make_plan(inputs(demand__mix={"image": 1, "long-video": 1}), COSTS)


def test_costs_are_scaled_to_a_running_worker() -> None:
    """Afterwards an upload of the mix spends the seconds that the worker says; it is an estimate from then on."""
    seen = {"fetch": 0.02, "decode": 0.2, "detect": 0.2, "decide": 0.0}
    found = scaled(COSTS, {Kind.IMAGE: 1.0}, seen)
    assert found.kinds[Kind.IMAGE].stages["decode"] == pytest.approx(0.2)
    assert found.kinds[Kind.IMAGE].stages["detect"] == pytest.approx(0.2)
    assert found.known is Known.ESTIMATED


def test_what_ships_can_be_read_and_covers_its_mix() -> None:
    """Every kind of the shipped mix was measured, and says how."""
    shipped, costs = read_inputs(None, {}), read_costs(None)
    assert set(shipped.demand.shares) <= set(costs.kinds)
    assert costs.known is Known.MEASURED
    assert "cores" in costs.how


@pytest.mark.parametrize("change", [{"nowhere.x": 1}, {"demand.duplicates": 2}, {"demand.curve": [1]}])
def test_inputs_that_mean_nothing_are_refused(change: dict[str, object]) -> None:
    """The operator is told where."""
    with pytest.raises(ConfigError):
        read_inputs(None, change)


def test_the_page_draws_the_day_and_loads_nothing() -> None:
    """Plots are in the page itself; text is escaped."""
    plan = make_plan(inputs(), COSTS)
    text = page(plan, 5.0, "by hand & more")
    assert text.count("<svg") == 4
    assert "by hand &amp; more" in text
    assert "<script" not in text
    assert "http" not in text
