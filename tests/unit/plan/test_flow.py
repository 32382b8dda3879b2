"""What has to be true of any queue, and so of the simulated one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec.structs import replace as with_

from pipeline.load.mix import Kind
from pipeline.plan.flow import Arrival, Cell, Simulated, drawn, replay, simulate
from tests.unit.plan.sample import COSTS, PICTURE

PICTURES = {Kind.IMAGE: 1.0}


def run(rate: float, cell: Cell | None = None, uploads: int = 400, seed: int = 1) -> Simulated:
    return simulate(cell or Cell(), COSTS.kinds, PICTURES, rate, uploads=uploads, seed=seed)


@pytest.mark.parametrize("rate", [0.5, 2.0, 3.4])
def test_littles_law_holds(rate: float) -> None:
    """The mean number in the system is the rate at which they come times the mean time that they stay."""
    seen = run(rate, uploads=1000)
    assert seen.in_system == pytest.approx(seen.throughput * seen.mean, rel=0.06)


def test_alone_an_upload_takes_what_it_was_measured_to_take() -> None:
    """At almost no load nothing waits."""
    assert run(0.01, uploads=50).p95 == pytest.approx(0.5, abs=1e-6)


def test_work_that_used_more_cpu_than_time_runs_side_by_side() -> None:
    """0.6 s of CPU in 0.3 s takes 0.3 s on two cores, and 0.6 s on one."""
    wide = with_(PICTURE, latency=0.3, stages={"detect": 0.3}, cpu_worker=0.0, cpu_inference=0.6)
    for cores, seconds in ((2, 0.3), (1, 0.6)):
        seen = simulate(Cell(cores=cores), {Kind.IMAGE: wide}, PICTURES, 0.01, uploads=50)
        assert seen.p50 == pytest.approx(seconds, abs=0.051)


@pytest.mark.parametrize("rate", [1.0, 3.0])
def test_cores_are_as_busy_as_the_work_that_comes(rate: float) -> None:
    """Half a second of CPU an upload on two cores."""
    assert run(rate, uploads=1500).busy == pytest.approx(rate * 0.5 / 2, rel=0.1)


def test_more_than_can_be_borne_is_answered_as_fast_as_the_cores_allow() -> None:
    """Two cores at half a second each: four a second, not more, whatever is offered."""
    assert run(20.0, uploads=400).achieved == pytest.approx(4.0, rel=0.1)


def test_more_workers_cores_or_speed_are_never_slower() -> None:
    """The same uploads, less waiting."""
    for less, more in (
        (Cell(1), Cell(2)),
        (Cell(2), Cell(4)),
        (Cell(cores=2), Cell(cores=3)),
        (Cell(cores=1.5), Cell(cores=2)),
        (Cell(concurrency=1), Cell(concurrency=4)),
        (Cell(gpus=1, gpu_speed=1), Cell(gpus=1, gpu_speed=10)),
    ):
        before, after = run(2.5, less), run(2.5, more)
        assert after.mean <= before.mean
        assert after.p95 <= before.p95 * 1.001


def test_more_uploads_wait_longer() -> None:
    """Seconds rise with the rate, for the mean and for the slowest."""
    seen = [run(rate, uploads=800) for rate in (0.5, 1.5, 2.5, 3.5)]
    assert [each.mean for each in seen] == sorted(each.mean for each in seen)
    assert [each.p95 for each in seen] == sorted(each.p95 for each in seen)


def test_a_cell_stands_for_the_fleet() -> None:
    """Four workers at four times the rate do what one does at the rate: what lets one cell speak for a thousand."""
    one, four = run(2.5, uploads=1500), run(10.0, Cell(4), uploads=6000)
    assert four.p50 == pytest.approx(one.p50, rel=0.1)
    assert four.p95 == pytest.approx(one.p95, rel=0.2)


def test_a_gpu_takes_the_inference_from_the_cores() -> None:
    """The cores compute the rest, and the GPU is busy with its share."""
    seen = run(2.0, Cell(gpus=1, gpu_speed=10), uploads=1500)
    assert seen.busy == pytest.approx(2.0 * 0.2 / 2, rel=0.1)
    assert seen.gpu_busy == pytest.approx(2.0 * 0.03, rel=0.1)


def test_one_server_at_random_is_the_queue_of_the_textbook() -> None:
    """M/D/1: a core, one upload at a time, always half a second: the mean wait is ρ / (2 (1 − ρ)) of that (Pollaczek,
    Khinchine)."""
    fixed = with_(PICTURE, stages={"detect": 0.5}, cpu_worker=0.0, cpu_inference=0.5)
    seen = simulate(Cell(1, 1, 1, 1), {Kind.IMAGE: fixed}, PICTURES, 1.4, uploads=6_000)
    busy = 1.4 * 0.5
    assert seen.mean == pytest.approx(0.5 * (1 + busy / (2 * (1 - busy))), rel=0.1)


def test_the_seed_decides() -> None:
    """Twice the same is the same."""
    assert run(2.0) == run(2.0)
    assert run(2.0).mean != run(2.0, seed=2).mean
    assert replace(Cell(), cores=3) != Cell()


def test_given_uploads_are_replayed_as_they_come() -> None:
    """Three at once on two cores and one that comes alone: 0.5 s of work each, shared fairly; warm-ups do not count."""
    arrivals = [Arrival(at, Kind.IMAGE, 0.5) for at in (0.0, 10.0, 10.0, 10.0, 20.0)]
    seen = replay(Cell(), COSTS.kinds, arrivals, warm=1)
    assert seen.uploads == 4
    assert seen.latencies[0] == pytest.approx(0.5, abs=1e-6)
    assert seen.latencies[-1] == pytest.approx(0.75, abs=0.11)
    assert replay(Cell(), COSTS.kinds, arrivals[:1], warm=0).p95 == pytest.approx(0.5, abs=1e-6)


def test_drawn_uploads_are_what_is_simulated() -> None:
    """`simulate` is a replay of the draw, its first tenth warming up."""
    drawn_ones = drawn(1, PICTURES, 2.0, 200, seed=4)
    assert simulate(Cell(), COSTS.kinds, PICTURES, 2.0, uploads=200, seed=4) == replay(
        Cell(), COSTS.kinds, drawn_ones, warm=20
    )
