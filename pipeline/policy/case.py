"""What a policy looks at: one upload, with everything that is known of it. The same at first and when it is decided
again from what was recorded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pipeline.events import MediaDecided, MediaUploaded
from pipeline.events.values import Agreement, Failure, Match, MediaFacts, RequestFacts, Sampling, Signal


@dataclass(frozen=True, slots=True)
class Case:
    """An upload to decide on.

    Args:
        upload: what the platform published: context, consent, what the uploader says.
        now: deadlines that start with the decision are counted from here.
        signals: at most one per family; a required family that is absent is missing.
        matches: what banks of known content know of it.
        agreement: signals that bear each other out.
        facts: what the file says of itself, credentials included.
        sampling: how much of it was looked at.
        request: what the person shown asked for.
        failure: why it could not be screened; the fail modes for `unjudged` then apply.
    """

    upload: MediaUploaded
    now: datetime
    signals: tuple[Signal, ...] = ()
    matches: tuple[Match, ...] = ()
    agreement: tuple[Agreement, ...] = ()
    facts: MediaFacts | None = None
    sampling: Sampling | None = None
    request: RequestFacts | None = None
    failure: Failure | None = None


def case_of(decided: MediaDecided) -> Case:
    """The upload as it was when it was decided on."""
    return Case(
        upload=decided.upload,
        now=decided.decided_at,
        signals=decided.signals,
        matches=decided.matches,
        agreement=decided.agreement,
        facts=decided.facts,
        sampling=decided.sampling,
        request=decided.request,
        failure=decided.failure,
    )
