"""Meshes here are the canonical face, turned, moved and sized by the tests."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.detect import mesh as subject
from pipeline.events.values import Box

SIZE = (400, 600)


def test_a_mesh_comes_back_to_where_its_crop_was_cut() -> None:
    """The corners of the crop map to the corners of the turned square, in shares of the frame."""
    image = np.zeros((*SIZE, 3), np.uint8)
    crop, to_frame = subject.mesh_crop(image, Box(0.25, 0.25, 0.5, 0.75), ((0.3, 0.4), (0.4, 0.4)))
    points = subject.mesh_points(_outputs(np.array([[0, 0], [192, 192], [96, 96]])), to_frame, SIZE)
    side = 200 * subject.BOX_MARGIN
    corner = np.array([225 - side / 2, 200 - side / 2])
    assert crop.shape == (192, 192, 3)
    assert points[0, :2] * (600, 400) == pytest.approx(corner, abs=1e-3)
    assert points[1, :2] * (600, 400) == pytest.approx(corner + side, abs=1e-3)
    assert points[2, :2] * (600, 400) == pytest.approx((225, 200), abs=1e-3)
    assert points[:, 2] * 600 == pytest.approx(np.full(478, 10 * side / 192), abs=1e-3)


@pytest.mark.parametrize("turn", [0.0, 25.0, -60.0])
def test_what_stands_at_a_place_of_the_crop_stood_at_its_place_in_the_frame(turn: float) -> None:
    """A coloured picture, cut and turned: the crop's colours are those of the places that it maps to."""
    rows, cols = np.mgrid[: SIZE[0], : SIZE[1]]
    image = np.stack([cols * 255 / SIZE[1], rows * 255 / SIZE[0], 0 * rows], axis=-1).astype(np.uint8)
    eye = np.array([np.cos(np.radians(turn)), np.sin(np.radians(turn))]) * 20
    marks = [tuple(p / (600, 400)) for p in (np.subtract((300, 200), eye), np.add((300, 200), eye))]
    crop, to_frame = subject.mesh_crop(image, Box(0.4, 0.35, 0.6, 0.65), [(float(x), float(y)) for x, y in marks])
    for x, y in ((20, 30), (96, 96), (170, 60)):
        place = to_frame @ (x + 0.5, y + 0.5, 1)
        assert crop[y, x, :2] == pytest.approx(place * 255 / (600, 400), abs=2)


def test_the_eyes_are_level_in_the_crop() -> None:
    """The line between the landmarks runs along the crop's rows."""
    _, to_frame = subject.mesh_crop(np.zeros((*SIZE, 3), np.uint8), Box(0.4, 0.3, 0.6, 0.6), ((0.45, 0.4), (0.52, 0.5)))
    across = np.linalg.solve(to_frame[:, :2], np.array([0.07 * 600, 0.1 * 400]))
    assert across[1] == pytest.approx(0, abs=1e-9)
    assert across[0] > 0


def test_the_next_crop_holds_the_last_mesh_with_a_margin_all_round() -> None:
    """Level, in the middle, and its longer side the crop's over the margin."""
    points = _in_shares(_face(roll=30, middle=(300, 180), scale=6))
    crop, to_frame = subject.mesh_crop_again(np.zeros((*SIZE, 3), np.uint8), points)
    inverse = np.linalg.inv(to_frame[:, :2])
    placed = (points[:468, :2] * (600, 400) - to_frame[:, 2]) @ inverse.T
    low, high = placed.min(axis=0), placed.max(axis=0)
    assert (low + high) / 2 == pytest.approx((96, 96), abs=1e-3)
    assert max(high - low) == pytest.approx(192 / subject.MESH_MARGIN, abs=1e-3)
    assert placed[263, 1] - placed[33, 1] == pytest.approx(0, abs=1e-3)
    assert crop.shape == (192, 192, 3)


def test_a_large_face_is_averaged_and_not_sampled() -> None:
    """Stripes of one pixel become grey; a plain sampler would show some of them."""
    image = np.zeros((900, 900, 3), np.uint8)
    image[:, ::2] = 255
    crop, _ = subject.mesh_crop(image, Box(0.2, 0.2, 0.8, 0.8))
    assert np.std(crop[50:140, 50:140].astype(float)) < 40


def test_the_second_look_replaces_lips_eyes_and_irises() -> None:
    """Each output lands on its own points; z stays the mesh's, that of an iris is its lids'."""
    outputs = _outputs(np.zeros((0, 2)))
    outputs["mesh"][0, :, 2] = np.arange(468)
    for value, name in enumerate(("lips", "left_eye", "right_eye", "left_iris", "right_iris"), start=1):
        outputs[name][0] = value
    unmoved = np.array([[1.0, 0, 0], [0, 1, 0]])
    points = subject.mesh_points(outputs, unmoved, (1, 1))
    assert (points[list(subject.LIPS), :2] == 1).all()
    assert (points[list(subject.LEFT_EYE), :2] == 2).all()
    assert (points[list(subject.RIGHT_EYE), :2] == 3).all()
    assert (points[468:473, :2] == 4).all()
    assert (points[473:478, :2] == 5).all()
    assert (points[:468, 2] == np.arange(468)).all()
    assert points[470, 2] == pytest.approx(np.mean(subject.RIMS[0]))
    assert points[475, 2] == pytest.approx(np.mean(subject.RIMS[1]))
    refined = len(set(subject.LIPS) | set(subject.LEFT_EYE) | set(subject.RIGHT_EYE))
    assert (points[:468, 0] != 0).sum() == refined


