"""Times of recovery, from made-up moments."""

from __future__ import annotations

from tests.chaos.recovery import UNDER_WAY, Happened, OfKind, Recovery, Spread, by_kind, recoveries
from tests.chaos.schedule import Fault, Kind


def _happened(began: float, ended: float, ready: float | None = None, kind: Kind = Kind.DATABASE_CUT) -> Happened:
    return Happened(Fault(began, kind, 0.0), "somebody", began, ended, ready)


def test_a_backlog_is_gone_when_no_more_wait_than_before_the_fault() -> None:
    """One upload a second, none answered between 20 and 60, then four a second: as the 69th is published 57 are
    answered, which leaves as many as are under way anyhow."""
    published = {str(n): float(n) for n in range(100)}
    answered = {str(n): n + 0.5 if n < 20 else max(n + 0.5, 60.0 + (n - 20) / 4) for n in range(100)}
    (found,) = recoveries([_happened(20.0, 50.0, ready=52.0)], published, answered)
    assert UNDER_WAY == 12
    assert found == Recovery(Kind.DATABASE_CUT, lasted=30.0, ready=2.0, first=10.0, backlog=19.0)


def test_what_makes_nobody_wait_is_over_at_once() -> None:
    """No backlog, no recovery."""
    published = {str(n): float(n) for n in range(50)}
    answered = {str(n): n + 0.5 for n in range(50)}
    (found,) = recoveries([_happened(20.0, 25.0)], published, answered)
    assert (found.ready, found.first, found.backlog) == (None, 0.5, 0.0)


def test_a_backlog_that_stays_is_said_to_stay() -> None:
    """Nothing is answered any more."""
    published = {str(n): float(n) for n in range(100)}
    (found,) = recoveries([_happened(0.0, 50.0)], published, {})
    assert (found.first, found.backlog) == (None, None)
    assert by_kind([found]) == (OfKind(Kind.DATABASE_CUT, 1, Spread(50.0, 50.0), None, None, None, 1),)


def test_kinds_are_summed_up_in_their_order() -> None:
    """Median and longest, of those that recovered."""
    some = [Recovery(Kind.POISON, 0.0, None, 1.0, each) for each in (3.0, None, 9.0, 5.0)]
    other = Recovery(Kind.WORKER_KILLED, 0.0, 8.0, 0.5, 20.0)
    killed, poison = by_kind([*some, other])
    assert (killed.kind, killed.ready) == (Kind.WORKER_KILLED, Spread(8.0, 8.0))
    assert (poison.count, poison.never, poison.backlog) == (4, 1, Spread(5.0, 9.0))
