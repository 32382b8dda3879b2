"""What a plan starts from. Every figure says whether it was measured or is an estimate, and how it was come by."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from pipeline.load.mix import Kind

Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
# As `Probability` is written: Python takes equal annotations for one, and schemas would say whichever came first.
Share = Annotated[float, Meta(ge=0.0, le=1.0)]


class Known(StrEnum):
    """How a figure is known. `simulated`: computed from measured costs, beyond what was tried. A result is as good as
    the worst of what it was made from."""

    MEASURED = "measured"
    SIMULATED = "simulated"
    ESTIMATED = "estimated"


class Figure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A number with its origin."""

    value: float
    known: Known
    how: str


class KindCost(msgspec.Struct, frozen=True):
    """Of one upload, alone in the system. Seconds. `stages`: as the worker times them; `latency`: from due to answered;
    `latency_spread`: its standard deviation over its mean. `cpu_worker` includes the decoder children."""

    n: int
    latency: NotNegative
    latency_spread: NotNegative
    stages: dict[str, NotNegative]
    cpu_worker: NotNegative
    cpu_inference: NotNegative
    cpu_broker: NotNegative


class Costs(msgspec.Struct, frozen=True):
    """What uploads cost, by kind; `bytes`: of a record's value, by topic. `cores`: of the machine that was measured."""

    how: str
    known: Known
    cores: int
    kinds: dict[Kind, KindCost]
    bytes: dict[str, float]


class Demand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`curve`: relative load of each hour of a day, UTC. `mix`: of uploads, without re-uploads. `duplicates`: share of
    uploads whose bytes were judged before."""

    uploads_per_day: Positive
    curve: Annotated[tuple[NotNegative, ...], Meta(min_length=24, max_length=24)]
    mix: dict[Kind, NotNegative]
    duplicates: Share

    @property
    def shares(self) -> dict[Kind, float]:
        """The share of each kind in all uploads, re-uploads among them."""
        fresh = {kind: weight for kind, weight in self.mix.items() if kind is not Kind.REUPLOAD and weight > 0}
        total = sum(fresh.values())
        found = {kind: weight / total * (1 - self.duplicates) for kind, weight in fresh.items()}
        return found | ({Kind.REUPLOAD: self.duplicates} if self.duplicates else {})

    @property
    def rates(self) -> tuple[float, ...]:
        """Uploads a second in each hour."""
        total = sum(self.curve)
        return tuple(self.uploads_per_day * weight / total / 3600 for weight in self.curve)


class Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A worker and what it runs on: `concurrency` and `decoders` as in its settings. `fetch`: seconds more to fetch an
    upload from the platform's store than from a disk. `gpu_speed`: inference on one GPU over that on one core; None:
    inference runs on the worker's own cores. `gpu_share`: how busy a GPU may be at the peak. `clusters_of`: workers in
    one consumer group at most.
    """

    cores: Annotated[int, Meta(ge=1)]
    concurrency: Annotated[int, Meta(ge=1)]
    decoders: Annotated[int, Meta(ge=1)]
    fetch: Figure
    gpu_speed: Figure | None
    gpu_share: Share
    clusters_of: Figure


class Objective(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`share` of uploads is answered within `seconds` at the peak. `headroom`: more workers than it takes."""

    seconds: Positive
    share: Annotated[float, Meta(gt=0, lt=1)]
    headroom: NotNegative


class Review(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`share` of readable uploads goes to people (every broken one does). `handling`: mean seconds. A task is begun
    within `begin_within` seconds for `kept` of them. `at_work`: share of paid hours in which tasks are handled."""

    share: Figure
    handling: Figure
    begin_within: Positive
    kept: Annotated[float, Meta(gt=0, lt=1)]
    at_work: Figure


class Database(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rows written for an upload, for one that was not judged before, and for a task; transactions of one database."""

    rows_per_upload: Figure
    rows_per_content: Figure
    rows_per_task: Figure
    writes_per_second: Figure


class Prices(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """In one currency. Estimates by nature: put your own."""

    currency: str
    core_hour: Figure
    gpu_hour: Figure
    review_hour: Figure
    database_hour: Figure
    stored_gigabyte: Figure


class Inputs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of it."""

    demand: Demand
    worker: Shape
    objective: Objective
    review: Review
    database: Database
    prices: Prices
