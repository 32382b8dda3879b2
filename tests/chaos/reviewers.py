"""People at the console: they ask its HTTP API for cases and answer them, whatever becomes of it meanwhile.

What cannot be reached is asked again a second later, and an answer of which nobody knows whether it arrived is given
again, the same one, as long as the lease lasts.
"""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx

from pipeline.console.entry import cookie_name
from pipeline.events.values import Action
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.people import People
from pipeline.review.people import EVERY_QUEUE, Person, Role

ANSWERS = (Action.ALLOW, Action.LABEL, Action.LIMIT, Action.REMOVE)
_PACE = (0.2, 1.0)
"""Seconds somebody looks at a case."""


@dataclass(slots=True)
class Given:
    """What people at the console answered, by task. Written by their threads."""

    confirmed: dict[UUID, set[str]] = field(default_factory=lambda: defaultdict(set))
    """The console said that it has the answer: it has to be published."""
    perhaps: dict[UUID, set[str]] = field(default_factory=lambda: defaultdict(set))
    """The answer was sent, and nobody knows what became of it."""
    unreachable: int = 0
    """Requests that came to nothing: no connection, no answer, or an answer that says `later`."""
    lock: threading.Lock = field(default_factory=threading.Lock)


class Reviewer:
    """One person, in a thread of its own, until stopped."""

    def __init__(self, number: int, url: str, ledger_url: str, seed: int, given: Given) -> None:
        self.name = f"person-{number}"
        self._drawn = random.Random(f"{seed}/{number}")
        self._given = given
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._client = httpx.Client(base_url=url, timeout=15.0, trust_env=False)
        self._client.cookies.set(cookie_name(https=False), _session(ledger_url, self.name))
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Raises what went wrong meanwhile."""
        self._stop.set()
        self._thread.join()
        self._client.close()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while "X-CSRF-Token" not in self._client.headers and not self._stop.is_set():
                if (said := self._ask("GET", "/api/v1/me")) is not None:
                    said.raise_for_status()
                    self._client.headers["X-CSRF-Token"] = said.json()["csrf_token"]
            while not self._stop.is_set():
                said = self._ask("POST", "/api/v1/work/claim", {"queues": []})
                if said is None:
                    continue
                said.raise_for_status()
                if said.status_code == httpx.codes.NO_CONTENT:
                    self._stop.wait(1.0)
                else:
                    self._work_on(said.json())
        except BaseException as error:  # noqa: BLE001 (handed to whoever stops the thread)
            self._error = error

    def _work_on(self, case: dict[str, Any]) -> None:
        tasks = {UUID(task["task_id"]) for task in (case["task"], *case["siblings"])}
        action = self._drawn.choice(ANSWERS)
        lease = case["lease_id"]
        self._stop.wait(self._drawn.uniform(*_PACE))
        if case["scores_hidden"]:
            self._ask("POST", f"/api/v1/work/{lease}/first", {"action": action})
        said = self._ask("POST", f"/api/v1/work/{lease}/answer", {"action": action, "reason": "looked at it"})
        while said is None and not self._stop.is_set():
            with self._given.lock:
                for task_id in tasks:
                    self._given.perhaps[task_id].add(action)
            # Given again, the same, for as long as the lease is there; a 409 says that it was taken, or is over.
            said = self._ask("POST", f"/api/v1/work/{lease}/answer", {"action": action, "reason": "looked at it"})
        if said is None or said.status_code == httpx.codes.CONFLICT:
            return
        said.raise_for_status()
        with self._given.lock:
            for swept in said.json()["swept"]:
                self._given.confirmed[UUID(swept)].add(action)

    def _ask(self, method: str, path: str, body: object | None = None) -> httpx.Response | None:
        """An answer, or None when there was none, after a second."""
        try:
            said = self._client.request(method, path, json=body)
        except httpx.TransportError:
            said = None
        if said is not None and said.status_code < httpx.codes.INTERNAL_SERVER_ERROR and said.status_code != 429:
            return said
        with self._given.lock:
            self._given.unreachable += 1
        self._stop.wait(1.0)
        return None


def _session(ledger_url: str, name: str) -> str:
    """Somebody who is signed in; how people come in is not what is tried here."""
    ledger = Ledger(ledger_url)
    try:
        now = datetime.now(UTC)
        person = Person(name, name, frozenset({Role.REVIEWER}), frozenset({EVERY_QUEUE}))
        return People(ledger).open_session(person, now, now + timedelta(days=1))
    finally:
        ledger.close()


def complaints(given: Given, published: dict[UUID, dict[str, set[str]]]) -> list[str]:
    """Where what people were told and what was published differ. `published`: task → reviewer → actions."""
    found = []
    for task_id, actions in given.confirmed.items():
        at_console = {who: said for who, said in published.get(task_id, {}).items() if who.startswith("person-")}
        if not at_console:
            found.append(f"{task_id}: an answer that the console took was never published")
        elif set().union(*at_console.values()) != actions or len(actions) > 1:
            found.append(f"{task_id}: the console took {sorted(actions)}, published was {at_console}")
    for task_id, by_whom in published.items():
        for who, said in by_whom.items():
            known = given.confirmed.get(task_id, set()) | given.perhaps.get(task_id, set())
            if who.startswith("person-") and not said <= known:
                found.append(f"{task_id}: published was {sorted(said)} of {who}, who said {sorted(known)}")
    return found
