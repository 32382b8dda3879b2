"""The console's API for leads and administrators: who holds what, cases whose answer is known, and who may come in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import msgspec
import pytest

from pipeline.console import live
from pipeline.console.accounts import make_account
from pipeline.console.oidc import Provider
from pipeline.console.server import console as serve
from pipeline.events.values import Action
from pipeline.review.people import Person, Role
from tests.console import Console, make_console
from tests.overview_promises import settle
from tests.work_promises import LEASE, wait


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    made = make_console(tmp_path)
    yield made
    made.ledger.close()


def log_of(console: Console) -> list[tuple[str, str, str]]:
    """(who, did, what) of every entry."""
    return [(entry.actor, entry.verb, entry.subject) for entry in console.work.log_entries()]


async def test_leads_see_who_holds_what_in_their_queues(console: Console) -> None:
    """Person, case and lease, of their own queues alone; everybody else sees in which queue people are at work."""
    mine, other = wait(console.ledger, "m1"), wait(console.ledger, "m2", "triage")
    for name, task in (("bob", mine), ("cid", other)):
        console.work.claim_task(name, task, console.watch.now, LEASE)
    async with console.client(Role.LEAD, queues=("faces",)) as client:
        (held,) = (await client.get("/api/v1/at-work")).json()
        assert (held["person_id"], held["task_id"], held["media_id"]) == ("bob", str(mine), "m1")
        assert (held["queue"], held["until"]) == (
            "faces",
            (console.watch.now + LEASE).isoformat().replace("+00:00", "Z"),
        )
    async with console.client(Role.READONLY, name="roy") as client:
        found = {each["name"]: each["at_work"] for each in (await client.get("/api/v1/queues")).json()}
        assert (found["faces"], found["triage"]) == (["bob"], ["cid"])
        assert (await client.get("/api/v1/at-work")).status_code == 403


class _Asked:
    """A request of whoever it is, whose connection lasts for two looks."""

    def __init__(self, client: Any, app: Any) -> None:
        self.app, self.headers, self.cookies = app, {}, dict(client.cookies)
        self._looks = iter([False, False, True])

    async def is_disconnected(self) -> bool:
        """After two looks."""
        return next(self._looks)


@pytest.mark.parametrize(("role", "told"), [(Role.LEAD, 1), (Role.REVIEWER, 0), (Role.AUDITOR, 0)])
async def test_the_live_page_tells_leads_alone_who_holds_what(
    console: Console, monkeypatch: pytest.MonkeyPatch, role: Role, told: int
) -> None:
    """And nothing again that has not changed."""
    monkeypatch.setattr(live, "_SECONDS", 0.0)
    console.work.claim_task("bob", wait(console.ledger, "m1"), console.watch.now, LEASE)
    async with console.client(role) as client:
        events = [event async for event in live.queues(cast("Any", _Asked(client, console.app)), console.parts)]
    held = [msgspec.json.decode(str(event.data)) for event in events if event.event == "at-work"]
    assert [[each["person_id"] for each in one] for one in held] == [["bob"]] * told
    assert "queue" in {event.event for event in events}


async def test_golden_tasks_are_added_looked_at_and_retired(console: Console) -> None:
    """A decided task is found by its upload, added with its right answer, listed, and retired; the log knows each."""
    task = settle(console.ledger, "m1")
    async with console.client(Role.LEAD) as client:
        (found,) = (await client.get("/api/v1/golden/candidates", params={"media_id": "m1"})).json()
        assert (found["task_id"], found["action"], found["decided_by"]) == (str(task), "remove", "rae")
        said = {"task_id": str(task), "action": "label"}
        assert (await client.post("/api/v1/golden", json=said)).status_code == 204
        assert (await client.get("/api/v1/golden/candidates")).json() == []
        shown = (await client.get("/api/v1/queues/faces/golden")).json()
        (listed,) = shown["tasks"]
        assert (shown["share"], listed["action"], listed["answered"], listed["right"]) == (0.0, "label", 0, 0)
        case = console.parts.golden.claim("bob", ("faces",), console.watch.now, LEASE)
        assert case is not None
        (held,) = (await client.get("/api/v1/at-work")).json()
        assert held["person_id"] == "bob"
        assert (await client.delete(f"/api/v1/golden/{task}")).status_code == 204
        assert (await client.delete(f"/api/v1/golden/{task}")).status_code == 404
        assert (await client.get("/api/v1/queues/faces/golden")).json()["tasks"] == []
        assert (await client.get("/api/v1/golden/candidates", params={"queue": "faces"})).json() == [found]
    assert ("ann", "made golden", str(task)) in log_of(console)
    assert [each for each in log_of(console) if each[1] == "retired golden"] == [("ann", "retired golden", str(task))]


async def test_what_is_open_is_not_golden(console: Console) -> None:
    """Nobody knows the answer yet: refused in words, and the log does not say that it was done."""
    task = wait(console.ledger, "m1")
    async with console.client(Role.LEAD) as client:
        refused = await client.post("/api/v1/golden", json={"task_id": str(task), "action": "allow"})
    assert (refused.status_code, "decided" in refused.json()["detail"]) == (409, True)
    assert log_of(console) == []


async def test_golden_tasks_of_other_queues_are_not_a_leads(console: Console) -> None:
    """Neither listed nor found, neither added nor retired."""
    hidden, known = settle(console.ledger, "m1", "triage"), settle(console.ledger, "m2", "triage")
    console.parts.golden.add(known, Action.REMOVE, "lou", console.watch.now)
    async with console.client(Role.LEAD, queues=("faces",)) as client:
        assert (await client.get("/api/v1/queues/triage/golden")).status_code == 404
        assert (await client.get("/api/v1/golden/candidates", params={"queue": "triage"})).status_code == 404
        assert (await client.get("/api/v1/golden/candidates", params={"media_id": "m1"})).json() == []
        said = {"task_id": str(hidden), "action": "allow"}
        assert (await client.post("/api/v1/golden", json=said)).status_code == 404
        assert (await client.delete(f"/api/v1/golden/{known}")).status_code == 404
    assert [each.task_id for each in console.parts.overview.golden("triage", None, 9)] == [known]


def make(console: Console, name: str, *roles: Role) -> str:
    """A local account."""
    person = Person(name, name.title(), frozenset(roles), frozenset({"faces"}))
    return make_account(console.parts.people, person, console.watch.now)


async def test_an_administrator_changes_what_somebody_may(console: Console) -> None:
    """Roles and queues hold from the next sign-in on, the sessions of before have ended, the log has it; nothing that
    would let anybody in leaves the server."""
    password = make(console, "bob", Role.REVIEWER)
    async with (
        console.client(Role.REVIEWER, name="bob") as bob,
        console.client(Role.ADMIN, name="adi") as client,
    ):
        answer = await client.get("/api/v1/people")
        (adi, known) = answer.json()["people"]
        assert (adi["person_id"], adi["local"], adi["sessions"]) == ("adi", False, 1)
        assert (known["person_id"], known["roles"], known["queues"]) == ("bob", ["reviewer"], ["faces"])
        assert (known["local"], known["fresh"], known["sessions"]) == (True, True, 1)
        assert not any(word in answer.text for word in ("argon2", "password", bob.cookies["unmask_session"]))
        said = {"person_id": "bob", "roles": ["lead"], "queues": ["*"]}
        assert (await client.post("/api/v1/people/change", json=said)).json() == {"sessions": 1}
        assert (await bob.get("/api/v1/me")).status_code == 401
        found = console.parts.people.account("bob")
        assert found is not None
        assert (found[0].roles, found[0].queues) == ({Role.LEAD}, {"*"})
        assert (await client.post("/api/v1/people/change", json=said | {"disabled": True})).status_code == 200
    async with console.client() as nobody:
        refused = await nobody.post("/sign-in", data={"name": "bob", "password": password})
        assert refused.headers["location"] == "/sign-in?why=wrong"
    assert log_of(console).count(("adi", "changed an account", "bob")) == 2


async def test_what_cannot_be_changed_about_people(console: Console) -> None:
    """Oneself, who has no account, queues that there are not, an account without a role: refused in words, nothing is
    changed and nothing is in the log."""
    make(console, "bob", Role.REVIEWER)
    make(console, "adi", Role.ADMIN)
    async with console.client(Role.ADMIN, name="adi") as client:
        for said, status in (
            ({"person_id": "adi", "roles": ["admin", "lead"]}, 409),
            ({"person_id": "zoe", "roles": ["lead"]}, 404),
            ({"person_id": "bob", "roles": ["lead"], "queues": ["nowhere"]}, 422),
            ({"person_id": "bob", "roles": []}, 422),
            ({"person_id": "bob", "roles": ["owner"]}, 422),
        ):
            answer = await client.post("/api/v1/people/change", json={"queues": ["faces"]} | said)
            assert (answer.status_code, bool(answer.json()["detail"])) == (status, True), said
    for name, role in (("bob", Role.REVIEWER), ("adi", Role.ADMIN)):
        found = console.parts.people.account(name)
        assert found is not None
        assert found[0].roles == {role}
    assert log_of(console) == []


async def test_the_provider_says_what_people_may_where_there_is_one(console: Console) -> None:
    """No account is changed then; sessions and tokens are ended all the same."""
    make(console, "bob", Role.REVIEWER)
    provider = Provider("https://id.example.org", "unmask", "secret", "https://review.example.org/back", "openid")
    parts = replace(console.parts, provider=provider)
    other = Console(parts, serve(parts), console.watch)
    async with other.client(Role.ADMIN, name="adi") as client, other.client(Role.INTEGRATION, name="tool") as tool:
        assert (await client.get("/api/v1/people")).json()["changeable"] is False
        said = {"person_id": "bob", "roles": ["lead"], "queues": []}
        assert (await client.post("/api/v1/people/change", json=said)).status_code == 409
        ended = await client.post("/api/v1/people/sign-out", json={"person_id": "tool"})
        assert ended.json() == {"sessions": 1}
        assert (await tool.get("/api/v1/me")).status_code == 401
    assert ("adi", "ended sessions", "tool") in log_of(console)


async def test_a_one_time_password_gains_nothing_by_a_change_of_roles(console: Console) -> None:
    """The session that it opened may choose a password and nothing else; it does not become one that may more."""
    password = make(console, "bob", Role.REVIEWER)
    async with console.client() as bob, console.client(Role.ADMIN, name="adi") as client:
        await bob.post("/sign-in", data={"name": "bob", "password": password})
        assert (await bob.get("/api/v1/me")).status_code == 403
        said = {"person_id": "bob", "roles": ["lead", "auditor"], "queues": ["*"]}
        assert (await client.post("/api/v1/people/change", json=said)).json() == {"sessions": 1}
        assert (await bob.get("/api/v1/me")).status_code == 401


async def test_names_are_shown_not_what_providers_call_people(console: Console) -> None:
    """On the queue page somebody is who they said they are when they came in."""
    now = console.watch.now
    person = Person("auth0|7f", "Ann Okafor", frozenset({Role.REVIEWER}), frozenset({"*"}))
    console.parts.people.open_session(person, now, now + timedelta(hours=1))
    task: UUID = wait(console.ledger, "m1")
    console.work.claim_task("auth0|7f", task, now, LEASE)
    async with console.client(Role.LEAD, name="lea") as client:
        (held,) = (await client.get("/api/v1/at-work")).json()
        assert (held["person_id"], held["name"]) == ("auth0|7f", "Ann Okafor")
