"""From inputs and simulated cells to what to run, hire and pay. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import msgspec

from pipeline.errors import ConfigError
from pipeline.load.mix import Kind
from pipeline.plan.flow import Cell, Simulated, simulate
from pipeline.plan.inputs import Costs, Inputs, Known
from pipeline.plan.staff import people_needed, waits_longer
from pipeline.topology import DECIDED, ENFORCED, UPLOADED

PARTITIONS_PER_WORKER = 2
"""So that workers that are added, or lost, change how much each has by less than a half."""
_PROBES = 9
_UPLOADS = 1500

Tell = Callable[[str, int, int], None]


class Hour(msgspec.Struct, frozen=True):
    """One hour of the day. `workers`: scaled to its load. `held`: seconds at the objective's share."""

    hour: int
    rate: float
    workers: int
    busy: float
    p50: float
    p95: float
    p99: float
    held: float
    reviewers: int


class Item(msgspec.Struct, frozen=True):
    """One line of the plan."""

    what: str
    value: float
    unit: str
    known: Known
    how: str


class Plan(msgspec.Struct, frozen=True):
    """`holds`: whether the fleet keeps the objective in every hour."""

    uploads_per_day: float
    peak: float
    rate_per_worker: float
    items: tuple[Item, ...]
    costs: tuple[Item, ...]
    hours: tuple[Hour, ...]
    holds: bool

    def value(self, what: str) -> float:
        """The line of that name. Raises KeyError."""
        for item in (*self.items, *self.costs):
            if item.what == what:
                return item.value
        raise KeyError(what)


def make_plan(inputs: Inputs, costs: Costs, tell: Tell = lambda *_: None, seed: int = 1) -> Plan:
    """What the demand takes. Every simulation draws the same uploads, so that hours differ by their rates alone.

    Raises:
        ConfigError: a kind of the mix was not measured, or the objective cannot be kept at any rate.
    """
    shares = inputs.demand.shares
    if missing := sorted(kind.value for kind in shares if kind not in costs.kinds):
        raise ConfigError(f"nothing is known of what these cost: {', '.join(missing)}")
    objective, worker = inputs.objective, inputs.worker
    cell = cell_of(inputs, costs)
    tell("finding what a worker holds", 0, _PROBES)
    each = highest_rate(cell, costs, shares, objective.seconds, objective.share, tell, seed) / cell.workers
    if each <= 0:
        raise ConfigError(
            f"{objective.share:.0%} within {objective.seconds:g} s is out of reach: single uploads take longer"
        )
    peak = max(inputs.demand.rates)
    hours = []
    for hour, rate in enumerate(inputs.demand.rates):
        tell("simulating the hours of a day", hour, 24)
        hours.append(_hour(hour, rate, each, inputs, costs, cell, seed))
    tell("simulating the hours of a day", 24, 24)
    workers = max(hour.workers for hour in hours)
    partitions = workers * PARTITIONS_PER_WORKER
    gpus = math.ceil(workers / cell.workers) * cell.gpus
    return Plan(
        uploads_per_day=inputs.demand.uploads_per_day,
        peak=peak,
        rate_per_worker=each,
        items=_items(inputs, costs, hours, workers, partitions, gpus),
        costs=_costs(inputs, costs, hours, gpus / workers, worker.cores),
        hours=tuple(hours),
        holds=all(hour.held <= objective.seconds for hour in hours),
    )


def cell_of(inputs: Inputs, costs: Costs) -> Cell:
    """The smallest part of the fleet that shares nothing with the rest: a worker, or the workers of one GPU."""
    shape = inputs.worker
    cell = Cell(1, shape.cores, shape.concurrency, shape.decoders, 0, 1.0, shape.fetch.value)
    if shape.gpu_speed is None:
        return cell
    shares = inputs.demand.shares
    gpu = sum(share * costs.kinds[kind].cpu_inference for kind, share in shares.items()) / shape.gpu_speed.value
    cpu = sum(share * (costs.kinds[kind].cpu_worker + costs.kinds[kind].cpu_broker) for kind, share in shares.items())
    workers = max(1, math.floor(shape.gpu_share * cpu / (shape.cores * gpu))) if gpu > 0 else 1
    return replace(cell, workers=workers, gpus=1, gpu_speed=shape.gpu_speed.value)


