"""The console's API: who may what, what a case shows, and what an answer does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from fastapi.routing import APIRoute

from pipeline.console.sites import SITES
from pipeline.events import ReviewDecided, SubjectRequested
from pipeline.events.codec import decode
from pipeline.events.values import Action, RequestKind
from pipeline.policy.rules import Policy
from pipeline.review.people import GRANTS, Permission, Role
from tests.console import POLICY, Console, make_console
from tests.records import decided
from tests.work_promises import put, wait


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    made = make_console(tmp_path)
    yield made
    made.ledger.close()


def with_queue(**changes: Any) -> Policy:
    """The default policy, its queue `faces` changed."""
    queues = {**POLICY.queues, "faces": msgspec.structs.replace(POLICY.queues["faces"], **changes)}
    return replace(POLICY, file=msgspec.structs.replace(POLICY.file, queues=queues))


def api_routes(console: Console) -> list[APIRoute]:
    """Every route under /api."""

    def inside(routes: Any) -> Iterator[APIRoute]:
        for route in routes:
            if isinstance(route, APIRoute):
                yield route
            else:
                yield from inside(getattr(getattr(route, "original_router", None), "routes", ()))

    return [route for route in inside(console.app.routes) if route.path.startswith("/api/")]


def needed(route: APIRoute) -> Permission:
    """The permission that a route asks for."""

    def every(dependant: Any) -> Iterator[Any]:
        for each in dependant.dependencies:
            yield each.call
            yield from every(each)

    (found,) = [call.__unmask_permission__ for call in every(route.dependant) if hasattr(call, "__unmask_permission__")]
    assert isinstance(found, Permission)
    return found


def address(route: APIRoute) -> str:
    """A path of this route, of something that is not there."""
    path = route.path.replace("{queue}", "faces").replace("{token}", "1.x").replace("{what}", "picture")
    for name in ("task_id", "lease_id", "answer_id"):
        path = path.replace(f"{{{name}}}", str(uuid4()))
    return path


async def test_every_role_meets_every_route(console: Console) -> None:
    """The matrix in `GRANTS` is what the API does: 401 without a session, 403 without the permission, else something
    else; a route without a permission does not exist."""
    routes = api_routes(console)
    assert len(routes) >= 35
    for route in routes:
        permission = needed(route)
        if route.path == "/api/v1/events":  # a stream without an end; its entry is the same
            continue
        (method,) = route.methods
        async with console.client() as nobody:
            assert (await nobody.request(method, address(route), json={})).status_code == 401, route.path
        for role in Role:
            async with console.client(role, name=role.value) as client:
                status = (await client.request(method, address(route), json={})).status_code
            if permission in GRANTS[role]:
                assert status not in (401, 500), (role, route.path, status)
                assert status != 403 or "{token}" in route.path, (role, route.path, status)
            else:
                assert status == 403, (role, route.path, status)


async def test_every_role_meets_every_page(console: Console) -> None:
    """Each page is shown to those who may see it, offered to them alone, and refused in words to everybody else."""
    for role in Role:
        async with console.client(role, name=role.value) as client:
            menu = (await client.get("/help")).text.partition("</nav>")[0]
            for path, site in SITES.items():
                may = site.needs in GRANTS[role]
                assert (await client.get(path)).status_code == (200 if may else 403), (role, path)
                assert (f'href="{path}"' in menu) == (may or path == "/queues"), (role, path)
    async with console.client() as nobody:
        for path in SITES:
            assert (await nobody.get(path)).status_code == 303, path


async def test_a_changing_request_needs_the_pages_token(console: Console) -> None:
    """A form on another site has the cookie and not the token; a tool's bearer token needs none."""
    async with console.client(Role.REVIEWER) as client:
        token = client.headers.pop("X-CSRF-Token")
        refused = await client.post("/api/v1/work/claim", json={})
        assert (refused.status_code, "CSRF" in refused.json()["detail"]) == (403, True)
        assert (await client.post("/api/v1/work/claim", json={}, headers={"X-CSRF-Token": token})).status_code == 204
        secret = client.cookies["unmask_session"]
    async with console.client() as tool:
        headers = {"Authorization": f"Bearer {secret}"}
        assert (await tool.post("/api/v1/work/claim", json={}, headers=headers)).status_code == 204


