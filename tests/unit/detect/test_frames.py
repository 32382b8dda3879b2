"""Which keyframes are looked at, and at what size."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.detect.frames import centre, resized, spread
from pipeline.testing import picture


@given(st.integers(0, 100), st.integers(1, 40))
def test_a_spread_keeps_the_order_and_leaves_no_long_gap(items, count):
    """At most `count` different items, in order, with no stretch longer than two even shares left out."""
    chosen = spread(range(items), count)
    assert len(chosen) == min(items, count)
    assert chosen == sorted(set(chosen))
    edges = [-1, *chosen, items]
    share = items / max(1, len(chosen))
    assert all(b - a <= 2 * share + 1 for a, b in pairwise(edges))


def test_an_image_is_brought_to_size_either_way():
    """Shrinking and enlarging give contiguous RGB of the size that was asked for."""
    for width, height in ((31, 17), (999, 700)):
        image = resized(picture(320, 240), width, height)
        assert image.shape == (height, width, 3)
        assert image.dtype == np.uint8


def test_shrinking_averages():
    """Fine black and white stripes become grey, not one of both."""
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.all(np.abs(resized(stripes, 16, 16).astype(int) - 128) <= 1)


def test_the_centre_is_the_middle():
    """As much is cut off left as right, top as bottom."""
    image = np.zeros((6, 8, 3), np.uint8)
    image[1:5, 2:6] = 1
    assert centre(image, 4).all()
