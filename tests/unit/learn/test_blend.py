import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.learn.blend import face_mask, recompress, self_blend

BOX = (80.0, 60.0, 180.0, 190.0)
MARKS = np.array([[107, 112], [153, 112], [130, 137], [111, 163], [149, 163]], np.float32)


def _frame(height: int = 256, width: int = 256) -> NDArray[np.uint8]:
    """A smooth ground with fine texture, as skin has."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width]
    ground = 120 + 40 * np.sin(x / 31) + 30 * np.cos(y / 23)
    return np.clip(ground[..., None] + rng.normal(0, 9, (height, width, 3)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("seed", range(8))
def test_the_mask_lies_on_the_face_and_nowhere_else(seed: int) -> None:
    """It covers some of the face, never reaches half a box beyond it, and has values from 0 to 1."""
    mask = face_mask((256, 256), MARKS.astype(np.float64), 130, np.random.default_rng(seed))
    assert 0 <= mask.min() <= mask.max() <= 1
    ys, xs = np.nonzero(mask > 0.01)
    x0, y0, x1, y1 = BOX
    assert x0 - 40 < xs.min() < xs.max() < x1 + 40
    assert y0 - 40 < ys.min() < ys.max() < y1 + 40
    assert mask.sum() > 0.1 * (x1 - x0) * (y1 - y0)


@pytest.mark.parametrize("seed", range(8))
def test_outside_the_mask_not_a_pixel_changes(seed: int) -> None:
    """Only blending tells the fake from the real: the rest of the frame is the same, bit for bit."""
    frame = _frame()
    blended, mask = self_blend(frame, BOX, MARKS, seed)
    assert blended.shape == frame.shape
    assert mask.shape == frame.shape[:2]
    np.testing.assert_array_equal(blended[mask == 0], frame[mask == 0])
    assert (blended[mask > 0.4] != frame[mask > 0.4]).mean() > 0.3


def test_a_seed_names_a_blend() -> None:
    """The same seed gives the same picture, another seed another; the input stays as it was."""
    frame = _frame()
    kept = frame.copy()
    first, _ = self_blend(frame, BOX, MARKS, 5)
    again, _ = self_blend(frame, BOX, MARKS, 5)
    other, _ = self_blend(frame, BOX, MARKS, 6)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    np.testing.assert_array_equal(frame, kept)


@pytest.mark.parametrize("box", [(-30.0, -20.0, 60.0, 90.0), (200.0, 190.0, 300.0, 300.0), (0.0, 0.0, 256.0, 256.0)])
def test_a_face_at_the_edge_of_the_frame_is_blended_too(box: tuple[float, float, float, float]) -> None:
    """The work window is clipped; nothing fails and nothing leaks."""
    marks = (MARKS - (80, 60)) * ((box[2] - box[0]) / 100) + box[:2]
    blended, mask = self_blend(_frame(), box, marks.astype(np.float32), 3)
    np.testing.assert_array_equal(blended[mask == 0], _frame()[mask == 0])


def test_recompressing_keeps_size_and_colour_order() -> None:
    """Through JPEG and back red is still red."""
    frame = np.zeros((40, 60, 3), np.uint8)
    frame[..., 0] = 200
    again = recompress(frame, 90)
    assert again.shape == frame.shape
    assert again[..., 0].mean() > 180
    assert again[..., 2].mean() < 20
