"""The closer look goes to whom the verdict would leave in doubt: its scores are those of the calibration's bands."""

from __future__ import annotations

import pytest

from pipeline.calibration import scores_at
from pipeline.detect.registry import load as detectors
from pipeline.events.values import Family, MediaFacts, MediaKind
from pipeline.policy.file import load as policy

DOUBT = detectors().closer.doubt
FUSED = policy(None).fused


def test_both_questions_of_the_face_heads_are_asked_again():
    """The families whose detector can be asked about single faces again."""
    assert {family for family, _, _ in DOUBT} == {Family.FACE_SWAP, Family.FACE_SYNTHESIS}


@pytest.mark.parametrize(("family", "low", "high"), DOUBT)
def test_doubt_is_where_the_band_is(family, low, high):
    """After another calibration or another head: `unmask calibrate` prints the scores for default.yaml."""
    video = MediaFacts(kind=MediaKind.VIDEO, container="mp4")
    known, band = FUSED.calibration.families[family], FUSED.abstain(family)
    assert band is not None
    assert (low, high) == pytest.approx(scores_at(known.curve_for(video), band), abs=0.005)
