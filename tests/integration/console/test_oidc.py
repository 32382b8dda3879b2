"""Sign-in by OpenID Connect, against a provider that speaks real HTTP and signs real tokens."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from pipeline.console import oidc
from pipeline.console.guard import RateLimit
from pipeline.console.server import console as make_app
from pipeline.review.people import Person, Role
from tests.console import Console, make_console
from tests.integration.console.provider import BACK, CLIENT, SECRET, Provider, running_provider


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running_provider() as running:
        yield running


@pytest.fixture
def console(tmp_path: Path, provider: Provider) -> Iterator[Console]:
    """A console where this provider vouches for people."""
    made = make_console(tmp_path)
    client = oidc.Provider(provider.url, CLIENT, SECRET, BACK)
    parts = replace(made.parts, provider=client, roles_claim="realm_access.roles", queues_claim="queues")
    yield Console(parts, make_app(parts), made.watch)
    made.ledger.close()


@pytest.fixture(autouse=True)
def person(provider: Provider) -> None:
    """Who signs in: a lead of one queue, as a directory names groups."""
    provider.person = {
        "sub": "u-1",
        "name": "Ann Okafor",
        "realm_access": {"roles": ["staff", "acme-unmask-lead"]},
        "queues": ["faces"],
    }


async def come_in(console: Console, client: httpx.AsyncClient, begin: str = "/sign-in/oidc") -> httpx.Response:
    """What a browser does: to the provider, and back with what it gave."""
    begun = await client.get(begin)
    assert begun.status_code == 303
    async with httpx.AsyncClient() as browser:
        given = await browser.get(begun.headers["location"])
    assert given.status_code == 302
    return await client.get(given.headers["location"].removeprefix("http://console.test"))


async def test_people_come_in_with_the_roles_of_their_claims(console: Console) -> None:
    """Groups become roles, the queues claim says which are theirs; the session holds for the API."""
    async with console.client() as client:
        back = await come_in(console, client)
        assert (back.status_code, back.headers["location"]) == (303, "/")
        me = (await client.get("/api/v1/me")).json()
        assert (me["id"], me["name"], me["roles"], me["queues"]) == ("u-1", "Ann Okafor", ["lead"], ["faces"])
        assert "unmask_sign_in" not in client.cookies
        assert [each["name"] for each in (await client.get("/api/v1/queues")).json()] == ["faces"]
    (entry,) = console.work.log_entries()
    assert (entry.actor, entry.verb) == ("u-1", "signed in")


async def test_a_session_cookie_is_out_of_reach_of_scripts_and_other_sites(console: Console) -> None:
    """HttpOnly and SameSite; the provider's address is the only place that a browser is sent to."""
    async with console.client() as client:
        back = await come_in(console, client)
        (cookie,) = [each for each in back.headers.get_list("set-cookie") if each.startswith("unmask_session=")]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie


LONG_AGO = 1_600_000_000


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": "of another sign-in"},
        {"nonce": None},
        {"aud": "another-client"},
        {"aud": None},
        {"iss": "https://elsewhere.test"},
        {"iss": None},
        {"exp": LONG_AGO},
        {"exp": None},
        {"sub": None},
        {"nbf": 4_000_000_000},
    ],
    ids=lambda changes: " ".join(f"{name}={value}" for name, value in changes.items()),
)
async def test_claims_that_do_not_fit_are_refused(
    console: Console, provider: Provider, changes: dict[str, Any]
) -> None:
    """A token of another sign-in, client, issuer or time proves nothing: nobody is signed in."""
    provider.changes = changes
    await _refused(console, "/sign-in?why=again")


@pytest.mark.parametrize(
    "forge",
    [
        "another key",
        "a broken signature",
        "no signature",
        "the client's secret",
        "the public key as a secret",
        "words",
    ],
)
async def test_a_token_that_the_provider_did_not_sign_is_refused(
    console: Console, provider: Provider, forge: str
) -> None:
    """Whatever trick: a key of the same name, none at all, or another algorithm."""
    provider.forge = forge
    await _refused(console, "/sign-in?why=again")


