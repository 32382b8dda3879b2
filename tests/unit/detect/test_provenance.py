"""Credentials and contradictions as scores with words."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec import structs

from pipeline.detect.port import View
from pipeline.detect.provenance import Provenance
from pipeline.events.values import Credentials, CredentialState
from pipeline.testing import clip_of, picture


def scores(credentials: Credentials | None, *metadata: tuple[str, str]):
    clip = clip_of(picture())
    clip = replace(clip, facts=structs.replace(clip.facts, credentials=credentials, metadata=metadata))
    detector = Provenance()
    probes = detector.prepare(View(clip))
    return [score for probe in probes for score in detector.interpret(probe, probe.tensors)]


@pytest.mark.parametrize(
    ("state", "value"),
    [(CredentialState.TRUSTED, 0.98), (CredentialState.UNTRUSTED, 0.8), (CredentialState.INVALID, 0.8)],
)
def test_an_assertion_of_synthesis(state, value):
    """Trusted credentials weigh more than those that anybody could have written."""
    held = Credentials(state=state, issuer="X", source_types=("trainedAlgorithmicMedia",), actions=("created",))
    (score,) = scores(held)
    assert score.value == value
    assert "trainedAlgorithmicMedia" in score.note


def test_nothing_to_say():
    """No credentials and no contradiction: not applicable."""
    assert scores(None) == []
    assert scores(Credentials(state=CredentialState.ABSENT)) == []


def test_credentials_without_synthesis_say_so():
    """A signed camera picture scores nothing."""
    (score,) = scores(Credentials(state=CredentialState.TRUSTED, issuer="X", source_types=("humanEdits",)))
    assert (score.value, "says nothing of synthesis" in score.note) == (0.0, True)


def test_a_contradiction_is_a_weak_hint():
    """Camera data and an editor."""
    (score,) = scores(None, ("exif:Make", "Canon"), ("exif:Software", "GIMP 2.10"))
    assert score.value == 0.3
