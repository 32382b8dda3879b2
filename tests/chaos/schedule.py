"""When what breaks: drawn from a seed, so that a run can be repeated. Pure."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import cycle


class Kind(StrEnum):
    """What happens to a part."""

    WORKER_KILLED = "worker SIGKILL"
    WORKER_TERMINATED = "worker SIGTERM"
    WORKER_FROZEN = "worker SIGSTOP, then SIGCONT"
    PEER_JOINS = "peer joins"
    PEER_LEAVES = "peer leaves"
    BROKER_KILLED = "broker SIGKILL, then start"
    TRITON_KILLED = "Triton SIGKILL"
    STUB_KILLED = "model instance SIGKILL"


@dataclass(frozen=True, slots=True)
class Fault:
    """`at`: seconds after the first upload. `lasts`: seconds until it is undone, where something is undone.

    `pick` (0…1) chooses among those that can be hit when the time has come.
    """

    at: float
    kind: Kind
    pick: float
    lasts: float = 0.0


SESSION_SECONDS = 15.0
"""After so long without a sign of life a worker loses its partitions: frozen for longer, it wakes as a zombie."""


def schedule(worker_signals: int, seconds: float, brokers: int, seed: int) -> tuple[Fault, ...]:
    """Faults in order of time, one at a random moment of each of as many equal stretches of `seconds`.

    Args:
        worker_signals: SIGKILLs and SIGTERMs of workers, about half and half. For every six of them a peer joins and
            one leaves; for every twelve a broker dies and comes back, Triton dies, a model instance dies, and a worker
            is frozen. Of each there is at least one.
        seconds: how long uploads are published.
        brokers: with three, a broker stays away for so long that its partitions move to the others.
        seed: the same gives the same.
    """
    drawn = random.Random(seed)
    rare = max(1, worker_signals // 12)
    kills = worker_signals - worker_signals // 2
    kinds = [Kind.WORKER_KILLED] * kills + [Kind.WORKER_TERMINATED] * (worker_signals // 2)
    kinds += [Kind.WORKER_FROZEN, Kind.BROKER_KILLED, Kind.TRITON_KILLED, Kind.STUB_KILLED] * rare
    kinds += [Kind.PEER_JOINS, Kind.PEER_LEAVES] * max(1, worker_signals // 6)
    drawn.shuffle(kinds)
    # By turns, so that the number of workers stays within one of what it was.
    peers = cycle((Kind.PEER_JOINS, Kind.PEER_LEAVES, Kind.PEER_LEAVES, Kind.PEER_JOINS))
    kinds = [next(peers) if kind in (Kind.PEER_JOINS, Kind.PEER_LEAVES) else kind for kind in kinds]
    stretch = seconds / len(kinds)
    frozen = 0
    faults = []
    for number, kind in enumerate(kinds):
        lasts = 0.0
        if kind is Kind.WORKER_FROZEN:
            # By turns a zombie that has lost its partitions, and a pause that nobody notices.
            lasts = SESSION_SECONDS + drawn.uniform(3, 8) if frozen % 2 == 0 else drawn.uniform(2, 6)
            frozen += 1
        elif kind is Kind.BROKER_KILLED:
            lasts = drawn.uniform(2, 6) if brokers == 1 else drawn.uniform(20, 35)
        faults.append(Fault((number + drawn.random()) * stretch, kind, drawn.random(), lasts))
    return tuple(faults)


def tally(faults: Iterable[Fault]) -> dict[str, int]:
    """How many of each kind, in the order of `Kind`."""
    counted = Counter(fault.kind for fault in faults)
    return {kind.value: counted[kind] for kind in Kind if counted[kind]}
