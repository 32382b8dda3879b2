import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.learn.blend import PART_ODDS, PARTS, Part, blend_pair, face_mask, recompress, restyle, self_blend

BOX = (80.0, 60.0, 180.0, 190.0)
MARKS = np.array([[107, 112], [153, 112], [130, 137], [111, 163], [149, 163]], np.float32)


def _frame(height: int = 256, width: int = 256) -> NDArray[np.uint8]:
    """A smooth ground with fine texture, as skin has."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width]
    ground = 120 + 40 * np.sin(x / 31) + 30 * np.cos(y / 23)
    return np.asarray(np.clip(ground[..., None] + rng.normal(0, 9, (height, width, 3)), 0, 255), np.uint8)


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


def test_training_draws_what_it_has_always_drawn() -> None:
    """Heads that ship can be trained again: the same seeds give the same pairs as when they were trained."""
    pairs = [blend_pair(_frame(), BOX, MARKS, seed) for seed in (3, 5, 9)]
    assert [pair.part for pair in pairs] == ["face", "left", "mouth"]
    means = [[pair.genuine.mean(), pair.blended.mean()] for pair in pairs]
    np.testing.assert_allclose(means, [[113.178, 112.766], [123.559, 124.449], [101.066, 101.365]], atol=0.02)
    np.testing.assert_allclose([pair.mask.sum() for pair in pairs], [3836.9, 3382.7, 1355.3], rtol=0.002)


@pytest.mark.parametrize("seed", range(12))
def test_with_noise_from_elsewhere_a_seed_blends_a_face_of_any_size_alike(seed: int) -> None:
    """Mask and colours are those of the seed, so the frames of a video in which a face grows go together."""
    frame = _frame()
    large = np.asarray(np.kron(frame, np.ones((2, 2, 1))), np.uint8)
    grain = np.random.default_rng(1)
    small, mask = self_blend(frame, BOX, MARKS, seed, grain=grain)
    x0, y0, x1, y1 = (2 * v for v in BOX)
    twice, wide = self_blend(large, (x0, y0, x1, y1), MARKS * 2, seed, grain=grain)
    assert np.abs(wide[::2, ::2] - mask).mean() < 0.01
    shifts = [(b.astype(float) - f)[m > 0.2].mean(axis=0) for b, f, m in ((small, frame, mask), (twice, large, wide))]
    np.testing.assert_allclose(shifts[0], shifts[1], atol=1.5)


def test_a_given_strength_scales_the_blend() -> None:
    """At a quarter of the strength the mask is a quarter of that at full strength, and nothing else is drawn."""
    _, full = self_blend(_frame(), BOX, MARKS, 5, strength=1.0)
    _, faint = self_blend(_frame(), BOX, MARKS, 5, strength=0.25)
    np.testing.assert_allclose(faint, full / 4, atol=1e-6)


@pytest.mark.parametrize("box", [(-30.0, -20.0, 60.0, 90.0), (200.0, 190.0, 300.0, 300.0), (0.0, 0.0, 256.0, 256.0)])
def test_a_face_at_the_edge_of_the_frame_is_blended_too(box: tuple[float, float, float, float]) -> None:
    """The work window is clipped; nothing fails and nothing leaks."""
    marks = (MARKS - (80, 60)) * ((box[2] - box[0]) / 100) + box[:2]
    blended, mask = self_blend(_frame(), box, marks.astype(np.float32), 3)
    np.testing.assert_array_equal(blended[mask == 0], _frame()[mask == 0])


@pytest.mark.parametrize("seed", range(12))
def test_a_pair_differs_inside_the_mask_alone(seed: int) -> None:
    """Whatever happened to the whole happened to both: only the blend tells the twins apart."""
    pair = blend_pair(_frame(), BOX, MARKS, seed)
    assert pair.genuine.shape == pair.blended.shape == (*pair.mask.shape, 3)
    np.testing.assert_array_equal(pair.blended[pair.mask == 0], pair.genuine[pair.mask == 0])
    assert (pair.blended != pair.genuine).any()


def test_a_large_face_is_worked_on_at_a_smaller_size() -> None:
    """Box and landmarks are led along into the window, and the window stays small."""
    frame = np.asarray(np.kron(_frame(), np.ones((8, 8, 1))), np.uint8)
    pair = blend_pair(frame, (640.0, 480.0, 1440.0, 1520.0), MARKS * 8, 1)
    assert max(pair.mask.shape) == 560
    x0, y0, x1, y1 = pair.box
    assert (x1 - x0) / (y1 - y0) == pytest.approx(800 / 1040, rel=0.02)
    assert x0 < pair.landmarks[:, 0].min() < pair.landmarks[:, 0].max() < x1
    assert y0 < pair.landmarks[:, 1].min() < pair.landmarks[:, 1].max() < y1


def _centre(part: Part) -> NDArray[np.float64]:
    masks = [face_mask((256, 256), MARKS.astype(np.float64), 130, np.random.default_rng(s), part) for s in range(6)]
    ys, xs = np.nonzero(np.mean(masks, axis=0) > 0.5)
    return np.array([xs.mean(), ys.mean()])


def test_each_part_lies_where_it_is_called() -> None:
    """Mouth and lower half below the nose, eyes and upper half above, left and right as the viewer sees them."""
    nose = MARKS[2]
    assert _centre("mouth")[1] > nose[1] + 15
    assert _centre("lower")[1] > nose[1]
    assert _centre("eyes")[1] < nose[1] - 10
    assert _centre("upper")[1] < nose[1]
    assert _centre("left")[0] < nose[0] < _centre("right")[0]
    assert np.abs(_centre("nose") - nose).max() < 12


def test_a_drawn_part_follows_the_odds() -> None:
    """One chance per part; mostly whole faces."""
    assert sum(PART_ODDS) == pytest.approx(1)
    assert len(PART_ODDS) == len(PARTS)
    parts = [blend_pair(_frame(), BOX, MARKS, seed).part for seed in range(40)]
    assert 20 <= parts.count("face") < 40


def test_restyling_keeps_what_is_seen() -> None:
    """Another look of the same picture: never the same pixels, never far from them."""
    frame = _frame()
    for seed in range(10):
        styled = restyle(frame, np.random.default_rng(seed)).astype(float)
        assert 0.5 < np.abs(styled - frame).mean() < 60


def test_recompressing_keeps_size_and_colour_order() -> None:
    """Through JPEG and back red is still red."""
    frame = np.zeros((40, 60, 3), np.uint8)
    frame[..., 0] = 200
    again = recompress(frame, 90)
    assert again.shape == frame.shape
    assert again[..., 0].mean() > 180
    assert again[..., 2].mean() < 20
    assert recompress(frame, 90, ".webp")[..., 0].mean() > 180