async def test_everything_carries_the_headers(console: Console) -> None:
    """Pages, API and files: a strict policy without inline code, nothing kept, nothing embedded elsewhere."""
    async with console.client(Role.LEAD) as client:
        for path in ("/queues", "/api/v1/me", "/static/case.js", "/sign-in", "/nowhere"):
            headers = (await client.get(path)).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"


async def test_leads_and_reviewers_see_their_queues_alone(console: Console) -> None:
    """Tasks of other queues are not listed, claimed, read, moved or decided."""
    hidden = wait(console.ledger, "m1", "triage")
    mine = wait(console.ledger, "m2", "faces", starts=60)
    async with console.client(Role.LEAD, queues=("faces",)) as client:
        assert [queue["name"] for queue in (await client.get("/api/v1/queues")).json()] == ["faces"]
        assert (await client.get("/api/v1/queues/triage/tasks")).status_code == 404
        assert (await client.get(f"/api/v1/tasks/{hidden}")).status_code == 404
        assert (await client.post(f"/api/v1/work/claim/{hidden}")).status_code == 404
        for path, more in (
            ("assign", {}),
            ("hold", {}),
            ("escalate", {"queue": "faces"}),
            ("decide", {"action": "allow"}),
        ):
            answer = await client.post(f"/api/v1/tasks/{path}", json={"task_ids": [str(hidden)], **more})
            assert answer.status_code == 404, path
        case = (await client.post("/api/v1/work/claim", json={"queues": ["triage", "faces"]})).json()
        assert case["task"]["task_id"] == str(mine)


async def test_the_whole_way_of_a_case(console: Console) -> None:
    """Claimed, kept, decided with a reason, taken back, decided again: one record waits for the flow."""
    wait(console.ledger, "m1")
    async with console.client(Role.REVIEWER) as client:
        case = (await client.post("/api/v1/work/claim", json={})).json()
        lease = case["lease_id"]
        assert (await client.get("/api/v1/work/case")).json()["lease_id"] == lease
        assert (await client.post(f"/api/v1/work/{lease}/keep")).status_code == 200
        bare = await client.post(f"/api/v1/work/{lease}/answer", json={"action": "remove"})
        assert (bare.status_code, "reason" in bare.json()["detail"]) == (422, True)
        odd = await client.post(f"/api/v1/work/{lease}/answer", json={"action": "remove", "harm": "boredom"})
        assert odd.status_code == 422
        assert (await client.post(f"/api/v1/work/{lease}/answer", json={"action": "hold"})).status_code == 422
        said = {
            "action": "remove",
            "harm": "impersonation",
            "confirmed": ["face_swap"],
            "denied": ["face_swap", "splice"],
        }
        done = (await client.post(f"/api/v1/work/{lease}/answer", json=said)).json()
        back = (await client.post(f"/api/v1/answers/{done['answer_id']}/undo")).json()
        again = await client.post(f"/api/v1/work/{back['lease_id']}/answer", json=said)
        assert again.json()["stands"] == "settled"
        assert (await client.post("/api/v1/work/claim", json={})).status_code == 204
    ((_, _, _, value),) = console.work.due(console.watch.now + timedelta(minutes=1))
    review = decode(value, ReviewDecided)
    assert isinstance(review, ReviewDecided)
    assert (review.action, review.harm, review.confirmed) == (Action.REMOVE, "impersonation", ("face_swap",))
    assert review.denied == ("splice",)
    assert review.reason == f"{POLICY.harms['impersonation'].what}."
    verbs = [entry.verb for entry in console.work.log_entries()]
    assert verbs == ["opened", "opened", "answered", "took back", "opened", "answered"]


