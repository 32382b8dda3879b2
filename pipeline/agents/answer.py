"""`subject.requested` → `subject.answered` and `media.decided`: open again what a person shown asks about.

The request, the decisions of the rounds that it opens and what is said to it are recorded in one transaction; what is
published is what is on record, so a repeat opens the same rounds and publishes the same records. What if the process
dies: before the transaction ends, nothing happened and the record comes again; after it, the record comes again and
all is published again. `received` goes out before the decisions do, so it comes before `done`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from pipeline import log
from pipeline.agents.delivery import Record
from pipeline.agents.publish import Publish
from pipeline.errors import Permanent, Reason, Stage
from pipeline.events import MediaEnforced, OutcomeStatus, SubjectAnswered, SubjectRequested
from pipeline.events.cloudevents import trace_id, traceparent_of
from pipeline.events.codec import MalformedEvent, decode
from pipeline.ledger.port import OpenedRequest
from pipeline.topology import DECIDED, SUBJECT_ANSWERED

logger = log.get(__name__)

Open = Callable[[SubjectRequested], Awaitable[OpenedRequest]]
"""Open the next round of all that a request concerns, in one transaction; a repeat gets what was opened first."""

Finished = Callable[[MediaEnforced], Awaitable[tuple[SubjectAnswered, ...]]]
"""What is to be said to the requests that a final outcome settled, as the last of their uploads."""

Told = Callable[[SubjectAnswered, bool], None]
"""Hears of each answer that is published at once, and whether it is new."""

Close = Callable[[MediaEnforced, str | None], Awaitable[None]]
"""(outcome, traceparent) → the requests that it settled have been told so."""


def answer_record(open_: Open, publish: Publish, told: Told) -> Callable[[Record], Awaitable[None]]:
    """The handler of `subject.requested`."""

    async def handle(record: Record) -> None:
        request = decode(record.value, SubjectRequested)
        if isinstance(request, MalformedEvent):
            raise Permanent(Stage.ANSWER, Reason.MALFORMED_EVENT, f"{request.where}: {request.why}")
        traceparent = traceparent_of(record.headers)
        log.bind(request_id=request.request_id, trace_id=trace_id(record.headers))
        opened = await open_(request)
        await publish(SUBJECT_ANSWERED, request.request_id.encode(), opened.answer, traceparent)
        for decided in opened.decisions:
            await publish(DECIDED, decided.media_id.encode(), decided, traceparent)
        told(opened.answer, opened.new)
        logger.info(
            "request",
            kind=request.kind.value,
            status=opened.answer.status.value,
            uploads=len(opened.decisions),
            left_out=opened.answer.left_out,
            again=not opened.new,
        )

    return handle


def closing(finished: Finished, publish: Publish, told: Told) -> Close:
    """What `route` and `settle` do once an outcome is published: say `done` where it was the last one."""

    async def close(outcome: MediaEnforced, traceparent: str | None) -> None:
        if outcome.round == 1 or outcome.status is not OutcomeStatus.FINAL:
            return  # a request opens later rounds only
        for said in await finished(outcome):
            await publish(SUBJECT_ANSWERED, said.request_id.encode(), said, traceparent)
            told(said, True)
            logger.info("request", request_id=said.request_id, status=said.status.value, in_time=said.in_time)

    return close


async def nothing_asked(_outcome: MediaEnforced, _traceparent: str | None) -> None:
    """Where no requests are answered."""
