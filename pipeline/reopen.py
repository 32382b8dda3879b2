"""A request of the person shown → the next round of an upload, decided from its stored signals. Pure; no media is read,
so that it also works when the source has gone.

Whatever the policy makes of the request, nothing is loosened by it: the action is at least as strict as the one in
force, and a person who was asked before is still asked, by then or earlier. The same holds for any later decision on
the upload while the request is open.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from pipeline import VERSION
from pipeline.events import MediaDecided, MediaEnforced, MediaUploaded, SubjectRequested, Versions
from pipeline.events.ids import decision_id
from pipeline.events.subject import SubjectMatch
from pipeline.events.values import (
    Action,
    Decision,
    Region,
    RegionalDecision,
    RequestFacts,
    RequestKind,
    ReviewNeed,
)
from pipeline.ledger.port import Standing
from pipeline.policy.case import case_of
from pipeline.policy.decide import NOTHING_FOUND, decide
from pipeline.policy.rules import Policy

_KEPT = "What was decided before stays in force."


def facts_of(request: SubjectRequested, match: SubjectMatch, now: datetime) -> RequestFacts:
    """The request as rules and reviewers see it, of one upload. A legal clock does not start in the future."""
    return RequestFacts(
        request_id=request.request_id,
        kind=request.kind,
        received_at=min(request.received_at, now),
        harm=request.harm,
        jurisdiction=request.jurisdiction,
        near_copy=match.copied,
        statement=request.statement,
    )


def reopened(before: Standing, request: RequestFacts, policy: Policy, now: datetime) -> MediaDecided:
    """The decision of the next round of an upload.

    Args:
        before: how it stands.
        request: what the person shown asks for.
        policy: today's.
        now: deadlines that start with the decision are counted from here.
    """
    last = before.decided
    upload = _without_consent(last.upload) if _revokes(request) else last.upload
    judged = msgspec.structs.replace(
        last,
        decision_id=decision_id(last.media_id, last.round + 1),
        round=last.round + 1,
        upload=upload,
        decided_at=now,
        versions=Versions(unmask=VERSION, policy=policy.version, detectors=last.versions.detectors),
        reused_from=last.reused_from if last.failure or last.sha256 is None else last.reused_from or last.media_id,
        request=request,
    )
    return _decided(judged, before, policy)


def heeded(decided: MediaDecided, before: Standing, policy: Policy) -> MediaDecided:
    """A later decision on an upload (a rescan, a replay) with the request that is open on it, if there is one."""
    if decided.request is not None or before.decided.round >= decided.round or not before.requested:
        return decided
    request = before.decided.request
    revoked = request is not None and _revokes(request)
    upload = _without_consent(decided.upload) if revoked else decided.upload
    versions = msgspec.structs.replace(
        decided.versions, policy=policy.version
    )  # may have changed since it was screened
    judged = msgspec.structs.replace(decided, upload=upload, request=request, versions=versions)
    return _decided(judged, before, policy)


def _decided(judged: MediaDecided, before: Standing, policy: Policy) -> MediaDecided:
    appeal = judged.request is not None and judged.request.kind is RequestKind.APPEAL
    again = _asked_again(before.decided, judged.decided_at) if appeal else None
    return msgspec.structs.replace(judged, decision=floored(decide(case_of(judged), policy), before, appeal, again))


def _asked_again(last: MediaDecided, now: datetime) -> ReviewNeed | None:
    """The review that was asked for the last time, with as much time as then."""
    asked = last.decision.review
    if asked is None:
        return None
    later = now - last.decided_at
    start_by = asked.start_by + later if asked.start_by else None
    return msgspec.structs.replace(asked, deadline=asked.deadline + later, start_by=start_by, clock=None)


def _revokes(request: RequestFacts) -> bool:
    return request.kind is RequestKind.CONSENT_REVOKED


def _without_consent(upload: MediaUploaded) -> MediaUploaded:
    """The upload as it is now: its consent has ended. Kept with the decision, so that it can be derived again."""
    if upload.consent is None:
        return upload
    return msgspec.structs.replace(upload, consent=msgspec.structs.replace(upload.consent, revoked=True))


def floored(decision: Decision, before: Standing, appeal: bool = False, again: ReviewNeed | None = None) -> Decision:
    """The decision, but nowhere milder than what is in force, and with the review that was asked for before.

    What was removed stays so without a review; only an appeal has a person look at it again. `again`: who looks at an
    appeal that the policy has no queue for.
    """
    force = before.in_force
    everywhere = _stricter(_at(decision, None), _at(force, None))
    regional = _regional(decision, force, everywhere)
    removed = all(each.action is Action.REMOVE for each in (everywhere, *regional))
    waiting = before.decided.decision.review if before.waits else None
    return msgspec.structs.replace(
        decision,
        action=everywhere.action,
        label=everywhere.label,
        reasons=everywhere.reasons,
        review=None if removed and not appeal else _sooner(decision.review or again, waiting),
        regional=regional,
        harm=_about(decision, before),
    )


def _about(decision: Decision, before: Standing) -> str | None:
    """What is kept from before is about what it was about."""
    if decision.action.strength >= before.in_force.action.strength:
        return decision.harm
    return before.in_force.harm or before.decided.decision.harm or decision.harm


def _at(said: Decision | MediaEnforced, region: Region | None) -> RegionalDecision:
    """What applies in a region; with None, everywhere else."""
    there = next((each for each in said.regional if region in each.regions), None)
    label, reasons = (there.label, there.reasons) if there else (said.label, said.reasons)
    return RegionalDecision(regions=(), action=there.action if there else said.action, label=label, reasons=reasons)


def _stricter(new: RegionalDecision, old: RegionalDecision) -> RegionalDecision:
    """The new one, unless the old one is stricter; a label that viewers see stays while they see the upload."""
    if new.action.strength < old.action.strength:
        words = (*(word for word in new.reasons if word != NOTHING_FOUND), _KEPT, *old.reasons)
        return msgspec.structs.replace(old, reasons=tuple(dict.fromkeys(words)))
    labelled = new.action in (Action.LABEL, Action.LIMIT)
    return msgspec.structs.replace(new, label=(new.label or old.label) if labelled else new.label)


def _regional(decision: Decision, force: MediaEnforced, everywhere: RegionalDecision) -> tuple[RegionalDecision, ...]:
    """Where something else applies than everywhere, regions with the same outcome together."""
    named = sorted({region for said in (decision, force) for each in said.regional for region in each.regions})
    groups: dict[RegionalDecision, list[Region]] = {}
    for region in named:
        there = _stricter(_at(decision, region), _at(force, region))
        if there != everywhere:
            groups.setdefault(there, []).append(region)
    return tuple(msgspec.structs.replace(there, regions=tuple(regions)) for there, regions in groups.items())


def _sooner(new: ReviewNeed | None, waiting: ReviewNeed | None) -> ReviewNeed | None:
    """The new one, which knows of the request, names queue and harm; it is as urgent as the more urgent of the two."""
    if new is None or waiting is None:
        return new or waiting
    due = min(new, waiting, key=lambda need: need.deadline)
    return msgspec.structs.replace(
        new,
        priority=max(new.priority, waiting.priority),
        deadline=due.deadline,
        start_by=min(new.start_by or new.deadline, waiting.start_by or waiting.deadline),
        clock=due.clock,
    )