def highest_rate(
    cell: Cell,
    costs: Costs,
    shares: Mapping[Kind, float],
    seconds: float,
    share: float,
    tell: Tell = lambda *_: None,
    seed: int = 1,
) -> float:
    """The most uploads a second at which this share is answered in time, for a cell; 0 where even a few are not."""
    low, high = 0.0, capacity(cell, costs, shares)
    for probe in range(_PROBES):
        tell("finding what a worker holds", probe, _PROBES)
        middle = (low + high) / 2
        if simulate(cell, costs.kinds, shares, middle, uploads=_UPLOADS, seed=seed).within(share) <= seconds:
            low = middle
        else:
            high = middle
    return low


def capacity(cell: Cell, costs: Costs, shares: Mapping[Kind, float]) -> float:
    """Uploads a second that cores and GPUs could answer if nothing ever waited: no rate above it can be held."""
    gpu = sum(share * costs.kinds[kind].cpu_inference for kind, share in shares.items()) / cell.gpu_speed
    cpu = sum(share * (costs.kinds[kind].cpu_worker + costs.kinds[kind].cpu_broker) for kind, share in shares.items())
    if cell.gpus:
        return min(cell.workers * cell.cores / max(cpu, 1e-9), cell.gpus / max(gpu, 1e-9))
    return cell.workers * cell.cores / max(cpu + gpu * cell.gpu_speed, 1e-9)


def _hour(hour: int, rate: float, each: float, inputs: Inputs, costs: Costs, cell: Cell, seed: int) -> Hour:
    wanted = rate * (1 + inputs.objective.headroom) / each
    # Whole cells, since a GPU's workers come and go together.
    workers = max(1, math.ceil(wanted / cell.workers)) * cell.workers
    reviewers = people_needed(
        rate * _task_share(inputs),
        inputs.review.handling.value,
        inputs.review.begin_within,
        inputs.review.kept,
    )
    if rate <= 0:
        return Hour(hour, rate, workers, 0.0, 0.0, 0.0, 0.0, 0.0, reviewers)
    seen: Simulated = simulate(
        cell, costs.kinds, inputs.demand.shares, rate * cell.workers / workers, uploads=_UPLOADS, seed=seed
    )
    return Hour(
        hour, rate, workers, seen.busy, seen.p50, seen.p95, seen.p99, seen.within(inputs.objective.share), reviewers
    )


def _task_share(inputs: Inputs) -> float:
    broken = inputs.demand.shares.get(Kind.BROKEN, 0.0)
    return broken + (1 - broken) * inputs.review.share.value


