"""`unmask plan` against the machine: what it predicts from single uploads, and what a load then comes to.

Costs are measured with one upload at a time. Then, three times over with other uploads, more is offered than can be
borne, and a share of what came out of that; for both, the plan's simulation is given the same uploads at the same
moments, so that what differs is the machine and its model, not the luck of the arrivals. A plan is told what machine it
plans for: where other processes want it too, that is fewer cores than it has. How many they get who want them all is
tried out right before and after each run; what is predicted for all cores is shown beside.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from pipeline.load.arrivals import Ramp
from pipeline.load.media import make_originals
from pipeline.load.mix import Kind, Mix, planned
from pipeline.load.report import LoadReport
from pipeline.load.run import Load, run_load, times
from pipeline.plan.flow import Arrival, Cell, Simulated, replay
from pipeline.plan.inputs import KindCost
from pipeline.plan.size import capacity
from tests.benchmarks.bench import Bench
from tests.benchmarks.measured import Measured, measured
from tests.benchmarks.plan_picture import Pair
from tests.benchmarks.stage_times import measured_costs

MIX = Mix({Kind.IMAGE: 70.0, Kind.SHORT_VIDEO: 12.0, Kind.AUDIO: 6.0, Kind.REUPLOAD: 10.0, Kind.BROKEN: 2.0})
"""Enough videos that the p95 is a video's: with one in twenty it would lie at the edge between videos and pictures,
where it jumps from one run to the next."""
TOLERANCE = 0.25
ROUNDS = 3
_BURST = 120
_SHARE = 0.6
"""Of what came out at most: the load at which the p95 is held against its prediction."""
_SECONDS, _WARM_UP = 100.0, 12.0
_TRIAL_SECONDS = 3.0
_DRAWS = 9
"""Times that each run is simulated: uploads of a kind differ by chance in what they cost. The median counts."""


@dataclass(frozen=True, slots=True)
class _Run:
    """What was measured, and what was predicted for the cores that were to be had, and for all."""

    report: LoadReport
    cores: float
    left: tuple[Simulated, ...]
    every: tuple[Simulated, ...]


def measure(bench: Bench, rounds: int = ROUNDS) -> tuple[list[Measured], list[Pair]]:
    """The rows, and what the picture shows."""
    costs = measured_costs(bench, frozenset(MIX.weights))
    most = capacity(_cell(bench, _cores()), costs, MIX.shares)
    bursts, steadies = [], []
    for n in range(rounds):
        bench.tell(f"plan: round {n + 1} of {rounds}, {_BURST} uploads at once, {most:.2f}/s predicted at most")
        bursts.append(
            _run(bench, costs.kinds, Load(_at(4 * most, _BURST / (4 * most)), MIX, patience=300, seed=10 * n))
        )
        _tell(bench, bursts[-1])
        rate = _SHARE * bursts[-1].report.achieved
        bench.tell(f"plan: round {n + 1} of {rounds}, {rate:.2f}/s for {_SECONDS:g} s")
        load = Load(_at(rate, _SECONDS), MIX, warm_up=_WARM_UP, patience=300, seed=10 * n + 5)
        steadies.append(_run(bench, costs.kinds, load))
        _tell(bench, steadies[-1])
    rows = [
        *_rows(
            "uploads a second when more is offered than can be borne",
            "/s",
            bursts,
            [run.report.achieved for run in bursts],
            [(_middle(run.left, "achieved"), _middle(run.every, "achieved")) for run in bursts],
        ),
        *_rows(
            f"p95 at {_SHARE:.0%} of that",
            "s",
            steadies,
            [_known(run.report.all.p95) for run in steadies],
            [(_middle(run.left, "p95"), _middle(run.every, "p95")) for run in steadies],
        ),
    ]
    pairs = [
        Pair("uploads a second", n, _middle(run.left, "achieved"), run.report.achieved) for n, run in enumerate(bursts)
    ]
    pairs += [
        Pair(name, n, _middle(run.left, name), _known(getattr(run.report.all, name)))
        for name in ("p50", "p95", "p99")
        for n, run in enumerate(steadies)
    ]
    return rows, pairs


def _rows(
    what: str, unit: str, runs: Sequence[_Run], seen: Sequence[float], predicted: Sequence[tuple[float, float]]
) -> list[Measured]:
    off = [max(left / was, was / left) - 1 for was, (left, _) in zip(seen, predicted, strict=True)]
    uploads = "–".join(
        str(each) for each in sorted({min(r.report.sent for r in runs), max(r.report.sent for r in runs)})
    )
    return [
        measured(
            "plan",
            f"{what}: prediction against measurement, how far off",
            "",
            off,
            target=TOLERANCE,
            how="Costs are measured one upload at a time; then each run is simulated with the uploads, in kind and "
            "moment, that were offered to the stack. Off by the larger of the two over the other, less one. Predicted "
            "for the cores that the machine gave to who wanted them all, right before and after.",
        ),
        measured("plan", f"{what}: measured ({len(runs)} runs of {uploads} uploads)", unit, seen),
        measured("plan", f"{what}: predicted for the cores to be had", unit, [left for left, _ in predicted]),
        measured("plan", f"{what}: predicted for all cores", unit, [every for _, every in predicted]),
        measured("plan", f"{what}: cores to be had", "", [run.cores for run in runs]),
    ]


def _run(bench: Bench, costs: Mapping[Kind, KindCost], load: Load) -> _Run:
    originals = make_originals(
        bench.place / "originals", bench.settings.home, bench.settings.models_dir, frozenset(MIX.weights), bench.tell
    )
    before = _cores_to_be_had()
    report = run_load(bench.config, load, originals, bench.place, lambda *_: None)
    cores = (before + _cores_to_be_had()) / 2
    left, every = (
        tuple(_predicted(_cell(bench, each), costs, load, draw) for draw in range(_DRAWS)) for each in (cores, _cores())
    )
    return _Run(report, cores, left, every)


def _predicted(cell: Cell, costs: Mapping[Kind, KindCost], load: Load, draw: int) -> Simulated:
    """What the model makes of the very uploads that `run_load` offers."""
    rng = random.Random(draw)
    when = times(load)
    uploads = zip(when, planned(load.mix, len(when), load.seed), strict=True)
    arrivals = [Arrival(at, each.kind, rng.random()) for at, each in uploads]
    return replay(cell, costs, arrivals, warm=sum(at < load.warm_up for at in when))


def _cores_to_be_had() -> float:
    """CPU seconds a second that processes get which want every core."""
    script = (
        f"import time; until = time.monotonic() + {_TRIAL_SECONDS}\n"
        "while time.monotonic() < until: pass\n"
        "print(time.process_time())"
    )
    trials = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(_cores())
    ]
    return sum(float(trial.communicate()[0]) for trial in trials) / _TRIAL_SECONDS


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _cell(bench: Bench, cores: float) -> Cell:
    return Cell(1, cores, bench.settings.concurrency, bench.settings.decode_workers)


def _at(rate: float, seconds: float) -> Ramp:
    return Ramp(rate, rate, seconds)


def _middle(runs: Sequence[Simulated], name: str) -> float:
    return float(median(getattr(run, name) for run in runs))


def _known(quantile: float | None) -> float:
    if quantile is None:
        raise RuntimeError("uploads were never answered")
    return quantile


def _tell(bench: Bench, run: _Run) -> None:
    said = [
        f"{name} {was:.2f}, predicted {_middle(run.left, name):.2f} ({_middle(run.every, name):.2f} for all cores)"
        for name, was in (("achieved", run.report.achieved), ("p50", run.report.all.p50), ("p95", run.report.all.p95))
        if was is not None
    ]
    bench.tell(f"plan: {'; '.join(said)}; {run.cores:.2f} cores to be had")