@pytest.mark.parametrize(
    "changes", [{"issuer": "https://elsewhere.test"}, {"issuer": None}, {"authorization_endpoint": None}], ids=str
)
async def test_a_document_that_does_not_fit_is_refused(
    console: Console, provider: Provider, changes: dict[str, Any]
) -> None:
    """A provider that speaks for somebody else, or does not say where to go, signs nobody in."""
    provider.document_changes = changes
    async with console.client() as client:
        answer = await client.get("/sign-in/oidc")
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?why=again")


@pytest.mark.parametrize("roles", [[], ["staff"], ["not-a-reviewer-really"], "superuser", None, 7])
async def test_who_has_no_role_here_does_not_come_in(console: Console, provider: Provider, roles: object) -> None:
    """Nobody comes in by default, however well the provider knows them; the log says who tried."""
    provider.person["realm_access"] = {"roles": roles}
    await _refused(console, "/sign-in?why=role")
    (entry,) = console.work.log_entries()
    assert (entry.actor, entry.verb) == ("u-1", "was refused")


async def test_what_somebody_may_do_is_asked_again_after_a_while(console: Console, provider: Provider) -> None:
    """A session is over after the time that is set; the way through the provider, which leads back to the page, gives
    the roles and queues of now, and nothing to who has lost theirs. The page learns when to go that way by itself."""
    parts = replace(console.parts, times=replace(console.parts.times, session=timedelta(hours=1)))
    console = Console(parts, make_app(parts), console.watch)
    async with console.client() as client:
        await come_in(console, client)
        me = (await client.get("/api/v1/me")).json()
        assert datetime.fromisoformat(me["renew_at"]) == console.watch.now + timedelta(minutes=45)
        provider.person["realm_access"] = {"roles": ["unmask-reviewer"]}
        provider.person["queues"] = ["triage"]
        console.watch.forward(timedelta(minutes=59))
        assert (await client.get("/api/v1/me")).json()["roles"] == ["lead"]
        console.watch.forward(timedelta(minutes=2))
        assert (await client.get("/api/v1/me")).status_code == 401
        sent = (await client.get("/case?queue=triage")).headers["location"]
        begun = (await client.get(sent)).headers["location"]
        assert begun.startswith("/sign-in/oidc?to=")
        assert (await come_in(console, client, begun)).headers["location"] == "/case?queue=triage"
        me = (await client.get("/api/v1/me")).json()
        assert (me["roles"], me["queues"]) == (["reviewer"], ["triage"])
        provider.person["realm_access"] = {"roles": []}
        console.watch.forward(timedelta(hours=2))
        assert (await come_in(console, client)).headers["location"] == "/sign-in?why=role"
        assert (await client.get("/api/v1/me")).status_code == 401


async def test_a_token_of_a_tool_is_not_asked_again(console: Console) -> None:
    """It was made by the command, for as long as that said."""
    ours = Person("our-tool", "our-tool", frozenset({Role.INTEGRATION}), frozenset({"*"}))
    token = console.parts.people.open_session(ours, console.watch.now, console.watch.now + timedelta(days=90))
    console.watch.forward(timedelta(days=80))
    async with console.client() as client:
        me = await client.get("/api/v1/me", headers={"Authorization": f"Bearer {token}"})
        assert (me.status_code, me.json()["renew_at"]) == (200, None)


async def test_the_ways_to_the_provider_are_limited_by_address(console: Console, provider: Provider) -> None:
    """Who asks too often is sent back, and the provider is left alone."""
    parts = replace(console.parts, provider_limit=RateLimit(2, 0.001))
    async with Console(parts, make_app(parts), console.watch).client() as client:
        await client.get("/sign-in/oidc")
        await client.get("/sign-in/oidc")
        assert (await client.get("/sign-in/oidc")).headers["location"] == "/sign-in?why=slow"
        client.cookies.set("unmask_sign_in", "s|n|v|")
        before = list(provider.asked)
        assert (await client.get("/sign-in/back?code=x&state=s")).headers["location"] == "/sign-in?why=slow"
        assert provider.asked == before


