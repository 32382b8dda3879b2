"""What strangers, old sessions and odd input get: nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import msgspec
import pytest

from pipeline.console.accounts import choose_password, make_account
from pipeline.console.guard import RateLimit, check_proxies
from pipeline.console.live import queues
from pipeline.console.server import console as app_of
from pipeline.console.sign_in import own_page
from pipeline.errors import ConfigError
from pipeline.events.values import Action, RequestFacts, RequestKind
from pipeline.review.people import Person, Role
from pipeline.route import route
from pipeline.settle import settle
from tests.console import Console, make_console
from tests.records import NOON, decided, reviewed
from tests.unit.console.test_api import with_queue
from tests.work_promises import put, wait


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    made = make_console(tmp_path)
    yield made
    made.ledger.close()


def verbs(console: Console) -> list[str]:
    """What the audit log says was done, in order."""
    return [entry.verb for entry in console.work.log_entries()]


async def test_a_one_time_password_opens_one_page(console: Console) -> None:
    """Until another one is chosen nothing else can be seen or done; then everything that the role allows."""
    ann = Person("ann", "Ann", frozenset({Role.REVIEWER}), frozenset({"*"}))
    password = make_account(console.parts.people, ann, console.watch.now)
    async with console.client() as client:
        await client.post("/sign-in", data={"name": "ann", "password": password})
        assert (await client.get("/queues")).headers["location"] == "/password"
        assert (await client.get("/api/v1/queues")).status_code == 403
        page = (await client.get("/password?why=call+555")).text
        assert "call 555" not in page
        csrf = page.split('name="csrf" value="')[1].split('"')[0]
        easy = await client.post("/password", data={"password": "ann-ann-ann-ann-1", "csrf": csrf})
        assert "name" in (await client.get(easy.headers["location"])).text
        await client.post("/password", data={"password": "seven green kettles", "csrf": csrf})
        assert (await client.get("/api/v1/queues")).status_code == 200
        csrf = (await client.get("/api/v1/me")).json()["csrf_token"]
        await client.post("/sign-out", data={"csrf": csrf})
        assert (await client.get("/api/v1/queues")).status_code == 401
    assert verbs(console) == ["signed in", "chose a password", "signed in", "signed out"]


async def test_no_other_site_signs_anybody_in(console: Console) -> None:
    """A form that a page of another site sends is refused, however right its password."""
    ann = Person("ann", "Ann", frozenset({Role.REVIEWER}), frozenset({"*"}))
    password = make_account(console.parts.people, ann, console.watch.now)
    async with console.client() as client:
        said = {"name": "ann", "password": password}
        for site in ("cross-site", "same-site"):
            answer = await client.post("/sign-in", data=said, headers={"Sec-Fetch-Site": site})
            assert "set-cookie" not in answer.headers
        answer = await client.post("/sign-in", data=said, headers={"Sec-Fetch-Site": "same-origin"})
        assert "set-cookie" in answer.headers


async def test_the_session_that_was_brought_along_ends(console: Console) -> None:
    """Who signs in anew leaves no session behind."""
    ann = Person("ann", "Ann", frozenset({Role.REVIEWER}), frozenset({"*"}))
    password = make_account(console.parts.people, ann, console.watch.now)
    async with console.client(Role.LEAD, name="bob") as client:
        brought = client.cookies["unmask_session"]
        await client.post("/sign-in", data={"name": "ann", "password": password})
    assert console.parts.people.session(brought, console.watch.now) is None


async def test_a_stream_ends_with_its_session(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is told any more to who has been signed out meanwhile."""
    monkeypatch.setattr("pipeline.console.live._SECONDS", 0.0)
    ann = Person("ann", "Ann", frozenset({Role.REVIEWER}), frozenset({"faces"}))
    secret = console.parts.people.open_session(ann, NOON, NOON + timedelta(days=1))

    async def stays() -> bool:
        return False

    request: Any = SimpleNamespace(
        headers={}, cookies={"unmask_session": secret}, app=console.app, is_disconnected=stays
    )
    stream = queues(request, console.parts)
    assert (await anext(stream)).event == "queue"
    console.parts.people.end_sessions("ann")
    assert [each async for each in stream] == []


