"""Photographs made to look painted."""

import numpy as np
import pytest

from pipeline.learn.stylise import LONGEST, WAYS, stylise
from pipeline.testing import picture


@pytest.mark.parametrize("way", sorted(WAYS))
def test_every_way_keeps_the_size_and_changes_the_picture(way):
    """What comes out is a picture of the same size, and another one."""
    before = picture(240, 160)
    after = WAYS[way](before, np.random.default_rng(0))
    assert after.shape == before.shape
    assert after.dtype == np.uint8
    assert np.abs(after.astype(int) - before).mean() > 1


def test_the_same_seed_paints_the_same_picture():
    """Training is repeatable, and another seed paints another."""
    image = picture(80, 80)
    assert np.array_equal(stylise(image, 3), stylise(image, 3))
    assert any(not np.array_equal(stylise(image, 3), stylise(image, seed)) for seed in (4, 5))


def test_a_large_picture_is_painted_at_the_size_of_the_brushes():
    """At most LONGEST pixels long, its shape kept."""
    assert stylise(picture(1300, 300), 0).shape[1] == LONGEST
    assert stylise(picture(50, 40), 0).shape[:2] == (40, 50)