async def test_a_reviewer_without_queues_sees_none(console: Console, provider: Provider) -> None:
    """The claim gives queues; where it is missing there are none, not all."""
    del provider.person["queues"]
    async with console.client() as client:
        await come_in(console, client)
        assert (await client.get("/api/v1/queues")).json() == []


async def test_an_answer_to_a_sign_in_that_was_not_begun_here_is_refused(console: Console) -> None:
    """Without the cookie of this browser's own sign-in, or with another state, a code is not even tried."""
    async with console.client() as victim:
        begun = await victim.get("/sign-in/oidc")
        state = parse_qs(urlsplit(begun.headers["location"]).query)["state"][0]
        async with console.client() as other:
            for query in (f"code=x&state={state}", "code=x&state=", "state=" + state):
                answer = await other.get(f"/sign-in/back?{query}")
                assert answer.headers["location"] == "/sign-in?why=again"
        answer = await victim.get("/sign-in/back?code=x&state=another")
        assert answer.headers["location"] == "/sign-in?why=again"


async def test_a_code_works_once(console: Console) -> None:
    """The way back, followed again, leads nowhere: the provider refuses the code."""
    async with console.client() as client:
        begun = await client.get("/sign-in/oidc")
        kept = client.cookies["unmask_sign_in"]
        async with httpx.AsyncClient() as browser:
            way = (await browser.get(begun.headers["location"])).headers["location"]
        way = way.removeprefix("http://console.test")
        assert (await client.get(way)).headers["location"] == "/"
        async with console.client() as again:
            again.cookies.set("unmask_sign_in", kept)
            assert (await again.get(way)).headers["location"] == "/sign-in?why=again"


async def test_new_keys_of_the_provider_are_found(console: Console, provider: Provider) -> None:
    """A provider changes its keys without notice: the next sign-in asks for them; an ordinary one does not."""
    for renewed in (False, True, False):
        if renewed:
            provider.new_key()
        before = provider.asked.count("/keys")
        async with console.client() as client:
            assert (await come_in(console, client)).headers["location"] == "/"
        assert provider.asked.count("/keys") <= before + 1
    assert provider.asked.count("/keys") == 2
    assert provider.asked.count("/.well-known/openid-configuration") == 1


async def test_a_clock_that_is_a_little_off_does_not_matter(console: Console, provider: Provider) -> None:
    """Half a minute too late is within what is allowed for."""
    provider.changes = {"exp": int(time.time()) - 30}
    async with console.client() as client:
        assert (await come_in(console, client)).headers["location"] == "/"


async def test_passwords_are_not_taken_where_a_provider_vouches(console: Console) -> None:
    """The page offers the provider alone, and a form that is sent all the same is refused."""
    async with console.client() as client:
        page = (await client.get("/sign-in")).text
        assert "Sign in with your organisation" in page
        assert "password" not in page.lower()
        answer = await client.post("/sign-in", data={"name": "ann", "password": "x"})
        assert answer.headers["location"] == "/sign-in?why=again"


async def test_a_provider_that_is_away_is_trouble_and_no_way_in(tmp_path: Path) -> None:
    """503, to try again."""
    with running_provider() as gone:
        url = gone.url
    made = make_console(tmp_path)
    parts = replace(made.parts, provider=oidc.Provider(url, CLIENT, SECRET, BACK))
    async with Console(parts, make_app(parts), made.watch).client() as client:
        assert (await client.get("/sign-in/oidc")).status_code == 503
    made.ledger.close()


async def _refused(console: Console, where: str) -> None:
    async with console.client() as client:
        back = await come_in(console, client)
        assert (back.status_code, back.headers["location"]) == (303, where)
        assert "unmask_session" not in client.cookies
        assert (await client.get("/api/v1/me")).status_code == 401
