"""Server-sent events: queues, and for leads who holds what, as they change, so that nobody has to reload a page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import TypeAdapter
from sse_starlette import EventSourceResponse, ServerSentEvent

from pipeline.console.api import at_work_views, queue_views
from pipeline.console.entry import needs, parts_of, whoever
from pipeline.console.models import AtWorkView, QueueView
from pipeline.console.parts import Parts
from pipeline.errors import Transient
from pipeline.review.people import Permission, Person

router = APIRouter(prefix="/api/v1", include_in_schema=False)

_held = TypeAdapter(list[AtWorkView])
_AT_WORK = "at work"
"""No queue has a space in its name."""
_SECONDS = 3.0
_KEEP_ALIVE = 15


@router.get("/events")
async def events(request: Request, _: Annotated[Person, Depends(needs(Permission.SEE_QUEUES))]) -> EventSourceResponse:
    """One's own queues, and for leads who holds what in them, whenever something changes, until the session ends."""
    return EventSourceResponse(queues(request, parts_of(request)), ping=_KEEP_ALIVE)


async def queues(request: Request, parts: Parts) -> AsyncIterator[ServerSentEvent]:
    """The stream. Who is there is asked each time: it may outlive the session or what the person may see."""
    told: dict[str, str] = {}
    while not await request.is_disconnected():
        try:
            person = await whoever(request)
            if person is None or not person.may(Permission.SEE_QUEUES):
                return
            views = await queue_views(parts, person)
            working = await at_work_views(parts, person) if person.may(Permission.MOVE) else None
        except Transient:
            yield ServerSentEvent(event="trouble", data="The database is busy or away.")
            views, working = [], None
        for view in views:
            words = _counts(view)
            if told.get(view.name) != words:
                told[view.name] = words
                yield ServerSentEvent(event="queue", data=view.model_dump_json())
        if working is not None and told.get(_AT_WORK) != (words := _held.dump_json(working).decode()):
            told[_AT_WORK] = words
            yield ServerSentEvent(event="at-work", data=words)
        await asyncio.sleep(_SECONDS)


def _counts(view: QueueView) -> str:
    """What makes a difference: time alone does not."""
    return view.model_dump_json(include={"depth", "overdue", "leased", "held", "breaches", "at_work"})