def test_no_point_is_refined_twice() -> None:
    """The lists are disjoint, without repetition, and within the mesh."""
    together = [*subject.LIPS, *subject.LEFT_EYE, *subject.RIGHT_EYE]
    assert len(set(together)) == len(together) == 80 + 71 + 71
    assert 0 <= min(together) <= max(together) < 468


@pytest.mark.parametrize(
    ("name", "pose"),
    [("yaw", (30, 0, 0)), ("pitch", (0, -20, 0)), ("roll", (0, 0, 40)), ("all", (-25, 15, 10)), ("none", (0, 0, 0))],
)
def test_the_pose_of_a_turned_face_is_its_turn(name: str, pose: tuple[float, float, float]) -> None:
    """In degrees, whatever the face's size and place."""
    face = _face(*pose, middle=(120, 300), scale=7.5)
    assert subject.head_pose(face) == pytest.approx(pose, abs=1e-4), name


def test_a_face_that_turns_to_the_right_of_the_picture_has_a_positive_yaw() -> None:
    """Its nose moves to the right of its eyes; positive pitch moves it up, positive roll sinks the right eye."""
    straight = _face()
    assert _face(yaw=20)[4, 0] - _face(yaw=20)[168, 0] > straight[4, 0] - straight[168, 0] + 1
    assert _face(pitch=20)[4, 1] - _face(pitch=20)[168, 1] < straight[4, 1] - straight[168, 1] - 1
    assert _face(roll=20)[263, 1] > _face(roll=20)[33, 1] + 1


def test_a_face_brought_back_looks_into_the_camera() -> None:
    """Turn, place and size go; what the face does stays."""
    straight, turned = _face(scale=1), _face(35, -10, 20, middle=(80, 90), scale=4)
    assert subject.facing(turned) == pytest.approx(subject.facing(straight), abs=1e-6)


def test_measures_do_not_change_with_size_place_and_roll() -> None:
    """They are shares of the face, not pixels."""
    one, other = _face(scale=3), _face(roll=33, middle=(500, 20), scale=9)
    for measure in (
        subject.mouth_opening,
        subject.mouth_width,
        subject.mouth_area,
        subject.lips_area,
        subject.jaw_opening,
        subject.eye_openness,
        subject.gaze,
    ):
        assert measure(one) == pytest.approx(measure(other), abs=1e-6), measure.__name__


def test_measures_of_a_track_are_those_of_its_meshes() -> None:
    """Many meshes at once give what each gives alone."""
    track = np.stack([_face(yaw, 5, -3, scale=3 + yaw / 10) for yaw in (0, 10, 20)])
    for measure in (subject.mouth_opening, subject.mouth_area, subject.eye_openness, subject.gaze, subject.head_pose):
        assert measure(track) == pytest.approx(np.stack([measure(face) for face in track]), abs=1e-9)
    assert subject.irises(track).shape == (3, 2, 3)
    assert subject.five_points(track).shape == (3, 5, 2)
    assert subject.facing(track).shape == (3, 478, 3)


def test_the_opening_of_the_mouth_is_in_eye_distances() -> None:
    """Lips that are a third of the eyes' distance apart."""
    face = _face()
    face[14] = face[13] + (0, subject.eye_distance(face) / 3, 0)
    assert subject.mouth_opening(face) == pytest.approx(1 / 3)


def test_the_eyes_distance_does_not_shrink_when_the_head_turns() -> None:
    """It is measured in space: openings do not grow with the yaw."""
    assert subject.eye_distance(_face(yaw=45)) == pytest.approx(subject.eye_distance(_face()))


def test_the_area_of_the_mouth_is_that_of_its_ring() -> None:
    """A square of a tenth of the eyes' distance has a hundredth of its area."""
    face = _face()
    side = float(subject.eye_distance(face)) / 10
    corners = side * np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    ring = np.concatenate([np.linspace(corners[i], corners[(i + 1) % 4], 5, endpoint=False) for i in range(4)])
    face[list(subject.INNER_LIPS), :2] = 50 + ring
    assert subject.mouth_area(face) == pytest.approx(0.01)


