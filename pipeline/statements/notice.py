"""A notice to the uploader in plain words: what Art. 17 of the Digital Services Act asks for. Pure, template aside.

Scores, thresholds and names of detectors are left out, though the platform has them: they would tell by how much a
forgery has to be changed to pass. What was found, where in the file, and on which rule it rests is said in full. Who
asked for a removal is not said. A sentence that seems to hold personal data is left out, and `withheld` says how many
were.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from pipeline.events import DecidedBy, MediaDecided, MediaEnforced, OutcomeStatus, ReviewDecided
from pipeline.events.values import Action, Region, Timestamp
from pipeline.policy.rules import Ground, Harm
from pipeline.statements import wording
from pipeline.statements.grounds import UNNAMED, behind, concerned, decided_by, requested
from pipeline.statements.personal import Kind, known_of, look

_OWN: Final = frozenset({Kind.MEDIA, Kind.FILE_NAME, Kind.CAPTION, Kind.UPLOADER})
"""What the uploader knows, being the uploader's own."""


class Place(msgspec.Struct, frozen=True):
    """What applies somewhere. `regions`: empty for everywhere else."""

    regions: tuple[Region, ...]
    action: Action
    where: str
    what: str
    label: str | None = None


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """What the uploader is told; `text` is the whole of it, the rest is for platforms with words of their own.

    `until`: when a person will have looked at it, where that is still to come. `rule`: the law or clause.
    """

    media_id: str
    status: OutcomeStatus
    decided_by: DecidedBy
    places: tuple[Place, ...]
    reasons: tuple[str, ...]
    since: Timestamp
    until: Timestamp | None
    harm: str
    illegal: bool
    rule: str
    ground: str
    detected: str
    decided: str
    automated_detection: bool
    automated_decision: bool
    appeal_url: str | None
    withheld: int
    text: str = ""


def notice(
    decided: MediaDecided,
    outcome: MediaEnforced,
    harms: Mapping[str, Harm],
    *,
    review: ReviewDecided | None = None,
    appeal_url: str | None = None,
) -> Notice | None:
    """The notice about an outcome; None where nothing is restricted or labelled."""
    places = _places(outcome)
    if not places:
        return None
    worst = max(places, key=lambda place: place.action.strength)
    hits = behind(decided, outcome, worst.action, worst.regions[0] if worst.regions else None)
    named = concerned(decided, outcome, hits, harms)
    harm = harms.get(named[0], UNNAMED) if named else UNNAMED
    illegal = harm.ground is Ground.ILLEGAL
    rule = wording.ground(harm)
    who = decided_by(outcome, hits)
    told, withheld = _told(decided, outcome, review)
    waits = outcome.status is OutcomeStatus.PROVISIONAL and decided.decision.review is not None
    by_machine = not requested(decided) or (decided.request is not None and decided.request.near_copy)
    found = Notice(
        media_id=outcome.media_id,
        status=outcome.status,
        decided_by=who,
        places=places,
        reasons=told,
        since=outcome.enforced_at,
        until=decided.decision.review.deadline if waits and decided.decision.review else None,
        harm=wording.explained(harm, who, outcome.status) if named else "",
        illegal=illegal,
        rule=rule,
        ground=f"- The ground, {'in law' if illegal else 'in the terms of the platform'}: {rule.rstrip('.')}.",
        detected=_detected(decided, by_machine),
        decided=wording.decided_by(who),
        automated_detection=by_machine,
        automated_decision=outcome.decided_by is not DecidedBy.PERSON,
        appeal_url=appeal_url,
        withheld=withheld,
    )
    return msgspec.structs.replace(found, text=_template().render(n=found))


def _places(outcome: MediaEnforced) -> tuple[Place, ...]:
    named = tuple(
        _place(each.regions, each.action, each.label, ", ".join(each.regions))
        for each in outcome.regional
        if each.action is not Action.ALLOW
    )
    if outcome.action is Action.ALLOW:
        return named
    where = "Everywhere else" if outcome.regional else "Everywhere"
    return (_place((), outcome.action, outcome.label, where), *named)


def _place(regions: tuple[Region, ...], action: Action, label: str | None, where: str) -> Place:
    return Place(regions, action, where, wording.DONE[action], label)


def _told(decided: MediaDecided, outcome: MediaEnforced, review: ReviewDecided | None) -> tuple[tuple[str, ...], int]:
    """The reasons without numbers and without what tells of other people; how many were left out for the latter."""
    every = (*outcome.reasons, *(reason for each in outcome.regional for reason in each.reasons))
    sentences = dict.fromkeys(wording.without_numbers(reason) for reason in every)
    known = [(kind, value) for kind, value in known_of(decided, review) if kind not in _OWN]
    clean = tuple(sentence for sentence in sentences if not look({"reason": sentence}, known))
    return clean, len(sentences) - len(clean)


def _detected(decided: MediaDecided, by_machine: bool) -> str:
    if not requested(decided):
        looked = "It was examined by automated means when you uploaded it, or later."
        return looked if decided.request is None else f"{looked} It was decided on again because you appealed."
    if by_machine:
        return "It was found by automated means, as a copy of content that a person shown in it asked about."
    return (
        "It was looked at because a person who is shown in it asked for that. It was examined by automated means too."
    )


@cache
def _template() -> Template:
    environment = Environment(  # noqa: S701 (plain text)
        loader=PackageLoader("pipeline.statements", "."),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template("notice.txt.j2")
