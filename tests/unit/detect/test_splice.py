"""Time lines with and without a stretch of another history."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.decode.port import SAMPLE_RATE, Audio, Clip, Keyframe, Packets
from pipeline.detect import splice
from pipeline.detect.port import View
from pipeline.detect.splice import NAMES, STRETCH_NAMES, Splice, look_at, stretches
from pipeline.events.values import Family
from pipeline.testing import clip_of

NATIVE = 192


def scene(shift: int) -> NDArray[np.uint8]:
    """A smooth scene under a slow pan."""
    rng = np.random.default_rng(7)
    coarse = rng.integers(40, 220, (12, 12, 3)).astype(np.float32)
    wide = cv2.resize(coarse, (NATIVE * 2, NATIVE * 2), interpolation=cv2.INTER_CUBIC)
    return np.clip(wide[:NATIVE, shift : shift + NATIVE], 0, 255).astype(np.uint8)


def timeline(sigmas: list[float], seed: int = 0, every: float = 1.0) -> Clip:
    """Looks at one scene, each with noise of its own strength."""
    rng = np.random.default_rng(seed)
    images = [
        np.clip(scene(i) + rng.normal(0, s, (NATIVE, NATIVE, 3)), 0, 255).astype(np.uint8) for i, s in enumerate(sigmas)
    ]
    clip = clip_of(*images, every=every)
    frames = tuple(replace(f, native=cv2.cvtColor(f.image, cv2.COLOR_RGB2GRAY)) for f in clip.keyframes)
    return replace(clip, keyframes=frames)


def score(clip: Clip) -> tuple[float, float, float, str]:
    (probe,) = Splice().prepare(View(clip))
    (found,) = Splice().interpret(probe, probe.tensors)
    assert found.family is Family.SPLICE
    assert found.at is not None
    assert found.until is not None
    return found.value, found.at, found.until, found.note


def test_a_stretch_with_other_noise_scores_higher_and_is_pointed_at():
    """Four of twelve looks with three times the noise: more suspicious than none, and mostly theirs is the stretch."""
    plain = score(timeline([2.0] * 12))
    value, start, end, note = score(timeline([2.0] * 4 + [7.0] * 4 + [2.0] * 4))
    assert value > plain[0]
    assert (min(end, 7.5) - max(start, 3.5)) / (max(end, 7.5) - min(start, 3.5)) > 0.6
    assert "noise" in note


def test_the_same_clip_gets_the_same_answer():
    """Nothing is left to chance."""
    clip = timeline([2.0] * 4 + [5.0] * 3 + [2.0] * 4)
    assert score(clip) == score(clip)


def test_too_few_looks_are_not_applicable():
    """Two looks always differ; a still has no time line; frames without their unscaled part are not measured."""
    assert Splice().prepare(View(timeline([2.0, 2.0]))) == []
    assert Splice().prepare(View(timeline([2.0]))) == []
    bare = timeline([2.0] * 6)
    assert Splice().prepare(View(replace(bare, keyframes=tuple(replace(f, native=None) for f in bare.keyframes)))) == []


def test_stretches_hold_at_most_half_of_the_looks():
    """Every stretch is shorter than what it is compared with, and its measures have their names."""
    looks = look_at(timeline([2.0] * 7))
    assert looks is not None
    found, table = stretches(looks)
    assert table.shape == (len(found), len(STRETCH_NAMES))
    assert {s.last - s.first for s in found} == {1, 2, 3}
    assert all(0 <= s.start < s.end <= looks.bounds[-1] for s in found)


def test_a_black_frame_in_between_does_not_blind_the_rest():
    """It has no edges to measure; the other frames' are compared all the same."""
    clip = timeline([2.0] * 4 + [7.0] * 4 + [2.0] * 4)
    black = replace(clip.keyframes[2], image=np.zeros_like(scene(0)), native=np.zeros((NATIVE, NATIVE), np.uint8))
    looks = look_at(replace(clip, keyframes=(*clip.keyframes[:2], black, *clip.keyframes[3:])))
    assert looks is not None
    assert np.isfinite(looks.table[:, NAMES.index("sharpness")]).all()


def packets(keys: list[float], tiny: tuple[float, float] | None = None) -> Packets:
    at = np.arange(0, 12, 0.04)
    size = np.full(at.size, 1000, np.int32)
    if tiny is not None:
        size[((at >= tiny[0]) & (at < tiny[1])).nonzero()[0][::5]] = 10
    return Packets(at, size, np.isin(np.rint(at * 100), np.rint(np.array(keys) * 100)))


def test_repeated_frames_show_in_the_packets():
    """Where every fifth packet is as good as empty, frames are repeated; elsewhere they are not."""
    found = packets([0.0], tiny=(4.0, 8.0))
    assert splice.packet_measures(found, 6.0)["repeats"] == pytest.approx(0.2, abs=0.05)
    assert splice.packet_measures(found, 1.0)["repeats"] == 0
    assert np.isnan(splice.packet_measures(None, 1.0)["rate"])


def test_keyframes_that_are_coded_better_are_no_splice():
    """Keyframes have less noise than what lies between them; their medians are brought together first."""
    sigmas = [2.0 if i % 4 == 0 else 3.0 for i in range(12)]
    clip = timeline(sigmas)
    known = look_at(replace(clip, packets=packets([0.0, 4.0, 8.0])))
    unknown = look_at(clip)
    assert known is not None
    assert unknown is not None
    noise = NAMES.index("noise")
    assert np.ptp(known.table[:, noise]) < 0.5 * np.ptp(unknown.table[:, noise])


def test_background_sound_is_measured_per_look():
    """A stretch of stronger hiss is higher in its own looks; without sound the measures are missing."""
    rng = np.random.default_rng(0)
    samples = rng.normal(0, 0.001, SAMPLE_RATE * 6).astype(np.float32)
    samples[SAMPLE_RATE * 2 : SAMPLE_RATE * 4] *= 30
    bounds = np.array([0.0, 2.0, 4.0, 6.0])
    table = splice.sound_measures(Audio(samples), bounds)
    assert table[1, 1] > table[0, 1] + 1
    assert table[2, 1] == pytest.approx(table[0, 1], abs=0.3)
    assert np.isnan(splice.sound_measures(None, bounds)).all()


def test_frames_of_another_size_do_no_harm():
    """An odd, small picture and a large one are measured alike."""
    for side in (65, 801):
        image = np.random.default_rng(1).integers(0, 256, (side, side, 3)).astype(np.uint8)
        frames = tuple(Keyframe(i, float(i), image, image[..., 0].copy()) for i in range(4))
        clip = replace(clip_of(image, image, image, image, every=1.0), keyframes=frames)
        assert 0 <= score(clip)[0] <= 1
