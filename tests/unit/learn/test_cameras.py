"""Another camera changes how a picture looks, and not what is in it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.learn.cameras import as_filmed


def _scene() -> NDArray[np.uint8]:
    y, x = np.mgrid[0:180, 0:140]
    ground = np.stack([120 + 60 * np.sin(x / 17), 110 + 50 * np.cos(y / 23), 90 + 40 * np.sin((x + y) / 29)], axis=2)
    return np.asarray(np.clip(ground + np.random.default_rng(0).normal(0, 4, ground.shape), 0, 255), np.uint8)


@pytest.mark.parametrize("seed", range(12))
def test_the_scene_stays_where_it_is(seed: int) -> None:
    """Same size, other numbers, and bright stays bright: brightness of large patches still goes with the original's."""
    scene = _scene()
    kept = scene.copy()
    seen = as_filmed(scene, np.random.default_rng(seed))
    assert (seen.shape, seen.dtype) == (scene.shape, np.uint8)
    assert (seen != scene).mean() > 0.5
    np.testing.assert_array_equal(scene, kept)
    before, after = (p.mean(axis=2).reshape(18, 10, 14, 10).mean(axis=(1, 3)).ravel() for p in (scene, seen))
    assert np.corrcoef(before, after)[0, 1] > 0.5


def test_a_seed_names_a_camera() -> None:
    """The same generator state gives the same picture, another one another."""
    first, again, other = (as_filmed(_scene(), np.random.default_rng(seed)) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first.astype(float) - other).mean() > 2


def test_cameras_differ_in_each_of_what_is_drawn() -> None:
    """Over many draws: exposure both ways, more and less colour, more and less detail."""
    scene = _scene().astype(float)
    seen = [as_filmed(_scene(), np.random.default_rng(seed)).astype(float) for seed in range(40)]
    light = np.array([x.mean() for x in seen]) / scene.mean()
    colour = np.array([(x.max(axis=2) - x.min(axis=2)).mean() for x in seen])
    colour /= (scene.max(axis=2) - scene.min(axis=2)).mean()
    detail = np.array([np.abs(np.diff(x.mean(axis=2), axis=1)).mean() for x in seen])
    detail /= np.abs(np.diff(scene.mean(axis=2), axis=1)).mean()
    assert light.min() < 0.85 < 1.15 < light.max()
    assert colour.min() < 0.75 < 1.2 < colour.max()
    assert detail.min() < 0.7 < 1.3 < detail.max()
