"""Decision, outcome and policy → statements of reasons, compiled from the trace. Pure.

What counts as a restriction in the sense of Art. 17(1) and 24(5) of the Digital Services Act, and as which:

    remove  content removed           hold   access disabled, until a person decides
    limit   demoted (and labelled, where it has a label)
    label   labelled; none where the label repeats what the uploader or the file's credentials say: that discloses,
            it restricts nobody

A statement is made when a restriction begins: for each way in which, and ground on which, visibility is restricted
there is one, with the countries of the EEA where it applies. What was restricted in the same way on the same ground
before (a person confirms what the policy did; an upload is judged anew) is no new restriction, and the database has no
way to change a statement or take one back. So a person who confirms leads to none, one who decides otherwise to a new
one, and one who lifts a restriction to none. What was sent in private messages is not disseminated to the public, and
not reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import NAMESPACE_URL, UUID, uuid5

from pipeline.events import DecidedBy, MediaDecided, MediaEnforced, ReviewDecided
from pipeline.events.enforced import LabelSource
from pipeline.events.values import Action, MediaKind, RequestKind, RuleHit, Surface
from pipeline.ledger.port import Standing
from pipeline.policy.rules import Ground, Harm
from pipeline.statements import wording
from pipeline.statements.form import Statement
from pipeline.statements.grounds import SYNTHETIC, UNNAMED, behind, concerned, decided_by, relied_on, requested
from pipeline.statements.label import label_source
from pipeline.statements.terms import (
    EEA,
    AutomatedDecision,
    Category,
    ContentType,
    Country,
    DecisionGround,
    Keyword,
    SourceType,
    Visibility,
    YesNo,
    additions,
)

_STATEMENTS: Final = uuid5(NAMESPACE_URL, "urn:unmask:statement")

VISIBILITY: Final[Mapping[Action, tuple[Visibility, ...]]] = {
    Action.ALLOW: (),
    Action.LABEL: (Visibility.LABELLED,),
    Action.LIMIT: (Visibility.DEMOTED,),
    Action.HOLD: (Visibility.DISABLED,),
    Action.REMOVE: (Visibility.REMOVED,),
}

CONTENT: Final = {
    MediaKind.IMAGE: ContentType.IMAGE,
    MediaKind.ANIMATION: ContentType.IMAGE,
    MediaKind.VIDEO: ContentType.VIDEO,
    MediaKind.AUDIO: ContentType.AUDIO,
}

_LINK = re.compile(r"https?://[^\s@<>\"']+")


@dataclass(frozen=True, slots=True)
class Restriction:
    """How content is restricted somewhere, and for which harms of the policy, the worst first."""

    visibility: tuple[Visibility, ...]
    action: Action
    harms: tuple[str, ...]


def statements(
    decided: MediaDecided,
    outcome: MediaEnforced,
    harms: Mapping[str, Harm],
    *,
    review: ReviewDecided | None = None,
    before: Standing | None = None,
) -> tuple[Statement, ...]:
    """The statements that an outcome asks for, in the order of their restrictions.

    Args:
        decided: the decision that stands, of the outcome's round.
        outcome: what applies from now on.
        harms: the policy's.
        review: the person's answer, where a person decided.
        before: what applied until now.
    """
    if decided.upload.surface is Surface.MESSAGE:
        return ()
    was = {} if before is None else restrictions(before.decided, before.in_force, harms)
    # An appeal has the policy look again, which may find another ground for what stands; nothing is restricted by that.
    appealed = decided.request is not None and not requested(decided)
    any_ground = appealed and outcome.decided_by is not DecidedBy.PERSON
    scopes: dict[Restriction, list[Country]] = {}
    for country, restriction in restrictions(decided, outcome, harms).items():
        if not _same(was.get(country), restriction, any_ground):
            scopes.setdefault(restriction, []).append(country)
    return tuple(
        _statement(decided, outcome, review, restriction, tuple(scope), harms) for restriction, scope in scopes.items()
    )


def restrictions(
    decided: MediaDecided, outcome: MediaEnforced, harms: Mapping[str, Harm]
) -> dict[Country, Restriction]:
    """What is restricted, by country of the EEA; countries without a restriction are left out."""
    shown = decided.upload.regions
    found = {}
    for country in EEA:
        if shown and country not in shown:
            continue
        there = next((each for each in outcome.regional if country in each.regions), None)
        action, label = (there.action, there.label) if there else (outcome.action, outcome.label)
        restriction = _restriction(decided, outcome, action, label, country, harms)
        if restriction is not None:
            found[country] = restriction
    return found


def puid(outcome_id: UUID, restriction: Restriction, scope: Iterable[Country]) -> str:
    """Unique to an outcome, a restriction and its territory; the same each time; it tells nothing by itself."""
    parts = (str(outcome_id), *restriction.visibility, *restriction.harms, *sorted(scope))
    return str(uuid5(_STATEMENTS, "/".join(parts)))


def _restriction(
    decided: MediaDecided,
    outcome: MediaEnforced,
    action: Action,
    label: str | None,
    country: Country,
    harms: Mapping[str, Harm],
) -> Restriction | None:
    visibility = VISIBILITY[action]
    if not visibility:
        return None
    hits = behind(decided, outcome, action, country)
    if outcome.decided_by is not DecidedBy.PERSON and action is Action.LABEL and _discloses(decided, hits):
        return None
    if action is Action.LIMIT and label is not None:
        visibility = (*visibility, Visibility.LABELLED)
    return Restriction(visibility, action, concerned(decided, outcome, hits, harms))


def _discloses(decided: MediaDecided, hits: Iterable[RuleHit]) -> bool:
    return label_source(decided, hits) in (LabelSource.UPLOADER, LabelSource.CREDENTIALS)


def _same(before: Restriction | None, now: Restriction, any_ground: bool) -> bool:
    """Visibility is restricted as it was, on the ground on which it was."""
    if before is None or before.visibility != now.visibility:
        return False
    return any_ground or before.harms[:1] == now.harms[:1]


def _statement(
    decided: MediaDecided,
    outcome: MediaEnforced,
    review: ReviewDecided | None,
    restriction: Restriction,
    scope: tuple[Country, ...],
    harms: Mapping[str, Harm],
) -> Statement:
    named = [harms.get(name, UNNAMED) for name in restriction.harms] or [UNNAMED]
    harm = named[0]
    hits = behind(decided, outcome, restriction.action, scope[0])
    keywords = tuple(dict.fromkeys(Keyword(word) for each in named for word in each.keywords if word in _KEYWORDS))
    category = Category(harm.category) if harm.category in _CATEGORIES else Category.OTHER_VIOLATION
    others = {Category(each.category) for each in named if each.category in _CATEGORIES}
    more = sorted((others | set(additions(category, keywords))) - {category})
    content = _content_type(decided, hits, review)
    ground, explanation = wording.ground(harm), wording.explained(harm, decided_by(outcome, hits), outcome.status)
    illegal = harm.ground is Ground.ILLEGAL
    link = _LINK.search(harm.rule_text)
    return Statement(
        puid=puid(outcome.outcome_id, restriction, scope),
        decision_visibility=restriction.visibility,
        decision_ground=DecisionGround.ILLEGAL if illegal else DecisionGround.INCOMPATIBLE,
        decision_ground_reference_url=link.group().rstrip(".,;)") if link else None,
        illegal_content_legal_ground=ground if illegal else None,
        illegal_content_explanation=explanation if illegal else None,
        incompatible_content_ground=None if illegal else ground,
        incompatible_content_explanation=None if illegal else explanation,
        content_type=content,
        content_type_other="Media that could not be read" if ContentType.OTHER in content else None,
        category=category,
        category_addition=tuple(more),
        category_specification=keywords,
        territorial_scope=scope,
        content_date=decided.upload.uploaded_at.date(),
        application_date=outcome.enforced_at.date(),
        decision_facts=_facts(decided, outcome, hits, restriction),
        source_type=_source(decided, harm),
        automated_detection=_detected(decided),
        automated_decision=_automated(decided, outcome, hits),
    )


_CATEGORIES = frozenset(Category)
_KEYWORDS = frozenset(Keyword)


def _content_type(
    decided: MediaDecided, hits: Iterable[RuleHit], review: ReviewDecided | None
) -> tuple[ContentType, ...]:
    """What it is, by its bytes, else by the claim; and whether it counts as synthetic media."""
    claimed = (decided.upload.content_type or "").partition("/")[0]
    by_claim = {"image": ContentType.IMAGE, "video": ContentType.VIDEO, "audio": ContentType.AUDIO}
    kind = CONTENT[decided.facts.kind] if decided.facts else by_claim.get(claimed, ContentType.OTHER)
    found = relied_on(decided, hits) & SYNTHETIC
    if review is not None:
        found = (found | (set(review.confirmed) & SYNTHETIC)) - set(review.denied)
    synthetic = bool(found) or decided.upload.declared_synthetic
    return (kind, ContentType.SYNTHETIC_MEDIA) if synthetic else (kind,)


def _facts(decided: MediaDecided, outcome: MediaEnforced, hits: Iterable[RuleHit], restriction: Restriction) -> str:
    """What happened, in standard sentences. What people wrote about the case (caption, notes, reasons) is left out."""
    hits = tuple(hits)
    kind = wording.KINDS[decided.facts.kind] if decided.facts else "media file"
    article = "an" if kind[0] in "aeiou" else "a"
    how = wording.SURFACES[decided.upload.surface]
    told = [f"The content is {article} {kind} that was {how}. It was examined by automated means."]
    if decided.request is not None:
        told.append(_REQUESTED[decided.request.kind])
        if decided.request.near_copy:
            told.append("The request named other content, of which this is a copy.")
    reasons = dict.fromkeys(wording.without_numbers(hit.because, moments=False) for hit in hits)
    if reasons:
        told.append(f"Reasons: {' '.join(reasons)}")
    families = sorted(wording.spoken(family) for family in relied_on(decided, hits))
    if families:
        told.append(f"Relied on: automated signals of {', '.join(families)}.")
    told.append(wording.decided_by(decided_by(outcome, hits)))
    told.append(wording.DONE[restriction.action])
    return " ".join(told)[:_MOST_FACTS]


_MOST_FACTS = 5000
"""Characters that the database takes."""

_REQUESTED: Final = {
    RequestKind.REMOVAL: "A person who is shown in it asked for its removal.",
    RequestKind.CONSENT_REVOKED: "A person who is shown in it withdrew their consent.",
    RequestKind.APPEAL: "Its uploader asked for another look at what was decided before.",
}


def _source(decided: MediaDecided, harm: Harm) -> SourceType:
    """A request about illegal content is a notice under Art. 16; one about the platform's terms, other notification.

    Whether a request is a notice by a trusted flagger, the platform does not tell Unmask.
    """
    if not requested(decided):
        return SourceType.VOLUNTARY
    return SourceType.ARTICLE_16 if harm.ground is Ground.ILLEGAL else SourceType.OTHER_NOTIFICATION


def _detected(decided: MediaDecided) -> YesNo:
    """Whether machines found this very content: not where a request named it; where it is a copy, they did."""
    named = requested(decided) and decided.request is not None and not decided.request.near_copy
    return YesNo.NO if named else YesNo.YES


def _automated(decided: MediaDecided, outcome: MediaEnforced, hits: Iterable[RuleHit]) -> AutomatedDecision:
    """A person who was asked because of a request, with no signal behind it, decided without a machine."""
    if outcome.decided_by is not DecidedBy.PERSON:
        return AutomatedDecision.FULLY
    if requested(decided) and not relied_on(decided, hits):
        return AutomatedDecision.NOT_AUTOMATED
    return AutomatedDecision.PARTIALLY
