import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.learn.manifest import Picture
from pipeline.learn.patches import GENUINE_INNER, GENUINE_RING, INSIDE, some_patches
from pipeline.learn.samples import Kind, Sample, crops_of

BOX = (80.0, 60.0, 180.0, 190.0)
MARKS = np.array([[107, 112], [153, 112], [130, 137], [111, 163], [149, 163]], np.float32)
PICTURE = Picture("a.jpg", False, "real", "a/x", "train")


def _frame() -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:256, 0:256]
    ground = 120 + 40 * np.sin(x / 31) + 30 * np.cos(y / 23)
    return np.asarray(np.clip(ground[..., None] + rng.normal(0, 9, (256, 256, 3)), 0, 255), np.uint8)


@pytest.mark.parametrize("kind", ["plain", "levelled", "degraded"])
def test_one_crop_of_each_other_kind(kind: Kind) -> None:
    """A crop for the encoder, and nothing blended."""
    (crop,) = crops_of(Sample(PICTURE, kind), _frame(), BOX, MARKS, 0)
    assert (crop.image.shape, crop.cells, crop.part) == ((224, 224, 3), None, None)


@pytest.mark.parametrize("part", ["face", "mouth", "eyes"])
def test_twins_differ_where_the_cells_say(part: str) -> None:
    """The mask is led through crop and mirror to the encoder's patches."""
    for copy in range(6):
        genuine, blended = crops_of(Sample(PICTURE, "pair", copy, part), _frame(), BOX, MARKS, 0)  # type: ignore[arg-type]
        assert genuine.cells is None
        assert blended.cells is not None
        apart = np.abs(genuine.image.astype(float) - blended.image).mean(axis=2)
        by_patch = apart.reshape(14, 16, 14, 16).mean(axis=(1, 3))
        inside, outside = blended.cells > 0.5 * blended.cells.max(), blended.cells < 0.01
        assert by_patch[inside].mean() > 1.5 * by_patch[outside].mean()


def test_another_camera_sees_both_twins() -> None:
    """A filmed pair differs from the plain one in its genuine twin as well, and its twins by the blend alone."""
    plain, filmed = (crops_of(Sample(PICTURE, kind, 3, "face"), _frame(), BOX, MARKS, 0) for kind in ("pair", "filmed"))
    assert np.abs(plain[0].image.astype(float) - filmed[0].image).mean() > 3
    genuine, blended = filmed
    assert genuine.cells is None
    assert blended.cells is not None
    assert blended.part == "face"
    apart = np.abs(genuine.image.astype(float) - blended.image).mean(axis=2).reshape(14, 16, 14, 16).mean(axis=(1, 3))
    assert apart[blended.cells > 0.5].mean() > 1.5 * apart[blended.cells < 0.01].mean()


def test_every_copy_is_another_draw_and_every_key_another_sample() -> None:
    """The same sample and seed give the same crops; copies, parts and seeds differ."""
    draws = [Sample(PICTURE, "pair", 0), Sample(PICTURE, "pair", 1), Sample(PICTURE, "pair", 0, "mouth")]
    assert len({sample.key for sample in draws}) == 3
    images = [crops_of(sample, _frame(), BOX, MARKS, 0)[1].image for sample in (*draws, draws[0])]
    np.testing.assert_array_equal(images[0], images[3])
    assert (images[0] != images[1]).any()
    assert (crops_of(draws[0], _frame(), BOX, MARKS, 1)[1].image != images[0]).any()


def test_patches_are_taken_from_both_sides_of_a_mask() -> None:
    """Inside and well outside of a blended face; only outside ones of a genuine face; none of a faint mask."""
    rng = np.random.default_rng(0)
    cells = np.zeros((14, 14), np.float32)
    cells[4:9, 4:9], cells[3, 4:9] = 1, 0.3
    at, inside = some_patches(cells, rng)
    assert inside.sum() == INSIDE
    assert (cells.ravel()[at[inside]] == 1).all()
    assert (cells.ravel()[at[~inside]] == 0).all()
    assert len(set(at)) == len(at)
    at, inside = some_patches(None, rng)
    assert len(at) == GENUINE_INNER + GENUINE_RING
    assert not inside.any()
    assert len(some_patches(cells * 0.1, rng)[0]) == 0