def test_a_shut_eye_is_less_open_than_its_neighbour() -> None:
    """Left and right are told apart; lids that touch measure nought."""
    face = _face()
    for ends, lids in (((33, 133), ((160, 144), (158, 153))), ((362, 263), ((385, 380), (387, 373)))):
        face[ends[0]], face[ends[1]] = (0, 0, 0), (10, 0, 0)
        for upper, lower in lids:
            face[upper], face[lower] = (5, -1.5, 0), (5, 1.5, 0)
    face[[160, 144, 158, 153]] = (5, 0, 0)
    assert subject.eye_openness(face) == pytest.approx([0, 0.3])


def test_gaze_is_the_way_of_the_iris_from_the_middle_of_its_eye() -> None:
    """To the picture's right and down are positive, in shares of the eye's width, also in a tilted face."""
    face = _face()
    for iris, start, stop in ((468, 33, 133), (473, 362, 263)):
        along = face[stop, :2] - face[start, :2]
        across = np.array([-along[1], along[0]])
        face[iris, :2] = (face[start, :2] + face[stop, :2]) / 2 + 0.1 * along + 0.05 * across
    assert subject.gaze(face) == pytest.approx(np.tile([0.1, 0.05], (2, 1)))
    tilted = _turned(face, 40)
    assert subject.gaze(tilted) == pytest.approx(np.tile([0.1, 0.05], (2, 1)))


def test_an_iris_has_the_centre_and_the_mean_radius_of_its_rim() -> None:
    """Four points at 3 pixels from the centre."""
    face = _face()
    face[473:478, :2] = [(20, 30), (23, 30), (20, 27), (17, 30), (20, 33)]
    assert subject.irises(face)[1] == pytest.approx([20, 30, 3])


@pytest.mark.parametrize(("turn", "scale", "shift"), [(0.0, 1.0, (0, 0)), (0.7, 2.5, (40, -9)), (-2.0, 0.3, (3, 3))])
def test_a_similarity_is_found_again(turn: float, scale: float, shift: tuple[float, float]) -> None:
    """Points that were turned, sized and moved give that turn, size and move."""
    source = np.random.default_rng(0).normal(size=(5, 2))
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    found = subject.similarity(source, source @ matrix.T + shift)
    assert found == pytest.approx(np.column_stack([matrix, shift]))


def test_an_aligned_face_has_its_eyes_where_the_embedding_wants_them() -> None:
    """Bright dots on the five points of a turned face land on the template."""
    image = np.zeros((*SIZE, 3), np.uint8)
    template = subject._TEMPLATE
    angle = np.radians(20)
    turned = 2 * (template - 56) @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    five = turned + np.array((300, 200))
    for x, y in five:
        image[int(y) - 2 : int(y) + 3, int(x) - 2 : int(x) + 3] = 255
    crop = subject.embedding_crop(image, five)
    assert crop.shape == (112, 112, 3)
    for x, y in template:
        assert crop[int(y), int(x)].min() > 100
    assert crop.mean() < 10


def test_the_five_points_do_not_follow_the_gaze() -> None:
    """An eye is the middle of its corners."""
    face = _face()
    before = subject.five_points(face)
    face[468:478] += 5
    assert (subject.five_points(face) == before).all()


def test_the_bounds_of_a_mesh_stay_within_the_frame() -> None:
    """A face that reaches over the edge has a box that ends there."""
    box = subject.bounds(_in_shares(_face(middle=(10, 200), scale=5)))
    assert box.x0 == 0
    assert 0 < box.y0 < box.y1 < 1


def _face(
    yaw: float = 0,
    pitch: float = 0,
    roll: float = 0,
    *,
    middle: tuple[float, float] = (200, 200),
    scale: float = 5,
) -> NDArray[np.float64]:
    """A face in pixels: the canonical points where they are known, others strewn over the same volume."""
    face = np.random.default_rng(0).uniform(-5, 5, (478, 3))
    face[list(subject.STABLE)] = subject._CANONICAL
    a, b, c = np.radians((-yaw, -pitch, roll))
    about_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return np.asarray(scale * face @ (about_z @ about_y @ about_x).T + (*middle, 30))


def _turned(face: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    angle = np.radians(degrees)
    out = face.copy()
    out[:, :2] = face[:, :2] @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return out


def _in_shares(face: NDArray[np.float64]) -> NDArray[np.float64]:
    return face / (SIZE[1], SIZE[0], SIZE[1])


def _outputs(first: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
    """The model's answer to one crop; the second looks say what the mesh says. `first`: its first points."""
    mesh = np.zeros((1, 468, 3), np.float32)
    mesh[0, : len(first), :2] = first
    mesh[..., 2] = 10
    eyes = {"lips": subject.LIPS, "left_eye": subject.LEFT_EYE, "right_eye": subject.RIGHT_EYE}
    found = {name: mesh[:, list(indices), :2].copy() for name, indices in eyes.items()}
    iris = np.zeros((1, 5, 2), np.float32)
    return {"mesh": mesh, **found, "left_iris": iris, "right_iris": iris.copy()}