async def test_a_lease_that_ended_decides_nothing(console: Console) -> None:
    """Who comes back too late is told so."""
    wait(console.ledger, "m1")
    async with console.client(Role.REVIEWER) as client:
        lease = (await client.post("/api/v1/work/claim", json={})).json()["lease_id"]
        console.watch.forward(timedelta(minutes=11))
        late = await client.post(f"/api/v1/work/{lease}/answer", json={"action": "allow"})
        assert (late.status_code, "lease" in late.json()["detail"]) == (409, True)
        assert (await client.get("/api/v1/work/case")).status_code == 204


async def test_blind_first_hides_what_the_machine_believes(console: Console) -> None:
    """No score, no rule, no reason leaves the server before the first answer; then the change of mind is measured."""
    blind = console.with_policy(with_queue(blind_first=True))
    wait(blind.ledger, "m1")
    async with blind.client(Role.LEAD) as client:
        raw = (await client.post("/api/v1/work/claim", json={})).text
        case = msgspec.json.decode(raw)
        assert case["scores_hidden"]
        assert (case["signals"], case["trace"], case["task"]["reasons"]) == ([], [], [])
        assert "0.7" not in raw
        assert "0.70" not in (await client.get("/api/v1/queues/faces/tasks")).text
        lease = case["lease_id"]
        early = await client.post(f"/api/v1/work/{lease}/answer", json={"action": "allow"})
        assert early.status_code == 409
        seen = (await client.post(f"/api/v1/work/{lease}/first", json={"action": "allow"})).json()
        assert seen["signals"]
        await client.post(f"/api/v1/work/{lease}/answer", json={"action": "limit", "reason": "swapped"})
        found = (await client.get("/api/v1/quality")).json()["changed"]
    assert (found["hits"], found["count"]) == (1, 1)


async def test_notes_reach_colleagues_and_sway_nobody(console: Console) -> None:
    """Who is asked second does not see the first one's notes; the lead who settles it does, and so does the auditor;
    whoever looks at a later round sees those of the earlier one."""
    console = console.with_policy(with_queue(people=2))
    task = wait(console.ledger, "m1")

    async def decide(name: str, role: Role, action: str) -> list[str]:
        async with console.client(role, name=name) as client:
            case = (await client.post("/api/v1/work/claim", json={})).json()
            said = {"action": action, "harm": "impersonation", "notes": f"a note of {name}"}
            done = await client.post(f"/api/v1/work/{case['lease_id']}/answer", json=said)
            assert done.status_code == 200
            console.watch.forward(timedelta(seconds=9))
            return [f"{each['by']}: {each['words']}" for each in case["notes"]]

    assert await decide("ann", Role.REVIEWER, "allow") == []
    assert await decide("bob", Role.REVIEWER, "remove") == []
    assert await decide("lea", Role.LEAD, "remove") == ["ann: a note of ann", "bob: a note of bob"]
    async with console.client(Role.AUDITOR, name="eve") as client:
        case = (await client.get(f"/api/v1/tasks/{task}")).json()
        assert [each["words"] for each in case["notes"]] == ["a note of ann", "a note of bob", "a note of lea"]
    put(console.ledger, decided("m1", 2, review="faces"))
    async with console.client(Role.REVIEWER, name="cid") as client:
        case = (await client.post("/api/v1/work/claim", json={})).json()
        assert (case["task"]["round"], len(case["notes"])) == (2, 3)


async def test_a_blind_case_cannot_be_peeked_at(console: Console) -> None:
    """Reading the task by its own address gives a reviewer no scores that the desk keeps back."""
    blind = console.with_policy(with_queue(blind_first=True))
    task = wait(blind.ledger, "m1")
    async with blind.client(Role.REVIEWER) as client:
        assert (await client.get(f"/api/v1/tasks/{task}")).json()["scores_hidden"]
    async with blind.client(Role.AUDITOR, name="aud") as client:
        assert (await client.get(f"/api/v1/tasks/{task}")).json()["signals"]


