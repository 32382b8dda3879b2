"""What the console is made of: opened by who runs it, reached by routes through the request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pipeline.console.board import Board
from pipeline.console.guard import RateLimit, Signer, Told
from pipeline.console.models import QueueView
from pipeline.console.oidc import Provider
from pipeline.console.pages import Pages
from pipeline.console.shelf import Shelf
from pipeline.ledger.golden import Golden
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.overview import AtWork, Overview
from pipeline.ledger.people import People
from pipeline.ledger.work import Work
from pipeline.policy.rules import Policy
from pipeline.review.desk import Desk
from pipeline.trace import OFF, Tracing


@dataclass(frozen=True, slots=True)
class Times:
    """How long things last. `renewal`: so long before its end a page renews a session, between two cases."""

    lease: timedelta = timedelta(minutes=10)
    grace: timedelta = timedelta(seconds=30)
    session: timedelta = timedelta(hours=10)
    renewal: timedelta = timedelta(minutes=15)
    media_link: timedelta = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that routes use.

    Args:
        ledger: decisions and outcomes.
        work: leases, answers, the audit log.
        golden: tasks whose answer is known.
        desk: both, as reviewers meet them.
        people: accounts and sessions.
        policy: the policy in force, asked for at each request.
        signer: signs links to media; its secret also makes CSRF tokens.
        times: how long things last.
        clock: the time, with an offset.
        https: whether the console is reached by HTTPS: cookies are then marked so.
        limit: requests per person.
        sign_in_limit: attempts per address and per name.
        provider_limit: ways to the provider and back, per address; a whole office may share one.
        shelf: the media of cases.
        pages: templates.
        provider: who vouches for people; local accounts where there is none.
        roles_claim: where the provider says what somebody is; `a.b` goes into objects.
        queues_claim: and which queues are theirs.
        proxies: addresses and networks that may say for whom they ask.
        traced: where requests are told as spans.
        told: what the audit log has heard of already.
        board: what all queues look like.
        desks: who holds what.
    """

    ledger: Ledger
    work: Work
    golden: Golden
    desk: Desk
    people: People
    policy: Callable[[], Policy]
    signer: Signer
    times: Times
    clock: Callable[[], datetime]
    https: bool
    limit: RateLimit
    sign_in_limit: RateLimit
    shelf: Shelf
    pages: Pages
    provider: Provider | None = None
    roles_claim: str = "roles"
    queues_claim: str = "queues"
    proxies: tuple[str, ...] = ()
    provider_limit: RateLimit = field(default_factory=lambda: RateLimit(burst=100, per_second=2))
    traced: Tracing = OFF
    told: Told = field(default_factory=Told)
    board: Board[Mapping[str, QueueView]] = field(default_factory=Board)
    desks: Board[tuple[AtWork, ...]] = field(default_factory=Board)

    @property
    def overview(self) -> Overview:
        """What leads and administrators look at, on the same ledger."""
        return Overview(self.ledger)
