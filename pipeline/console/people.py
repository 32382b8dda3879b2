"""The API for who may come in: for administrators. What people may is changed for local accounts alone; elsewhere the
OpenID provider says it. No password is made or seen here."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request

from pipeline.console.calls import PROBLEMS, in_thread, log
from pipeline.console.entry import needs, parts_of
from pipeline.console.models import AccountIn, EndedView, PeopleView, PersonView, WhoIn
from pipeline.ledger.entries import Note
from pipeline.ledger.overview import Known
from pipeline.review.people import EVERY_QUEUE, Permission, Person

router = APIRouter(prefix="/api/v1/people", responses=PROBLEMS)

Manages = Annotated[Person, Depends(needs(Permission.MANAGE_PEOPLE))]


@router.get("")
async def people(request: Request, person: Manages) -> PeopleView:
    """Everybody who has a local account, or is signed in, or has a token."""
    parts = parts_of(request)
    found = await in_thread(lambda: parts.overview.people(parts.clock()))
    await log(parts, person, "listed people", "console", {"people": len(found)})
    return PeopleView(
        people=[person_view(each) for each in found],
        changeable=parts.provider is None,
        queues=sorted(parts.policy().queues),
    )


@router.post("/change")
async def change(request: Request, person: Manages, said: AccountIn) -> EndedView:
    """What somebody with a local account may from now on, and whether they can sign in; their sessions end. Nobody
    changes what they may themselves."""
    parts = parts_of(request)
    if parts.provider is not None:
        raise HTTPException(409, "People come in by the OpenID provider here: it says what they may.")
    if said.person_id == person.id:
        raise HTTPException(409, "What you may is changed by another administrator.")
    unknown = set(said.queues) - set(parts.policy().queues) - {EVERY_QUEUE}
    if unknown:
        raise HTTPException(422, f"There is no queue {', '.join(sorted(unknown))}.")
    now, roles, queues = parts.clock(), frozenset(said.roles), frozenset(said.queues)
    detail = {"roles": sorted(roles), "queues": sorted(queues), "disabled": said.disabled}
    note = Note(now, person.id, "changed an account", said.person_id, detail)
    ended = await in_thread(
        lambda: parts.people.change_account(
            said.person_id, roles, queues, disabled_at=now if said.disabled else None, note=note
        )
    )
    if ended is None:
        raise HTTPException(404, "There is no such account.")
    return EndedView(sessions=ended)


@router.post("/sign-out")
async def sign_out(request: Request, person: Manages, said: WhoIn) -> EndedView:
    """End every session and token of somebody, at once."""
    parts = parts_of(request)
    note = Note(parts.clock(), person.id, "ended sessions", said.person_id, {})
    return EndedView(sessions=await in_thread(lambda: parts.people.end_sessions(said.person_id, note)))


def person_view(known: Known) -> PersonView:
    """Without anything that would let somebody in."""
    return PersonView(
        person_id=known.person.id,
        name=known.person.name,
        roles=sorted(known.person.roles),
        queues=sorted(known.person.queues),
        local=known.account is not None,
        account_at=known.account,
        fresh=known.fresh,
        disabled=known.disabled,
        sessions=known.sessions,
        latest_at=known.latest,
    )
