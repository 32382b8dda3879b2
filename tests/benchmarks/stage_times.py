"""What an upload of each kind costs: one at a time through a whole stack, by the worker's own stage metrics and the
kernel's count of CPU. `python -m tests.benchmarks.stage_times FILE` writes what `unmask plan` starts from.
"""

from __future__ import annotations

import os
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from pipeline.load.follow import Follower
from pipeline.load.media import make_originals, write_copies
from pipeline.load.mix import Kind, Planned
from pipeline.load.offer import Due, offer
from pipeline.load.report import Sent
from pipeline.plan.inputs import Costs, KindCost, Known
from pipeline.settings import Settings
from pipeline.topology import DECIDED, ENFORCED, UPLOADED
from tests.benchmarks.bench import Bench, running
from tests.benchmarks.measured import cpu_seconds
from tests.benchmarks.report import processor

COUNTS = {
    Kind.IMAGE: 32,
    Kind.SHORT_VIDEO: 6,
    Kind.LONG_VIDEO: 3,
    Kind.AUDIO: 8,
    Kind.REUPLOAD: 32,
    Kind.BROKEN: 8,
}
_PATIENCE = 180.0


@dataclass(frozen=True, slots=True)
class _At:
    stages: dict[str, float]
    worker: float
    inference: float
    broker: float


def measured_costs(bench: Bench, kinds: frozenset[Kind] = frozenset(COUNTS)) -> Costs:
    """As `unmask plan` reads them, with how they were measured."""
    load, found = os.getloadavg()[0], measure_costs(bench, kinds)
    how = (
        f"One upload at a time through Apache Kafka, one worker, Triton on CPU, SQLite: {len(os.sched_getaffinity(0))} "
        f"cores of {processor()}, load {load:.1f} before and {os.getloadavg()[0]:.1f} after. Latency and stages are "
        "means; CPU is the kernel's count for the worker with its decoders, for Triton, and for the broker."
    )
    return Costs(how, Known.MEASURED, len(os.sched_getaffinity(0)), found, record_bytes(bench))


def measure_costs(
    bench: Bench, kinds: frozenset[Kind], counts: Mapping[Kind, int] = COUNTS, stamp: str = ""
) -> dict[Kind, KindCost]:
    """Each kind by itself, nothing else under way, after a warm-up that sees every kind. `stamp`: another for each time
    that this is called on one stack, so that no bytes were seen before; re-uploads are of images."""
    tell = bench.tell
    originals = make_originals(bench.place / "originals", bench.settings.home, bench.settings.models_dir, kinds, tell)
    found: dict[Kind, KindCost] = {}
    with Follower(bench.config) as follower:
        firsts = {kind: count for kind, count in counts.items() if kind in kinds and kind is not Kind.REUPLOAD}
        paths: dict[Kind, tuple[Path, ...]] = {}
        for kind, count in firsts.items():
            plan = [Planned(kind, n) for n in range(count + 1)]
            name = f"{kind}{stamp}"
            paths[kind] = write_copies(bench.place / name, originals, plan, name, lambda: None)
        for kind, those in paths.items():
            tell(f"warming up: {kind}")
            _one(bench, follower, those[-1], kind)
        paths[Kind.REUPLOAD] = paths[Kind.IMAGE]
        for kind, count in counts.items():
            if kind not in kinds:
                continue
            tell(f"{kind}, one at a time")
            before = _now(bench)
            took = [_one(bench, follower, path, kind) for path in paths[kind][:count]]
            found[kind] = _cost(took, before, _now(bench))
    return found


def record_bytes(bench: Bench) -> dict[str, float]:
    """Mean size of a record's value by topic, over what the topics hold now."""
    sizes: dict[str, list[int]] = {UPLOADED: [], DECIDED: [], ENFORCED: []}
    consumer = Consumer({**bench.config, "group.id": "sizes", "enable.auto.commit": "false"})
    try:
        topics = consumer.list_topics(timeout=15).topics
        consumer.assign([TopicPartition(name, n, OFFSET_BEGINNING) for name in sizes for n in topics[name].partitions])
        while messages := consumer.consume(500, timeout=3):
            for message in messages:
                if message.error() is None and message.value():
                    sizes[message.topic()].append(len(message.value()))
    finally:
        consumer.close()
    return {name: mean(each) for name, each in sizes.items() if each}


def _one(bench: Bench, follower: Follower, path: Path, kind: Kind) -> float:
    sent: list[Sent] = []
    offer(bench.config, [Due(path, kind, 0.0)], time.monotonic(), sent.append)
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        for answer in follower.answers():
            if answer.media_id == sent[0].media_id:
                time.sleep(0.05)  # what the flow still writes belongs to this upload
                return answer.at - sent[0].at
        time.sleep(0.005)
    raise RuntimeError(f"no answer to an upload ({kind}) in {_PATIENCE:g} s")


def _now(bench: Bench) -> _At:
    with urllib.request.urlopen(f"http://{bench.worker.http_address}/metrics") as answer:
        text = answer.read().decode()
    stages = {
        sample.labels["stage"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "unmask_stage_seconds_sum"
    }
    return _At(stages, cpu_seconds(bench.worker_pid), cpu_seconds(bench.triton_pid), cpu_seconds(bench.kafka_pid))


def _cost(took: Sequence[float], before: _At, after: _At) -> KindCost:
    n, average = len(took), mean(took)
    spread = (sum((each - average) ** 2 for each in took) / n) ** 0.5 / average
    return KindCost(
        n=n,
        latency=average,
        latency_spread=spread,
        stages={name: (value - before.stages.get(name, 0.0)) / n for name, value in after.stages.items()},
        cpu_worker=(after.worker - before.worker) / n,
        cpu_inference=(after.inference - before.inference) / n,
        cpu_broker=(after.broker - before.broker) / n,
    )


def main() -> int:
    """See above."""
    with running(Settings(), lambda what: print(what, file=sys.stderr, flush=True)) as bench:
        found = measured_costs(bench)
    text = msgspec.json.format(msgspec.json.encode(found), indent=1)
    Path(sys.argv[1]).write_bytes(text + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
