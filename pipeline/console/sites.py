"""The pages' addresses. Each page is a frame; what is in it comes by the API, so that both show the same."""

from __future__ import annotations

from asyncio import to_thread
from typing import NamedTuple
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from pipeline.console.entry import cookie_name, parts_of
from pipeline.console.guard import csrf_token
from pipeline.review.people import Permission

router = APIRouter(include_in_schema=False)


class Site(NamedTuple):
    """A page: who may see it, and its name in the menu (none: it is not there)."""

    template: str
    needs: Permission
    name: str = ""


SITES: dict[str, Site] = {
    "/queues": Site("queues.html", Permission.SEE_QUEUES, "Queues"),
    "/case": Site("case.html", Permission.WORK, "Work"),
    "/lead": Site("lead.html", Permission.SEE_QUALITY, "Lead"),
    "/golden": Site("golden.html", Permission.MOVE, "Golden"),
    "/people": Site("people.html", Permission.MANAGE_PEOPLE, "People"),
    "/audit": Site("audit.html", Permission.SEE_LOG, "Audit"),
    "/me": Site("me.html", Permission.SEE_SELF, "Me"),
    "/help": Site("help.html", Permission.SEE_SELF, "Help"),
}


@router.get("/")
async def home() -> Response:
    """To the queues."""
    return RedirectResponse("/queues", 303)


@router.get("/cases/{task_id}")
async def read_case(request: Request, task_id: UUID) -> Response:
    """A case, to read."""
    return await _page(request, "/case", Site("case.html", Permission.SEE_CASES), task=str(task_id))


async def _page(request: Request, path: str, site: Site, **words: object) -> Response:
    parts = parts_of(request)
    secret = request.cookies.get(cookie_name(parts.https), "")
    person = await to_thread(parts.people.session, secret, parts.clock()) if secret else None
    if person is None:
        where = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/sign-in?{urlencode({'to': where})}", 303)
    if not person.roles:  # a one-time password opens nothing but this
        return RedirectResponse("/password", 303)
    menu = [(where, each.name) for where, each in SITES.items() if each.name and person.may(each.needs)]
    shared = {"person": person, "menu": menu, "here": path, "csrf": csrf_token(secret, parts.signer.secret)}
    if not person.may(site.needs):
        denied = parts.pages.render("denied.html", **shared)
        denied.status_code = 403
        return denied
    return parts.pages.render(site.template, **(shared | {"task": ""} | words))


def _route(path: str, site: Site) -> None:
    async def show(request: Request) -> Response:
        return await _page(request, path, site)

    router.add_api_route(path, show, methods=["GET"])


for _path, _site in SITES.items():
    _route(_path, _site)
