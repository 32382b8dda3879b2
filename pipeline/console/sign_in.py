"""Coming in and going out: local accounts or OpenID Connect, a session in a cookie, and out again."""

from __future__ import annotations

import re
from asyncio import to_thread
from dataclasses import replace
from typing import Annotated
from urllib.parse import quote, unquote, urlencode, urlsplit

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from pipeline import log
from pipeline.console import accounts
from pipeline.console.entry import cookie_name, parts_of
from pipeline.console.guard import csrf_holds, csrf_token, from_elsewhere
from pipeline.console.oidc import NotSignedIn
from pipeline.console.parts import Parts
from pipeline.console.sites import SITES
from pipeline.review.people import Person, from_claims

logger = log.get(__name__)

router = APIRouter(include_in_schema=False)

_FLOW = "unmask_sign_in"
"""Cookie that holds what is to be remembered between going to the provider and coming back; ten minutes."""
_FLOW_SECONDS = 600

Typed = Annotated[str, Form(max_length=1000)]


@router.get("/sign-in")
async def page(request: Request, why: str = "", to: str = "") -> Response:
    """Where people come in; straight to the provider where a session has ended (`to`: the page that it was on)."""
    parts = parts_of(request)
    to = own_page(to)
    if parts.provider is not None and to and not why:
        return _to(f"/sign-in/oidc?{urlencode({'to': to})}")
    reasons = {
        "wrong": "That name or password is wrong.",
        "again": "That did not work; try again.",
        "out": "Signed out.",
    }
    reasons |= {"role": "You are known, but have no role here: ask an administrator.", "slow": "Too many attempts."}
    return parts.pages.render("sign_in.html", oidc=parts.provider is not None, why=reasons.get(why, ""), to=to)


@router.post("/sign-in")
async def local(request: Request, name: Typed, password: Typed, to: Typed = "") -> Response:
    """By name and password, where local accounts are on."""
    parts = parts_of(request)
    address = _address(request)
    if parts.provider is not None or from_elsewhere(request.headers):
        return _to("/sign-in?why=again")
    if not (parts.sign_in_limit.takes(f"from {address}") and parts.sign_in_limit.takes(f"as {name}")):
        return _refused("slow", to)
    found = await to_thread(accounts.sign_in, parts.people, name, password)
    if found is None:
        # What is typed as a name may be a password: only names that there are go into a log that forgets nothing.
        there = await to_thread(parts.people.account, name) is not None
        await _log(parts, name if there else "somebody", "was refused", {"from": address})
        return _refused("wrong", to)
    person, one_time = found
    if one_time:  # it opens nothing but the page where another one is chosen
        return await _welcome(request, replace(person, roles=frozenset()), "/password", address)
    return await _welcome(request, person, own_page(to) or "/", address)


@router.get("/password")
async def password_page(request: Request, why: str = "") -> Response:
    """Where a one-time password is exchanged."""
    parts = parts_of(request)
    secret = request.cookies.get(cookie_name(parts.https), "")
    person = await to_thread(parts.people.session, secret, parts.clock())
    if person is None or parts.provider is not None:
        return _to("/sign-in")
    said = accounts.TROUBLE.get(why, "")
    return parts.pages.render("password.html", csrf=csrf_token(secret, parts.signer.secret), why=said)


@router.post("/password")
async def set_password(request: Request, password: Typed, csrf: Typed) -> Response:
    """Choose a password; every session of the account ends, this one begins anew."""
    parts = parts_of(request)
    secret = request.cookies.get(cookie_name(parts.https), "")
    person = await to_thread(parts.people.session, secret, parts.clock())
    found = await to_thread(parts.people.account, person.id) if person else None
    if found is None or parts.provider is not None or not csrf_holds(csrf, secret, parts.signer.secret):
        return _to("/sign-in?why=again")
    if trouble := accounts.trouble_with(found[0].id, password):
        return _to(f"/password?why={trouble}")
    await to_thread(accounts.choose_password, parts.people, found[0].id, password)
    await _log(parts, found[0].id, "chose a password", {})
    return await _welcome(request, found[0], "/", "")


