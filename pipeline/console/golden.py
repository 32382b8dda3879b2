"""The API for tasks whose answer is known: which there are, what people answered, which could be."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, HTTPException, Query, Request

from pipeline.console.api import Limit, Moves
from pipeline.console.calls import PROBLEMS, in_thread, log, own_queue, visible
from pipeline.console.entry import parts_of
from pipeline.console.models import GoldenIn, GoldenQueueView, GoldenView, SettledView
from pipeline.events.values import Action
from pipeline.ledger.entries import Note
from pipeline.ledger.overview import GoldenTask

router = APIRouter(prefix="/api/v1", responses=PROBLEMS)

Name = Annotated[str | None, Query(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]


@router.get("/queues/{queue}/golden")
async def golden_tasks(
    request: Request, person: Moves, queue: str, after: UUID | None = None, limit: Limit = 50
) -> GoldenQueueView:
    """A queue's golden tasks, the latest first, and what people answered to them."""
    parts = parts_of(request)
    share = parts.policy().queues[own_queue(parts, person, queue)].golden_share
    found = await in_thread(lambda: parts.overview.golden(queue, after, limit))
    await log(parts, person, "listed golden tasks", queue, {"tasks": [str(each.task_id) for each in found]})
    return GoldenQueueView(queue=queue, share=share, tasks=[golden_view(each) for each in found])


@router.get("/golden/candidates")
async def candidates(
    request: Request, person: Moves, queue: Name = None, media_id: Name = None, limit: Limit = 50
) -> list[SettledView]:
    """Tasks that people decided and that could be golden, the latest first: of one queue or all of one's own, of one
    upload or all."""
    parts = parts_of(request)
    queues = person.among(parts.policy().queues) if queue is None else (own_queue(parts, person, queue),)
    found = await in_thread(lambda: parts.overview.settled(queues, media_id, limit))
    await log(parts, person, "listed decided tasks", queue or "all", {"tasks": [str(each.task_id) for each in found]})
    return [
        SettledView(
            task_id=each.task_id,
            media_id=each.media_id,
            queue=each.queue,
            harm=each.harm,
            action=each.action,
            decided_by=each.decided_by,
            decided_at=each.decided_at,
        )
        for each in found
    ]


@router.post("/golden", status_code=204)
async def add(request: Request, person: Moves, said: GoldenIn) -> None:
    """Use a decided task to measure how well people decide; one that is golden gets another right answer."""
    parts = parts_of(request)
    await visible(parts, person, said.task_id)
    now = parts.clock()
    note = Note(now, person.id, "made golden", str(said.task_id), {"action": said.action})
    await in_thread(lambda: parts.golden.add(said.task_id, Action(said.action), person.id, now, note))


@router.delete("/golden/{task_id}", status_code=204)
async def retire(request: Request, person: Moves, task_id: UUID) -> None:
    """Ask nobody about it any more. What people answered still counts; it can be added again."""
    parts = parts_of(request)
    await visible(parts, person, task_id)
    now = parts.clock()
    note = Note(now, person.id, "retired golden", str(task_id), {})
    if not await in_thread(lambda: parts.golden.retire(task_id, now, note)):
        raise HTTPException(404, "There is no such golden task.")


def golden_view(task: GoldenTask) -> GoldenView:
    """With how often people were right."""
    return GoldenView(
        task_id=task.task_id,
        media_id=task.media_id,
        queue=task.queue,
        harm=task.harm,
        action=task.action,
        added_by=task.added_by,
        added_at=task.added_at,
        answered=sum(task.answers.values()),
        right=task.answers.get(task.action, 0),
        answers=dict(task.answers),
    )
