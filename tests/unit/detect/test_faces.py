from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.detect.faces import FACE_MARGIN, Detections, Letterbox, crop_face, decode_centerface, letterbox


@pytest.mark.parametrize(("height", "width"), [(1080, 1920), (1920, 1080), (640, 640), (33, 500), (1, 1), (4000, 3)])
def test_a_letterboxed_frame_has_sides_of_multiples_of_32_and_the_same_proportions(height: int, width: int) -> None:
    """The detector's graph needs the one, its boxes the other."""
    boxed = letterbox(np.full((height, width, 3), 200, np.uint8), 640)
    tall, wide = boxed.image.shape[:2]
    assert tall % 32 == wide % 32 == 0
    assert max(tall, wide) <= 640
    filled_h, filled_w = int((boxed.image[:, 0, 0] > 0).sum()), int((boxed.image[0, :, 0] > 0).sum())
    assert filled_h == max(1, round(height * boxed.scale))
    assert filled_w == max(1, round(width * boxed.scale))


def test_a_small_frame_is_not_enlarged() -> None:
    """Enlarging costs time and shows nothing new."""
    frame = np.random.default_rng(0).integers(1, 256, (50, 70, 3)).astype(np.uint8)
    boxed = letterbox(frame, 640)
    assert boxed.scale == 1
    np.testing.assert_array_equal(boxed.image[:50, :70], frame)
    assert not boxed.image[50:].any()


def test_a_peak_becomes_a_box_with_landmarks_in_pixels_of_the_frame() -> None:
    """One cell at row 5, column 7, of a frame that was halved: everything is doubled back."""
    maps = _maps(16, 24)
    _put(maps, 5, 7, score=0.9, height=20, width=12, dy=0.25, dx=-0.25)
    found = _decode(maps, _boxed(128, 192, scale=0.5))
    top, left = (5 + 0.25 + 0.5) * 4 - 10, (7 - 0.25 + 0.5) * 4 - 6
    assert found.boxes[0] == pytest.approx(np.array([left, top, left + 12, top + 20]) * 2, abs=1e-3)
    assert found.scores[0] == pytest.approx(0.9)
    assert found.landmarks[0] == pytest.approx(
        np.array([[left + 12 * x, top + 20 * y] for x, y in _MARKS]) * 2, abs=1e-3
    )


def test_of_two_boxes_on_one_face_the_better_stays() -> None:
    """Neighbouring cells fire on one face; it is counted once."""
    maps = _maps(16, 16)
    _put(maps, 5, 5, score=0.7, height=20, width=20)
    _put(maps, 5, 6, score=0.8, height=20, width=20)
    _put(maps, 12, 12, score=0.6, height=8, width=8)
    found = _decode(maps, _boxed(64, 64))
    assert found.scores == pytest.approx([0.8, 0.6])


def test_nothing_above_the_threshold_gives_empty_arrays_of_the_right_shape() -> None:
    """Callers need no special case for a frame without faces."""
    found = _decode(_maps(8, 8), _boxed(32, 32))
    assert (found.boxes.shape, found.scores.shape, found.landmarks.shape) == ((0, 4), (0,), (0, 5, 2))


def test_boxes_are_clipped_to_the_frame_and_those_in_the_padding_dropped() -> None:
    """A face at the edge keeps what is visible; the black border holds no faces."""
    maps = _maps(16, 16)
    _put(maps, 0, 0, score=0.9, height=24, width=24)
    _put(maps, 15, 15, score=0.9, height=4, width=4)
    found = _decode(maps, _boxed(40, 40))
    assert len(found.boxes) == 1
    assert found.boxes[0] == pytest.approx([0, 0, 14, 14])


def test_a_crop_is_centred_on_the_box_and_as_wide_as_the_margin_says() -> None:
    """A white square of the size of the crop's footprint fills it; one pixel wider it would show an edge."""
    frame = np.zeros((400, 400, 3), np.uint8)
    side = 100 * FACE_MARGIN
    low, high = round(200 - side / 2) + 1, round(200 + side / 2) - 1
    frame[low:high, low:high] = 255
    crop = crop_face(frame, (150, 150, 250, 250))
    assert crop.shape == (224, 224, 3)
    assert (crop[6:-6, 6:-6] == 255).all()
    assert crop[0].mean() < 200
    assert crop[:, -1].mean() < 200


def test_a_tall_box_gives_a_square_crop_by_its_longer_side() -> None:
    """Faces are not squeezed: a circle stays a circle."""
    frame = np.zeros((300, 300, 3), np.uint8)
    cv2.circle(frame, (150, 150), 30, (255, 255, 255), -1)
    crop = crop_face(frame, (130, 100, 170, 200), size=135)
    ys, xs = np.nonzero(crop[..., 0] > 127)
    assert abs((ys.max() - ys.min()) - (xs.max() - xs.min())) <= 1
    assert xs.max() - xs.min() == pytest.approx(60, abs=2)


def test_landmarks_turn_the_crop_until_the_eyes_are_level() -> None:
    """A face tilted by 30 degrees comes out upright."""
    frame = np.zeros((300, 300, 3), np.uint8)
    eyes = np.array([[150 - 26, 150 - 15], [150 + 26, 150 + 15]])
    for x, y in eyes:
        cv2.circle(frame, (int(x), int(y)), 6, (255, 255, 255), -1)
    marks = np.array([*eyes, [150, 160], [140, 180], [160, 180]], np.float32)
    crop = crop_face(frame, (100, 100, 200, 200), marks)
    ys, xs = np.nonzero(crop[..., 0] > 127)
    left, right = ys[xs < 112].mean(), ys[xs >= 112].mean()
    assert left == pytest.approx(right, abs=1.0)
    assert left == pytest.approx(112, abs=2)


def test_a_crop_beyond_the_frame_repeats_the_edge() -> None:
    """A face at the border must not come with a black bar, which no training face has."""
    frame = np.full((100, 100, 3), 90, np.uint8)
    assert (crop_face(frame, (-20, -20, 40, 40)) == 90).all()


def test_shrinking_averages() -> None:
    """Fine stripes become grey, not coarse stripes: an alias would look like a forgery's trace."""
    frame = np.zeros((2000, 2000, 3), np.uint8)
    frame[:, ::2] = 255
    crop = crop_face(frame, (400, 400, 1600, 1600))
    assert crop.std() < 15
    assert crop.mean() == pytest.approx(127.5, abs=3)


_MARKS = ((0.3, 0.35), (0.7, 0.35), (0.5, 0.55), (0.35, 0.75), (0.65, 0.75))


def _boxed(height: int, width: int, scale: float = 1.0) -> Letterbox:
    return Letterbox(np.zeros((32, 32, 3), np.uint8), scale, (height, width))


def _maps(rows: int, cols: int) -> list[Any]:
    return [np.zeros((channels, rows, cols), np.float32) for channels in (1, 2, 2, 10)]


def _put(
    maps: list[Any], row: int, col: int, *, score: float, height: float, width: float, dy: float = 0, dx: float = 0
) -> None:
    heatmap, scale, offset, landmarks = maps
    heatmap[0, row, col] = score
    scale[:, row, col] = np.log(height / 4), np.log(width / 4)
    offset[:, row, col] = dy, dx
    landmarks[:, row, col] = [value for x, y in _MARKS for value in (y, x)]


def _decode(maps: list[Any], boxed: Letterbox) -> Detections:
    heatmap, scale, offset, landmarks = maps
    return decode_centerface(heatmap, scale, offset, landmarks, boxed)
