"""Whole frames for the heads of synthetic and painted pictures."""

import msgspec
import numpy as np
import pytest

from pipeline.detect.embed import PATCH_MEANS, SIZE, Embed
from pipeline.detect.frames import resized
from pipeline.detect.port import Probe, View
from pipeline.detect.whole_image import (
    FEATURE_COUNT,
    FEATURES,
    HEADS,
    FrameHeadFile,
    WholeImage,
    frame_features,
    read_frame_head,
)
from pipeline.errors import ConfigError
from pipeline.events.values import Family
from pipeline.testing import clip_of, picture


def head_file(**changes) -> bytes:
    fields = {"head": "x", "features": FEATURES, "bias": 0.0, "weight": [0.0] * FEATURE_COUNT, "trained": {}}
    return msgspec.json.encode(FrameHeadFile(**{**fields, **changes}))


def test_a_still_is_asked_about_once_with_the_tensors_that_embed_sends():
    """The same question, so that one answer serves both."""
    image = picture(300, 200)
    (probe,) = WholeImage().prepare(View(clip_of(image)))
    assert np.array_equal(probe.tensors["image"][0], resized(image, 224, 224))
    assert WholeImage.model is Embed.model


def test_a_few_frames_are_spread_over_the_clip():
    """A long clip is asked about at a few moments, evenly."""
    probes = WholeImage(frames=3).prepare(View(clip_of(*[picture(seed=i) for i in range(9)])))
    assert [probe.at for probe in probes] == [2.0, 8.0, 14.0]


def test_sound_alone_is_not_applicable():
    """No frame, no question."""
    assert WholeImage().prepare(View(clip_of())) == []


def test_every_answer_gives_a_probability_per_head():
    """Both families, at the moment that was asked about, whatever the features are."""
    rng = np.random.default_rng(0)
    answer = {"features": rng.normal(0, 3, (1, PATCH_MEANS)), "embedding": rng.normal(0, 1, (1, SIZE))}
    scores = WholeImage().interpret(Probe({}, at=4.0), answer)
    assert {score.family for score in scores} == {Family.IMAGE_SYNTHESIS, Family.STYLE_TRANSFER}
    assert all(0 <= score.value <= 1 and score.at == 4.0 for score in scores)


def test_the_heads_read_the_last_blocks_and_the_embedding():
    """Blocks 7 to 10 of 4 to 10, then the embedding."""
    found = frame_features({"features": np.arange(PATCH_MEANS)[None], "embedding": -np.arange(SIZE)[None]})
    assert len(found) == FEATURE_COUNT == 4 * 768 + 512
    assert found[0] == 3 * 768
    assert found[-1] == -511


def test_a_head_is_a_weighted_sum_made_a_probability(tmp_path):
    """sigmoid(features · weight + bias)."""
    weight = [0.0] * FEATURE_COUNT
    weight[7] = 2.0
    (tmp_path / "x.json").write_bytes(head_file(weight=weight, bias=-1.0))
    features = np.zeros(FEATURE_COUNT, "f4")
    features[7] = 0.5
    assert read_frame_head("x", tmp_path)(features) == pytest.approx(0.5)
    features[7] = 1000.0
    assert read_frame_head("x", tmp_path)(features) == 1.0


@pytest.mark.parametrize("changes", [{"features": "other"}, {"weight": [1.0]}])
def test_a_head_for_other_features_is_refused(tmp_path, changes):
    """It says that it has to be trained again."""
    (tmp_path / "x.json").write_bytes(head_file(**changes))
    with pytest.raises(ConfigError, match="train it again"):
        read_frame_head("x", tmp_path)


def test_a_missing_or_broken_head_is_said(tmp_path):
    """With the name of the file."""
    (tmp_path / "broken.json").write_text("{}")
    for name in ("missing", "broken"):
        with pytest.raises(ConfigError, match=rf"{name}\.json"):
            read_frame_head(name, tmp_path)


def test_the_version_names_the_weights():
    """Heads that are trained again judge known content anew."""
    assert all(read_frame_head(head).digest in WholeImage().version for head in HEADS)


def test_at_least_one_frame_is_asked_about():
    """Anything else is a mistake in the detectors file."""
    with pytest.raises(ValueError, match="frames"):
        WholeImage(frames=0)
