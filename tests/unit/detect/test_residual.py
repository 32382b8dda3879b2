"""Noise, grids, coefficients and ghosts, on pictures whose history is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.detect import residual


def scene(seed: int = 0, side: int = 256) -> NDArray[np.uint8]:
    """Soft shapes without noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 220, (side // 32 + 2, side // 32 + 2)).astype(np.float32)
    return np.clip(cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)


def grainy(plane: NDArray[np.uint8], sigma: float, seed: int = 1) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).normal(0, sigma, plane.shape)
    return np.clip(plane + noise, 0, 255).astype(np.uint8)


def jpeg(plane: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    packed = cv2.imencode(".jpg", plane, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE), np.uint8)


@pytest.mark.parametrize("sigma", [2.0, 5.0, 9.0])
def test_the_noise_map_measures_white_noise(sigma: float) -> None:
    """Its mean is the standard deviation of white noise on a plain picture, within a tenth."""
    found = float(residual.noise_map(grainy(np.full((256, 256), 128, np.uint8), sigma)).mean())
    assert found == pytest.approx(sigma, rel=0.1)


def test_block_coefficients_keep_the_energy() -> None:
    """The transform is orthonormal: coefficients carry the energy of the pixels, and the first the block's mean."""
    plane = grainy(scene(), 4)
    found = residual.blocks(plane)
    assert found.shape == (32, 32, 64)
    assert float((found**2).sum()) == pytest.approx(float(((plane.astype(np.float64) - 128) ** 2).sum()), rel=1e-4)
    assert float(found[3, 5, 0]) / 8 + 128 == pytest.approx(float(plane[24:32, 40:48].mean()), abs=1e-2)


def test_rows_and_columns_that_fill_no_block_are_left_out() -> None:
    """A plane of 70 × 49 pixels has 8 × 6 blocks."""
    assert residual.blocks(scene()[:70, :49]).shape == (8, 6, 64)


@pytest.mark.parametrize("shift", [0, 3])
def test_the_block_grid_is_found_where_it_lies(shift: int) -> None:
    """A JPEG's grid shows at phase 7; cut off `shift` rows and columns, and it shows that much earlier."""
    phases = residual.grid_phases(jpeg(grainy(scene(), 3), 40)[shift:, shift:])
    assert int(np.argmax(phases[:8] + phases[8:])) == 7 - shift


def test_an_untouched_picture_has_no_grid() -> None:
    """Without compression no phase stands out."""
    phases = residual.grid_phases(grainy(scene(), 3))
    assert float(phases.max() - np.median(phases)) < 0.2


def test_enlarging_leaves_a_period() -> None:
    """A picture that was enlarged by a half has a stronger period than one that was not."""
    plane = grainy(scene(side=384), 6)
    small = plane[:256, :256]
    large = np.asarray(cv2.resize(small, (384, 384), interpolation=cv2.INTER_LINEAR), np.uint8)
    assert residual.interpolation(large) > residual.interpolation(plane) + 0.5


def test_a_ghost_is_weakest_at_the_quality_of_the_first_compression() -> None:
    """A picture that was once compressed at 60 changes less at 60 than at 50 and 70."""
    qualities = (50, 60, 70)
    found = residual.ghosts(residual.blocks(jpeg(grainy(scene(), 8), 60)), qualities).mean(axis=(0, 1))
    assert int(np.argmin(found)) == 1


def test_quantisation_steps_follow_the_quality() -> None:
    """At 50 they are the standard's table, at 100 all ones, and finer in between."""
    assert np.array_equal(residual.jpeg_steps(50), residual.JPEG_LUMA)
    assert residual.jpeg_steps(100).max() == 1
    assert (residual.jpeg_steps(90) <= residual.jpeg_steps(75)).all()
