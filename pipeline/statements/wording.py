"""The sentences of statements and notices: plain, the same words for the same case, and without numbers. Pure.

Scores and thresholds stay with the platform (they are in `media.decided`): told to the public, they say by how much a
forgery has to be changed to pass. What was found, and by which rule, is said in full.
"""

from __future__ import annotations

import re
from typing import Final

from pipeline.events import DecidedBy, OutcomeStatus
from pipeline.events.values import Action, Family, MediaKind, Surface
from pipeline.policy.rules import Harm

KINDS: Final = {
    MediaKind.IMAGE: "image",
    MediaKind.ANIMATION: "animated image",
    MediaKind.VIDEO: "video",
    MediaKind.AUDIO: "sound recording",
}

SURFACES: Final = {
    Surface.POST: "posted",
    Surface.STORY: "posted as a story",
    Surface.AD: "submitted as an advertisement",
    Surface.PROFILE: "used in a profile",
    Surface.MESSAGE: "sent in a message",
    Surface.COMMENT: "posted in a comment",
    Surface.LIVE: "shown live",
    Surface.OTHER: "uploaded",
}

DONE: Final = {
    Action.LABEL: "It was labelled for viewers.",
    Action.LIMIT: "It is shown to fewer people.",
    Action.HOLD: "It is not shown until a person has looked at it.",
    Action.REMOVE: "It was removed.",
}

_NUMBERS = re.compile(
    r": (?:probability\b|[a-z ]+(?: at [\d:.]+)? [01](?:\.\d+)? ?\(|[a-z ]+(?: at [\d:.]+)? [01]\.\d+,).*$", re.DOTALL
)
_PROBABILITY = re.compile(r"\s*\(?\b[01]\.\d+(?:\s*[–-]\s*[01]\.\d+)?\)?")
_MOMENT = re.compile(r" at (?:\d+:)?\d\d:\d\d\.\d\b")


def without_numbers(reason: str, *, moments: bool = True) -> str:
    """ "Possible face swap at 00:03.2: probability 0.91 (0.85–0.95), at or above 0.80." → "… at 00:03.2."

    Args:
        reason: a sentence as `pipeline.policy.words` writes it.
        moments: whether it may say when.
    """
    told = _PROBABILITY.sub("", _NUMBERS.sub("", reason))
    if not moments:
        told = _MOMENT.sub("", told)
    return f"{told.rstrip(' .,;:')}."


def spoken(family: Family) -> str:
    """`face_swap` → "face swap"."""
    return family.value.replace("_", " ")


def decided_by(who: DecidedBy) -> str:
    """Who decided, and with what help."""
    match who:
        case DecidedBy.POLICY:
            return "The decision was taken by automated means, by the platform's rules."
        case DecidedBy.FAIL_MODE:
            return (
                "The decision was taken by automated means, as a precaution: the content could not be judged with"
                " enough certainty. Nothing is alleged of it."
            )
        case DecidedBy.PERSON:
            return "A person looked at it and decided."


def explained(harm: Harm, who: DecidedBy, status: OutcomeStatus) -> str:
    """How the content relates to the rule: a suspicion is not told as a fact, and a precaution alleges nothing."""
    if who is DecidedBy.FAIL_MODE:
        verdict = "Whether the content breaks it could not be judged"
    elif status is OutcomeStatus.PROVISIONAL:
        verdict = "The content is suspected of breaking it"
    else:
        verdict = "The content was found to break it"
    return f"The rule is about: {harm.what}. {verdict}."


def ground(harm: Harm) -> str:
    """The law or the clause that a restriction rests on; what the harm is where the policy names none."""
    return harm.rule_text.strip() or f"The rules on: {harm.what}."
