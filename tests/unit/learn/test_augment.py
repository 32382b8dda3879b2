import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.learn.augment import degrade, level, screenshot, through_h264


def _crop() -> NDArray[np.uint8]:
    """Texture of every size on a red ground."""
    rng = np.random.default_rng(0)
    fine = rng.normal(0, 20, (224, 224, 3))
    coarse = cv2.resize(rng.normal(0, 40, (9, 9, 3)), (224, 224), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(np.array([170, 120, 90]) + fine + coarse, 0, 255), np.uint8)


@pytest.mark.parametrize("seed", range(24))
def test_degrading_keeps_size_and_content_and_loses_detail(seed: int) -> None:
    """Whatever the route, the crop stays a crop of the same face, and never gains sharpness beyond what it had."""
    crop = _crop()
    worse = degrade(crop, np.random.default_rng(seed))
    assert (worse.shape, worse.dtype) == (crop.shape, crop.dtype)
    assert np.abs(worse.reshape(-1, 3).mean(0) - crop.reshape(-1, 3).mean(0)).max() < 12
    soft = [cv2.GaussianBlur(image, (0, 0), 6).astype(float).ravel() for image in (crop, worse)]
    assert np.corrcoef(*soft)[0, 1] > 0.9


def test_the_same_draw_does_the_same_to_any_crop() -> None:
    """A face and its twin go one way: what is random depends on the generator alone."""
    crop = _crop()
    for seed in range(12):
        first, again = (degrade(crop, np.random.default_rng(seed)) for _ in range(2))
        np.testing.assert_array_equal(first, again)
        one, other = np.random.default_rng(seed), np.random.default_rng(seed)
        degrade(crop, one)
        degrade(255 - crop, other)
        assert one.random() == other.random()


def test_levelling_brings_all_crops_to_one_kind() -> None:
    """The result has the crop's size, and fine detail that no 96–224 pixels can hold is gone from it."""
    crop = np.random.default_rng(0).integers(0, 256, (224, 224, 3)).astype(np.uint8)
    levelled = [level(crop, np.random.default_rng(seed)) for seed in range(4)]
    assert all(image.shape == crop.shape for image in levelled)
    assert all(
        np.diff(image.astype(float), axis=1).std() < np.diff(crop.astype(float), axis=1).std() for image in levelled
    )


def test_a_higher_rate_factor_costs_more_of_the_picture() -> None:
    """H.264 at CRF 36 is further from the original than at 18; odd sizes come back as they went in."""
    crop = np.ascontiguousarray(_crop()[:161, :161])
    near, far = (through_h264(crop, crf, np.random.default_rng(3)) for crf in (18, 36))
    assert near.shape == far.shape == crop.shape
    assert np.abs(near.astype(float) - crop).mean() < np.abs(far.astype(float) - crop).mean() < 40


def test_a_screenshot_is_of_another_size() -> None:
    """Shown scaled, then kept as shown."""
    assert screenshot(_crop(), np.random.default_rng(0)).shape != _crop().shape
