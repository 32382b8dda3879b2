"""Figures on scores: right on cases that can be worked out by hand, and as unsure as they should be."""

import numpy as np
import pytest

from pipeline.learn.measure import quality, tpr_at, trust


def test_a_perfect_score_has_an_area_of_one():
    """And the curves end in their corners."""
    found = quality(np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 1], bool), "abcd", rounds=50)
    assert (found.area.value, found.precision.value) == (1.0, 1.0)
    assert found.roc[-1] == (1.0, 1.0)
    assert not found.near_chance


def test_noise_is_near_chance():
    """The interval of a score that knows nothing holds one half."""
    rng = np.random.default_rng(3)
    found = quality(rng.random(200), rng.random(200) < 0.5, [str(i) for i in range(200)], rounds=200)
    assert found.near_chance


def test_one_label_says_nothing():
    """Without fakes there is no area."""
    assert quality(np.array([0.1, 0.2]), np.zeros(2, bool), "ab") is None


def test_frames_of_one_upload_are_no_independent_items():
    """A hundred frames of each of ten uploads are as unsure as ten uploads."""
    rng = np.random.default_rng(0)
    scores, fake = rng.random(10), np.arange(10) % 2 == 0
    few = quality(scores, fake, [str(i) for i in range(10)], rounds=300)
    many = quality(
        np.repeat(scores, 100), np.repeat(fake, 100), [str(i) for i in range(10) for _ in range(100)], rounds=300
    )
    assert many.area.high - many.area.low > 0.8 * (few.area.high - few.area.low)


@pytest.mark.parametrize(("rate", "expected"), [(0.0, 0.5), (0.25, 1.0), (1.0, 1.0)])
def test_the_true_positives_at_a_false_positive_rate(rate, expected):
    """Reals at .1 .2 .3 .6, fakes at .5 .9: none of the reals reaches more than .6, one of four more than .3."""
    scores, fake = np.array([0.1, 0.2, 0.3, 0.6, 0.5, 0.9]), np.array([0, 0, 0, 0, 1, 1], bool)
    assert tpr_at(scores, fake, rate) == expected


def test_trust_counts_what_doubt_takes_away():
    """One of four items is in the band, no genuine one above it, one manipulated one below it."""
    found = trust(np.array([0.1, 0.5, 0.2, 0.9]), np.array([0, 0, 1, 1], bool), 0.4, 0.6)
    assert (found.abstained, found.false_positives, found.missed) == (0.25, 0.0, 0.5)
    assert found.brier == pytest.approx((0.01 + 0.25 + 0.64 + 0.01) / 4)