def _items(
    inputs: Inputs, costs: Costs, hours: list[Hour], workers: int, partitions: int, gpus: int
) -> tuple[Item, ...]:
    rates, shape, review, database = inputs.demand.rates, inputs.worker, inputs.review, inputs.database
    peak, tasks = max(rates), _task_share(inputs)
    rows = (
        database.rows_per_upload.value
        + (1 - inputs.demand.duplicates) * database.rows_per_content.value
        + tasks * database.rows_per_task.value
    )
    known = Known.SIMULATED if costs.known is Known.MEASURED and shape.gpu_speed is None else Known.ESTIMATED
    worst = min(hours, key=lambda hour: (-hour.p95, hour.hour))
    busiest = max(hours, key=lambda hour: hour.rate)
    wire = sum(costs.bytes.get(name, 0.0) for name in (UPLOADED, DECIDED, ENFORCED))
    late = waits_longer(
        busiest.reviewers, busiest.rate * tasks, review.handling.value, review.begin_within
    ) if busiest.reviewers else 0.0  # fmt: skip
    paid = sum(hour.reviewers for hour in hours) / review.at_work.value
    return (
        Item("uploads at the peak", peak, "/s", Known.ESTIMATED, "the busiest hour of the curve"),
        Item("workers", workers, "", known, f"of {shape.cores} cores, with the headroom"),
        Item("worker cores", workers * shape.cores, "", known, "inference included where there is no GPU"),
        Item("GPUs", gpus, "", Known.ESTIMATED, shape.gpu_speed.how if shape.gpu_speed else "none wanted"),
        Item("p50", busiest.p50, "s", known, "at the peak"),
        Item("p95", busiest.p95, "s", known, "at the peak"),
        Item("p99", busiest.p99, "s", known, "at the peak"),
        Item("worst p95 of a day", worst.p95, "s", known, f"hour {worst.hour}, workers scaled to each hour"),
        Item("partitions", partitions, "", known, f"{PARTITIONS_PER_WORKER} a worker"),
        Item(
            "clusters",
            math.ceil(workers / shape.clusters_of.value),
            "",
            Known.ESTIMATED,
            shape.clusters_of.how,
        ),
        Item("Kafka in at the peak", peak * wire / 1e6, "MB/s", costs.known, "values of three topics, uncompressed"),
        Item("rows written at the peak", peak * rows, "/s", Known.ESTIMATED, database.rows_per_upload.how),
        Item(
            "databases",
            math.ceil(peak * rows / database.writes_per_second.value),
            "",
            Known.ESTIMATED,
            database.writes_per_second.how,
        ),
        Item("review tasks a day", sum(rates) * 3600 * tasks, "", Known.ESTIMATED, review.share.how),
        Item("reviewers at the peak", busiest.reviewers, "", Known.ESTIMATED, "Erlang's queue, hour by hour"),
        Item("tasks begun late at the peak", late, "share", Known.ESTIMATED, f"later than {review.begin_within:g} s"),
        Item("paid review hours a day", paid, "h", Known.ESTIMATED, review.at_work.how),
    )


def _costs(inputs: Inputs, costs: Costs, hours: list[Hour], gpus_per_worker: float, cores: int) -> tuple[Item, ...]:
    """A day's, divided by a day's uploads. Workers (and their GPUs) are those of each hour."""
    prices, millions = inputs.prices, inputs.demand.uploads_per_day / 1e6
    worker_hours = sum(hour.workers for hour in hours)
    paid = sum(hour.reviewers for hour in hours) / inputs.review.at_work.value
    peak = max(inputs.demand.rates)
    database = inputs.database
    rows = database.rows_per_upload.value + database.rows_per_content.value
    databases = math.ceil(peak * rows / database.writes_per_second.value)
    kept = sum(costs.bytes.get(name, 0.0) for name in (DECIDED, ENFORCED)) * 2  # on the topic and in the ledger
    lines = (
        ("cores", worker_hours * cores * prices.core_hour.value, prices.core_hour.how),
        ("GPUs", worker_hours * gpus_per_worker * prices.gpu_hour.value, prices.gpu_hour.how),
        ("databases", databases * 24 * prices.database_hour.value, prices.database_hour.how),
        ("a month's records", inputs.demand.uploads_per_day * kept / 1e9 * prices.stored_gigabyte.value, "3 copies"),
        ("review", paid * prices.review_hour.value, prices.review_hour.how),
    )
    unit = f"{prices.currency} per million uploads"
    found = [Item(f"cost of {what}", amount / millions, unit, Known.ESTIMATED, how) for what, amount, how in lines]
    machines = sum(item.value for item in found[:-1])
    found.append(Item("cost of all machines", machines, unit, Known.ESTIMATED, "without people, network and media"))
    return tuple(found)
