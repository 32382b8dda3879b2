"""What a reviewer's desk offers: work of the queues, with golden tasks mixed in that nobody can tell from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from pipeline.events.values import Action
from pipeline.ledger.entries import Note
from pipeline.ledger.golden import Golden
from pipeline.ledger.work import Work, opened_note
from pipeline.review.port import Answer, Answered, Held


@dataclass(frozen=True, slots=True)
class Desk:
    """One ledger's work and golden tasks, as one. Methods raise as theirs do."""

    work: Work
    golden: Golden
    lease: timedelta
    grace: timedelta

    def claim(
        self, who: str, queues: Sequence[str], now: datetime, *, lead: bool, golden: Mapping[str, float]
    ) -> Held | None:
        """The case that this person holds, else a golden one where one is due, else the most urgent. The audit log
        says that it was opened."""
        known = self.golden.holding(who, now)
        shares = {queue: golden[queue] for queue in queues if golden.get(queue)}
        if known is None and shares and self.work.holding(who, now) is None:
            due = self.golden.due(who, shares)
            known = self.golden.claim(who, due, now, self.lease) if due else None
            # Another window of the same person may have taken one meanwhile.
            known = known or self.golden.holding(who, now)
        note = partial(opened_note, who, now)
        if known is not None:
            self.work.write(note(known))
            return known
        return self.work.claim(who, queues, now, self.lease, lead=lead, note=note)

    def claim_task(self, who: str, task_id: UUID, now: datetime, *, lead: bool) -> Held:
        """This very task, instead of what this person holds; the audit log says that it was opened."""
        note = partial(opened_note, who, now)
        held = self.work.claim_task(who, task_id, now, self.lease, lead=lead, note=note)
        self.golden.let_go(who)
        return held

    def holding(self, who: str, now: datetime) -> Held | None:
        """The case that this person holds."""
        return self.golden.holding(who, now) or self.work.holding(who, now)

    def keep(self, who: str, lease_id: UUID, now: datetime) -> datetime:
        """The heartbeat."""
        until = now + self.lease
        return until if self.golden.keep(who, lease_id, until, now) else self.work.keep(who, lease_id, now, self.lease)

    def release(self, who: str, lease_id: UUID) -> None:
        """Give a case back."""
        if not self.golden.release(who, lease_id):
            self.work.release(who, lease_id)

    def skip(self, who: str, lease_id: UUID, reason: str, now: datetime, away: timedelta) -> None:
        """Give a case back with a reason."""
        if not self.golden.release(who, lease_id):
            self.work.skip(who, lease_id, reason, now, away)

    def first(self, who: str, lease_id: UUID, action: Action, now: datetime) -> None:
        """What is said before the scores are seen."""
        if not self.golden.first(who, lease_id, action, now):
            self.work.first(who, lease_id, action, now)

    def answer(self, who: str, lease_id: UUID, answer: Answer, now: datetime, people: Mapping[str, int]) -> Answered:
        """Decide. A golden answer looks like a settled one."""
        known = self.golden.answer(who, lease_id, answer, now, self.grace)
        return known or self.work.answer(who, lease_id, answer, now, self.grace, people)

    def undo(self, who: str, answer_id: UUID, now: datetime) -> Held:
        """Take an answer back."""
        if self.golden.undo(who, answer_id, now, self.lease, self.grace):
            held = self.golden.holding(who, now)
            assert held is not None
            return held
        back = self.work.undo(who, answer_id, now, self.lease)
        self.golden.let_go(who)
        return back

    def escalate(self, who: str, task_ids: Sequence[UUID], queue: str, now: datetime) -> int:
        """Move what this person holds, of these tasks, to another queue. A golden one looks as if it had moved."""
        known = self.golden.holding(who, now)
        note = Note(now, who, "escalated", queue, {"tasks": [str(task_id) for task_id in task_ids]})
        if known is not None and known.tasks[0].task_id in task_ids:
            self.golden.release(who, known.lease_id)
            self.work.write(note)
            return 1
        return self.work.escalate(task_ids, queue, note, held_by=who, now=now)
