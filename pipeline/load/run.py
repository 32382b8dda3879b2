"""One load from the first file to the report; and whether a cluster may be loaded at all."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from uuid import uuid4

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from pipeline.errors import ConfigError, UnmaskError
from pipeline.kafka import ClientConfig
from pipeline.load.arrivals import Ramp, by_chance, even
from pipeline.load.follow import Follower
from pipeline.load.media import Originals, write_copies
from pipeline.load.mix import Mix, planned
from pipeline.load.offer import Due, offer
from pipeline.load.report import Bounds, LoadReport, Sent, summarise

Tell = Callable[[str, int, int], None]
"""Hears what is being done, how much of it is done, and how much there is."""


NO_BOUNDS = Bounds()


@dataclass(frozen=True, slots=True)
class Load:
    """`warm_up`: seconds at the ramp's first rate that are offered before and not counted. `patience`: how long to wait
    for answers after the last upload. `steady`: evenly instead of by chance."""

    ramp: Ramp
    mix: Mix
    bounds: Bounds = NO_BOUNDS
    warm_up: float = 0.0
    patience: float = 60.0
    steady: bool = False
    seed: int = 1


def run_load(config: ClientConfig, load: Load, originals: Originals, place: Path, tell: Tell) -> LoadReport:
    """Make the files in a new folder inside `place`, offer them, follow them; the folder is removed afterwards.

    Raises:
        UnmaskError: the cluster does not answer, or does not take a record.
    """
    when = times(load)
    if not when:
        raise ConfigError("so low a rate over so short a time offers nothing")
    plan = planned(load.mix, len(when), load.seed)
    stamp = uuid4().hex[:12]
    folder = place / f"load-{stamp}"
    made = 0

    def on_file() -> None:
        nonlocal made
        made += 1
        tell("making files", made, len(plan))

    sent: list[Sent] = []

    def on_sent(each: Sent) -> None:
        sent.append(each)
        tell("offering", len(sent), len(plan))

    try:
        paths = write_copies(folder, originals, plan, stamp, on_file)
        uploads = [Due(path, each.kind, at) for path, each, at in zip(paths, plan, when, strict=True)]
        with Follower(config) as follower:
            began = time.monotonic()
            offer(config, uploads, began, on_sent)
            _wait(follower, sent, load.patience, tell)
            answers = follower.answers()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return summarise(sent, answers, offering_seconds=load.ramp.seconds, bounds=load.bounds, since=began + load.warm_up)


def is_local(servers: str) -> bool:
    """Whether every `host:port` of a list is this machine."""
    hosts = [each.strip().rsplit("://", 1)[-1].rpartition(":")[0].strip("[]") for each in servers.split(",")]
    return all(_loopback(host) for host in hosts)


def check_target(config: ClientConfig, *, allowed: bool) -> None:
    """Refuse to load what is not this machine, by what was configured and by what the brokers call themselves, unless
    somebody said that it is meant.

    Raises:
        ConfigError: it is somewhere else.
        UnmaskError: it does not answer.
    """
    servers = config["bootstrap.servers"]
    if not allowed and not is_local(servers):
        raise ConfigError(f"{servers} is not this machine: say --yes-this-cluster if it is meant to be loaded")
    try:
        brokers = AdminClient(dict(config)).list_topics(timeout=15).brokers.values()
    except KafkaException as error:
        raise UnmaskError(f"Kafka does not answer: {error.args[0]}") from error
    elsewhere = sorted({broker.host for broker in brokers if not _loopback(broker.host)})
    if elsewhere and not allowed:
        raise ConfigError(f"the brokers are {', '.join(elsewhere)}: say --yes-this-cluster if they are meant")


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def times(load: Load) -> tuple[float, ...]:
    """Seconds from the beginning at which its uploads are due, those of the warm-up first."""

    def of(ramp: Ramp, seed: int) -> tuple[float, ...]:
        return even(ramp) if load.steady else by_chance(ramp, seed)

    rate = load.ramp.start or load.ramp.end
    before = of(Ramp(rate, rate, load.warm_up), load.seed + 1) if load.warm_up > 0 else ()
    return (*before, *(load.warm_up + at for at in of(load.ramp, load.seed)))


def _wait(follower: Follower, sent: Sequence[Sent], patience: float, tell: Tell) -> None:
    ids = {each.media_id for each in sent}
    until = time.monotonic() + patience
    while True:
        done = len(ids & {each.media_id for each in follower.answers()})
        tell("waiting for answers", done, len(ids))
        if done == len(ids) or time.monotonic() >= until:
            return
        time.sleep(0.2)
