"""From a file that was judged to its page: fetch the pictures of the evidence, then write."""

from __future__ import annotations

from pathlib import Path

from pipeline.decode.port import Decode
from pipeline.errors import ItemError
from pipeline.events import MediaDecided
from pipeline.events.values import Evidence, Family, MediaKind, SignalStatus
from pipeline.fuse import Fused
from pipeline.report.page import page, standing
from pipeline.report.pictures import Shot, frames_at, shot

MOST = 3
"""Pictures per family that was found or is in doubt: the strongest evidence."""
SAMPLES = 2
"""Families that one picture each is shown of where nothing was found: what came nearest."""


async def make_report(path: Path, decided: MediaDecided, by: Fused, decode: Decode) -> str:
    """The page on one file, as HTML. A file whose pictures cannot be decoded again has a page without any."""
    wanted = _worth_a_picture(decided, by)
    try:
        frames = await frames_at(path, [evidence.at or 0.0 for _, evidence in wanted], decode) if wanted else {}
    except ItemError:
        # The verdict stands without pictures, and the page says what each piece of evidence points at.
        frames = {}
    shots: dict[tuple[Family, Evidence], Shot] = {}
    for family, evidence in wanted:
        image = frames.get(evidence.at or 0.0)
        if image is not None:
            shots[family, evidence] = shot(image, evidence)
    return page(decided, path.name, by, shots)


def _worth_a_picture(decided: MediaDecided, by: Fused) -> list[tuple[Family, Evidence]]:
    """The strongest evidence of what was found or is in doubt, if it points at a moment or a place; else what came
    nearest."""
    if decided.facts is None or decided.facts.kind is MediaKind.AUDIO:
        return []
    silent = {Family.VOICE_CLONE, Family.GENERATOR_METADATA, Family.PROVENANCE, Family.KNOWN_CONTENT, Family.NUDITY}
    seen = [s for s in decided.signals if s.family not in silent and s.status is not SignalStatus.NOT_APPLICABLE]
    found, doubtful = standing(seen, by)
    told, most = [*found, *doubtful], MOST
    if not told:
        told, most = sorted(seen, key=lambda s: (s.advisory, -(s.probability or 0.0)))[:SAMPLES], 1
    return [
        (signal.family, evidence)
        for signal in told
        for evidence in [e for e in signal.evidence if e.at is not None or e.box is not None or e.heat][:most]
    ]
