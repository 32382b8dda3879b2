import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.learn.upsampled import upsampled


def _smooth() -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    coarse = cv2.resize(rng.normal(128, 40, (14, 14, 3)), (224, 224), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(coarse + rng.normal(0, 6, (224, 224, 3)), 0, 255), np.uint8)


@pytest.mark.parametrize("seed", range(6))
def test_the_content_stays(seed: int) -> None:
    """A picture of the same size that shows the same; another seed leaves other traces."""
    image = _smooth()
    made = upsampled(image, np.random.default_rng(seed))
    assert (made.shape, made.dtype) == (image.shape, image.dtype)
    soft = [cv2.GaussianBlur(picture, (0, 0), 4).astype(float) for picture in (image, made)]
    assert np.abs(soft[0] - soft[1]).mean() < 8
    np.testing.assert_array_equal(made, upsampled(image, np.random.default_rng(seed)))
    assert (made != upsampled(image, np.random.default_rng(seed + 1))).any()


def test_doubling_leaves_a_period_of_two() -> None:
    """Energy gathers at the highest frequencies of rows or columns, where a photograph's noise has no peak."""

    def peak(image: NDArray[np.uint8]) -> float:
        power = np.abs(np.fft.fft2(image.astype(float).mean(axis=2) - image.mean())) ** 2
        half = power.shape[0] // 2
        return float((power[half, 0] + power[0, half] + power[half, half]) / np.median(power[half - 20 : half]))

    image = _smooth()
    made = np.median([peak(upsampled(image, np.random.default_rng(seed))) for seed in range(12)])
    assert made > 4 * peak(image)
