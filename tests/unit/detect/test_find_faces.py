"""Faces, frames and tracks."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from pipeline.detect.find_faces import FindFaces, joined, overlap, tracks
from pipeline.detect.port import Face, ReportStatus
from pipeline.errors import Reason, Stage, Transient
from pipeline.events.values import Box
from pipeline.testing import FakeInfer, Hang, clip_of, faces_at, no_faces, picture

DOWN = Transient(Stage.DETECT, Reason.INFERENCE_UNAVAILABLE, "down")


async def find(clip, infer, seconds=30.0, **options):
    return await FindFaces(**options)(clip, infer, until=asyncio.get_running_loop().time() + seconds)


def box(x0, y0, x1, y1):
    return Box(x0=x0, y0=y0, x1=x1, y1=y1)


def face(frame, x0, y0=0.1, side=0.2):
    return Face(frame, float(frame), box(x0, y0, x0 + side, y0 + side), (), 0.9)


async def test_boxes_are_shares_of_the_frame_whatever_it_was_shrunk_to():
    """A frame of 1280 × 960 is looked at in half size; the box is told in shares."""
    infer = FakeInfer({"face_detector": faces_at((100, 80, 200, 240))})
    found = await find(clip_of(picture(1280, 960)), infer)
    (only,) = found.faces
    assert infer.calls[0][1]["image"].shape == (1, 480, 640, 3)
    assert only.box.x0 == pytest.approx(100 / 640, abs=1e-4)
    assert only.box.x1 == pytest.approx(200 / 640, abs=1e-4)
    assert only.box.y0 == pytest.approx(80 / 480, abs=1e-4)
    assert only.box.y1 == pytest.approx(240 / 480, abs=1e-4)
    left_eye, right_eye, nose, *_ = only.landmarks
    assert left_eye[0] < nose[0] < right_eye[0]
    assert only.score == pytest.approx(0.9)


async def test_a_box_over_the_edge_ends_at_the_edge():
    """A face half outside the frame has a box inside it."""
    infer = FakeInfer({"face_detector": faces_at((-60, 100, 80, 300))})
    (only,) = (await find(clip_of(picture()), infer)).faces
    assert (only.box.x0, only.box.y1) == (0.0, 1.0)


async def test_only_so_many_frames_are_asked_about():
    """A long clip costs no more than the budget, spread over all of it."""
    infer = FakeInfer({"face_detector": faces_at((10, 10, 90, 90))})
    found = await find(clip_of(*[picture(seed=i) for i in range(20)]), infer, frames=4, at_once=2)
    assert infer.asked("face_detector") == 4
    assert infer.most_at_once <= 2
    assert [f.frame for f in found.faces] == [2, 7, 12, 17]
    assert {f.track for f in found.faces} == {0}


@pytest.mark.parametrize(("frames", "every", "looks"), [(24, 1.25, 8), (24, 0.5, 6), (3, 10.0, 3), (24, 60.0, 24)])
async def test_a_short_clip_needs_fewer_looks(frames, every, looks):
    """One look every four seconds, at least six, at most what is there."""
    infer = FakeInfer({"face_detector": faces_at((10, 10, 90, 90))})
    found = await find(clip_of(*[picture(seed=i) for i in range(frames)], every=every), infer)
    assert infer.asked("face_detector") == looks == len(found.faces)


async def test_a_frame_without_a_face_is_looked_at_once_more_in_small():
    """A face that fills the frame is found at the second, smaller look."""
    infer = FakeInfer({"face_detector": [no_faces, faces_at((20, 20, 230, 180))]})
    found = await find(clip_of(picture(640, 480)), infer)
    assert [call["image"].shape for _, call in infer.calls] == [(1, 480, 640, 3), (1, 192, 256, 3)]
    assert len(found.faces) == 1


async def test_a_small_picture_is_looked_at_once():
    """Where the second look would be no smaller there is none."""
    infer = FakeInfer()
    assert (await find(clip_of(picture(200, 100)), infer)).faces == ()
    assert infer.asked("face_detector") == 1


async def test_without_frames_there_are_no_faces():
    """Sound alone: nothing is asked, nothing is missing."""
    infer = FakeInfer()
    found = await find(clip_of(), infer)
    assert (found.faces, found.coverage, found.status) == ((), 1.0, ReportStatus.OK)
    assert infer.calls == []


async def test_a_detector_that_is_down_has_not_found_no_faces():
    """Nothing answered: it is unknown whether there are faces."""
    found = await find(clip_of(picture()), FakeInfer({"face_detector": DOWN}))
    assert found.faces is None
    assert (found.status, found.coverage) == (ReportStatus.FAILED, 0.0)
    assert "inference_unavailable: down" in found.detail


async def test_a_detector_that_hangs_is_late():
    """The deadline passed before an answer came."""
    found = await find(clip_of(picture()), FakeInfer({"face_detector": Hang()}), seconds=0.2)
    assert found.faces is None
    assert found.status is ReportStatus.LATE


async def test_faces_of_the_frames_that_were_answered_count():
    """One frame of two answered, with a face: the face is there, the coverage says half."""
    infer = FakeInfer({"face_detector": [faces_at((10, 10, 90, 90)), DOWN]})
    found = await find(clip_of(picture(), picture(seed=1)), infer, at_once=1)
    assert len(found.faces) == 1
    assert found.coverage == 0.5


async def test_no_face_in_half_the_frames_is_no_answer():
    """One frame of two answered, without a face: the face may be in the other."""
    infer = FakeInfer({"face_detector": [no_faces, DOWN]})
    found = await find(clip_of(picture(200, 100), picture(200, 100)), infer, at_once=1)
    assert found.faces is None
    assert found.status is ReportStatus.FAILED


def test_overlapping_faces_of_consecutive_frames_are_one_track():
    """Two people who move a little keep their numbers, whatever the order of their boxes."""
    first = [face(0, 0.1), face(0, 0.6)]
    second = [face(1, 0.62), face(1, 0.12)]
    assert [f.track for f in tracks([first, second], 0.3)] == [0, 1, 1, 0]


def test_a_face_elsewhere_or_after_a_pause_is_a_new_track():
    """A jump and a frame without the face each begin a track."""
    assert [f.track for f in tracks([[face(0, 0.1)], [face(1, 0.7)]], 0.3)] == [0, 1]
    assert [f.track for f in tracks([[face(0, 0.1)], [], [face(2, 0.1)]], 0.3)] == [0, 1]


def test_one_face_is_never_joined_to_two():
    """Of two boxes over one former face the better one continues it."""
    split = [face(1, 0.15), face(1, 0.11)]
    assert [f.track for f in tracks([[face(0, 0.1)], split], 0.3)] == [0, 1, 0]


def test_overlap_is_a_share():
    """1 for the same box, 0 apart, 1/3 for halves that overlap."""
    a = box(0, 0, 0.5, 0.5)
    assert overlap(a, a) == pytest.approx(1)
    assert overlap(a, box(0.5, 0.5, 1, 1)) == 0
    assert overlap(a, box(0.25, 0, 0.75, 0.5)) == pytest.approx(1 / 3)


@pytest.mark.parametrize("options", [{"frames": 0}, {"longest": 8}, {"again": 8}, {"at_once": 0}, {"min_score": 1.0}])
def test_options_that_cannot_work_are_refused(options):
    """A nonsensical option is an error when the registry is made, not on the first upload."""
    with pytest.raises(ValueError, match=r"must be|shares"):
        FindFaces(**options)


def test_tracks_change_nothing_but_the_number():
    """Everything else that was found stays as it is."""
    given = face(0, 0.1)
    assert tracks([[given]], 0.3) == (replace(given, track=0),)


def unit(*numbers):
    vector = np.zeros(256, np.float32)
    vector[: len(numbers)] = numbers
    return vector / np.linalg.norm(vector)


def test_tracks_of_one_person_are_joined():
    """Two tracks that look alike and never meet are one; a third that does not look alike stays."""
    faces = tracks([[face(0, 0.1)], [face(1, 0.6)], [face(2, 0.1, 0.6)]], 0.3)
    found, known = joined(faces, {0: unit(1), 1: unit(1, 0.2), 2: unit(0, 1)}, 0.5)
    assert [f.track for f in found] == [0, 0, 2]
    assert set(known) == {0, 2}
    assert np.linalg.norm(known[0]) == pytest.approx(1)


def test_who_appears_together_is_two_people():
    """Twins in one frame are two, and whoever is one of them is not the other."""
    faces = tracks([[face(0, 0.1), face(0, 0.6)], [face(1, 0.3, 0.6)]], 0.3)
    found, _ = joined(faces, {0: unit(1), 1: unit(1), 2: unit(1)}, 0.5)
    assert [f.track for f in found] == [0, 1, 0]


def test_tracks_that_were_not_compared_stay_as_they_are():
    """Without likenesses overlap has the only word."""
    faces = tracks([[face(0, 0.1)], [face(1, 0.6)]], 0.3)
    assert joined(faces, {}, 0.5) == (faces, {})


async def test_faces_of_a_video_are_compared_and_of_a_still_not():
    """One embedding per track, of its largest face; a photograph costs none."""
    infer = FakeInfer({"face_detector": faces_at((40, 40, 200, 200))})
    found = await find(clip_of(*[picture(seed=i) for i in range(3)]), infer)
    assert [tensors["face"].shape[0] for name, tensors in infer.calls if name == "face_embedding"] == [1]
    assert set(found.known) == {0}
    still = FakeInfer({"face_detector": faces_at((40, 40, 200, 200))})
    assert (await find(clip_of(picture()), still)).known == {}
    assert still.asked("face_embedding") == 0


async def test_without_likenesses_faces_are_found_all_the_same():
    """The embedding model's trouble costs no face."""
    infer = FakeInfer({"face_detector": faces_at((40, 40, 200, 200)), "face_embedding": DOWN})
    found = await find(clip_of(picture(), picture(seed=1)), infer)
    assert (len(found.faces), found.known, found.coverage, found.status) == (2, {}, 1.0, ReportStatus.OK)


async def test_frames_of_a_video_are_looked_at_smaller():
    """A still at 640 pixels, frames of a video at 448."""
    for images, wide in (([picture(1280, 960)], 640), ([picture(1280, 960)] * 2, 448)):
        infer = FakeInfer({"face_detector": faces_at((40, 40, 200, 200))})
        await find(clip_of(*images), infer)
        assert infer.calls[0][1]["image"].shape[2] == wide
