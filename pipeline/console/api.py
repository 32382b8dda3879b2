"""The API under /api/v1: what the console's pages use, and what a platform's own tool may use instead of them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response

from pipeline.console.calls import PROBLEMS, in_thread, log, note, own_queue, visible
from pipeline.console.entry import cookie_name, needs, parts_of
from pipeline.console.guard import csrf_token
from pipeline.console.models import (
    AnsweredView,
    AnswerIn,
    Appealed,
    AppealIn,
    Assign,
    AtWorkView,
    CaseView,
    ChainView,
    Claim,
    DecideIn,
    Done,
    Escalate,
    Exposure,
    ExposureIn,
    First,
    Hold,
    Kept,
    LogEntry,
    Me,
    Preferences,
    QualityView,
    QueueView,
    Skip,
    TaskView,
)
from pipeline.console.parts import Parts
from pipeline.console.view import at_work_view, breaches, case_view, harm_views, quality_view, sees_scores, task_view
from pipeline.events import MediaEnforced, OutcomeStatus, ReviewRequested, SubjectRequested
from pipeline.events.codec import encode
from pipeline.events.values import Action, RequestKind
from pipeline.ledger.work import opened_note
from pipeline.moments import length
from pipeline.review.chain import verify
from pipeline.review.people import GRANTS, Permission, Person
from pipeline.review.port import Answer, Answered, Held, Refused
from pipeline.review.quality import quality as measure
from pipeline.topology import SUBJECT_REQUESTED

_EMPTY: dict[int | str, dict[str, Any]] = {204: {"description": "nothing to do"}}
VIEWS = ("original", "picture", "crop", "heat", "noise", "compression", "spectrum", "wave", "spectrogram")
"""What can be had of a case's media; see media.py."""
_ENDED = "Your lease has ended; the task went back to the queue."
_LATELY = timedelta(hours=24)
_DAY = timedelta(days=1)
_LONGEST_HOLD = timedelta(days=366)

router = APIRouter(prefix="/api/v1", responses=PROBLEMS)

Self_ = Annotated[Person, Depends(needs(Permission.SEE_SELF))]
SeesQueues = Annotated[Person, Depends(needs(Permission.SEE_QUEUES))]
SeesCases = Annotated[Person, Depends(needs(Permission.SEE_CASES))]
Works = Annotated[Person, Depends(needs(Permission.WORK))]
Moves = Annotated[Person, Depends(needs(Permission.MOVE))]
SeesQuality = Annotated[Person, Depends(needs(Permission.SEE_QUALITY))]
Appeals = Annotated[Person, Depends(needs(Permission.APPEAL))]
SeesLog = Annotated[Person, Depends(needs(Permission.SEE_LOG))]
Limit = Annotated[int, Query(ge=1, le=200)]


# --- oneself ---------------------------------------------------------------------------------------------------------


@router.get("/me")
async def me(request: Request, person: Self_) -> Me:
    """Who is signed in, what they may do, how they want things shown, and what they looked at today."""
    parts = parts_of(request)
    stored = await in_thread(lambda: parts.people.preferences(person.id))
    secret = request.cookies.get(cookie_name(parts.https))
    until = await in_thread(lambda: parts.people.session_until(secret)) if secret and parts.provider else None
    return Me(
        id=person.id,
        name=person.name,
        roles=sorted(person.roles),
        queues=sorted(person.queues),
        permissions=sorted({permission.value for role in person.roles for permission in GRANTS[role]}),
        preferences=Preferences.model_validate_json(stored) if stored else Preferences(),
        exposure=await _exposure(parts, person),
        harms=harm_views(parts.policy()),
        csrf_token=csrf_token(secret, parts.signer.secret) if secret else None,
        renew_at=until - min(parts.times.renewal, parts.times.session / 4) if until else None,
    )


@router.put("/me/preferences")
async def put_preferences(request: Request, person: Self_, preferences: Preferences) -> Preferences:
    """How media is shown from now on."""
    parts = parts_of(request)
    await in_thread(lambda: parts.people.put_preferences(person.id, preferences.model_dump_json()))
    return preferences


@router.get("/me/exposure")
async def exposure(request: Request, person: Self_) -> list[Exposure]:
    """What one looked at in the last 24 hours, by harm. Only oneself sees it."""
    return await _exposure(parts_of(request), person)