async def test_media_links_are_one_persons(console: Console) -> None:
    """A link that was signed for somebody, for something, ends, and works for nobody and nothing else."""
    task, other = wait(console.ledger, "m1"), wait(console.ledger, "m2", starts=9)
    async with console.client(Role.REVIEWER) as client:
        url = (await client.post("/api/v1/work/claim", json={})).json()["media_urls"]["picture"]
        assert (await client.get(url)).status_code == 404  # the store has nothing; the link was good
        assert (await client.get(url.replace(str(task), str(other)))).status_code == 403
        async with console.client(Role.REVIEWER, name="bob") as somebody:
            assert (await somebody.get(url)).status_code == 403
        async with console.client() as nobody:
            assert (await nobody.get(url)).status_code == 401
        console.watch.forward(timedelta(minutes=16))
        assert (await client.get(url)).status_code == 403


async def test_an_appeal_is_passed_on(console: Console) -> None:
    """It becomes a request on the flow's topic, of an upload that was decided on."""
    put(console.ledger, decided("m1", review="faces"))
    async with console.client(Role.INTEGRATION) as tool:
        said = {"request_id": "a-1", "media_id": "m1", "statement": "It is satire."}
        assert (await tool.post("/api/v1/appeals", json=said)).status_code == 202
        assert (await tool.post("/api/v1/appeals", json={**said, "media_id": "m9"})).status_code == 404
    ((_, topic, key, value),) = console.work.due(console.watch.now)
    asked = decode(value, SubjectRequested)
    assert isinstance(asked, SubjectRequested)
    assert (topic, key, asked.kind, asked.statement) == ("subject.requested", "m1", RequestKind.APPEAL, "It is satire.")


async def test_preferences_and_exposure_are_ones_own(console: Console) -> None:
    """They are kept, refused when odd, and shown to nobody else."""
    task = wait(console.ledger, "m1")
    async with console.client(Role.REVIEWER) as client, console.client(Role.REVIEWER, name="bob") as other:
        mine = (await client.get("/api/v1/me")).json()["preferences"]
        assert (mine["blur"], mine["mute"]) == (20, True)
        await client.put("/api/v1/me/preferences", json={**mine, "blur": 3})
        assert (await client.get("/api/v1/me")).json()["preferences"]["blur"] == 3
        assert (await other.get("/api/v1/me")).json()["preferences"]["blur"] == 20
        assert (await client.put("/api/v1/me/preferences", json={**mine, "blur": -1})).status_code == 422
        said = {"task_id": str(task), "seconds": 12.5, "filters": ["blur"]}
        assert (await client.post("/api/v1/exposure", json=said)).status_code == 204
        assert (await client.get("/api/v1/me/exposure")).json()[0]["seconds"] == 12.5
        assert (await other.get("/api/v1/me/exposure")).json() == []


async def test_sign_in_and_out(console: Console) -> None:
    """Wrong words are refused in the same way, too many are slowed, a one-time password leads to another one."""
    from pipeline.console.accounts import make_account
    from pipeline.review.people import Person

    password = make_account(
        console.parts.people, Person("ann", "Ann", frozenset({Role.REVIEWER}), frozenset({"faces"})), console.watch.now
    )
    async with console.client() as client:
        assert (await client.get("/queues")).headers["location"] == "/sign-in?to=%2Fqueues"
        wrong = await client.post("/sign-in", data={"name": "ann", "password": "x"})
        assert wrong.headers["location"] == "/sign-in?why=wrong"
        right = await client.post("/sign-in", data={"name": "ann", "password": password})
        assert right.headers["location"] == "/password"
        cookie = right.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        page = (await client.get("/password")).text
        csrf = page.split('name="csrf" value="')[1].split('"')[0]
        assert (
            (await client.post("/password", data={"password": "short", "csrf": csrf}))
            .headers["location"]
            .startswith("/password?why=")
        )
        chosen = await client.post("/password", data={"password": "seven green kettles", "csrf": csrf})
        assert chosen.headers["location"] == "/"
        assert (await client.get("/queues")).status_code == 200
        assert (await client.get("/audit")).status_code == 403
        out = await client.post("/sign-out", data={"csrf": "nonsense"})
        assert out.headers["location"] == "/"
        for _ in range(6):
            slow = await client.post("/sign-in", data={"name": "ann", "password": "x"})
        assert slow.headers["location"] == "/sign-in?why=slow"
