"""`media.decided`: what the machine found in an upload, and what the policy said."""

from __future__ import annotations

from uuid import UUID

from pipeline.events.uploaded import MediaUploaded
from pipeline.events.values import (
    Agreement,
    Bytes,
    Decision,
    Failure,
    FrameHash,
    Match,
    MediaFacts,
    MediaId,
    RequestFacts,
    Round,
    Sampling,
    Sha256,
    Signal,
    Struct,
    Timestamp,
)


class Versions(Struct, frozen=True):
    """Everything that the decision depends on, so that it can be derived again.

    `detectors`: `name@version` of all that were asked and of the fusion, sorted: what the signals depend on. Content
    that was judged by the same set is not judged twice.
    """

    unmask: str
    policy: str
    detectors: tuple[str, ...] = ()


class MediaDecided(Struct, frozen=True, tag_field="schema", tag="media.decided/1"):
    """Published by `screen`. For one upload and round the first record stands, later ones are ignored.

    `sha256` is None when the bytes never arrived. `failure` is set when the upload could not be judged; the decision
    is then the policy's fail mode. `reused_from` names the upload whose signals were used again (same digest).
    `embedding`: 512 float16 values, little endian, of the most telling frame; None for sound. `hashes`: what the upload
    looks like, for banks of known content; `matches`: what they know of it. `agreement`: signals that bear each other
    out, or do not. `face_features`: what the face heads read of the most suspicious face, for learning from reviews:
    float16, little endian. `request`: what the person shown asked for, where that opened this round.
    """

    decision_id: UUID
    media_id: MediaId
    upload: MediaUploaded
    decided_at: Timestamp
    decision: Decision
    versions: Versions
    round: Round = 1
    sha256: Sha256 | None = None
    size: Bytes | None = None
    facts: MediaFacts | None = None
    sampling: Sampling | None = None
    signals: tuple[Signal, ...] = ()
    shadow: tuple[Signal, ...] = ()
    failure: Failure | None = None
    reused_from: MediaId | None = None
    embedding: bytes | None = None
    hashes: tuple[FrameHash, ...] = ()
    matches: tuple[Match, ...] = ()
    agreement: tuple[Agreement, ...] = ()
    face_features: bytes | None = None
    request: RequestFacts | None = None