@router.post("/exposure", status_code=204)
async def expose(request: Request, person: Works, said: ExposureIn) -> None:
    """One looked at a task for so long."""
    parts = parts_of(request)
    found = await in_thread(lambda: parts.work.task(said.task_id))
    if found is None or not person.sees(found[1]):
        raise HTTPException(404, "There is no such task.")
    harm = found[0].harm
    known = parts.policy().harms.get(harm)
    severity = known.severity if known else 3
    await in_thread(
        lambda: parts.people.expose(
            person.id,
            said.task_id,
            parts.clock(),
            harm=harm,
            severity=severity,
            seconds=said.seconds,
            filters=",".join(said.filters),
        )
    )


async def _exposure(parts: Parts, person: Person) -> list[Exposure]:
    rows = await in_thread(lambda: parts.people.exposure(person.id, parts.clock() - _DAY))
    return [Exposure(harm=harm, severity=severity, seconds=seconds) for harm, severity, seconds in rows]


# --- queues ----------------------------------------------------------------------------------------------------------


@router.get("/queues")
async def queues(request: Request, person: SeesQueues) -> list[QueueView]:
    """One's own queues as they are now."""
    return await queue_views(parts_of(request), person)


async def queue_views(parts: Parts, person: Person) -> list[QueueView]:
    """What a person sees of their queues."""
    views = await parts.board.view(lambda: _every_queue(parts))
    return [view for name, view in views.items() if person.sees(name)]


@router.get("/at-work")
async def at_work(request: Request, person: Moves) -> list[AtWorkView]:
    """Who holds which case of one's own queues now, and until when."""
    return await at_work_views(parts_of(request), person)


async def at_work_views(parts: Parts, person: Person) -> list[AtWorkView]:
    """What a lead sees of who holds what."""
    held = await parts.desks.view(lambda: parts.overview.at_work(parts.clock()))
    return [at_work_view(each) for each in held if person.sees(each.queue)]


def _every_queue(parts: Parts) -> dict[str, QueueView]:
    now, policy = parts.clock(), parts.policy()
    workers = parts.overview.at_work(now)
    found = {}
    for name, state in parts.work.queue_states(tuple(policy.queues), now).items():
        queue = policy.queues[name]
        measured = parts.work.handling_seconds(name, now - _LATELY)
        handling = measured[2] if measured else length(queue.handling).total_seconds()
        here = {each.who: each.name for each in workers if each.queue == name}
        found[name] = QueueView(
            name=name,
            what=queue.what,
            depth=state.depth,
            oldest=state.oldest,
            overdue=state.overdue,
            leased=state.leased,
            held=state.held,
            handling_seconds=handling,
            handling_measured=measured is not None,
            slack=list(state.slack),
            breaches=breaches(state.slack, handling, len(here), measured[0] if measured else None),
            at_work=sorted(here.values()),
        )
    return found


@router.get("/queues/{queue}/tasks")
async def tasks(
    request: Request, person: SeesCases, queue: str, after: UUID | None = None, limit: Limit = 50
) -> list[TaskView]:
    """Open tasks of a queue, the most urgent first, without scores."""
    parts = parts_of(request)
    own_queue(parts, person, queue)
    rows = await in_thread(lambda: parts.work.listed(queue, after, limit))
    await log(parts, person, "listed", queue, {"tasks": [str(task.task_id) for task in rows]})
    return [task_view(task, hidden=_blind(parts, queue)) for task in rows]


# --- work ------------------------------------------------------------------------------------------------------------


@router.post("/work/claim", responses=_EMPTY, response_model=CaseView)
async def claim(request: Request, person: Works, wanted: Claim) -> Response:
    """The most urgent case that one may have, or the one that one holds already."""
    parts = parts_of(request)
    chosen = person.among(wanted.queues or parts.policy().queues)
    lead = person.may(Permission.ADJUDICATE)
    shares = {name: queue.golden_share for name, queue in parts.policy().queues.items()}

    def take() -> Response:
        held = parts.desk.claim(person.id, chosen, parts.clock(), lead=lead, golden=shares)
        return _case(parts, person, held)

    return await in_thread(take)


