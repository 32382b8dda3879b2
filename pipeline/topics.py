"""Provisioning: make the topics of a cluster what topology.py says they are. Never deletes anything.

What differs is reported before it is touched, and what cannot be taken back (more partitions move keys to other
partitions, a shorter retention deletes records) happens only when asked for.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from pipeline.errors import UnmaskError
from pipeline.topology import TopicSpec

ClientConfig = Mapping[str, str | int | float | bool]
"""librdkafka's names: `bootstrap.servers`, `security.protocol`, …"""

MOST_REPLICAS = 3  # what production clusters use; more costs throughput and buys little

_silent = logging.getLogger("pipeline.topics.librdkafka")  # it repeats what the exceptions say
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


class TopicsFailed(UnmaskError):
    """The cluster did not answer, or refused; the message is the broker's."""


@dataclass(frozen=True, slots=True)
class TopicChange:
    """One difference between what is wanted and what is there. `current` is empty for a missing topic."""

    topic: str
    kind: Literal["create", "partitions", "config"]
    setting: str
    current: str
    wanted: str
    applied: bool = False

    def __str__(self) -> str:
        if self.kind == "create":
            return f"{self.topic}: create with {self.wanted}"
        return f"{self.topic}: {self.setting} is {self.current}, should be {self.wanted}"


def diff(specs: Iterable[TopicSpec], client_config: ClientConfig, timeout_s: float = 15.0) -> list[TopicChange]:
    """What would have to change, in the order of `specs`; empty when all is as wanted. Topics without a spec are not
    looked at. Raises TopicsFailed."""
    return _diff(list(specs), _admin(client_config), timeout_s)


def apply(
    specs: Iterable[TopicSpec],
    client_config: ClientConfig,
    *,
    replication: int | None = None,
    raise_partitions: bool = False,
    alter_config: bool = False,
    timeout_s: float = 15.0,
) -> list[TopicChange]:
    """Create what is missing (and wait until it can be written to), and change what exists where asked.

    `replication` None: min(3, brokers). Returns every difference that was found; `applied` says which are gone.
    Fewer partitions are never applied, since no broker can. Raises TopicsFailed.
    """
    wanted = {spec.name: spec for spec in specs}
    admin = _admin(client_config)
    changes = _diff(list(wanted.values()), admin, timeout_s)
    missing = [wanted[change.topic] for change in changes if change.kind == "create"]
    _create(admin, missing, replication or min(MOST_REPLICAS, len(broker_ids(client_config, timeout_s))), timeout_s)
    done = []
    for change in changes:
        match change.kind:
            case "create":
                applied = True
            case "partitions":
                applied = raise_partitions and int(change.wanted) > int(change.current)
                if applied:
                    _ask(admin.create_partitions([NewPartitions(change.topic, int(change.wanted))]), timeout_s)
            case "config":
                applied = alter_config
                if applied:
                    _alter(admin, change, timeout_s)
        done.append(replace(change, applied=applied))
    return done


def broker_ids(client_config: ClientConfig, timeout_s: float = 5.0) -> frozenset[int]:
    """The ids of the brokers that are up. Raises TopicsFailed when none answers."""
    return frozenset(_metadata(_admin(client_config), timeout_s).brokers)


def _admin(client_config: ClientConfig) -> AdminClient:
    return AdminClient(dict(client_config), logger=_silent)


def _diff(specs: Sequence[TopicSpec], admin: AdminClient, timeout_s: float) -> list[TopicChange]:
    there = {name: len(topic.partitions) for name, topic in _metadata(admin, timeout_s).topics.items()}
    config = _config(admin, [spec.name for spec in specs if spec.name in there], timeout_s)
    changes: list[TopicChange] = []
    for spec in specs:
        if spec.name not in there:
            settings = " ".join(f"{key}={value}" for key, value in wanted_config(spec).items())
            changes.append(TopicChange(spec.name, "create", "", "", f"{spec.partitions} partitions {settings}"))
            continue
        if there[spec.name] != spec.partitions:
            changes.append(
                TopicChange(spec.name, "partitions", "partitions", str(there[spec.name]), str(spec.partitions))
            )
        changes += [
            TopicChange(spec.name, "config", key, config[spec.name].get(key, "unset"), value)
            for key, value in wanted_config(spec).items()
            if config[spec.name].get(key) != value
        ]
    return changes


def wanted_config(spec: TopicSpec) -> dict[str, str]:
    """The topic settings that a spec stands for."""
    return {
        "cleanup.policy": spec.cleanup,
        "retention.ms": str(spec.retention_ms),
        "max.message.bytes": str(spec.max_message_bytes),
    }


def _create(admin: AdminClient, specs: Sequence[TopicSpec], replication: int, timeout_s: float) -> None:
    if not specs:
        return
    _ask(
        admin.create_topics(
            [
                NewTopic(
                    spec.name,
                    num_partitions=spec.partitions,
                    replication_factor=replication,
                    config=wanted_config(spec),
                )
                for spec in specs
            ]
        ),
        timeout_s,
    )
    deadline = time.monotonic() + timeout_s
    while unready := _without_leader(admin, specs, timeout_s):
        if time.monotonic() > deadline:
            raise TopicsFailed(f"created, but not writable within {timeout_s:g} s: {', '.join(sorted(unready))}")
        time.sleep(0.05)


def _without_leader(admin: AdminClient, specs: Sequence[TopicSpec], timeout_s: float) -> set[str]:
    topics = _metadata(admin, timeout_s).topics
    return {
        spec.name
        for spec in specs
        if spec.name not in topics
        or len(topics[spec.name].partitions) < spec.partitions
        or any(partition.leader < 0 for partition in topics[spec.name].partitions.values())
    }


def _config(admin: AdminClient, names: Sequence[str], timeout_s: float) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    return {
        resource.name: {key: entry.value for key, entry in entries.items()}
        for resource, entries in _ask(admin.describe_configs(resources), timeout_s).items()
    }


def _alter(admin: AdminClient, change: TopicChange, timeout_s: float) -> None:
    entry = ConfigEntry(change.setting, change.wanted, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, change.topic, incremental_configs=[entry])
    _ask(admin.incremental_alter_configs([resource]), timeout_s)


def _metadata(admin: AdminClient, timeout_s: float) -> Any:
    return _or_failed(partial(admin.list_topics, timeout=timeout_s))


def _ask(futures: Mapping[Any, Future[Any]], timeout_s: float) -> dict[Any, Any]:
    return {key: _or_failed(partial(future.result, timeout_s)) for key, future in futures.items()}


def _or_failed(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except (KafkaException, TimeoutError) as error:
        raise TopicsFailed(str(error)) from error
