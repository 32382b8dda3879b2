"""Coming in and going out: local accounts or OpenID Connect, a session in a cookie, and out again."""

from __future__ import annotations

from asyncio import to_thread
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from pipeline import log
from pipeline.console import accounts
from pipeline.console.entry import cookie_name, parts_of
from pipeline.console.guard import csrf_holds, csrf_token
from pipeline.console.oidc import NotSignedIn
from pipeline.console.parts import Parts
from pipeline.errors import ConfigError
from pipeline.review.people import Person, from_claims

logger = log.get(__name__)

router = APIRouter(include_in_schema=False)

_FLOW = "unmask_sign_in"
"""Cookie that holds what is to be remembered between going to the provider and coming back; ten minutes."""
_FLOW_SECONDS = 600

Typed = Annotated[str, Form(max_length=1000)]


@router.get("/sign-in")
async def page(request: Request, why: str = "") -> HTMLResponse:
    """Where people come in."""
    parts = parts_of(request)
    reasons = {
        "wrong": "That name or password is wrong.",
        "again": "That did not work; try again.",
        "out": "Signed out.",
    }
    reasons |= {"role": "You are known, but have no role here: ask an administrator.", "slow": "Too many attempts."}
    return parts.pages.render("sign_in.html", oidc=parts.provider is not None, why=reasons.get(why, ""))


@router.post("/sign-in")
async def local(request: Request, name: Typed, password: Typed) -> Response:
    """By name and password, where local accounts are on."""
    parts = parts_of(request)
    address = request.client.host if request.client else "unknown"
    if parts.provider is not None:
        return _to("/sign-in?why=again")
    if not (parts.sign_in_limit.takes(f"from {address}") and parts.sign_in_limit.takes(f"as {name}")):
        return _to("/sign-in?why=slow")
    found = await to_thread(accounts.sign_in, parts.people, name, password)
    if found is None:
        await _log(parts, name, "was refused", {"from": address})
        return _to("/sign-in?why=wrong")
    person, one_time = found
    return await _welcome(parts, person, "/password" if one_time else "/", address)


@router.get("/password")
async def password_page(request: Request, why: str = "") -> Response:
    """Where a one-time password is exchanged."""
    parts = parts_of(request)
    secret = request.cookies.get(cookie_name(parts.https), "")
    person = await to_thread(parts.people.session, secret, parts.clock())
    if person is None:
        return _to("/sign-in")
    return parts.pages.render("password.html", csrf=csrf_token(secret, parts.signer.secret), why=why[:200])


@router.post("/password")
async def set_password(request: Request, password: Typed, csrf: Typed) -> Response:
    """Choose a password; every session of the account ends, this one begins anew."""
    parts = parts_of(request)
    secret = request.cookies.get(cookie_name(parts.https), "")
    person = await to_thread(parts.people.session, secret, parts.clock())
    if person is None or not csrf_holds(csrf, secret, parts.signer.secret):
        return _to("/sign-in?why=again")
    try:
        await to_thread(accounts.choose_password, parts.people, person.id, password)
    except ConfigError as error:
        return _to(f"/password?why={quote(str(error))}")
    await _log(parts, person.id, "chose a password", {})
    return await _welcome(parts, person, "/", "")


@router.get("/sign-in/oidc")
async def start(request: Request) -> Response:
    """To the provider."""
    parts = parts_of(request)
    if parts.provider is None:
        return _to("/sign-in")
    try:
        begun = await parts.provider.start()
    except NotSignedIn as error:
        logger.warning("sign-in failed", why=str(error))
        return _to("/sign-in?why=again")
    response = RedirectResponse(begun.url, 303)
    words = f"{begun.state}|{begun.nonce}|{begun.verifier}"
    # Lax: the browser comes back from another site, and has to bring it.
    response.set_cookie(_FLOW, words, _FLOW_SECONDS, httponly=True, samesite="lax", secure=parts.https)
    return response


@router.get("/sign-in/back")
async def back(request: Request, code: str = "", state: str = "") -> Response:
    """From the provider."""
    parts = parts_of(request)
    kept = request.cookies.get(_FLOW, "").split("|")
    if parts.provider is None or len(kept) != 3 or not code or state != kept[0]:
        return _to("/sign-in?why=again")
    try:
        claims = await parts.provider.finish(code, kept[1], kept[2])
    except NotSignedIn as error:
        logger.warning("sign-in failed", why=str(error))
        return _to("/sign-in?why=again")
    person = from_claims(claims, parts.roles_claim, parts.queues_claim)
    if person is None:
        await _log(parts, str(claims.get("sub", "")), "was refused", {"why": "no role"})
        return _to("/sign-in?why=role")
    response = await _welcome(parts, person, "/", "")
    response.delete_cookie(_FLOW)
    return response


@router.post("/sign-out")
async def out(request: Request, csrf: Typed) -> Response:
    """End the session."""
    parts = parts_of(request)
    secret = request.cookies.get(cookie_name(parts.https), "")
    if not csrf_holds(csrf, secret, parts.signer.secret):
        return _to("/")
    await to_thread(parts.people.close_session, secret)
    response = _to("/sign-in?why=out")
    response.delete_cookie(cookie_name(parts.https))
    return response


async def _welcome(parts: Parts, person: Person, to: str, address: str) -> Response:
    """A new session: never one that the browser brought along."""
    now = parts.clock()
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


async def _log(parts: Parts, actor: str, verb: str, detail: dict[str, object]) -> None:
    await to_thread(parts.work.log, parts.clock(), actor[:256], verb, "console", detail)


def _to(path: str) -> RedirectResponse:
    return RedirectResponse(path, 303)