@router.post("/work/claim/{task_id}", response_model=CaseView)
async def claim_task(request: Request, person: Works, task_id: UUID) -> Response:
    """This very task."""
    parts = parts_of(request)
    await visible(parts, person, task_id)
    lead = person.may(Permission.ADJUDICATE)
    return await in_thread(
        lambda: _case(parts, person, parts.desk.claim_task(person.id, task_id, parts.clock(), lead=lead))
    )


@router.get("/work/case", responses=_EMPTY, response_model=CaseView)
async def held_case(request: Request, person: Works) -> Response:
    """The case that one holds."""
    parts = parts_of(request)
    return await in_thread(
        lambda: _case(parts, person, _opened(parts, person, parts.desk.holding(person.id, parts.clock())))
    )


@router.post("/work/{lease_id}/keep")
async def keep(request: Request, person: Works, lease_id: UUID) -> Kept:
    """The heartbeat of a lease."""
    parts = parts_of(request)
    return Kept(until=await in_thread(lambda: parts.desk.keep(person.id, lease_id, parts.clock())))


@router.post("/work/{lease_id}/release", status_code=204)
async def release(request: Request, person: Works, lease_id: UUID) -> None:
    """Give the case back."""
    parts = parts_of(request)
    await in_thread(lambda: parts.desk.release(person.id, lease_id))


@router.post("/work/{lease_id}/skip", status_code=204)
async def skip(request: Request, person: Works, lease_id: UUID, said: Skip) -> None:
    """Give the case back and do not get it again for a while."""
    parts = parts_of(request)
    away = timedelta(minutes=said.minutes)
    await in_thread(lambda: parts.desk.skip(person.id, lease_id, said.reason, parts.clock(), away))


@router.post("/work/{lease_id}/first", response_model=CaseView)
async def first(request: Request, person: Works, lease_id: UUID, said: First) -> Response:
    """What one thinks before seeing the scores; they are shown from then on."""
    parts = parts_of(request)

    def say() -> Response:
        parts.desk.first(person.id, lease_id, said.action, parts.clock())
        held = parts.desk.holding(person.id, parts.clock())
        if held is None:
            raise Refused(_ENDED)
        return _case(parts, person, _opened(parts, person, held))

    return await in_thread(say)


@router.post("/work/{lease_id}/answer")
async def answer(request: Request, person: Works, lease_id: UUID, said: AnswerIn) -> AnsweredView:
    """Decide the case that one holds."""
    parts = parts_of(request)
    policy = parts.policy()
    if said.harm is not None and said.harm not in policy.harms:
        raise HTTPException(422, f"There is no harm {said.harm!r} in the policy.")
    if said.action is not Action.ALLOW and not (said.harm or said.reason.strip()):
        raise HTTPException(422, "A restriction needs a reason: a harm from the policy's list, or words.")
    given = Answer(
        action=Action(said.action),
        reason=said.reason or (f"{policy.harms[said.harm].what}." if said.harm else ""),
        notes=said.notes,
        label=said.label,
        confirmed=tuple(dict.fromkeys(said.confirmed)),
        denied=tuple(family for family in dict.fromkeys(said.denied) if family not in said.confirmed),
        harm=said.harm,
    )
    people = {name: queue.people for name, queue in policy.queues.items()}

    def say() -> Answered:
        held = parts.desk.holding(person.id, parts.clock())
        if held is None or held.lease_id != lease_id:
            raise Refused(_ENDED)
        if _blind(parts, held.tasks[0].queue) and held.first is None:
            raise Refused("This queue asks for an answer before the scores are shown.")
        return parts.desk.answer(person.id, lease_id, given, parts.clock(), people)

    done = await in_thread(say)
    return AnsweredView(
        answer_id=done.answer_id, stands=done.stands, swept=list(done.swept), undo_until=done.undo_until
    )


@router.post("/answers/{answer_id}/undo", response_model=CaseView)
async def undo(request: Request, person: Works, answer_id: UUID) -> Response:
    """Take an answer back, within the grace time."""
    parts = parts_of(request)
    return await in_thread(
        lambda: _case(parts, person, _opened(parts, person, parts.desk.undo(person.id, answer_id, parts.clock())))
    )


# --- moving ----------------------------------------------------------------------------------------------------------


