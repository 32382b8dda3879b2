"""Reads what a plan starts from: the operator's file, the measured costs, a running worker's `/metrics`."""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec.structs import replace

from pipeline.errors import ConfigError
from pipeline.load.mix import Kind
from pipeline.plan.inputs import Costs, Inputs, Known

DEFAULT = Path(__file__).with_name("default.yaml")
MEASURED = Path(__file__).with_name("measured.json")
_STAGES = ("fetch", "decode", "detect", "decide")
_ENOUGH = 100
"""Uploads that a worker must have screened before its means are taken."""


def read_inputs(path: Path | None, changes: Mapping[str, Any]) -> Inputs:
    """The file, or the one that ships, with single values changed: `{"demand.uploads_per_day": 1e9}`.

    Raises:
        ConfigError: it cannot be read or means nothing; the text says where.
    """
    try:
        raw = yaml.safe_load((path or DEFAULT).read_bytes())
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path or DEFAULT}: {error}") from error
    for name, value in changes.items():
        place, _, field = name.rpartition(".")
        try:
            raw[place][field] = value
        except (KeyError, TypeError):
            raise ConfigError(f"{path or DEFAULT}: there is no {place}") from None
    try:
        return msgspec.convert(raw, Inputs)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path or DEFAULT}: {error}") from error


def read_costs(path: Path | None) -> Costs:
    """The file, or the one that ships. Raises ConfigError."""
    try:
        return msgspec.json.decode((path or MEASURED).read_bytes(), type=Costs)
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigError(f"{path or MEASURED}: {error}") from error


def from_worker(costs: Costs, shares: Mapping[Kind, float], url: str) -> Costs:
    """The costs, scaled to what a running worker says of its stages.

    A worker counts all kinds together, under whatever else its machine does, and wall time only; so each stage of every
    kind is scaled alike, and CPU with the stages' sum. That is coarser than a measurement by kind: the result is marked
    as an estimate. A worker under much load shows waiting as work, and makes the plan too large.

    Raises:
        ConfigError: it does not answer, or has screened too little.
    """
    from prometheus_client.parser import text_string_to_metric_families  # not wanted by other commands

    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"{url}: a worker's metrics are at http://HOST:PORT/metrics")
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 (checked above)
            text = answer.read().decode()
    except OSError as error:
        raise ConfigError(f"{url}: {error}") from error
    sums, counts = dict.fromkeys(_STAGES, 0.0), dict.fromkeys(_STAGES, 0.0)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            for name, into in (("unmask_stage_seconds_sum", sums), ("unmask_stage_seconds_count", counts)):
                if sample.name == name and sample.labels.get("stage") in into:
                    into[sample.labels["stage"]] += sample.value
    if counts["fetch"] < _ENOUGH:
        raise ConfigError(f"{url}: only {counts['fetch']:.0f} uploads were screened; {_ENOUGH} at least, please")
    return scaled(costs, shares, {name: sums[name] / counts["fetch"] for name in _STAGES})


def scaled(costs: Costs, shares: Mapping[Kind, float], seen: Mapping[str, float]) -> Costs:
    """The costs such that an upload of this mix spends the seconds that were `seen` in each stage, on average."""

    def mean(stage: str) -> float:
        return sum(share * costs.kinds[kind].stages.get(stage, 0.0) for kind, share in shares.items())

    factors = {stage: seen[stage] / mean(stage) if mean(stage) > 0 else 1.0 for stage in seen}
    total = sum(seen.values()) / sum(mean(stage) for stage in seen)
    kinds = {
        kind: replace(
            cost,
            stages={stage: seconds * factors.get(stage, 1.0) for stage, seconds in cost.stages.items()},
            latency=cost.latency
            + sum(seconds * (factors.get(stage, 1.0) - 1) for stage, seconds in cost.stages.items()),
            cpu_worker=cost.cpu_worker * total,
            cpu_inference=cost.cpu_inference * total,
        )
        for kind, cost in costs.kinds.items()
    }
    how = f"{costs.how} Scaled to the stages of a running worker, by {total:.2f} in all."
    return replace(costs, how=how, known=Known.ESTIMATED, kinds=kinds)
