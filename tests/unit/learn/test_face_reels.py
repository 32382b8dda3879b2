"""What tampering with a face does to a frame and to a video, on a made-up face."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.decode.port import SAMPLE_RATE
from pipeline.detect import mesh
from pipeline.events.values import Family
from pipeline.learn import face_reels, inference
from pipeline.learn.face_reels import CHANGES, Face, Followed, Scene, blended, tampered, untouched, within
from pipeline.learn.makers import MAKERS, TWINS
from pipeline.learn.reel import Encoding, Reel, of_rgb, read_reel, split, write_reel
from pipeline.learn.scores import LOOKED_FOR_BY

EVERY = [(family, kind) for family, changes in CHANGES.items() for kind in changes]
HERE = Path()


def face(shift: float = 0.0, at: float = 1.0) -> Face:
    """An oval of 60 × 80 pixels round (160, 120), eyes 60 pixels apart with irises of 8 pixels."""
    points = np.tile([160.0 + shift, 120.0], (478, 1))
    angles = np.linspace(0, 2 * np.pi, len(mesh.OVAL), endpoint=False)
    points[list(mesh.OVAL)] = np.column_stack([160 + shift + 60 * np.sin(angles), 120 - 80 * np.cos(angles)])
    for indices, iris, x in ((mesh.LEFT_EYE, 468, 135), (mesh.RIGHT_EYE, 473, 185)):
        around = np.linspace(0, 2 * np.pi, len(indices), endpoint=False)
        points[list(indices)] = np.column_stack([x + shift + 16 * np.cos(around), 105 + 10 * np.sin(around)])
        points[iris] = [x + shift, 105]
        for k, (dx, dy) in enumerate(((8, 0), (0, 8), (-8, 0), (0, -8)), start=1):
            points[iris + k] = [x + shift + dx, 105 + dy]
    for corner, x in ((33, 130), (133, 140), (362, 180), (263, 190)):
        points[corner] = [x + shift, 105]
    points[4], points[61], points[291] = [160 + shift, 130], [145 + shift, 155], [175 + shift, 155]
    points[168], points[6], points[197] = [160 + shift, 100], [160 + shift, 110], [160 + shift, 120]
    return Face(points, at)


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(40, 200, (240, 320, 3), dtype=np.uint8)


def scene(seed: int = 0) -> Scene:
    return Scene(picture(1), face(5.0), np.random.default_rng(seed), {})


@pytest.mark.parametrize(("family", "kind"), EVERY)
def test_a_face_is_changed_and_nothing_else(family, kind):
    """Pixels inside the outline differ, those well outside are the same, and the frame that was given is left alone."""
    before = picture(0)
    kept = before.copy()
    after = CHANGES[family][kind](before, face(), scene())
    changed = (after != before).any(axis=2)
    assert changed[100:110, 128:142].any()
    assert not changed[:, :75].any()
    assert not changed[:, 245:].any()
    assert (before == kept).all()


@pytest.mark.parametrize(("family", "kind"), EVERY)
def test_the_same_seed_changes_a_face_in_the_same_way(family, kind):
    """A copy can be made again."""
    change = CHANGES[family][kind]
    assert (change(picture(0), face(), scene(3)) == change(picture(0), face(), scene(3))).all()


@pytest.mark.parametrize("kind", ["trembling_face", "warped_face"])
def test_what_is_drawn_for_each_frame_differs_between_frames(kind):
    """The face lies elsewhere in the next frame, though nothing moved."""
    change, same = CHANGES["reenactment"][kind], scene()
    assert (change(picture(0), face(), same) != change(picture(0), face(), same)).any()


def test_light_stays_where_it_was_put():
    """A face that is lit from another side is lit so in every frame."""
    same = scene()
    lit = CHANGES["lighting"]["relit_face"]
    assert (lit(picture(0), face(at=0.0), same) == lit(picture(0), face(at=2.0), same)).all()


def test_held_eyes_are_those_of_the_usual_frame():
    """In the middle of an eye stands what stood there in the frame whose eyes are kept, moved along with the face."""
    held = CHANGES["eyes_and_head"]["held_eyes"](picture(0), face(), scene())
    assert np.abs(held[104:107, 134:137].astype(int) - picture(1)[104:107, 139:142]).max() <= 1


def test_an_outline_beyond_the_frame_changes_nothing():
    """A face that has left the frame raises nothing."""
    far = np.array([[-90.0, -90.0], [-80.0, -90.0], [-85.0, -70.0]])
    assert (within(picture(0), far, 2.0, lambda crop, _: crop * 0) == picture(0)).all()
    assert untouched(picture(0), face(), scene()).shape == (240, 320, 3)


@pytest.mark.parametrize(("family", "kind"), EVERY)
def test_every_way_of_tampering_is_made_and_counted_for_its_family(family, kind):
    """`unmask evaluate --made` makes it, and the family that should see it is judged by it."""
    assert kind in MAKERS
    assert [each.value for each in LOOKED_FOR_BY[kind]] == [family]


@pytest.fixture
def video(monkeypatch) -> Reel:
    """A video with sound in which a face goes to the right; it is there from the third frame on."""
    frames = tuple(of_rgb(picture(0)) for _ in range(12))
    reel = Reel(frames, 25.0, np.zeros(SAMPLE_RATE // 2, np.float32))
    faces = {place: face(float(place), place / 25) for place in range(2, 12)}
    monkeypatch.setattr(face_reels, "_followed", lambda *_: Followed(reel, faces, 2))
    return reel


def luma(reel: Reel) -> np.ndarray:
    return np.stack([split(planes)[0] for planes in reel.frames]).astype(int)


@pytest.mark.usefixtures("video")
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("part", ["face", "mouth"])
def test_a_blended_video_differs_near_the_face_alone(part, seed):
    """Each frame with a face differs from the twin's, in the face; beside it, and before it is there, nothing does."""
    made, twin = (tampered(HERE, change, seed, HERE, HERE) for change in (blended(part), untouched))
    changed = luma(made) != luma(twin)
    assert changed[2:, 60:210, 95:235].any(axis=(1, 2)).all()
    assert not changed[:2].any()
    assert not changed[:, :, :60].any()
    assert not changed[:, :, 272:].any()