@router.post("/tasks/assign")
async def assign(request: Request, person: Moves, said: Assign) -> Done:
    """Give tasks to one person, or to nobody in particular."""
    parts = parts_of(request)
    await _all_visible(parts, person, said.task_ids)
    told = note(parts, person, "assigned", said.to or "anybody", said.task_ids)
    count = await in_thread(lambda: parts.work.assign(said.task_ids, said.to, told))
    return Done(tasks=count)


@router.post("/tasks/hold")
async def hold(request: Request, person: Moves, said: Hold) -> Done:
    """Keep tasks out of the queue until a time."""
    parts = parts_of(request)
    await _all_visible(parts, person, said.task_ids)
    until = said.until if said.until is None or said.until.tzinfo else said.until.replace(tzinfo=UTC)
    now = parts.clock()
    if until is not None and until > now + _LONGEST_HOLD:
        raise HTTPException(422, "A task can be held back for a year at most.")
    until = None if until is None or until <= now else until
    told = note(parts, person, "held", str(until), said.task_ids)
    count = await in_thread(lambda: parts.work.hold(said.task_ids, until, told))
    return Done(tasks=count)


@router.post("/tasks/decide")
async def decide(request: Request, person: Moves, said: DecideIn) -> Done:
    """Decide open tasks at once; those that somebody holds are left out."""
    parts = parts_of(request)
    await _all_visible(parts, person, said.task_ids)
    if said.action is not Action.ALLOW and not said.reason.strip():
        raise HTTPException(422, "A restriction needs a reason.")
    given = Answer(action=Action(said.action), reason=said.reason)
    done = await in_thread(lambda: parts.work.decide(person.id, said.task_ids, given, parts.clock(), parts.times.grace))
    return Done(tasks=len(done.swept))


@router.post("/tasks/escalate")
async def escalate(request: Request, person: Works, said: Escalate) -> Done:
    """Move tasks to another queue: who may not move what others hold, those that they hold themselves."""
    parts = parts_of(request)
    if said.queue not in parts.policy().queues:
        raise HTTPException(404, "There is no such queue.")
    await _all_visible(parts, person, said.task_ids)
    mine = await in_thread(lambda: parts.desk.escalate(person.id, said.task_ids, said.queue, parts.clock()))
    if mine or not person.may(Permission.MOVE):
        return Done(tasks=mine)
    told = note(parts, person, "escalated", said.queue, said.task_ids)
    return Done(tasks=await in_thread(lambda: parts.work.escalate(said.task_ids, said.queue, told)))


@router.get("/tasks/{task_id}")
async def task(request: Request, person: SeesCases, task_id: UUID) -> CaseView:
    """A case, to read."""
    parts = parts_of(request)
    found = await visible(parts, person, task_id)
    await log(parts, person, "saw", found.media_id, {"task": str(task_id)})
    return await in_thread(lambda: _shown(parts, person, None, (found,)))


@router.post("/appeals", status_code=202)
async def appeal(request: Request, person: Appeals, said: AppealIn) -> Appealed:
    """An uploader wants another person to look. The same `request_id` again is the same appeal."""
    parts = parts_of(request)
    if await in_thread(lambda: parts.ledger.outcome(said.media_id)) is None:
        raise HTTPException(404, "Nothing was decided on such an upload.")
    asked = SubjectRequested(
        request_id=said.request_id,
        kind=RequestKind.APPEAL,
        received_at=parts.clock(),
        media_id=said.media_id,
        statement=said.statement,
    )
    await in_thread(lambda: parts.work.post(SUBJECT_REQUESTED, said.media_id, encode(asked), parts.clock()))
    await log(parts, person, "passed on an appeal", said.media_id, {"request": said.request_id})
    return Appealed(request_id=said.request_id)


@router.get("/quality")
async def quality(request: Request, person: SeesQuality, days: Annotated[int, Query(ge=1, le=365)] = 7) -> QualityView:
    """How good the decisions are: of rules, families and queues by what people said; of people by golden tasks."""
    parts = parts_of(request)
    since = parts.clock() - timedelta(days=days)

    def look() -> QualityView:
        mine = (each for each in parts.work.reviewed(since) if person.sees(each[2]))
        known = [each for each in parts.golden.answered(since) if person.sees(each.queue)]
        blind = [each for each in parts.work.blind(since) if person.sees(each.queue)]
        return quality_view(measure(mine, known, blind, parts.work.overturned(since, person.sees)))

    return await in_thread(look)


