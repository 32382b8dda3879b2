"""What is measured of a face in motion, on a made-up head that does what it is told."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.detect.face_motion import (
    eyes_and_head,
    iris_crops,
    light,
    lit,
    mesh_pose,
    reflections_apart,
    small_movements,
    windows_of,
)

RNG = np.random.default_rng(0)
FRAMES = 50
AT = np.arange(FRAMES) / 25


def head() -> np.ndarray:
    """A mesh of 478 points on half a sphere round (320, 240), 100 pixels in radius; eyes, lids and irises in place."""
    points = RNG.normal(0, 1, (478, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    points[:, 2] = -np.abs(points[:, 2])
    points = points * 100 + [320, 240, 0]
    for corner, x in ((33, 270), (133, 300), (362, 340), (263, 370)):
        points[corner] = [x, 220, -80]
    for upper, lower, x in ((160, 144, 280), (158, 153, 290), (385, 380, 350), (387, 373, 360)):
        points[upper], points[lower] = [x, 215, -80], [x, 225, -80]
    for iris, x in ((468, 285), (473, 355)):
        points[iris] = [x, 220, -80]
        for k, (dx, dy) in enumerate(((6, 0), (0, 6), (-6, 0), (0, -6)), start=1):
            points[iris + k] = [x + dx, 220 + dy, -80]
    points[127], points[356] = [220, 230, 0], [420, 230, 0]
    return points


def still() -> np.ndarray:
    return np.repeat(head()[None], FRAMES, axis=0)


LIDS = [(160, 144), (158, 153), (385, 380), (387, 373)]


def test_blinks_are_counted():
    """Two closures inside two seconds are sixty a minute, each as long as it was."""
    points = still()
    for start in (10, 30):
        for upper, lower in LIDS:
            points[start : start + 5, upper, 1] = points[start : start + 5, lower, 1] = 220
    found = eyes_and_head(points, AT)
    assert found["blinks_per_minute"] == pytest.approx(2 / AT[-1] * 60)
    assert found["blink_seconds"] == pytest.approx(0.2)


def test_one_eye_that_blinks_alone_is_no_blink():
    """The lids then disagree."""
    points = still()
    for upper, lower in LIDS[:2]:
        points[10:15, upper, 1] = points[10:15, lower, 1] = 220
    found = eyes_and_head(points, AT)
    assert found["blinks_per_minute"] == 0
    assert found["lids_together"] != found["lids_together"] or found["lids_together"] < 0.5


def test_a_trembling_head_is_told_from_one_that_moves():
    """Steady motion trembles little; noise on every point trembles much."""
    moving = still() + np.linspace(0, 60, FRAMES)[:, None, None] * [1, 0.2, 0]
    noisy = moving + RNG.normal(0, 1.5, moving.shape)
    calm, odd = small_movements(moving, AT, None), small_movements(noisy, AT, None)
    assert odd["stiff_tremble"] > 10 * calm["stiff_tremble"]
    assert np.isnan(odd["identity_drift"])


def test_identity_that_jumps():
    """The same direction does not drift; two that differ do."""
    same = np.repeat(np.eye(4, dtype=np.float32)[:1], 3, axis=0)
    assert small_movements(still(), AT, same)["identity_jump"] == 0
    assert small_movements(still(), AT, np.eye(4, dtype=np.float32)[:3])["identity_jump"] == 1


def test_too_short_a_track_says_nothing():
    """Fewer than twelve frames are not measured."""
    assert eyes_and_head(still()[:8], AT[:8]) == {}
    assert small_movements(still()[:8], AT[:8], None) == {}
    assert light(still()[:2], [np.zeros((480, 640, 3), np.uint8)] * 2) == {}


def test_a_turned_head_is_turned():
    """Ten degrees about the upright axis, from all points or from a few."""
    turn = np.radians(10)
    rotation = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    points = np.stack([head(), (head() - [320, 240, 0]) @ rotation.T + [320, 240, 0]])
    first = points[0]
    points[1] = (first - [320, 240, 0]) @ rotation.T + [320, 240, 0]
    found = mesh_pose(points, np.array([1, 4, 6, 33, 133, 362, 263, 61, 291, 199]))
    angle = np.degrees(np.arccos((np.trace(found[1]) - 1) / 2))
    assert angle == pytest.approx(10, abs=0.1)


def lamp(x: float) -> np.ndarray:
    """A frame that is brighter towards one side of the face."""
    ramp = np.clip(120 + x * (np.arange(640) - 320) * 0.5, 10, 245)
    return np.repeat(np.repeat(ramp[None, :, None], 480, axis=0), 3, axis=2).astype(np.uint8)


def test_the_light_comes_from_where_it_is_bright():
    """Brighter to the right: the light points right; to the left: left."""
    right, left = lit(head(), lamp(1))[0], lit(head(), lamp(-1))[0]
    assert right[0] > 0.3
    assert left[0] < -0.3


def test_light_that_jumps_turns():
    """A lamp that changes sides from frame to frame turns by much, one that stays by nothing."""
    points = still()[:4]
    steady = light(points, [lamp(1)] * 4)
    jumping = light(points, [lamp(1), lamp(-1), lamp(1), lamp(-1)])
    assert steady["light_turns"] == pytest.approx(0, abs=1e-4)  # an arc cosine near 1 knows no more than 1e-6 degrees
    assert jumping["light_turns"] > 60


def eye(x: int, y: int) -> np.ndarray:
    """An iris of 6 pixels in the middle of 24 × 24, with a bright spot."""
    image = np.full((24, 24, 3), 40, np.uint8)
    image[y : y + 2, x : x + 2] = 250
    return image


def test_reflections():
    """Alike in both eyes: near nothing; on opposite sides: about a radius; none: not measured."""
    assert reflections_apart([eye(9, 9), eye(9, 9)]) == 0
    assert reflections_apart([eye(8, 11), eye(15, 11)]) > 0.9
    assert np.isnan(reflections_apart([np.full((24, 24, 3), 40, np.uint8)] * 2))


def test_small_irises_are_not_cut_out():
    """Of eyes a few pixels wide nothing can be said; larger ones give two crops."""
    image = np.zeros((480, 640, 3), np.uint8)
    assert len(iris_crops(head(), image)) == 2
    small = head()
    small = (small - small.mean(axis=0)) * 0.3 + small.mean(axis=0)
    assert iris_crops(small, image) == []


def test_windows_of_one_person_are_averaged_over_what_could_be_measured():
    """By their lengths, without what is missing."""
    found = windows_of([{"a": 1.0, "b": np.nan}, {"a": 4.0}], [1.0, 2.0])
    assert found["a"] == 3.0
    assert np.isnan(found["b"])
