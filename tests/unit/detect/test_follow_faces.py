"""Faces, frame after frame."""

import asyncio

import numpy as np
import pytest

from pipeline.decode.port import Span
from pipeline.detect.find_faces import FindFaces
from pipeline.detect.follow_faces import FollowFaces, between, runs
from pipeline.detect.port import Face, MeshedFace, ReportStatus
from pipeline.errors import Reason, Stage, Transient
from pipeline.events.values import Box
from pipeline.testing import FakeInfer, Hang, faces_at, meshed, no_faces, picture, windows_of

DOWN = Transient(Stage.DETECT, Reason.INFERENCE_UNAVAILABLE, "down")
ONE = faces_at((80, 60, 240, 220))
TWO = faces_at((10, 60, 130, 200), (180, 60, 300, 200))
DAWN, DUSK = 5.0, 6.7
SPAN = Span(6.0, 8.0, 12.5, "a test")


def in_the_light(model, tensors):
    """A face where it is not dark."""
    return (ONE if tensors["image"].any() else no_faces)(model, tensors)


def film(at):
    """Dark for five seconds, then a picture."""
    return picture(320, 240, seed=int(at)) if at >= DAWN else np.zeros((240, 320, 3), np.uint8)


def evening(at):
    """A picture in the first third of `SPAN`, then dark."""
    return picture(320, 240, seed=int(at)) if at < DUSK else np.zeros((240, 320, 3), np.uint8)


def likeness(*persons):
    return {person: np.eye(256, dtype=np.float32)[person] for person in persons}


def looks_like(person):
    return lambda model, tensors: {"embedding": np.tile(likeness(person)[person], (len(tensors["face"]), 1))}


async def follow(infer, *spans, known=(), persons=None, seconds=30.0, shown=film, **options):
    windows = windows_of(shown, spans or [SPAN], 7)
    until = asyncio.get_running_loop().time() + seconds
    return await FollowFaces(**options)(windows, FindFaces(), known, persons or {}, infer, until=until)


def answers(faces=ONE, mesh=None, embedding=None):
    found = {"face_detector": faces, "face_mesh": mesh or meshed()}
    return FakeInfer(found | ({"face_embedding": embedding} if embedding else {}))


async def test_a_face_is_followed_through_every_frame():
    """25 frames, one track, each face at its frame's moment and inside the frame."""
    found = await follow(answers())
    (track,) = found.tracks
    assert [face.frame for face in track.faces] == list(range(7, 32))
    assert [face.at for face in track.faces][:2] == pytest.approx([6.0, 6.08])
    assert all(face.points.shape == (478, 3) and face.presence > 0.9 for face in track.faces)
    assert (found.status, found.coverage, track.window, track.person) == (ReportStatus.OK, 1.0, 0, None)


async def test_frames_are_asked_about_in_batches():
    """Anchors one by one, all other frames sixteen in a request, and no more under way than allowed."""
    infer = answers()
    await follow(infer, at_once=2)
    sizes = [len(tensors["face"]) for name, tensors in infer.calls if name == "face_mesh"]
    assert sizes.count(1) == 6
    assert sorted(sizes)[-2:] == [9, 16]
    assert infer.most_at_once <= 2


async def test_two_faces_are_two_tracks():
    """Side by side, for the whole window."""
    found = await follow(answers(TWO))
    assert [len(track.faces) for track in found.tracks] == [25, 25]
    left, right = (track.faces[0].box for track in found.tracks)
    assert left.x1 < right.x0 or right.x1 < left.x0


async def test_only_the_largest_faces_are_followed():
    """One of two when there is room for one; none that is too small."""
    (only,) = (await follow(answers(faces_at((10, 60, 130, 200), (180, 60, 240, 120))), faces=1)).tracks
    assert only.faces[0].box.x1 < 0.5
    assert (await follow(answers(faces_at((10, 10, 40, 40))))).tracks == ()


async def test_a_window_without_a_face_has_no_track():
    """That nobody is there is an answer."""
    found = await follow(answers(no_faces))
    assert (found.tracks, found.status, found.coverage) == ((), ReportStatus.OK, 1.0)


async def test_a_face_that_comes_in_later_gets_a_track():
    """The detector looks again after a while."""
    found = await follow(answers(in_the_light), Span(4.5, 6.5, 12.5, "dawn"), again=0.8)
    (track,) = found.tracks
    assert DAWN <= track.faces[0].at < DAWN + 0.8
    assert track.faces[-1].frame == 31


