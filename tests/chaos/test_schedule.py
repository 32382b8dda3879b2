"""The schedule of faults and the plan of uploads, without anything that runs."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate

import pytest

from pipeline.events import MediaUploaded
from pipeline.events.codec import MalformedEvent, decode
from tests.chaos.schedule import ALARMING, SESSION_SECONDS, Kind, schedule, tally
from tests.chaos.uploads import plan

CONTENTS = tuple(f"file:///media/{number}.jpg" for number in range(40))


@pytest.mark.parametrize("brokers", [1, 3])
@pytest.mark.parametrize("seed", range(5))
def test_a_full_run_has_every_kind_of_fault(brokers: int, seed: int) -> None:
    """Sixteen signals to workers, and on top of them every other kind, spread over the run."""
    faults = schedule(16, 2, 600.0, brokers, seed)
    counts = tally(faults)
    assert counts[Kind.WORKER_KILLED] + counts[Kind.WORKER_TERMINATED] == 16
    assert set(counts) == set(Kind)
    assert min(counts.values()) == 2
    peers = [fault.kind for fault in faults if fault.kind in (Kind.PEER_JOINS, Kind.PEER_LEAVES)]
    workers = list(accumulate((1 if kind is Kind.PEER_JOINS else -1 for kind in peers), initial=3))
    assert (min(workers), max(workers), workers[-1]) == (2, 4, 3)
    times = [fault.at for fault in faults]
    assert times == sorted(times)
    assert 0 <= times[0] <= times[-1] <= 600.0


@pytest.mark.parametrize("seed", range(5))
def test_a_full_run_calls_somebody_and_has_the_time_to(seed: int) -> None:
    """One fault of each alarming kind lasts for so long that alerts fire, and is over before publishing is; a shorter
    run has none of these."""
    for kind, (shortest, _) in ALARMING.items():
        (long,) = (f for f in schedule(16, 2, 600.0, 3, seed) if f.kind is kind and f.lasts >= shortest)
        assert long.at + long.lasts < 600.0
        assert all(fault.lasts < shortest for fault in schedule(16, 2, 599.0, 3, seed))


def test_only_what_may_happen_happens() -> None:
    """A run can be kept to some kinds."""
    some = {Kind.WORKER_KILLED, Kind.POISON}
    assert {fault.kind for fault in schedule(4, 1, 60.0, 1, 1, some)} == some


def test_the_same_seed_gives_the_same_faults() -> None:
    """A run can be repeated."""
    assert schedule(12, 1, 100.0, 1, 3) == schedule(12, 1, 100.0, 1, 3) != schedule(12, 1, 100.0, 1, 4)


def test_some_worker_is_frozen_for_longer_than_it_keeps_its_partitions() -> None:
    """It wakes as a zombie."""
    longest = max(fault.lasts for fault in schedule(4, 1, 100.0, 1, 1) if fault.kind is Kind.WORKER_FROZEN)
    assert longest > SESSION_SECONDS


def test_the_plan_holds_what_it_counts() -> None:
    """So many uploads, repeats that equal their first, and records that no reader takes for an upload."""
    planned = plan(300, CONTENTS, 5)
    counted = Counter(each.media_id for each in planned.publications if each.media_id)
    assert len(counted) == len(planned.media_ids) == 300
    assert sum(count - 1 for count in counted.values()) == planned.repeats == 9
    broken = [each for each in planned.publications if each.media_id is None]
    assert len(broken) == planned.malformed == 6
    assert all(isinstance(decode(each.value, MediaUploaded), MalformedEvent) for each in broken)
    firsts: dict[str, bytes | None] = {}
    for each in planned.publications:
        if each.media_id is not None:
            assert each.repeat == (each.media_id in firsts)
            assert firsts.setdefault(each.media_id, each.value) == each.value
    uris = {decode(value, MediaUploaded).uri for value in firsts.values()}  # type: ignore[union-attr]
    assert len(uris) == planned.contents > 30
