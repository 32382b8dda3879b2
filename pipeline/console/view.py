"""A case → what a person sees of it. Pure: everything that is shown comes in as an argument.

Blind first: while a queue asks for an answer before the scores, nothing that the machine believed leaves the server.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pipeline.console.models import (
    AtWorkView,
    CaseView,
    EvidenceView,
    HarmView,
    HitView,
    LineView,
    MatchView,
    MediaView,
    NoteView,
    PastView,
    ProvenanceView,
    QualityView,
    ShareView,
    SignalView,
    TaskView,
)
from pipeline.events import MediaDecided, MediaEnforced, OutcomeStatus, ReviewDecided, ReviewRequested
from pipeline.events.values import (
    Consent,
    Credentials,
    Evidence,
    Match,
    MediaFacts,
    RequestFacts,
    RequestKind,
    RuleHit,
    Signal,
)
from pipeline.ledger.overview import AtWork
from pipeline.policy.rules import Policy
from pipeline.provenance.contradictions import contradictions
from pipeline.report.words import CREDENTIALS, sureness
from pipeline.review.port import Held
from pipeline.review.quality import Line, Quality, Share

_WARN_FROM = 4
"""Severity from which a class is announced before it is shown."""


def case_view(
    held: Held | None,
    tasks: Sequence[ReviewRequested],
    decided: MediaDecided | None,
    history: Iterable[MediaEnforced],
    uploader_history: Iterable[MediaEnforced],
    policy: Policy,
    media_urls: Mapping[str, str],
    *,
    notes: Iterable[ReviewDecided] = (),
    hidden: bool,
) -> CaseView:
    """The case as the console shows it.

    Args:
        held: the lease; None for who only reads.
        tasks: the case's tasks, the one that is shown first.
        decided: the decision that asked for it, with its evidence.
        history: outcomes of this content.
        uploader_history: of this uploader's other uploads.
        policy: harms, severities, labels.
        media_urls: where to get what, signed.
        notes: answers with notes that this person may read.
        hidden: whether scores are kept back until the first answer.
    """
    task = tasks[0]
    upload = task.upload
    harm = policy.harms.get(task.harm)
    severity = harm.severity if harm else 3
    signals = () if hidden else (decided.signals if decided else task.signals)
    facts = decided.facts if decided else task.facts
    return CaseView(
        task=task_view(task, hidden),
        siblings=[task_view(each, hidden) for each in tasks[1:]],
        lease_id=held.lease_id if held else None,
        leased_until=held.until if held else None,
        severity=severity,
        warning=f"This may show {harm.what}." if harm and severity >= _WARN_FROM else None,
        surface=upload.surface.value,
        regions=list(upload.regions),
        caption=upload.caption,
        declared_synthetic=upload.declared_synthetic,
        purposes=[purpose.value for purpose in upload.purposes],
        consent=consent_in_words(upload.consent),
        uploader_id=upload.uploader_id,
        uploaded_at=upload.uploaded_at,
        request=request_in_words(task.request) if task.request else None,
        media=_media(facts, decided, task),
        media_urls=dict(media_urls),
        scores_hidden=hidden,
        signals=[_signal(signal) for signal in signals],
        trace=[] if hidden or decided is None else [_hit(hit) for hit in decided.decision.trace],
        provenance=_provenance(facts),
        matches=[] if hidden or decided is None else [_match(match) for match in decided.matches],
        history=[past_view(outcome, hidden) for outcome in history],
        uploader_history=[past_view(outcome, hidden) for outcome in uploader_history],
        labels=sorted({rule.label for rule in policy.rules if rule.label}),
        harms=harm_views(policy),
        looks=held.looks if held else 0,
        notes=[NoteView(by=each.reviewer_id, at=each.decided_at, words=each.notes) for each in notes],
    )


def harm_views(policy: Policy) -> list[HarmView]:
    """The harms that a restriction may be for, in the policy's order."""
    return [HarmView(name=name, what=each.what, severity=each.severity) for name, each in policy.harms.items()]


def task_view(task: ReviewRequested, hidden: bool = False) -> TaskView:
    """A task without its evidence. Its reasons speak of scores."""
    return TaskView(
        task_id=task.task_id,
        media_id=task.media_id,
        round=task.round,
        queue=task.queue,
        harm=task.harm,
        priority=task.priority,
        requested_at=task.requested_at,
        deadline=task.deadline,
        start_by=task.start_by,
        clock=task.clock,
        provisional=task.provisional,
        reasons=[] if hidden else list(task.reasons),
    )


def quality_view(found: Quality) -> QualityView:
    """The measures as the API gives them."""

    def shown(each: Share) -> ShareView:
        return ShareView(hits=each.hits, count=each.count, value=each.value, low=each.low, high=each.high)

    def lines(each: Iterable[Line]) -> list[LineView]:
        return [LineView(name=line.name, precision=shown(line.precision), recall=shown(line.recall)) for line in each]

    return QualityView(
        reviewed=found.reviewed,
        rules=lines(found.rules),
        families=lines(found.families),
        queues=lines(found.queues),
        golden=lines(found.golden),
        changed=shown(found.changed),
        overturned=shown(found.overturned),
    )


