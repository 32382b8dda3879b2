"""One cell of the fleet, simulated: workers that share a GPU, or one worker with its cores; uploads come by chance.

Uploads are keyed by their id, so partitions, and the workers that hold them, split the stream at random. A Poisson
stream that is split at random gives independent Poisson streams (Kingman, Poisson Processes, 1993, §5.1), so the fleet
behaves as so many copies of this cell, each at its share of the rate: one cell says what a thousand do, however many
uploads a day.

Within a cell an upload waits for a place in its worker, is fetched, waits for a decoder, is decoded, and is judged.
What computes holds a core for a slice at a time, so that all who compute share the cores fairly. Work that was measured
to use more CPU than time passed runs in branches side by side; work that used less also waits for something else.
Pure: the random numbers follow from the seed.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import simpy

from pipeline.load.mix import Kind
from pipeline.load.report import quantile
from pipeline.plan.inputs import KindCost

SLICE = 0.05
"""Seconds that a computation holds a core before the next gets its turn; far below what an upload takes."""


@dataclass(frozen=True, slots=True)
class Cell:
    """`gpus` 0: inference is computed on the workers' own cores, `gpu_speed` does not matter. `fetch`: seconds more
    than was measured for fetching."""

    workers: int = 1
    cores: float = 2
    concurrency: int = 4
    decoders: int = 2
    gpus: int = 0
    gpu_speed: float = 1.0
    fetch: float = 0.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """An upload that comes: `at` seconds from the beginning, to which of the cell's workers. `chance`: how large it is
    among its kind, of one."""

    at: float
    kind: Kind
    chance: float
    worker: int = 0


class Simulated(msgspec.Struct, frozen=True):
    """What was seen after the warm-up. Seconds; quantiles over all uploads that came. `throughput`: answered a second.
    `achieved`: all uploads over the time from the first to come to the last to be answered.
    `in_system`: mean number of uploads under way or waiting. `busy`: share of the cores, `gpu_busy`: of the GPUs."""

    uploads: int
    rate: float
    throughput: float
    mean: float
    p50: float
    p95: float
    p99: float
    achieved: float
    in_system: float
    busy: float
    gpu_busy: float
    latencies: tuple[float, ...] = ()

    def within(self, share: float) -> float:
        """The time that this share of uploads takes no longer than."""
        return quantile(self.latencies, share, len(self.latencies)) or 0.0


def simulate(
    cell: Cell,
    costs: Mapping[Kind, KindCost],
    shares: Mapping[Kind, float],
    rate: float,
    *,
    uploads: int = 3000,
    seed: int = 1,
) -> Simulated:
    """Offer `rate` uploads a second to a cell that begins empty; the first tenth of `uploads` warms up. All are
    answered before it ends, so a rate above what the cell can do shows in latencies that grow with `uploads`, and in a
    throughput below the rate."""
    return replay(cell, costs, drawn(cell.workers, shares, rate, uploads, seed), warm=uploads // 10)


def drawn(workers: int, shares: Mapping[Kind, float], rate: float, uploads: int, seed: int) -> tuple[Arrival, ...]:
    """Uploads of people who know nothing of each other: a Poisson process, kinds by their shares."""
    rng = random.Random(seed)  # noqa: S311 (a simulation)
    kinds, weights = list(shares), list(shares.values())
    found, at = [], 0.0
    for _ in range(uploads):
        at += rng.expovariate(rate)
        found.append(Arrival(at, rng.choices(kinds, weights)[0], rng.random(), rng.randrange(workers)))
    return tuple(found)


def replay(cell: Cell, costs: Mapping[Kind, KindCost], arrivals: Sequence[Arrival], *, warm: int) -> Simulated:
    """What a cell makes of just these uploads, in the order in which they come; the first `warm` of them warm up."""
    world = _World(cell, costs)
    world.env.process(world.source(arrivals))
    world.env.run()
    return _seen(world, cell, warm)


class _World:
    """The state of one simulation."""

    def __init__(self, cell: Cell, costs: Mapping[Kind, KindCost]) -> None:
        self.env = simpy.Environment()
        self.cell = cell
        self.costs = costs
        self.places = [simpy.Resource(self.env, cell.concurrency) for _ in range(cell.workers)]
        self.decoders = [simpy.Resource(self.env, cell.decoders) for _ in range(cell.workers)]
        # Part of a core (others use the rest) is a core that works more slowly.
        whole = max(1, round(cell.cores))
        self.speed = cell.cores / whole
        self.cores = [simpy.Resource(self.env, whole) for _ in range(cell.workers)]
        self.gpus = simpy.Resource(self.env, max(1, cell.gpus))
        self.times: list[tuple[float, float]] = []
        self.computed: list[tuple[float, float]] = []
        self.inferred: list[tuple[float, float]] = []

    def source(self, arrivals: Sequence[Arrival]) -> Generator[Any, Any, None]:
        for each in arrivals:
            yield self.env.timeout(each.at - self.env.now)
            self.env.process(self.upload(each.kind, each.chance, each.worker))

    def upload(self, kind: Kind, chance: float, worker: int) -> Generator[Any, Any, None]:
        came = self.env.now
        cost = self.costs[kind]
        size = _size(cost.latency_spread, chance)
        decode = cost.stages.get("decode", 0.0)
        decode_cpu = min(cost.cpu_worker, decode)
        screened = sum(cost.stages.values())
        with self.places[worker].request() as place:
            yield place
            yield self.env.timeout(self.cell.fetch + cost.stages.get("fetch", 0.0))
            if decode > 0:
                with self.decoders[worker].request() as decoder:
                    yield decoder
                    yield from self.work(worker, decode * size, decode_cpu * size)
            rest = screened - decode - cost.stages.get("fetch", 0.0)
            if self.cell.gpus:
                yield from self.work(worker, 0.0, (cost.cpu_worker - decode_cpu) * size)
                yield from self.infer(cost.cpu_inference * size / self.cell.gpu_speed)
            else:
                yield from self.work(worker, rest * size, (cost.cpu_worker - decode_cpu + cost.cpu_inference) * size)
        # Routing, the ledger and Kafka's hops: after the place was given up.
        yield from self.work(worker, max(0.0, cost.latency - screened), cost.cpu_broker)
        self.times.append((came, self.env.now))

    def work(self, worker: int, wall: float, cpu: float) -> Generator[Any, Any, None]:
        """Work that takes `wall` seconds and `cpu` seconds of cores when nobody else computes."""
        branches = []
        left = cpu
        while left > 1e-9:
            most = max(wall, cpu / self.cores[worker].capacity)
            part = min(left, most)
            branches.append(self.env.process(self.compute(worker, part)))
            left -= part
        if wall > cpu:
            yield self.env.timeout(wall - cpu)
        if branches:
            yield self.env.all_of(branches)

    def compute(self, worker: int, seconds: float) -> Generator[Any, Any, None]:
        left = seconds / self.speed
        while left > 1e-9:
            with self.cores[worker].request() as core:
                yield core
                part = min(SLICE, left)
                yield self.env.timeout(part)
                self.computed.append((self.env.now, part))
                left -= part

    def infer(self, seconds: float) -> Generator[Any, Any, None]:
        with self.gpus.request() as gpu:
            yield gpu
            yield self.env.timeout(seconds)
            self.inferred.append((self.env.now, seconds))


def _size(spread: float, chance: float) -> float:
    """How much more or less than the mean this upload costs: evenly spread with that deviation, never negative."""
    half = min(1.0, spread * 3**0.5)
    return 1 + half * (2 * chance - 1)


def _seen(world: _World, cell: Cell, warm: int) -> Simulated:
    """The window is from the warm-up's end to the last arrival; quantiles are over uploads that came in it."""
    times = sorted(world.times)
    begin = times[warm][0]
    end = times[-1][0]
    window = max(end - begin, 1e-9)
    latencies = sorted(left - came for came, left in times if begin <= came <= end)
    in_system = sum(max(0.0, min(left, end) - max(came, begin)) for came, left in times) / window
    computed = sum(part for at, part in world.computed if begin <= at <= end)
    inferred = sum(part for at, part in world.inferred if begin <= at <= end)
    p50, p95, p99 = (quantile(latencies, share, len(latencies)) or 0.0 for share in (0.5, 0.95, 0.99))
    return Simulated(
        uploads=len(latencies),
        rate=len(times) / max(end, 1e-9),
        throughput=sum(begin <= left <= end for _, left in times) / window,
        mean=sum(latencies) / len(latencies),
        p50=p50,
        p95=p95,
        p99=p99,
        achieved=len(times) / (max(left for _, left in times) - times[0][0]),
        in_system=in_system,
        busy=computed / window / (max(1, round(cell.cores)) * cell.workers),
        gpu_busy=inferred / window / cell.gpus if cell.gpus else 0.0,
        latencies=tuple(latencies),
    )
