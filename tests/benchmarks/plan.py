"""`unmask plan` against the machine: what it predicts from single uploads, and what a load then comes to.

Three times over, with other uploads: more is offered than can be borne, then a share of what came out of that. For both
the plan's simulation is given the same uploads at the same moments, so that what differs is the machine and its model,
not the luck of the arrivals.

What an upload costs is measured before and after each round, one at a time: on a machine that others use too, a CPU
second does less while they do more (they empty its caches). And a plan is told what machine it plans for, which then is
fewer cores than it has. How many they get who want them all is tried out right before and after each run; what is
predicted for all cores is shown beside.
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
from pipeline.plan.inputs import Costs, KindCost, Known
from pipeline.plan.size import capacity
from tests.benchmarks.bench import Bench
from tests.benchmarks.measured import Measured, measured
from tests.benchmarks.plan_picture import Pair
from tests.benchmarks.stage_times import measure_costs

MIX = Mix({Kind.IMAGE: 70.0, Kind.SHORT_VIDEO: 12.0, Kind.AUDIO: 6.0, Kind.REUPLOAD: 10.0, Kind.BROKEN: 2.0})
"""Enough videos that the p95 is a video's: with one in twenty it would lie at the edge between videos and pictures,
where it jumps from one run to the next."""
TOLERANCE = 0.25
ROUNDS = 3
_BURST = 100
_SHARE = 0.6
"""Of what came out at most: the load at which the p95 is held against its prediction."""
_SECONDS, _WARM_UP = 180.0, 10.0
_TRIAL_SECONDS = 3.0
_COUNTS = {Kind.IMAGE: 16, Kind.SHORT_VIDEO: 4, Kind.AUDIO: 4, Kind.REUPLOAD: 8, Kind.BROKEN: 4}
"""Uploads of which the costs are means, each time that they are measured."""
_DRAWS = 9
"""Times that each run is simulated: uploads of a kind differ by chance in what they cost. The median counts."""


@dataclass(frozen=True, slots=True)
class _Offered:
    load: Load
    report: LoadReport
    cores: float


@dataclass(frozen=True, slots=True)
class _Run:
    """What was measured, and what was predicted for the cores that were to be had, and for all."""

    report: LoadReport
    cores: float
    left: tuple[Simulated, ...]
    every: tuple[Simulated, ...]


def measure(bench: Bench, rounds: int = ROUNDS) -> tuple[list[Measured], list[Pair]]:
    """The rows, and what the picture shows."""
    before = _costs(bench, 0)
    bursts, steadies = [], []
    for n in range(rounds):
        costs_now = Costs("one upload at a time", Known.MEASURED, _cores(), before, {})
        most = capacity(_cell(bench, _cores()), costs_now, MIX.shares)
        bench.tell(f"plan: round {n + 1} of {rounds}, {_BURST} uploads at once, {most:.2f}/s predicted at most")
        load = Load(_at(4 * most, _BURST / (4 * most)), MIX, patience=300, seed=10 * n)
        burst = _offered(bench, load)
        rate = _SHARE * burst.report.achieved
        bench.tell(f"plan: round {n + 1} of {rounds}, {burst.report.achieved:.2f}/s; {rate:.2f}/s for {_SECONDS:g} s")
        load = Load(_at(rate, _SECONDS), MIX, warm_up=_WARM_UP, patience=300, seed=10 * n + 5)
        steady = _offered(bench, load)
        after = _costs(bench, n + 1)
        costs = {kind: _between(before[kind], after[kind]) for kind in before}
        bursts.append(_predicted(bench, costs, burst))
        steadies.append(_predicted(bench, costs, steady))
        _tell(bench, bursts[-1])
        _tell(bench, steadies[-1])
        before = after
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
            how="Costs are measured one upload at a time, before and after each round; each run is simulated with the "
            "uploads, in kind and moment, that were offered to the stack. Off by the larger of the two over the other, "
            "less one. Predicted for the cores that the machine gave to who wanted them all, right before and after.",
        ),
        measured("plan", f"{what}: measured ({len(runs)} runs of {uploads} uploads)", unit, seen),
        measured("plan", f"{what}: predicted for the cores to be had", unit, [left for left, _ in predicted]),
        measured("plan", f"{what}: predicted for all cores", unit, [every for _, every in predicted]),
        measured("plan", f"{what}: cores to be had", "", [run.cores for run in runs]),
    ]


def _costs(bench: Bench, time: int) -> dict[Kind, KindCost]:
    bench.tell("plan: uploads one at a time")
    return measure_costs(bench, frozenset(MIX.weights), _COUNTS, f"-plan-{time}")


def _between(one: KindCost, other: KindCost) -> KindCost:
    """The mean of two measurements of a kind."""

    def half(a: float, b: float) -> float:
        return (a + b) / 2

    return KindCost(
        n=one.n + other.n,
        latency=half(one.latency, other.latency),
        latency_spread=half(one.latency_spread, other.latency_spread),
        stages={stage: half(one.stages.get(stage, 0.0), seconds) for stage, seconds in other.stages.items()},
        cpu_worker=half(one.cpu_worker, other.cpu_worker),
        cpu_inference=half(one.cpu_inference, other.cpu_inference),
        cpu_broker=half(one.cpu_broker, other.cpu_broker),
    )


def _offered(bench: Bench, load: Load) -> _Offered:
    originals = make_originals(
        bench.place / "originals", bench.settings.home, bench.settings.models_dir, frozenset(MIX.weights), bench.tell
    )
    before = _cores_to_be_had()
    report = run_load(bench.config, load, originals, bench.place, lambda *_: None)
    return _Offered(load, report, (before + _cores_to_be_had()) / 2)


def _predicted(bench: Bench, costs: Mapping[Kind, KindCost], run: _Offered) -> _Run:
    left, every = (
        tuple(_simulated(_cell(bench, cores), costs, run.load, draw) for draw in range(_DRAWS))
        for cores in (run.cores, _cores())
    )
    return _Run(run.report, run.cores, left, every)


def _simulated(cell: Cell, costs: Mapping[Kind, KindCost], load: Load, draw: int) -> Simulated:
    """What the model makes of the very uploads that `run_load` offers."""
    rng = random.Random(draw)
    when = times(load)
    uploads = zip(when, planned(load.mix, len(when), load.seed), strict=True)
    arrivals = [Arrival(at, each.kind, rng.random()) for at, each in uploads]
    return replay(cell, costs, arrivals, warm=sum(at < load.warm_up for at in when))


def _cores_to_be_had() -> float:
    """CPU seconds a second that processes get which want every core, each in a session of its own as the parts are."""
    script = (
        f"import time; until = time.monotonic() + {_TRIAL_SECONDS}\n"
        "while time.monotonic() < until: pass\n"
        "print(time.process_time())"
    )
    trials = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True)
        for _ in range(_cores())
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