# --- the log ---------------------------------------------------------------------------------------------------------


@router.get("/audit")
async def audit(
    request: Request, person: SeesLog, after: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0, limit: Limit = 100
) -> list[LogEntry]:
    """Entries of the audit log."""
    parts = parts_of(request)

    def page() -> list[LogEntry]:
        found = []
        for entry in parts.work.log_entries(after):
            found.append(
                LogEntry(
                    seq=entry.seq,
                    at=entry.at,
                    actor=entry.actor,
                    verb=entry.verb,
                    subject=entry.subject,
                    detail=entry.detail,
                    words=entry.words,
                    digest=entry.digest,
                )
            )
            if len(found) >= limit:
                break
        return found

    await log(parts, person, "read the log", "audit", {"after": after})
    return await in_thread(page)


@router.get("/audit/verify")
async def verify_audit(request: Request, person: SeesLog) -> ChainView:
    """Follow the audit log's chain from its beginning."""
    parts = parts_of(request)
    await log(parts, person, "verified the log", "audit", {})
    held = await in_thread(lambda: verify(parts.work.log_entries()))
    return ChainView(entries=held.entries, head=held.head, broken_at=held.broken_at, why=held.why)


# --- how -------------------------------------------------------------------------------------------------------------


def keeps_scores_back(parts: Parts, person: Person, task: ReviewRequested, held: Held | None) -> bool:
    """Who may be asked about a task does not see its scores first, by no way; who only audits does."""
    asked = person.may(Permission.WORK) and not person.may(Permission.SEE_LOG)
    return asked and not sees_scores(_blind(parts, task.queue), held.first if held else None)


def _answers(outcome: MediaEnforced, task: ReviewRequested) -> bool:
    final = outcome.status is OutcomeStatus.FINAL
    return final and outcome.media_id == task.media_id and outcome.round >= task.round


def _blind(parts: Parts, queue: str) -> bool:
    known = parts.policy().queues.get(queue)
    return known is not None and known.blind_first


async def _all_visible(parts: Parts, person: Person, task_ids: Iterable[UUID]) -> None:
    for task_id in dict.fromkeys(task_ids):
        await visible(parts, person, task_id)


def _opened(parts: Parts, person: Person, held: Held | None) -> Held | None:
    """What this person holds, which the audit log now says that they opened. Blocking."""
    if held is not None:
        parts.work.write(opened_note(person.id, parts.clock(), held))
    return held


def _case(parts: Parts, person: Person, held: Held | None) -> Response:
    """What this person holds, in words already: to check and write them is kept off the loop, which everybody shares.
    Blocking."""
    if held is None:
        return Response(status_code=204)
    words = _shown(parts, person, held, held.tasks).model_dump_json()
    return Response(words, media_type="application/json")


def _shown(parts: Parts, person: Person, held: Held | None, of: tuple[ReviewRequested, ...]) -> CaseView:
    """Blocking."""
    first_task = of[0]
    decided = parts.ledger.decision(first_task.media_id, first_task.round)
    past, elsewhere, notes = parts.work.background(first_task, _reads_notes_up_to(person, first_task, held))
    if held is not None:
        # What became of a golden task is not told to who is asked about it.
        past = tuple(each for each in past if not _answers(each, first_task))
    hidden = keeps_scores_back(parts, person, first_task, held)
    urls = media_urls(parts, person, first_task)
    return case_view(held, of, decided, past, elsewhere, parts.policy(), urls, notes=notes, hidden=hidden)


def _reads_notes_up_to(person: Person, task: ReviewRequested, held: Held | None) -> int:
    """The last round whose notes somebody may read. Who is asked reads those of earlier rounds alone, so that nobody is
    swayed; a lead who settles what two disagree on, and who only reads, those of this one too."""
    settles = held is not None and held.looks > 1
    return task.round if settles or not person.may(Permission.WORK) else task.round - 1


def media_urls(parts: Parts, person: Person, task: ReviewRequested) -> dict[str, str]:
    """Where this person gets the media of a task from, for a while."""
    until = (parts.clock() + parts.times.media_link).timestamp()
    claims = {"person": person.id, "task": str(task.task_id)}
    token = parts.signer.sign(claims, until)
    return {what: f"/api/v1/m/{task.task_id}/{token}/{what}" for what in VIEWS}
