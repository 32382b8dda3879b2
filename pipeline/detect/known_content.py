"""What the looked-at frames look like, for banks of known content: PDQ of each, taken once per content.

No detector: it asks no model and gives no score. What the banks make of it is settled at every decision
(`pipeline.match.match`), because banks change.
"""

from __future__ import annotations

from pipeline.decode.port import Clip
from pipeline.events.values import FrameHash
from pipeline.match.pdq import pdq

HASHES = "pdq@1"
"""Part of what known contents are stored under: those that were judged without hashes are judged anew."""


def frame_hashes(clip: Clip) -> tuple[FrameHash, ...]:
    """One hash per keyframe, of a still image one: about 5 ms each. Empty for sound."""
    hashed = ((keyframe.at, *pdq(keyframe.image)) for keyframe in clip.keyframes)
    return tuple(FrameHash(at=at, pdq=code, quality=quality) for at, code, quality in hashed)
