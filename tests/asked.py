"""Requests of persons shown, and a small policy that knows them, for tests of what they lead to."""

from __future__ import annotations

from functools import cache

from pipeline.events import SubjectRequested
from pipeline.events.subject import SubjectMatch
from pipeline.events.values import RequestKind
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.port import Following, OpenedRequest, Standing
from pipeline.match.copies import Concerned
from pipeline.policy.file import parse
from pipeline.policy.rules import Policy
from pipeline.reopen import facts_of, reopened
from pipeline.route import route
from tests.records import NOON

POLICY = """
name: asked
harms:
  intimate-imagery: {what: intimate imagery without consent, severity: 5}
  deception: {what: deception, severity: 2}
queues:
  requests: {what: requests, handling: 30m}
  faces: {what: faces, handling: 5m}
clocks:
  us-48h: {within: 48h, source: a law, jurisdictions: [US]}
  promise: {within: 3d, source: a promise}
fusion: {evidence: 3, default: {top_share: 0.5, min_coverage: 0.0}}
rules:
  - name: asked
    harm: intimate-imagery
    when: request.kind == 'removal' && request.harm == 'intimate-imagery'
    action: hold
    reason: The person shown asks for its removal
    review: {queue: requests, priority: 90, deadline: 9d, clocks: [us-48h, promise]}
  - name: revoked
    harm: deception
    when: request.kind == 'consent_revoked' && consent.revoked
    action: limit
    reason: The person shown revoked their consent
    review: {queue: requests, priority: 70, deadline: 5d, clocks: [promise]}
fail_modes:
  - {name: unjudged, harm: deception, reason: Not judged, on: unjudged, action: hold,
     review: {queue: faces, priority: 10, deadline: 8h}}
"""


@cache
def policy() -> Policy:
    """Intimate imagery is held, until 48 h after the request where US law is invoked; a revoked consent limits; of
    other requests nothing follows."""
    return parse(POLICY, "asked.yaml")


def asking(media_id: str | None = "m1", **changes: object) -> SubjectRequested:
    """A removal request."""
    fields = {
        "request_id": "r1",
        "kind": RequestKind.REMOVAL,
        "received_at": NOON,
        "media_id": media_id,
        "harm": "intimate-imagery",
        "jurisdiction": "US",
        **changes,
    }
    return SubjectRequested(**fields)  # type: ignore[arg-type]


def concerning(named: str, *copies: str) -> Concerned:
    """Uploads that a request is about."""
    return Concerned({named: SubjectMatch.NAMED, **dict.fromkeys(copies, SubjectMatch.NEAR_COPY)})


def reopening(request: SubjectRequested, before: Standing, match: SubjectMatch) -> Following:
    """What the worker does with one upload."""
    decided = reopened(before, facts_of(request, match, NOON), policy(), NOON)
    routed = route(decided)
    return Following(decided, routed.task, routed.outcome)


def record(ledger: Ledger, request: SubjectRequested, concerned: Concerned) -> OpenedRequest:
    """What the worker does with a request."""
    return ledger.record_request(request, concerned, lambda before, match: reopening(request, before, match), NOON)
