"""Signals in plain words: what was found, how sure that is, and what it does not mean. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import yaml

from pipeline.events import MediaDecided
from pipeline.events.values import Action, CredentialState, Family, MediaKind, Signal, SignalStatus

LIMITS = Path(__file__).with_name("limits.yaml")

NAMES: dict[Family, str] = {
    Family.FACE_SWAP: "a swapped or edited face",
    Family.FACE_SYNTHESIS: "a computer-generated face",
    Family.IMAGE_SYNTHESIS: "a computer-generated picture",
    Family.STYLE_TRANSFER: "a painted or filtered look",
    Family.LIP_SYNC: "sound that does not belong to the lips",
    Family.REENACTMENT: "a re-animated face",
    Family.EYES_AND_HEAD: "unusual eyes or head movement",
    Family.LIGHTING: "light on the face that does not fit",
    Family.SPLICE: "a stretch from another recording",
    Family.LOCAL_EDIT: "a locally edited picture",
    Family.VOICE_CLONE: "a synthetic voice",
    Family.GENERATOR_METADATA: "a generator's own mark in the file",
    Family.PROVENANCE: "signed credentials that speak of synthesis",
    Family.KNOWN_CONTENT: "content that is on a list",
    Family.NUDITY: "nudity",
}

ACTIONS: dict[Action, str] = {
    Action.ALLOW: "Nothing stands against showing it.",
    Action.LABEL: "It should carry a label.",
    Action.LIMIT: "It should not be spread until a person has looked.",
    Action.HOLD: "It should not be shown until a person has decided.",
    Action.REMOVE: "It should not be shown.",
}

CREDENTIALS: dict[CredentialState, str] = {
    CredentialState.ABSENT: "The file carries no Content Credentials. Most files do not: it says nothing either way.",
    CredentialState.INVALID: (
        "The file carries Content Credentials that do not fit it any more. Honest programs break them too: this is no "
        "proof of forgery."
    ),
    CredentialState.UNTRUSTED: (
        "The file carries intact Content Credentials, signed by somebody whom no list of trusted signers vouches for: "
        "anybody could have signed them."
    ),
    CredentialState.TRUSTED: (
        "The file carries intact Content Credentials from a trusted signer. They say who signed and what was done, not "
        "that the picture shows the truth."
    ),
}


@cache
def limits() -> dict[Family, str]:
    """What each family's detectors cannot see."""
    return {Family(name): text.strip() for name, text in yaml.safe_load(LIMITS.read_text(encoding="utf-8")).items()}


def headline(decided: MediaDecided, found: Sequence[Signal], doubtful: Sequence[Signal]) -> str:
    """The verdict in one sentence."""
    if decided.failure is not None:
        return f"This file could not be examined: {decided.failure.reason.replace('_', ' ')}."
    if found:
        return f"Signs of {_listed([NAMES[signal.family] for signal in found])} were found."
    if doubtful:
        return f"It cannot be told whether this is {_listed([NAMES[signal.family] for signal in doubtful], 'or')}."
    return "No signs of manipulation were found. That is no proof that the file is genuine."


def sureness(signal: Signal) -> str:
    """How sure one signal is, in words with its numbers."""
    if signal.status is SignalStatus.NOT_APPLICABLE:
        return "There was nothing to judge."
    if signal.probability is None:
        return f"Not judged: {signal.note or 'no answer'}."
    span = f" ({percent(signal.low)}–{percent(signal.high)})" if None not in (signal.low, signal.high) else ""
    text = f"{percent(signal.probability)} likely{span}"
    if signal.status is SignalStatus.ABSTAINED:
        text += ", which is too uncertain to say"
    if signal.advisory:
        text += "; a hint only"
    if signal.coverage < 1:
        text += f"; {percent(signal.coverage)} of what should be looked at was"
    return text + "."


def looked_at(decided: MediaDecided) -> tuple[str, ...]:
    """What was looked at, and what was not."""
    sampling, facts = decided.sampling, decided.facts
    if sampling is None or facts is None:
        return ("Nothing of the file was looked at.",)
    lines = []
    count = len(sampling.looked_at)
    if facts.kind is MediaKind.IMAGE:
        lines.append("The whole picture was looked at.")
    elif count:
        lines.append(f"{count} moments were looked at" + (", every frame." if sampling.complete else "."))
        if sampling.largest_gap and not sampling.complete:
            lines.append(
                f"The longest stretch without a look is {sampling.largest_gap:.1f} s: a shorter manipulation may "
                "lie in it unseen."
            )
    for window in sampling.windows:
        bought = f" It changed: {window.bought}." if window.bought else ""
        stretch = f"{clock(window.start)} to {clock(window.end)}"
        lines.append(f"{stretch} was looked at closely ({window.frames} frames): {window.why}.{bought}")
    if sampling.audio_seconds:
        beyond = facts.duration is not None and facts.duration - sampling.audio_seconds > 1
        lines.append(
            f"{sampling.audio_seconds:.0f} s of sound were listened to"
            + (f"; the rest of {facts.duration:.0f} s was not." if beyond else ".")
        )
    elif facts.kind in (MediaKind.VIDEO, MediaKind.AUDIO):
        lines.append("There was no sound to listen to, or it could not be read.")
    return (*lines, *(f"{note[:1].upper()}{note[1:]}." for note in sampling.notes))


def clock(seconds: float) -> str:
    """`00:03.2`."""
    tenths = math.floor(max(0.0, seconds) * 10)
    minutes, rest = divmod(tenths, 600)
    return f"{minutes:02}:{rest // 10:02}.{rest % 10}"


def percent(share: float | None) -> str:
    """Cut, not rounded: 99.6 % is not certainty."""
    return "–" if share is None else f"{math.floor(share * 100 + 1e-9)} %"


def _listed(names: Sequence[str], last: str = "and") -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}"
