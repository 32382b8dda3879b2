"""Where what a file says of itself does not fit together. Pure.

A contradiction is a reason to look, never a proof: programs, messengers and people break metadata honestly all day.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipeline.events.values import CredentialState, MediaFacts, MediaKind

_CAMERA_TYPES = frozenset({"digitalCapture", "computationalCapture"})
SYNTHETIC_TYPES = frozenset({"trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia", "algorithmicMedia"})
"""IPTC digital source types that speak of generation (IPTC NewsCodes, digitalsourcetype)."""
_EDITORS = re.compile(
    r"\b(photoshop|gimp|lightroom|affinity|snapseed|facetune|faceapp|picsart|canva|premiere|after effects)\b",
    re.IGNORECASE,
)
_WRITERS = re.compile(r"\b(lavf|handbrake|ffmpeg|isomedia file produced by google)", re.IGNORECASE)


def contradictions(facts: MediaFacts) -> Iterator[str]:
    """Each in one sentence's worth of words."""
    entries = {key.rpartition(":")[2].lower(): value for key, value in facts.metadata}
    held = facts.credentials
    said = " ".join(value for key, value in facts.metadata if "packet" not in key)
    if held is not None and held.state is CredentialState.INVALID and "assertion.dataHash.mismatch" in held.codes:
        yield "the file was changed after it was signed"
    if held is not None and held.state is not CredentialState.ABSENT:
        if _CAMERA_TYPES & set(held.source_types) and SYNTHETIC_TYPES & set(held.source_types):
            yield "its credentials claim both a camera and a generator"
        if (
            _CAMERA_TYPES & set(held.source_types)
            and facts.kind is MediaKind.IMAGE
            and not ({"make", "model"} & set(entries))
        ):
            yield "its credentials claim a camera, and the file has no camera data"
    if (held is None or held.state is CredentialState.ABSENT) and _pointer_to_credentials(facts):
        yield "it names Content Credentials that are not there: they were stripped"
    if {"make", "model"} & set(entries) and (found := _EDITORS.search(said)):
        yield f"it carries camera data and was written by an editor ({found[0]})"
    if {"make", "model"} & set(entries) and facts.kind is MediaKind.VIDEO and (found := _WRITERS.search(said)):
        yield f"it carries camera data and was written again by a program ({found[0]})"
    dates = [entries[key] for key in ("datetimeoriginal", "creation_time", "datetime", "modifydate") if key in entries]
    if len(dates) > 1 and len({_day(date) for date in dates}) > 1:
        yield f"its dates differ: {' and '.join(sorted({_day(date) for date in dates})[:2])}"


def _pointer_to_credentials(facts: MediaFacts) -> bool:
    """XMP may hold `dcterms:provenance`, the address of a manifest (C2PA specification 2.2, §11.4)."""
    return any("provenance" in value and ("c2pa" in value or "contentauth" in value) for _, value in facts.metadata)


def _day(date: str) -> str:
    return date.replace(":", "-", 2)[:10]