async def test_odd_input_is_refused_in_words(console: Console) -> None:
    """Far dates, huge numbers, text that has no UTF-8, no numbers at all, bodies without end: never a 5xx."""
    task = wait(console.ledger, "m1")
    async with console.client(Role.LEAD, Role.AUDITOR) as client:

        async def post(path: str, body: str) -> int:
            answer = await client.post(f"/api/v1{path}", content=body, headers={"Content-Type": "application/json"})
            assert answer.json()["detail"]
            return answer.status_code

        ids = f'"task_ids": ["{task}"]'
        for until in ("9999-12-31T23:59:59-23:00", "9999-12-31T23:59:59", "2100-01-01T00:00:00Z"):
            assert await post("/tasks/hold", f'{{{ids}, "until": "{until}"}}') == 422
        past = await client.post("/api/v1/tasks/hold", json={"task_ids": [str(task)], "until": "0001-01-01T00:00:00Z"})
        assert past.json() == {"tasks": 1}
        assert await post("/exposure", f'{{"task_id": "{task}", "seconds": NaN}}') == 422
        assert await post("/work/claim", '{"\\ud800": 1}') == 422
        assert await post("/work/claim", '{"queues": ["\\ud800"]}') == 422
        assert await post("/work/claim", '{"queues": ["' + "a" * 1_100_000 + '"]}') == 413
        assert (await client.get(f"/api/v1/audit?after={10**30}")).status_code == 422

        form = {"Content-Type": "application/x-www-form-urlencoded"}

        async def endless() -> Any:
            for _ in range(2_000):
                yield b" " * 1_000

        assert (await client.post("/sign-in", content=endless(), headers=form)).status_code in (400, 413)


async def test_a_reviewer_moves_only_what_they_hold(console: Console) -> None:
    """Nothing is taken out of others' hands, or out of the queue, by who may not move tasks."""
    ids = [wait(console.ledger, f"m{i}", starts=i) for i in range(3)]
    async with console.client(Role.REVIEWER) as ann, console.client(Role.REVIEWER, name="bob") as bob:
        await ann.post("/api/v1/work/claim", json={})
        said = {"task_ids": [str(each) for each in ids], "queue": "triage"}
        assert (await bob.post("/api/v1/tasks/escalate", json=said)).json() == {"tasks": 0}
        assert (await ann.post("/api/v1/tasks/escalate", json=said)).json() == {"tasks": 1}
        async with console.client(Role.LEAD, name="lead") as lead:
            assert (await lead.post("/api/v1/tasks/escalate", json=said)).json() == {"tasks": 3}
    assert verbs(console) == ["opened", "escalated", "escalated"]


async def test_what_became_of_a_golden_task_is_not_told(console: Console) -> None:
    """Who is asked about it sees no outcome of it, and can decide it or another."""
    golden = console.with_policy(with_queue(golden_share=1.0))
    known = wait(console.ledger, "known")
    task, queue, _ = console.work.task(known) or pytest.fail("no task")
    found = console.ledger.record_review(reviewed(task, Action.REMOVE, "somebody"))
    assert found is not None
    console.ledger.record_final(settle(found.review, found.task))
    console.parts.golden.add(known, Action.REMOVE, "lead", NOON)
    other = wait(console.ledger, "m1")
    async with golden.client(Role.REVIEWER) as ann:
        case = (await ann.post("/api/v1/work/claim", json={"queues": [queue]})).json()
        assert case["task"]["task_id"] == str(known)
        assert [each["final"] for each in case["history"]] == [False]
        case = (await ann.post(f"/api/v1/work/claim/{other}")).json()
        done = await ann.post(f"/api/v1/work/{case['lease_id']}/answer", json={"action": "allow"})
        assert done.status_code == 200


