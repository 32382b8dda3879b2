import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.learn.patches import dilated, pointing


def _mouth() -> NDArray[np.float32]:
    cells = np.zeros((14, 14), np.float32)
    cells[8:10, 5:9] = 1
    return cells


def test_a_map_of_the_mask_itself_points_always() -> None:
    """All of the highest cells lie inside; chance is the area."""
    game = pointing([_mouth()] * 3, [_mouth()] * 3)
    assert (game.hits, game.faces) == (1.0, 3)
    assert game.chance == pytest.approx((8 + 4 + 4 + 2 + 2) / 196)
    assert game.top > 0.79


def test_a_map_that_looks_elsewhere_never_points() -> None:
    """The far corner is a miss; the mask's own strength plays no part."""
    corner = np.zeros((14, 14), np.float32)
    corner[0, 0] = 1
    faint = 0.2 * _mouth()
    assert pointing([corner], [faint]).hits == 0
    assert pointing([faint], [faint]).hits == 1


def test_a_map_that_says_nothing_scores_about_chance() -> None:
    """Noise lands in the mask as often as the mask is large."""
    rng = np.random.default_rng(0)
    maps = [rng.random((14, 14)).astype(np.float32) for _ in range(800)]
    game = pointing(maps, [_mouth()] * 800)
    assert game.hits == pytest.approx(game.chance, abs=0.04)
    assert game.top == pytest.approx(game.chance, abs=0.02)


def test_neighbours_of_the_mask_count() -> None:
    """A seam shows on both of its sides."""
    inside = dilated(_mouth()).reshape(14, 14)
    assert inside[7, 6]
    assert not inside[7, 4]
    assert not inside[6, 6]


def test_no_maps_is_an_error() -> None:
    """There is no rate of nothing."""
    with pytest.raises(ValueError, match="no maps"):
        pointing([], [])
