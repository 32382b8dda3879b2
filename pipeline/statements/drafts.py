"""Statements, checked, as rows of the outbox. Pure.

What the database would refuse, and what may hold personal data, is kept and not sent: a person has to see it.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from pipeline.events import MediaDecided, MediaEnforced, ReviewDecided
from pipeline.ledger.port import Standing
from pipeline.policy.rules import Harm
from pipeline.statements.form import Statement, trouble
from pipeline.statements.personal import Finding, in_statement
from pipeline.statements.rows import Draft, StatementState
from pipeline.statements.statement import statements

INVALID = "the database would refuse it"
"""The kind of a finding that is about form, not about a person."""


def drafts(
    decided: MediaDecided,
    outcome: MediaEnforced,
    review: ReviewDecided | None,
    before: Standing | None,
    *,
    harms: Mapping[str, Harm],
) -> tuple[Draft, ...]:
    """What goes into the outbox with an outcome; see `pipeline.statements.statement.statements`."""
    found = statements(decided, outcome, harms, review=review, before=before)
    return tuple(_draft(statement, decided, outcome, review) for statement in found)


def _draft(statement: Statement, decided: MediaDecided, outcome: MediaEnforced, review: ReviewDecided | None) -> Draft:
    body = msgspec.json.encode(statement)
    refused = trouble(body)
    findings = (
        *((Finding("", INVALID, refused),) if refused else ()),
        *in_statement(statement, decided, review),
    )
    return Draft(
        puid=statement.puid,
        media_id=outcome.media_id,
        round=outcome.round,
        status=outcome.status.value,
        queued_at=outcome.enforced_at,
        state=StatementState.HELD_BACK if findings else StatementState.QUEUED,
        body=body.decode(),
        findings=msgspec.json.encode(findings).decode(),
    )