@router.get("/sign-in/oidc")
async def start(request: Request, to: str = "") -> Response:
    """To the provider; `to`: the page to come back to."""
    parts = parts_of(request)
    if parts.provider is None:
        return _to("/sign-in")
    if not parts.provider_limit.takes(_address(request)):
        return _to("/sign-in?why=slow")
    try:
        begun = await parts.provider.start()
    except NotSignedIn as error:
        logger.warning("sign-in failed", why=str(error))
        return _to("/sign-in?why=again")
    response = RedirectResponse(begun.url, 303)
    words = f"{begun.state}|{begun.nonce}|{begun.verifier}|{quote(own_page(to), safe='')}"
    # Lax: the browser comes back from another site, and has to bring it.
    response.set_cookie(_flow(parts), words, _FLOW_SECONDS, httponly=True, samesite="lax", secure=parts.https)
    return response


@router.get("/sign-in/back")
async def back(request: Request, code: str = "", state: str = "") -> Response:
    """From the provider."""
    parts = parts_of(request)
    kept = request.cookies.get(_flow(parts), "").split("|")
    if parts.provider is None or len(kept) != 4 or not code or not state or state != kept[0]:
        return _to("/sign-in?why=again")
    if not parts.provider_limit.takes(_address(request)):
        return _to("/sign-in?why=slow")
    try:
        claims = await parts.provider.finish(code, kept[1], kept[2])
    except NotSignedIn as error:
        logger.warning("sign-in failed", why=str(error))
        return _to("/sign-in?why=again")
    person = from_claims(claims, parts.roles_claim, parts.queues_claim)
    if person is None:
        await _log(parts, str(claims.get("sub", "")), "was refused", {"why": "no role"})
        return _to("/sign-in?why=role")
    response = await _welcome(request, person, own_page(unquote(kept[3])) or "/", _address(request))
    response.delete_cookie(_flow(parts), secure=parts.https, httponly=True, samesite="lax")
    return response


@router.post("/sign-out")
async def out(request: Request, csrf: Typed) -> Response:
    """End the session."""
    parts = parts_of(request)
    secret = request.cookies.get(cookie_name(parts.https), "")
    if not csrf_holds(csrf, secret, parts.signer.secret):
        return _to("/")
    person = await to_thread(parts.people.session, secret, parts.clock())
    await to_thread(parts.people.close_session, secret)
    if person is not None:
        await _log(parts, person.id, "signed out", {})
    response = _to("/sign-in?why=out")
    # Browsers heed a `__Host-` cookie only where it is Secure, also when it is to go.
    response.delete_cookie(cookie_name(parts.https), secure=parts.https, httponly=True, samesite="lax")
    return response


async def _welcome(request: Request, person: Person, to: str, address: str) -> Response:
    """A new session: never one that the browser brought along, which ends."""
    parts = parts_of(request)
    now = parts.clock()
    if brought := request.cookies.get(cookie_name(parts.https)):
        await to_thread(parts.people.close_session, brought)
    secret = await to_thread(parts.people.open_session, person, now, now + parts.times.session)
    await _log(parts, person.id, "signed in", {"from": address} if address else {})
    response = _to(to)
    age = int(parts.times.session.total_seconds())
    # Lax, not strict: a link in a mail to a case must find who is signed in. Whatever changes things is guarded by CSRF
    # tokens and never by GET.
    response.set_cookie(
        cookie_name(parts.https), secret, age, httponly=True, samesite="lax", secure=parts.https, path="/"
    )
    return response


def own_page(to: str) -> str:
    """A page of this console, as a path; empty for anything else: nobody is sent elsewhere."""
    try:
        found = urlsplit(to)
    except ValueError:
        return ""
    known = found.path in SITES or re.fullmatch(r"/cases/[0-9a-f-]{36}", found.path)
    if found.scheme or found.netloc or not known or len(to) > 300 or not to.isascii() or not to.isprintable():
        return ""
    return f"{found.path}?{found.query}" if found.query else found.path


def _refused(why: str, to: str) -> Response:
    return _to(f"/sign-in?{urlencode({'why': why} | ({'to': own_page(to)} if own_page(to) else {}))}")


def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"


def _flow(parts: Parts) -> str:
    return f"__Host-{_FLOW}" if parts.https else _FLOW


async def _log(parts: Parts, actor: str, verb: str, detail: dict[str, object]) -> None:
    await to_thread(parts.work.log, parts.clock(), actor[:256], verb, "console", detail)


def _to(path: str) -> RedirectResponse:
    return RedirectResponse(path, 303)