async def test_maps_of_a_blind_queue_are_kept_back(console: Console) -> None:
    """A heat map says where the machine saw something: not before the first answer. A look is logged once."""
    blind = console.with_policy(with_queue(blind_first=True))
    wait(blind.ledger, "m1")
    async with blind.client(Role.REVIEWER) as ann:
        case = (await ann.post("/api/v1/work/claim", json={})).json()
        heat = f"{case['media_urls']['heat']}?family=face_swap"
        assert (await ann.get(heat)).status_code == 403
        await ann.post(f"/api/v1/work/{case['lease_id']}/first", json={"action": "allow"})
        for _ in range(3):
            assert (await ann.get(heat)).status_code == 404  # the store has nothing
    assert verbs(console).count("looked at") == 1


async def test_appeals_of_other_queues_are_not_counted(console: Console) -> None:
    """A lead's share of overturned decisions is of their own queues."""
    for media_id, queue in (("m1", "faces"), ("m2", "triage")):
        put(console.ledger, decided(media_id, review=queue, sha256=None))
        asked = RequestFacts(request_id=media_id, kind=RequestKind.APPEAL, received_at=NOON)
        again = decided(media_id, 2, review=queue, sha256=None, request=asked)
        put(console.ledger, again)
        task = route(again).task
        assert task is not None
        console.ledger.record_review(reviewed(task, Action.ALLOW))
    async with console.client(Role.LEAD, queues=("faces",)) as lead:
        assert (await lead.get("/api/v1/quality")).json()["overturned"]["count"] == 1


async def test_lists_and_the_log_itself_are_logged(console: Console) -> None:
    """Who looked through a queue, and who read or checked the log."""
    wait(console.ledger, "m1")
    async with console.client(Role.AUDITOR) as aud:
        await aud.get("/api/v1/queues/faces/tasks")
        await aud.get("/api/v1/audit")
        await aud.get("/api/v1/audit/verify")
    assert verbs(console) == ["listed", "read the log", "verified the log"]


async def test_cookies_go_as_they_came(console: Console) -> None:
    """By HTTPS a `__Host-` cookie is taken away only by one that is Secure as well."""
    from pipeline.console.guard import csrf_token
    from pipeline.console.server import console as make

    parts = replace(console.parts, https=True)
    https = Console(parts, make(parts), console.watch)
    ann = Person("ann", "Ann", frozenset({Role.REVIEWER}), frozenset({"*"}))
    secret = parts.people.open_session(ann, NOON, NOON + timedelta(days=1))
    async with https.client() as client:
        client.headers["Cookie"] = f"__Host-unmask_session={secret}"
        answer = await client.post("/sign-out", data={"csrf": csrf_token(secret, parts.signer.secret)})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-unmask_session=")
    assert "Secure" in cookie
    assert msgspec.json.encode(verbs(console)) == b'["signed out"]'


