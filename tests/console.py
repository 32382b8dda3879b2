"""A console on an SQLite file, with made-up cases and no network: what tests of its API and its pages start from."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import httpx
from fastapi import FastAPI

from pipeline.console.board import Board
from pipeline.console.guard import RateLimit, Signer, csrf_token
from pipeline.console.pages import Pages
from pipeline.console.parts import Parts, Times
from pipeline.console.server import console
from pipeline.console.shelf import Shelf
from pipeline.decode.port import Clip
from pipeline.errors import Permanent, Reason, Stage
from pipeline.fetch.port import Media
from pipeline.ledger.golden import Golden
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.people import People
from pipeline.ledger.work import Work
from pipeline.policy.file import load
from pipeline.policy.rules import Policy
from pipeline.review.desk import Desk
from pipeline.review.people import EVERY_QUEUE, Person, Role
from tests.records import NOON

POLICY = load(None)


@dataclass
class Watch:
    """A clock that tests set."""

    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now

    def forward(self, by: timedelta) -> None:
        """Later."""
        self.now += by


class NoMedia:
    """A store that has nothing, and a decoder that reads nothing."""

    @asynccontextmanager
    async def fetch(self, uri: str, *, sha256: str | None = None, size: int | None = None) -> AsyncIterator[Media]:
        raise Permanent(Stage.FETCH, Reason.SOURCE_NOT_FOUND, uri)
        yield  # pragma: no cover - makes it a generator

    async def __call__(self, path: Path) -> Clip:
        raise Permanent(Stage.DECODE, Reason.MEDIA_CORRUPT, str(path))

    async def closer(self, path: Path, spans: object, first_index: int) -> tuple[()]:
        """Nothing."""
        return ()


@dataclass
class Console:
    """The parts, the application, and how to come in."""

    parts: Parts
    app: FastAPI
    watch: Watch

    @property
    def ledger(self) -> Ledger:
        """Where decisions are."""
        return self.parts.ledger

    @property
    def work(self) -> Work:
        """Where leases and answers are."""
        return self.parts.work

    def with_policy(self, policy: Policy) -> Console:
        """The same under another policy."""
        parts = replace(self.parts, policy=lambda: policy)
        return Console(parts, console(parts), self.watch)

    def client(self, *roles: Role, name: str = "ann", queues: tuple[str, ...] = (EVERY_QUEUE,)) -> httpx.AsyncClient:
        """A browser in which this person is signed in; without roles, one in which nobody is."""
        client = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://console.test")
        if roles:
            person = Person(name, name.title(), frozenset(roles), frozenset(queues))
            secret = self.parts.people.open_session(person, self.watch.now, self.watch.now + timedelta(days=1))
            client.cookies.set("unmask_session", secret)
            client.headers["X-CSRF-Token"] = csrf_token(secret, self.parts.signer.secret)
        return client


def make_console(folder: Path, policy: Policy = POLICY) -> Console:
    """A console whose ledger is empty; close its ledger afterwards."""
    ledger = Ledger(f"sqlite:///{folder / 'ledger.sqlite'}")
    ledger.migrate()
    watch, work, golden, times, nothing = Watch(), Work(ledger), Golden(ledger), Times(), NoMedia()
    parts = Parts(
        ledger=ledger,
        work=work,
        golden=golden,
        desk=Desk(work, golden, times.lease, times.grace),
        people=People(ledger),
        policy=lambda: policy,
        signer=Signer(b"a secret of the tests, long enough"),
        times=times,
        clock=watch,
        https=False,
        limit=RateLimit(10_000, 10_000),
        sign_in_limit=RateLimit(5, 0.01),
        shelf=Shelf(nothing.fetch, nothing),  # type: ignore[arg-type]
        pages=Pages(),
        board=Board(0.0),
        desks=Board(0.0),
    )
    return Console(parts, console(parts), watch)