async def test_a_face_that_is_lost_is_looked_for_and_found_again():
    """When the mesh falls, the detector looks at that frame and the track goes on."""
    infer = answers(mesh=[meshed(), meshed(), meshed(0.1), meshed()])
    found = await follow(infer)
    assert [len(track.faces) for track in found.tracks] == [25]
    assert infer.asked("face_detector") == 3  # at both ends, and where it was lost


async def test_a_track_ends_with_its_face():
    """When the detector does not see it either, what was followed until then remains."""
    gone = answers(in_the_light, mesh=[meshed(), meshed(), meshed(0.1), meshed()])
    (track,) = (await follow(gone, shown=evening)).tracks
    assert [face.frame for face in track.faces] == list(range(7, 13))


async def test_a_track_knows_its_person_by_what_the_face_looks_like():
    """The keyframes' track 3 looks the same; 5 does not."""
    infer = answers(embedding=looks_like(3))
    found = await follow(infer, persons=likeness(3, 5))
    (track,) = found.tracks
    assert track.person == 3
    assert track.embeddings.shape == (len(track.embedded), 256)
    assert np.linalg.norm(track.embeddings, axis=1) == pytest.approx(1)
    assert {face.track for face in found.faces} == {3}


async def test_a_track_knows_its_person_by_where_the_face_is():
    """Without a likeness: a keyframe in the window shows a face there. A face elsewhere is somebody else."""
    there, elsewhere = Box(x0=0.3, y0=0.3, x1=0.7, y1=0.85), Box(x0=0.0, y0=0.0, x1=0.2, y1=0.2)
    (track,) = (await follow(answers(), known=[Face(2, 7.0, there, (), 0.9, 4)])).tracks
    assert track.person == 4
    (track,) = (await follow(answers(), known=[Face(2, 7.0, elsewhere, (), 0.9, 4)])).tracks
    assert track.person is None
    (track,) = (await follow(answers(), known=[Face(2, 15.0, there, (), 0.9, 4)])).tracks
    assert track.person is None


async def test_windows_are_followed_apart():
    """Tracks are numbered on; frames too."""
    found = await follow(answers(), Span(5.0, 6.0, 10, "a"), Span(8.0, 9.0, 10, "b"))
    assert [(track.number, track.window, track.faces[0].frame) for track in found.tracks] == [(0, 0, 7), (1, 1, 17)]


@pytest.mark.parametrize(("answer", "status"), [(DOWN, "failed"), (Hang(), "late")])
async def test_without_the_mesh_nothing_can_be_followed(answer, status):
    """Then there are no tracks, which is not the same as none."""
    found = await follow(answers(mesh=answer), seconds=0.3 if isinstance(answer, Hang) else 30)
    assert (found.tracks, found.coverage, found.status) == (None, 0.0, status)
    assert "could not be followed" in found.detail


async def test_a_window_in_trouble_leaves_the_other():
    """Half of what should be followed was."""
    found = await follow(answers([DOWN, ONE]), Span(5.0, 5.3, 10, "a"), Span(8.0, 8.3, 10, "b"))
    assert (found.coverage, len(found.tracks)) == (0.5, 1)
    assert "down" in found.detail


def test_between_two_anchors_a_face_moves_straight():
    """Half way in time is half way in space; the last anchor is a frame too."""
    places = between({0: np.zeros((478, 3), np.float32), 4: np.full((478, 3), 0.8, np.float32)})
    assert [(place, round(float(points[0, 0]), 3)) for place, points in places] == [
        (0, 0.0), (1, 0.2), (2, 0.4), (3, 0.6), (4, 0.8),
    ]  # fmt: skip


def test_a_long_gap_ends_a_track_and_a_short_track_is_none():
    """Three frames may be missing, not four; two frames are no track."""
    face = MeshedFace(0, 0.0, Box(x0=0, y0=0, x1=1, y1=1), np.zeros((478, 3), np.float32), 1.0)
    assert [len(run) for run in runs([(place, face) for place in (0, 1, 2, 6, 7, 12, 13, 14, 19, 20)])] == [5, 3]


@pytest.mark.parametrize("options", [{"faces": 0}, {"anchor": 0}, {"presence": 1}, {"at_once": 0}])
def test_options_that_cannot_work_are_refused(options):
    """A nonsensical option is an error at the start."""
    with pytest.raises(ValueError, match=r"must be|shares"):
        FollowFaces(**options)
