"""Costs and inputs that are small enough to reckon by hand."""

from __future__ import annotations

from typing import Any

from pipeline.load.mix import Kind
from pipeline.plan.inputs import Costs, Inputs, KindCost, Known
from pipeline.plan.read import read_inputs

PICTURE = KindCost(
    n=1,
    latency=0.5,
    latency_spread=0.0,
    stages={"fetch": 0.0, "decode": 0.1, "detect": 0.4, "decide": 0.0},
    cpu_worker=0.2,
    cpu_inference=0.3,
    cpu_broker=0.0,
)
"""Half a second alone, half a second of CPU."""
AGAIN = KindCost(
    n=1, latency=0.02, latency_spread=0.0, stages={"fetch": 0.01}, cpu_worker=0.01, cpu_inference=0.0, cpu_broker=0.0
)
COSTS = Costs(
    how="by hand",
    known=Known.MEASURED,
    cores=2,
    kinds={Kind.IMAGE: PICTURE, Kind.REUPLOAD: AGAIN},
    bytes={"media.uploaded": 400.0, "media.decided": 10_000.0, "media.enforced": 600.0},
)


def inputs(**changes: Any) -> Inputs:
    """The shipped inputs with pictures alone, no fetching, and what a test changes (`demand__uploads_per_day`)."""
    plain = {
        "demand.mix": {"image": 1},
        "demand.duplicates": 0.0,
        "worker.fetch": {"value": 0.0, "known": "estimated", "how": "none"},
        "objective.seconds": 5.0,
    }
    return read_inputs(None, plain | {name.replace("__", "."): value for name, value in changes.items()})
