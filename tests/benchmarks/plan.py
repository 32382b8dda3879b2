"""`unmask plan` against the machine: what it predicts from single uploads, and what a load then comes to.

Costs are measured with one upload at a time; then throughput is predicted for more uploads than can be borne, and the
p95 for a share of that; then both are offered. A plan is told what machine it plans for. Where other processes want the
machine too, that is fewer cores than it has: how many they get who want them all is tried out right before and after
each run. Predictions are for those; what is predicted for all cores is shown beside.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.load.arrivals import Ramp
from pipeline.load.media import make_originals
from pipeline.load.mix import Kind, Mix
from pipeline.load.report import LoadReport
from pipeline.load.run import Load, run_load
from pipeline.plan.flow import Cell, simulate
from pipeline.plan.inputs import Costs
from pipeline.plan.size import capacity
from tests.benchmarks.bench import Bench
from tests.benchmarks.measured import Measured
from tests.benchmarks.stage_times import measured_costs

MIX = {Kind.IMAGE: 70.0, Kind.SHORT_VIDEO: 12.0, Kind.AUDIO: 6.0, Kind.REUPLOAD: 10.0, Kind.BROKEN: 2.0}
"""Enough videos that the p95 is a video's: with one in twenty it would lie at the edge between videos and pictures,
where it jumps from one run to the next."""
TOLERANCE = 0.25
_BURST = 150
_SHARE = 0.6
"""Of what was predicted that the machine can do at most: the load at which the p95 is held against its prediction."""
_SECONDS, _WARM_UP = 110.0, 15.0
_TRIAL_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class _Run:
    report: LoadReport
    cores: float


def measure(bench: Bench) -> list[Measured]:
    """All of the above, with throughput first."""
    costs = measured_costs(bench, frozenset(MIX))
    nominal = _cell(bench, len(os.sched_getaffinity(0)))
    most = capacity(nominal, costs, Mix(MIX).shares)
    seconds = _BURST / (4 * most)
    bench.tell(f"plan: {_BURST} uploads at once, {most:.2f}/s predicted at most")
    burst = _offered(bench, 4 * most, seconds, 0.0, seed=1)
    rows = _compared("throughput of more than can be borne", "/s", burst, burst.report.achieved, costs, bench, 4 * most)
    bench.tell(f"plan: {_SHARE:.0%} of that for {_SECONDS:g} s")
    steady = _offered(bench, _SHARE * burst.report.achieved, _SECONDS, _WARM_UP, seed=2)
    if steady.report.all.p95 is None:
        raise RuntimeError("more than 5 % of the uploads were never answered")
    return rows + _compared(
        "p95 at 60 % of that", "s", steady, steady.report.all.p95, costs, bench, _SHARE * burst.report.achieved
    )


def _compared(what: str, unit: str, run: _Run, seen: float, costs: Costs, bench: Bench, rate: float) -> list[Measured]:
    def predicted(cores: float) -> float:
        shares: Mapping[Kind, float] = Mix(MIX).shares
        uploads = _BURST if unit == "/s" else 3000
        found = simulate(_cell(bench, cores), costs.kinds, shares, rate, uploads=uploads, seed=3)
        return found.achieved if unit == "/s" else found.p95

    left, every = predicted(run.cores), predicted(len(os.sched_getaffinity(0)))
    off = max(left / seen, seen / left) - 1
    return [
        Measured(
            "plan",
            f"{what}: prediction against measurement, how far off",
            "",
            off,
            target=TOLERANCE,
            how="Predicted from uploads that were measured one at a time; off by the larger of the two over the other, "
            "less one. For the cores that the machine gave to who wanted them all, right before and after.",
        ),
        Measured("plan", f"{what}: measured ({run.report.sent} uploads)", unit, seen),
        Measured("plan", f"{what}: predicted for the {run.cores:.2f} cores that were to be had", unit, left),
        Measured("plan", f"{what}: predicted for all cores", unit, every),
    ]


def _offered(bench: Bench, rate: float, seconds: float, warm_up: float, seed: int) -> _Run:
    originals = make_originals(
        bench.place / "originals", bench.settings.home, bench.settings.models_dir, frozenset(MIX), bench.tell
    )
    load = Load(Ramp(rate, rate, seconds), Mix(MIX), warm_up=warm_up, patience=300.0, seed=seed)
    before = _cores_to_be_had()
    report = run_load(bench.config, load, originals, bench.place, lambda *_: None)
    return _Run(report, (before + _cores_to_be_had()) / 2)


def _cores_to_be_had() -> float:
    """CPU seconds a second that processes get which want every core, each in a session of its own as the parts are."""
    script = (
        f"import time; until = time.monotonic() + {_TRIAL_SECONDS}\n"
        "while time.monotonic() < until: pass\n"
        "print(time.process_time())"
    )
    trials = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True)
        for _ in os.sched_getaffinity(0)
    ]
    return sum(float(trial.communicate()[0]) for trial in trials) / _TRIAL_SECONDS


def _cell(bench: Bench, cores: float) -> Cell:
    return Cell(1, cores, bench.settings.concurrency, bench.settings.decode_workers)
