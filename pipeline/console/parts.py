"""What the console is made of: opened by who runs it, reached by routes through the request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipeline.console.guard import RateLimit, Signer
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.people import People
from pipeline.ledger.work import Work
from pipeline.policy.rules import Policy


@dataclass(frozen=True, slots=True)
class Times:
    """How long things last."""

    lease: timedelta = timedelta(minutes=10)
    grace: timedelta = timedelta(seconds=30)
    session: timedelta = timedelta(hours=10)
    media_link: timedelta = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that routes use.

    Args:
        ledger: decisions and outcomes.
        work: leases, answers, the audit log.
        people: accounts and sessions.
        policy: the policy in force, asked for at each request.
        signer: signs links to media; its secret also makes CSRF tokens.
        times: how long things last.
        clock: the time, with an offset.
        https: whether the console is reached by HTTPS: cookies are then marked so.
        limit: requests per person; sign_in_limit: attempts per address.
    """

    ledger: Ledger
    work: Work
    people: People
    policy: Callable[[], Policy]
    signer: Signer
    times: Times
    clock: Callable[[], datetime]
    https: bool
    limit: RateLimit
    sign_in_limit: RateLimit