@pytest.mark.usefixtures("video")
def test_the_seed_of_a_video_is_that_of_its_blend():
    """The same copy can be made again; another seed makes another."""
    first, again, other = (luma(tampered(HERE, blended(), seed, HERE, HERE)) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_a_blend_is_the_same_from_frame_to_frame(video):
    """Colour and light shift alike in each frame, as one swap would, and not by a new draw."""
    for seed in range(4):
        made, twin = (tampered(HERE, change, seed, HERE, HERE) for change in (blended(strength=1.0), untouched))
        shifts = [
            (luma(made)[place] - luma(twin)[place])[110:140, 145 + place : 175 + place].mean() for place in range(2, 12)
        ]
        assert np.std(shifts) < 1 < len(video.frames)


def test_copies_keep_length_size_and_sound(video, tmp_path):
    """A manipulated copy and its twin are told apart by the face and by nothing else."""
    source = tmp_path / "one.mp4"
    write_reel(source, video, Encoding("libx264", {"preset": "ultrafast"}))
    for kind, make in (("face_swap_in_video", MAKERS["face_swap_in_video"]), *TWINS.items()):
        copy = make(source, tmp_path / kind, 3)
        assert copy is not None
        made = read_reel(copy, 5)
        assert made is not None
        assert (len(made.frames), made.size, made.rate) == (12, (320, 240), 25.0)
        assert made.sound is not None
        assert made.sound.size == pytest.approx(SAMPLE_RATE / 2, abs=2048)


def test_without_a_face_there_is_no_copy(monkeypatch, tmp_path):
    """Neither a manipulated one nor a twin; nor of a picture."""

    async def nobody(*_):
        return {}

    monkeypatch.setattr(inference, "InProcess", lambda *_: None)
    monkeypatch.setattr(face_reels, "_faces", nobody)
    source = tmp_path / "empty.mp4"
    write_reel(source, Reel((of_rgb(picture(0)),) * 60, 25.0), Encoding("libx264", {"preset": "ultrafast"}))
    for make in (MAKERS["face_swap_in_video"], *TWINS.values()):
        assert make(source, tmp_path / "copy", 0) is None
        assert make(tmp_path / "still.png", tmp_path / "copy", 0) is None
    assert list(tmp_path.iterdir()) == [source]


def test_a_blended_video_counts_for_face_swaps():
    """`unmask evaluate --made` judges it by the family that looks for swaps."""
    assert LOOKED_FOR_BY["face_swap_in_video"] == (Family.FACE_SWAP,)
