"""When what breaks: drawn from a seed, so that a run can be repeated. Pure."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import cycle


class Kind(StrEnum):
    """What happens to a part. Cut: connections end, new ones are refused. Silent: they stay, nothing comes through."""

    WORKER_KILLED = "worker SIGKILL"
    WORKER_TERMINATED = "worker SIGTERM"
    WORKER_FROZEN = "worker SIGSTOP, then SIGCONT"
    WORKER_SKEWED = "worker with a wrong clock joins, then leaves"
    PEER_JOINS = "peer joins"
    PEER_LEAVES = "peer leaves"
    BROKER_KILLED = "broker SIGKILL, then start"
    BROKER_STOPPED = "broker SIGTERM, then start"
    KAFKA_SLOW = "Kafka slow"
    KAFKA_SILENT = "Kafka silent"
    TRITON_KILLED = "Triton SIGKILL"
    TRITON_STOPPED = "Triton SIGTERM"
    STUB_KILLED = "model instance SIGKILL"
    TRITON_SLOW = "Triton slow"
    TRITON_SILENT = "Triton silent"
    DATABASE_KILLED = "database SIGKILL, then start"
    DATABASE_STOPPED = "database stopped, then start"
    DATABASE_SLOW = "database slow"
    DATABASE_CUT = "database cut"
    DATABASE_SILENT = "database silent"
    CONSOLE_KILLED = "console SIGKILL, then start"
    CONSOLE_STOPPED = "console SIGTERM, then start"
    ORIGIN_SLOW = "media origin slow"
    ORIGIN_CUT = "media origin cut"
    SPOOL_FULL = "spool of a worker full"
    POISON = "file that kills its decoder"


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

_SIGNALS = (Kind.WORKER_KILLED, Kind.WORKER_TERMINATED)
_PEERS = (Kind.PEER_JOINS, Kind.PEER_LEAVES)

_LASTS: dict[Kind, tuple[float, float]] = {
    Kind.WORKER_SKEWED: (25.0, 40.0),
    Kind.KAFKA_SLOW: (15.0, 25.0),
    Kind.KAFKA_SILENT: (6.0, 12.0),
    Kind.TRITON_SLOW: (15.0, 25.0),
    Kind.TRITON_SILENT: (10.0, 25.0),
    Kind.DATABASE_KILLED: (3.0, 12.0),
    Kind.DATABASE_STOPPED: (3.0, 12.0),
    Kind.DATABASE_SLOW: (15.0, 25.0),
    Kind.DATABASE_CUT: (5.0, 20.0),
    Kind.DATABASE_SILENT: (5.0, 20.0),
    Kind.CONSOLE_KILLED: (0.0, 5.0),
    Kind.CONSOLE_STOPPED: (0.0, 5.0),
    Kind.ORIGIN_SLOW: (15.0, 25.0),
    Kind.ORIGIN_CUT: (5.0, 20.0),
    Kind.SPOOL_FULL: (10.0, 25.0),
}
"""Between how many seconds it lasts. What is not here is over at once, or said in `_lasting`."""

ALARMING: dict[Kind, tuple[float, float]] = {
    Kind.TRITON_SILENT: (240.0, 260.0),
    Kind.CONSOLE_KILLED: (220.0, 240.0),
}
"""What lasts once in a run of ten minutes for so long that somebody has to be called."""

ALARMING_FROM = 600.0
"""Seconds of publishing from which a run has time for that."""


def schedule(
    worker_signals: int, each: int, seconds: float, brokers: int, seed: int, kinds: Collection[Kind] = tuple(Kind)
) -> tuple[Fault, ...]:
    """Faults in order of time, one at a random moment of each of as many equal stretches of `seconds`.

    Args:
        worker_signals: SIGKILLs and SIGTERMs of workers, about half and half. For every six of them a peer joins and
            one leaves, and at least one.
        each: how often everything else happens.
        seconds: how long uploads are published.
        brokers: with three, a broker stays away for so long that its partitions move to the others.
        seed: the same gives the same.
        kinds: what may happen at all.
    """
    drawn = random.Random(seed)
    kills = worker_signals - worker_signals // 2
    chosen = [Kind.WORKER_KILLED] * kills + [Kind.WORKER_TERMINATED] * (worker_signals // 2)
    chosen += [*_PEERS] * max(1, worker_signals // 6)
    chosen += [kind for kind in Kind if kind not in (*_SIGNALS, *_PEERS)] * each
    chosen = [kind for kind in chosen if kind in kinds]
    drawn.shuffle(chosen)
    # By turns, so that the number of workers stays within one of what it was.
    peers = cycle((Kind.PEER_JOINS, Kind.PEER_LEAVES, Kind.PEER_LEAVES, Kind.PEER_JOINS))
    chosen = [next(peers) if kind in _PEERS else kind for kind in chosen]
    stretch = seconds / len(chosen)
    faults: list[Fault] = []
    for number, kind in enumerate(chosen):
        earlier = sum(fault.kind is kind for fault in faults)
        at, pick = (number + drawn.random()) * stretch, drawn.random()
        faults.append(Fault(at, kind, pick, _lasting(kind, earlier, brokers, drawn)))
    return tuple(_with_alarming(faults, seconds, drawn) if seconds >= ALARMING_FROM else faults)


def _lasting(kind: Kind, earlier: int, brokers: int, drawn: random.Random) -> float:
    match kind:
        case Kind.WORKER_FROZEN:
            # By turns a zombie that has lost its partitions, and a pause that nobody notices.
            return SESSION_SECONDS + drawn.uniform(3, 8) if earlier % 2 == 0 else drawn.uniform(2, 6)
        case Kind.BROKER_KILLED | Kind.BROKER_STOPPED:
            return drawn.uniform(2, 6) if brokers == 1 else drawn.uniform(20, 35)
        case _:
            return drawn.uniform(*_LASTS[kind]) if kind in _LASTS else 0.0


def _with_alarming(faults: list[Fault], seconds: float, drawn: random.Random) -> list[Fault]:
    """The first of each alarming kind lasts longer, and begins so early that it is over before publishing is."""
    for kind, bounds in ALARMING.items():
        place = next((number for number, fault in enumerate(faults) if fault.kind is kind), None)
        if place is not None:
            lasts = drawn.uniform(*bounds)
            at = min(faults[place].at, seconds - lasts - 60)
            faults[place] = Fault(at, kind, faults[place].pick, lasts)
    return sorted(faults, key=lambda fault: fault.at)


def tally(faults: Iterable[Fault]) -> dict[str, int]:
    """How many of each kind, in the order of `Kind`."""
    counted = Counter(fault.kind for fault in faults)
    return {kind.value: counted[kind] for kind in Kind if counted[kind]}