async def refused_as_slow(console: Console, peer: str, *said: str) -> list[bool]:
    """Whether each attempt to sign in, by another name each, is one too many; `said`: the X-Forwarded-For of each."""
    found = []
    for i, forwarded in enumerate(said):
        headers = {"X-Forwarded-For": forwarded} if forwarded else {}
        transport = httpx.ASGITransport(console.app, client=(peer, 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://console.test") as client:
            form = {"name": f"nobody-{i}", "password": "x"}
            answer = await client.post("/sign-in", data=form, headers=headers)
        found.append("slow" in answer.headers["location"])
    return found


async def test_attempts_are_counted_by_the_address_that_a_trusted_proxy_names(console: Console) -> None:
    """Who is told apart by the proxy has a measure of their own; what they claim themselves, to the left of what the
    proxy added, changes nothing; the log has their address."""
    behind = replace(console.parts, proxies=("10.0.0.0/8", "fd00::1"))
    console = Console(behind, app_of(behind), console.watch)
    assert await refused_as_slow(console, "10.1.2.3", *["198.51.100.7"] * 6) == [False] * 5 + [True]
    forged = [f"203.0.113.{i}, 198.51.100.7" for i in range(3)]
    assert await refused_as_slow(console, "10.1.2.3", *forged, "203.0.113.9, 198.51.100.7, 10.9.9.9") == [True] * 4
    assert await refused_as_slow(console, "fd00::1", "198.51.100.8", "198.51.100.7") == [False, True]
    said = {msgspec.json.decode(entry.detail)["from"] for entry in console.work.log_entries()}
    assert said == {"198.51.100.7", "198.51.100.8"}


async def test_a_forged_header_from_anybody_else_changes_nothing(console: Console) -> None:
    """Neither without trusted proxies, which is the default, nor from a peer that is none."""
    forged = [f"198.51.100.{i}" for i in range(5)] + ["10.1.2.3"]
    assert await refused_as_slow(console, "203.0.113.5", *forged) == [False] * 5 + [True]
    behind = replace(console.parts, proxies=("10.0.0.0/8",), sign_in_limit=RateLimit(5, 0.01))
    console = Console(behind, app_of(behind), console.watch)
    assert await refused_as_slow(console, "203.0.113.5", *forged) == [False] * 5 + [True]
    said = {msgspec.json.decode(entry.detail)["from"] for entry in console.work.log_entries()}
    assert said == {"203.0.113.5"}


@pytest.mark.parametrize("wrong", ["*", "proxy.internal", "10.0.0.1/8", "0.0.0.0/0", "::/0", ""])
def test_not_everybody_can_be_a_proxy(wrong: str) -> None:
    """What is no address or network is refused when the console starts, and so is what holds every address."""
    with pytest.raises(ConfigError, match="TRUSTED_PROXIES"):
        check_proxies([wrong])
    assert check_proxies(["10.0.0.1", "10.0.0.0/8", "fd00::/8"]) == ("10.0.0.1/32", "10.0.0.0/8", "fd00::/8")


@pytest.mark.parametrize(
    ("to", "page"),
    [
        ("/case?queue=faces", "/case?queue=faces"),
        ("/cases/0b9f6e0e-54a5-4a6e-8f0e-0d8f6a4b7c11", "/cases/0b9f6e0e-54a5-4a6e-8f0e-0d8f6a4b7c11"),
        ("//evil.test/queues", ""),
        ("https://evil.test/queues", ""),
        ("/\\evil.test", ""),
        ("/queues/../../x", ""),
        ("/sign-out", ""),
        ("/queues\r\nSet-Cookie: a=b", ""),
        ("http://[", ""),
        ("/queues?" + "x" * 400, ""),
    ],
)
def test_nobody_is_sent_elsewhere_after_signing_in(to: str, page: str) -> None:
    """Only to a page of the console itself."""
    assert own_page(to) == page


async def test_who_had_to_sign_in_comes_back_to_the_page_that_they_asked_for(console: Console) -> None:
    """Also after a wrong attempt; a name that nobody has is not written down: it may be a password."""
    ann = Person("ann", "Ann", frozenset({Role.REVIEWER}), frozenset({"*"}))
    make_account(console.parts.people, ann, console.watch.now)
    choose_password(console.parts.people, "ann", "seven green kettles")
    async with console.client() as client:
        sent = (await client.get("/case?queue=faces")).headers["location"]
        page = (await client.get(sent)).text
        to = page.split('name="to" value="')[1].split('"')[0]
        assert to == "/case?queue=faces"
        form = {"name": "seven green kettles", "password": "ann", "to": to}
        wrong = (await client.post("/sign-in", data=form)).headers["location"]
        assert 'value="/case?queue=faces"' in (await client.get(wrong)).text
        form = {"name": "ann", "password": "seven green kettles", "to": to}
        assert (await client.post("/sign-in", data=form)).headers["location"] == to
    assert [entry.actor for entry in console.work.log_entries()] == ["somebody", "ann"]
