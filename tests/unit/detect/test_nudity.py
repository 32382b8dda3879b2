"""Whole frames for the nudity model."""

import numpy as np

from pipeline.detect.nudity import Nudity
from pipeline.detect.port import Probe, Score, View
from pipeline.events.values import Family
from pipeline.testing import clip_of, picture


def test_a_few_frames_are_spread_over_the_clip():
    """A long clip is asked about at a few moments, evenly."""
    probes = Nudity(frames=3).prepare(View(clip_of(*[picture(seed=i) for i in range(9)])))
    assert [probe.at for probe in probes] == [2.0, 8.0, 14.0]
    assert {probe.tensors["image"].shape for probe in probes} == {(1, 224, 224, 3)}


def test_a_frame_is_squeezed_and_its_middle_taken():
    """As in training: the whole frame to 256 × 256, then the middle 224 × 224."""
    image = np.zeros((512, 1024, 3), np.uint8)
    image[32:480, 64:960] = 255  # 16/256 off every side
    (probe,) = Nudity().prepare(View(clip_of(image)))
    assert probe.tensors["image"].min() == 255


def test_sound_alone_is_not_applicable():
    """No frame, no question."""
    assert Nudity().prepare(View(clip_of())) == []


def test_the_second_probability_is_the_score():
    """The model answers harmless first, nudity second."""
    scores = Nudity().interpret(Probe({}, at=4.0), {"probabilities": np.array([[0.75, 0.25]], "f4")})
    assert scores == [Score(Family.NUDITY, 0.25, at=4.0)]