def consent_in_words(consent: Consent | None) -> str:
    """What the platform knows of the consent of the person shown."""
    if consent is None:
        return "The platform says nothing about consent."
    who = f"The uploader is {consent.relation.value} to the person shown" if consent.relation.value != "unknown" else ""
    if consent.reference is None:
        said = "No consent is on record."
    elif consent.revoked:
        said = "Consent was given and has been revoked."
    else:
        covers = f" for {', '.join(purpose.value for purpose in consent.purposes)}" if consent.purposes else ""
        until = f" until {consent.until:%d %B %Y}" if consent.until else ""
        said = f"Consent is on record{covers}{until}."
    return f"{who}. {said}" if who else said


def request_in_words(request: RequestFacts) -> str:
    """What the person shown asks for."""
    when = f"({request.received_at:%d %B %Y %H:%M} UTC)"
    if request.kind is RequestKind.APPEAL:
        said = f": “{request.statement}”" if request.statement else "."
        return f"The uploader appeals {when}{said}"
    what = {
        RequestKind.REMOVAL: "asks for its removal",
        RequestKind.CONSENT_REVOKED: "has revoked the consent to it",
    }[request.kind]
    harm = f" as {request.harm.replace('-', ' ')}" if request.harm else ""
    copy = "; this is a copy of what the request names" if request.near_copy else ""
    said = f" “{request.statement}”" if request.statement else ""
    return f"A person shown {what}{harm} {when}{copy}.{said}"


def sees_scores(queue_blind: bool, first: object | None) -> bool:
    """Whether scores may be shown: always, but in a blind queue only after the first answer."""
    return not queue_blind or first is not None


def breaches(slack: Sequence[float], handling: float, people: int, answered: int | None) -> int | None:
    """How many of the most urgent tasks will start late, when so many people take them one after the other.

    Args:
        slack: seconds until each has to be started, sorted.
        handling: seconds that one takes.
        people: at work now; one is assumed when none is.
        answered: answers lately; None or 0: nothing is known of the pace.
    """
    if not answered:
        return None
    pace = handling / max(1, people)
    return sum(i * pace > left for i, left in enumerate(slack))


def _media(facts: MediaFacts | None, decided: MediaDecided | None, task: ReviewRequested) -> MediaView:
    sampling = decided.sampling if decided else task.sampling
    return MediaView(
        kind=facts.kind if facts else None,
        container=facts.container if facts else None,
        duration=facts.duration if facts else None,
        width=facts.width if facts else None,
        height=facts.height if facts else None,
        looked_at=list(sampling.looked_at) if sampling else [],
        largest_gap=sampling.largest_gap if sampling else None,
        metadata=[(key[:200], value[:2000]) for key, value in (facts.metadata if facts else ())][:200],
    )


def _signal(signal: Signal) -> SignalView:
    return SignalView(
        family=signal.family,
        status=signal.status,
        probability=signal.probability,
        low=signal.low,
        high=signal.high,
        coverage=signal.coverage,
        advisory=signal.advisory,
        sentence=sureness(signal),
        evidence=[_evidence(each) for each in signal.evidence],
    )


def _evidence(each: Evidence) -> EvidenceView:
    box = each.box
    return EvidenceView(
        detector=each.detector,
        score=each.score,
        at=each.at,
        until=each.until,
        box=[box.x0, box.y0, box.x1, box.y1] if box else None,
        track=each.track,
        note=each.note,
        heat=each.heat is not None,
    )


def _hit(hit: RuleHit) -> HitView:

    return HitView(
        rule=hit.rule,
        harm=hit.harm,
        action=hit.action,
        mode=hit.mode.value,
        because=hit.because,
        fail_mode=hit.fail_mode,
        exempted_by=hit.exempted_by,
    )


def _provenance(facts: MediaFacts | None) -> ProvenanceView:
    if facts is None:
        return ProvenanceView(state="unknown", sentences=["The file could not be read."], conflicts=[])
    held = facts.credentials or Credentials()
    sentences = [CREDENTIALS[held.state]]
    if held.issuer:
        sentences.append(f"Signed by {held.issuer}" + (f" on {held.signed_at}." if held.signed_at else "."))
    if held.generator:
        sentences.append(f"Written by {held.generator}.")
    if held.identity:
        sentences.append(f"A verified identity is named: {held.identity}.")
    sentences += [f"It says: {action}." for action in held.actions]
    found = [f"{text[:1].upper()}{text[1:]}." for text in contradictions(facts)]
    return ProvenanceView(state=held.state.value, sentences=sentences, conflicts=found)


def _match(match: Match) -> MatchView:

    return MatchView(
        bank=match.bank,
        kind=match.kind,
        distance=match.distance,
        share=match.share,
        live=match.live,
        note=match.note,
    )


def past_view(outcome: MediaEnforced, hidden: bool = False) -> PastView:
    """An outcome on record. The machine's reasons speak of scores."""
    return PastView(
        media_id=outcome.media_id,
        round=outcome.round,
        decided_at=outcome.enforced_at,
        action=outcome.action,
        final=outcome.status is OutcomeStatus.FINAL,
        decided_by=outcome.decided_by.value,
        reasons=[] if hidden else list(outcome.reasons),
    )


def at_work_view(held: AtWork) -> AtWorkView:
    """A case that somebody holds."""
    return AtWorkView(
        person_id=held.who,
        name=held.name,
        queue=held.queue,
        task_id=held.task_id,
        media_id=held.media_id,
        harm=held.harm,
        since=held.since,
        until=held.until,
        tasks=held.tasks,
    )
