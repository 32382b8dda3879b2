"""What routes have in common: the ledger is asked off the loop, what cannot be is said in a sentence, and what somebody
did is in the audit log."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar
from uuid import UUID

from fastapi import HTTPException

from pipeline.console.models import Problem
from pipeline.console.parts import Parts
from pipeline.events import ReviewRequested
from pipeline.ledger.entries import Note
from pipeline.review.people import Person
from pipeline.review.port import Refused

T = TypeVar("T")

PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "the body is no JSON"},
    401: {"model": Problem, "description": "nobody is signed in"},
    403: {"model": Problem, "description": "not allowed"},
    404: {"model": Problem, "description": "there is no such thing, or it is not yours to see"},
    409: {"model": Problem, "description": "somebody was faster, or the lease has ended"},
    413: {"model": Problem, "description": "the body is larger than anything that is taken here"},
    422: {"model": Problem, "description": "it does not fit what is described here, or the policy"},
    429: {"model": Problem, "description": "too many requests"},
    503: {"model": Problem, "description": "the database is busy or away"},
}


async def in_thread(call: Callable[[], T]) -> T:
    """A call on the ledger, in a thread; what cannot be is a conflict."""
    try:
        return await to_thread(call)
    except Refused as refused:
        raise HTTPException(409, str(refused)) from None


async def visible(parts: Parts, person: Person, task_id: UUID) -> ReviewRequested:
    """The task; 404 where there is none, or it is in a queue that is not this person's."""
    found = await in_thread(lambda: parts.work.task(task_id))
    if found is None or not person.sees(found[1]):
        raise HTTPException(404, "There is no such task.")
    return found[0]


def own_queue(parts: Parts, person: Person, queue: str) -> str:
    """The queue; 404 where there is none, or it is not this person's."""
    if not person.sees(queue) or queue not in parts.policy().queues:
        raise HTTPException(404, "There is no such queue.")
    return queue


def note(parts: Parts, person: Person, verb: str, subject: str, task_ids: Iterable[UUID]) -> Note:
    """What the audit log is to say of something done to these tasks."""
    return Note(parts.clock(), person.id, verb, subject, {"tasks": [str(task_id) for task_id in task_ids]})


async def log(parts: Parts, person: Person, verb: str, subject: str, detail: Mapping[str, object]) -> None:
    """Say in the audit log what somebody looked at."""
    await in_thread(lambda: parts.work.log(parts.clock(), person.id, verb, subject, detail))
