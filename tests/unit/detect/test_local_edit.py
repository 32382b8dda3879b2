"""Pictures with and without a part of another history."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.decode.port import Clip, Keyframe
from pipeline.detect import local_edit
from pipeline.detect.local_edit import CELL_MEASURES, CELL_NAMES, LocalEdit, cell_measures, cell_table, native_box
from pipeline.detect.port import Score, View
from pipeline.events.values import Box, Family
from pipeline.testing import clip_of

SIDE = 384


def photo(seed: int = 0, side: int = SIDE) -> NDArray[np.uint8]:
    """Soft shapes with even grain, as a camera writes them."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(50, 200, (side // 24, side // 24, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    return jpeg(np.clip(smooth + rng.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8), 95)


def jpeg(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)


def smoothed_part(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same with a softened square, from (96, 160) to (224, 288)."""
    edited = image.copy()
    edited[160:288, 96:224] = cv2.GaussianBlur(image, (0, 0), 1.5)[160:288, 96:224]
    return edited


def still(image: NDArray[np.uint8], rotation: int = 0) -> Clip:
    """A clip of one picture; the unscaled brightness is turned back by `rotation`, as it would have been coded."""
    clip = clip_of(image)
    coded = np.rot90(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), rotation // 90)
    frame = replace(clip.keyframes[0], native=np.ascontiguousarray(coded))
    return replace(clip, keyframes=(frame,), facts=replace_facts(clip, rotation))


def replace_facts(clip: Clip, rotation: int):
    """The facts with another rotation."""
    return type(clip.facts)(
        kind=clip.facts.kind,
        container="jpeg",
        width=clip.facts.width,
        height=clip.facts.height,
        rotation=rotation,
    )


def judge(clip: Clip) -> Score:
    (probe,) = LocalEdit().prepare(View(clip))
    (score,) = LocalEdit().interpret(probe, probe.tensors)
    return score


def overlap(box: Box, x0: float, y0: float, x1: float, y1: float) -> float:
    wide, high = min(box.x1, x1) - max(box.x0, x0), min(box.y1, y1) - max(box.y0, y0)
    shared = max(0.0, wide) * max(0.0, high)
    return shared / ((box.x1 - box.x0) * (box.y1 - box.y0) + (x1 - x0) * (y1 - y0) - shared)


def test_a_softened_part_scores_higher_and_is_pointed_at():
    """An untouched picture scores lower; box and map lie on the part, and the note speaks of it."""
    plain, edited = judge(still(jpeg(photo(), 90))), judge(still(jpeg(smoothed_part(photo()), 90)))
    assert edited.family is Family.LOCAL_EDIT
    assert edited.value > plain.value
    assert edited.box is not None
    assert overlap(edited.box, 96 / SIDE, 160 / SIDE, 224 / SIDE, 288 / SIDE) > 0.5
    assert edited.heat is not None
    cells = np.frombuffer(edited.heat.cells, np.uint8).reshape(edited.heat.rows, edited.heat.cols)
    assert cells[11:17, 7:13].mean() > 2 * cells.mean()
    assert "the rest" in edited.note


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_turned_picture_is_pointed_at_as_it_is_shown(rotation: int):
    """The coded brightness lies on its side; box and map are those of the upright picture."""
    score = judge(still(jpeg(smoothed_part(photo()), 90), rotation))
    assert score.box is not None
    assert overlap(score.box, 96 / SIDE, 160 / SIDE, 224 / SIDE, 288 / SIDE) > 0.5


def test_the_same_picture_gets_the_same_answer():
    """Nothing is left to chance."""
    clip = still(smoothed_part(photo(3)))
    assert judge(clip) == judge(clip)


def test_a_small_picture_is_not_due():
    """Too few cells to compare: nobody would expect an answer, and the reason is given."""
    (probe,) = LocalEdit().prepare(View(still(photo(side=120))))
    assert probe.skipped
    assert not probe.due


def test_a_clip_without_unscaled_frames_is_not_applicable():
    """Nothing to look at is nothing asked."""
    assert LocalEdit().prepare(View(clip_of(photo()))) == []
    assert LocalEdit().prepare(View(clip_of())) == []


def test_a_few_frames_of_a_video_are_looked_at():
    """As many as the option says, over the whole."""
    clip = clip_of(*[photo(i) for i in range(6)])
    frames = tuple(replace(f, native=cv2.cvtColor(f.image, cv2.COLOR_RGB2GRAY)) for f in clip.keyframes)
    assert [p.at for p in LocalEdit(frames=2).prepare(View(replace(clip, keyframes=frames)))] == [2.0, 8.0]


def test_texture_alone_explains_itself():
    """A picture whose one half is busy deviates no more there than in the plain half."""
    image = photo()
    stripes = (20 * np.sin(np.arange(SIDE) / 3)).astype(np.int16)[None, : SIDE // 2, None]
    image[:, : SIDE // 2] = np.clip(image[:, : SIDE // 2] + stripes, 0, 255).astype(np.uint8)
    table = cell_table(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), image)
    noise = table[..., CELL_NAMES.index("noise_flat")]
    assert abs(float(np.median(noise[:, :12]) - np.median(noise[:, 12:]))) < 2.0


@pytest.mark.parametrize("side", [161, 333, 768])
def test_cells_cover_the_picture(side: int):
    """At most 32 × 32 of them, all measures finite, for any size."""
    image = photo(side=side)
    raw, texture, level = cell_measures(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), image)
    assert raw.shape == (*texture.shape, len(CELL_MEASURES))
    assert level.shape == texture.shape
    assert max(texture.shape) <= 32
    assert np.isfinite(raw).all()


def test_a_plain_picture_does_no_harm():
    """Black all over: a score in range."""
    assert 0 <= judge(still(np.zeros((SIDE, SIDE, 3), np.uint8))).value <= 1


def test_the_map_lies_on_the_middle_of_a_large_picture():
    """Of 1536 × 1024 pixels the middle 768² are unscaled: half the width and three quarters of the height."""
    frame = Keyframe(0, 0.0, photo(), native=np.zeros((768, 768), np.uint8))
    facts = type(clip_of().facts)(kind=clip_of(photo()).facts.kind, container="jpeg", width=1536, height=1024)
    assert native_box(frame, facts) == Box(x0=0.25, y0=0.125, x1=0.75, y1=0.875)


def test_versions_change_with_the_heads():
    """Both digests are part of the version."""
    digests = [local_edit.read_head(name).digest for name in ("local_edit", "local_edit_cells")]
    assert all(digest in LocalEdit().version for digest in digests)
