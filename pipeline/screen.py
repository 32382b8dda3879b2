"""One upload through fetch → decode → detect → fuse → decide. Takes ports, imports no adapter.

Bytes that were judged before by the same detectors are decided from the stored signals, with today's policy and this
upload's context: no decoding, no inference.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec

from pipeline import VERSION
from pipeline.decode.port import Clip, Decode, Span, Window
from pipeline.detect.port import Closer, Findings
from pipeline.errors import Stage
from pipeline.events import MediaDecided, MediaUploaded, Versions
from pipeline.events.ids import decision_id
from pipeline.events.values import Failure, Family, FrameHash
from pipeline.fetch.port import Fetch, Media
from pipeline.fuse import fuse
from pipeline.ledger.port import KnownContent
from pipeline.match.match import NOTHING, Recognised
from pipeline.policy.case import Case
from pipeline.policy.decide import decide
from pipeline.policy.rules import Policy

Detect = Callable[[Clip, Closer, float], Awaitable[Findings]]
"""(clip, how to look closely at it, seconds left) → what all detectors say."""

Timed = Callable[[Stage], AbstractContextManager[None]]
"""Observes how long a stage takes."""


Known = Callable[[str, tuple[str, ...]], Awaitable[KnownContent | None]]
"""(sha256, detectors) → what the same detectors found in the same bytes before."""

Recognise = Callable[[str, tuple[FrameHash, ...], str], Awaitable[Recognised]]
"""(sha256, hashes of frames, media id) → what the banks of known content know of an upload."""

_ORDER = {family: i for i, family in enumerate(Family)}


async def no_banks(_sha256: str, _hashes: tuple[FrameHash, ...], _media_id: str) -> Recognised:
    """Where there are none."""
    return NOTHING


@dataclass(frozen=True, slots=True)
class Screening:
    """The ports that a screening needs, and what it is judged by. `detectors`: `name@version`, sorted."""

    fetch: Fetch
    decode: Decode
    detect: Detect
    known: Known
    policy: Policy
    detectors: tuple[str, ...]
    timed: Timed
    recognise: Recognise = no_banks

    def under(self, policy: Policy) -> Screening:
        """The same by another policy: what is known of contents depends on how scores become signals."""
        if policy is self.policy:
            return self
        detectors = {*self.detectors} - {self.policy.fusion_version} | {policy.fusion_version}
        return replace(self, policy=policy, detectors=tuple(sorted(detectors)))


async def screen(upload: MediaUploaded, round_: int, *, now: datetime, within: float, by: Screening) -> MediaDecided:
    """Judge one upload.

    Args:
        upload: what the platform published.
        round_: 1, or more after an appeal, a re-score or a replay.
        now: the time that deadlines are counted from.
        within: seconds that this may take; detectors that are not done in time are reported as missing.
        by: ports, policy and versions.

    Raises:
        Permanent: the upload cannot be judged as it is.
        Transient: it may be judged later.
    """
    until = time.monotonic() + within
    async with AsyncExitStack() as spool:
        with by.timed(Stage.FETCH):
            media = await spool.enter_async_context(by.fetch(upload.uri, sha256=upload.sha256, size=upload.size))
        known = await by.known(media.sha256, by.detectors)
        content = known or await _judge(upload.media_id, media, now, until, by)
    with by.timed(Stage.DECIDE):
        # Of known contents too: banks change.
        recognised = await by.recognise(media.sha256, content.hashes, upload.media_id)
        signals = content.signals
        if recognised.signal is not None:
            signals = tuple(sorted((*signals, recognised.signal), key=lambda signal: _ORDER[signal.family]))
        case = Case(
            upload=upload,
            now=now,
            signals=signals,
            matches=recognised.matches,
            agreement=content.agreement,
            facts=content.facts,
            sampling=content.sampling,
        )
        return MediaDecided(
            decision_id=decision_id(upload.media_id, round_),
            media_id=upload.media_id,
            round=round_,
            upload=upload,
            decided_at=now,
            decision=decide(case, by.policy),
            versions=Versions(unmask=VERSION, policy=by.policy.version, detectors=by.detectors),
            sha256=media.sha256,
            size=media.size,
            facts=content.facts,
            sampling=content.sampling,
            signals=signals,
            shadow=content.shadow,
            embedding=content.embedding,
            hashes=content.hashes,
            matches=recognised.matches,
            agreement=content.agreement,
            face_features=content.face_features,
            reused_from=known.media_id if known else None,
        )


async def _judge(media_id: str, media: Media, now: datetime, until: float, by: Screening) -> KnownContent:
    with by.timed(Stage.DECODE):
        clip = await by.decode(media.path)

    async def closer(spans: Sequence[Span]) -> tuple[Window, ...]:
        return await by.decode.closer(media.path, spans, len(clip.keyframes))

    with by.timed(Stage.DETECT):
        findings = await by.detect(clip, closer, max(0.0, until - time.monotonic()))
    assessment = fuse(findings, by.policy.fused, clip.facts)
    return KnownContent(
        sha256=media.sha256,
        versions=Versions(unmask=VERSION, policy=by.policy.version, detectors=by.detectors),
        media_id=media_id,
        judged_at=now,
        size=media.size,
        facts=clip.facts,
        sampling=msgspec.structs.replace(
            clip.sampling, windows=findings.windows, notes=(*clip.sampling.notes, *findings.notes)
        ),
        signals=assessment.signals,
        shadow=assessment.shadow,
        embedding=findings.embedding,
        hashes=findings.hashes,
        agreement=assessment.agreement,
        face_features=findings.face_features,
    )


def unscreenable(
    upload: MediaUploaded, round_: int, failure: Failure, *, now: datetime, policy: Policy
) -> MediaDecided:
    """The fail mode's decision on an upload that could not be judged."""
    return MediaDecided(
        decision_id=decision_id(upload.media_id, round_),
        media_id=upload.media_id,
        round=round_,
        upload=upload,
        decided_at=now,
        decision=decide(Case(upload=upload, now=now, failure=failure), policy),
        versions=Versions(unmask=VERSION, policy=policy.version),
        failure=failure,
    )
