"""Who is asking, and may they? Every route names the permission that it needs; one without one does not exist."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, HTTPException, Request

from pipeline.console.guard import SAFE, csrf_holds
from pipeline.console.parts import Parts
from pipeline.review.people import Permission, Person

COOKIE = "unmask_session"


def cookie_name(https: bool) -> str:
    """The `__Host-` prefix makes browsers refuse the cookie from anywhere but this host, by HTTPS."""
    return f"__Host-{COOKIE}" if https else COOKIE


def parts_of(request: Request) -> Parts:
    """What the console is made of."""
    found: Parts = request.app.state.parts
    return found


async def whoever(request: Request) -> Person | None:
    """Who is signed in, if anybody."""
    parts = parts_of(request)
    secret = bearer(request) or request.cookies.get(cookie_name(parts.https))
    return await to_thread(parts.people.session, secret, parts.clock()) if secret else None


def bearer(request: Request) -> str | None:
    """The token of a platform's own tool. A browser never sends one by itself, so it needs no guard against that."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def needs(permission: Permission) -> Callable[..., Awaitable[Person]]:
    """A dependency: the person who is signed in, if they may; 401, 403 or 429 otherwise."""

    async def entry(request: Request, person: Annotated[Person | None, Depends(whoever)]) -> Person:
        parts = parts_of(request)
        if person is None:
            raise HTTPException(401, "Sign in first.")
        if not parts.limit.takes(person.id):
            raise HTTPException(429, "Too many requests; wait a moment.", {"Retry-After": "1"})
        if request.method not in SAFE and bearer(request) is None:
            secret = request.cookies.get(cookie_name(parts.https), "")
            if not csrf_holds(request.headers.get("X-CSRF-Token", ""), secret, parts.signer.secret):
                raise HTTPException(403, "The page is out of date: load it again. (CSRF token)")
        if not person.may(permission):
            raise HTTPException(403, "Your role does not allow this.")
        return person

    entry.__unmask_permission__ = permission  # type: ignore[attr-defined]  # the authorisation test reads it
    return entry
