"""What does not fit together is named; what fits is not."""

from __future__ import annotations

import pytest

from pipeline.events.values import Credentials, CredentialState, MediaFacts, MediaKind
from pipeline.provenance.contradictions import contradictions

CHANGED = "assertion.dataHash.mismatch"
CAMERA = (("exif:Make", "Canon"), ("exif:Model", "EOS R5"))


def found(
    *metadata: tuple[str, str], kind: MediaKind = MediaKind.IMAGE, credentials: Credentials | None = None
) -> list[str]:
    facts = MediaFacts(kind=kind, container="x", metadata=metadata, credentials=credentials)
    return list(contradictions(facts))


def held(state: CredentialState = CredentialState.TRUSTED, *types: str, codes: tuple[str, ...] = ()) -> Credentials:
    return Credentials(state=state, source_types=types, codes=codes)


@pytest.mark.parametrize(
    ("told", "word"),
    [
        (found(credentials=held(CredentialState.INVALID, codes=(CHANGED,))), "changed after it was signed"),
        (found(credentials=held(CredentialState.TRUSTED, "digitalCapture")), "no camera data"),
        (found(*CAMERA, credentials=held(CredentialState.TRUSTED, "digitalCapture", "algorithmicMedia")), "both"),
        (found(("xmp:packet", 'dcterms:provenance="https://cai/x.c2pa"')), "stripped"),
        (found(*CAMERA, ("exif:Software", "Adobe Photoshop 25.0")), "written by an editor (Photoshop)"),
        (found(*CAMERA, ("container:encoder", "Lavf60.3"), kind=MediaKind.VIDEO), "written again by a program (Lavf"),
        (found(("exif:DateTimeOriginal", "2020:01:02 10"), ("exif:DateTime", "2024:05:06 10")), "dates differ"),
    ],
)  # fmt: skip
def test_contradictions_are_told(told, word):
    """One sentence each."""
    assert len(told) == 1
    assert word in told[0]


@pytest.mark.parametrize(
    "told",
    [
        found(),
        found(*CAMERA),
        found(*CAMERA, credentials=held(CredentialState.TRUSTED, "digitalCapture")),
        found(("exif:Software", "Adobe Photoshop 25.0")),
        found(("container:encoder", "Lavf60.3"), kind=MediaKind.VIDEO),
        found(credentials=held(CredentialState.UNTRUSTED, "trainedAlgorithmicMedia")),
        found(("exif:DateTimeOriginal", "2020:01:02 10:00:00"), ("exif:DateTime", "2020:01:02 12:00:00")),
    ],
)
def test_what_fits_is_left_alone(told):
    """Camera data without an editor, an editor without camera data, one date."""
    assert told == []
