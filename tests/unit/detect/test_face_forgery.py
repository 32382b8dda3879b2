"""Which face crops are asked about, and what the answers mean."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.detect.face_forgery import FEATURES, FaceForgery, heat_in_frame, shares
from pipeline.detect.faces import Crop
from pipeline.detect.port import Face, Score, View
from pipeline.events.values import Box, Family
from pipeline.testing import clip_of, picture

MARKS = ((0.3, 0.3), (0.4, 0.3), (0.35, 0.35), (0.3, 0.4), (0.4, 0.4))


def face(frame=0, track=0, side=0.5, x0=0.1):
    return Face(frame, frame * 2.0, Box(x0=x0, y0=0.1, x1=x0 + side, y1=0.1 + side), MARKS, 0.9, track)


def view(*faces, frames=1, width=320, height=240):
    return View(clip_of(*[picture(width, height, seed=i) for i in range(frames)]), faces)


def asked(probes):
    return [probe for probe in probes if not probe.skipped]


def test_one_crop_per_face_points_at_it():
    """Every probe carries one crop in a batch of one, and the moment, place and track of its face."""
    (probe,) = FaceForgery().prepare(view(face()))
    assert probe.tensors["face"].shape == (1, 224, 224, 3)
    assert probe.tensors["face"].dtype == np.uint8
    assert (probe.at, probe.box, probe.track) == (0.0, face().box, 0)


def test_without_faces_there_is_nothing_to_ask():
    """No face, no frame: not applicable."""
    assert FaceForgery().prepare(view()) == []
    assert FaceForgery().prepare(View(clip_of(), ())) == []


def test_a_face_that_is_too_small_is_skipped_and_said():
    """A face of few pixels is not sent, and does not look judged."""
    (probe,) = FaceForgery(smallest_face=64).prepare(view(face(side=0.2)))
    assert probe.skipped == "a face of 48 pixels, fewer than 64"
    assert probe.tensors == {}


def test_a_person_who_is_large_enough_once_is_judged_then():
    """A track counts as judged by its large faces; its small ones are not held against it."""
    probes = FaceForgery().prepare(view(face(0, side=0.2), face(1, side=0.5), frames=2))
    assert [(probe.at, probe.skipped) for probe in probes] == [(2.0, "")]


def test_every_person_is_asked_about_before_any_is_twice():
    """A bystander in one frame gets a crop although another person is in all frames."""
    star = [face(i, track=0) for i in range(10)]
    probes = FaceForgery(crops=4).prepare(view(*star, face(3, track=1, side=0.3, x0=0.6), frames=10))
    assert [probe.track for probe in probes].count(1) == 1
    assert [probe.track for probe in probes].count(0) == 3
    assert [probe.at for probe in probes] == sorted(probe.at for probe in probes)


def test_people_beyond_the_crops_are_skipped_and_said():
    """The largest faces are judged; of the others it is said that they were not."""
    crowd = [face(track=i, side=0.3 + i / 100) for i in range(5)]
    probes = FaceForgery(crops=3).prepare(view(*crowd))
    assert [probe.track for probe in asked(probes)] == [2, 3, 4]
    assert {probe.skipped for probe in probes if probe.skipped} == {"more than 3 people"}


def test_faces_without_a_track_are_people_of_their_own():
    """Nothing is known of who they are, so each is asked about."""
    assert len(asked(FaceForgery().prepare(view(face(track=None), face(track=None, x0=0.4))))) == 2


def answers(swap=0.25, synthesis=0.75, heat=None):
    cells = np.zeros((1, 14, 14), "f4") if heat is None else heat[None]
    features = np.linspace(-2, 2, FEATURES, dtype="f4")[None]
    return {
        "swap": np.array([[swap]], "f4"),
        "synthesis": np.array([[synthesis]], "f4"),
        "heat": cells,
        "features": features,
    }


def test_both_heads_become_scores_at_the_face():
    """Swap and synthesis are two families with one box and moment; both carry what was read, swap its map."""
    detector = FaceForgery()
    (probe,) = detector.prepare(view(face()))
    swap, synthesis = detector.interpret(probe, answers())
    read = answers()["features"][0].astype("<f2").tobytes()
    assert swap.heat is not None
    assert replace(swap, heat=None) == Score(Family.FACE_SWAP, 0.25, at=0.0, box=face().box, track=0, features=read)
    assert synthesis == Score(Family.FACE_SYNTHESIS, 0.75, at=0.0, box=face().box, track=0, features=read)


def mouth(probability=0.9):
    cells = np.full((14, 14), 0.1, np.float32)
    cells[9:11, 5:9] = probability
    return cells


def shown(heat):
    return np.frombuffer(heat.cells, np.uint8).reshape(heat.rows, heat.cols)


def test_a_level_face_keeps_its_map_as_it_is():
    """The box is the crop's square, and each cell the probability times 255."""
    heat = heat_in_frame(mouth(), Crop(160.0, 120.0, 112.0, 0.0, 320, 240))
    assert (heat.box.x0 * 320, heat.box.y0 * 240) == pytest.approx((104, 64))
    assert (heat.box.x1 * 320, heat.box.y1 * 240) == pytest.approx((216, 176))
    np.testing.assert_array_equal(shown(heat), np.rint(mouth() * 255))


def test_the_map_of_a_tilted_face_is_led_back_to_where_its_mouth_is():
    """A face that lies on its side has its mouth beside its eyes, not below them."""
    # The crop's rows run down the frame: what is below in the crop is to the left in the frame.
    heat = heat_in_frame(mouth(), Crop(160.0, 120.0, 112.0, np.pi / 2, 320, 240))
    ys, xs = np.nonzero(shown(heat) > 200)
    assert xs.mean() < 5
    assert 5 < ys.mean() < 8


def test_the_corners_that_a_tilted_crop_does_not_reach_are_dark():
    """Nothing was looked at there."""
    heat = heat_in_frame(np.ones((14, 14), np.float32), Crop(160.0, 120.0, 112.0, np.pi / 4, 320, 240))
    cells = shown(heat)
    assert cells[0, 0] == cells[0, -1] == cells[-1, 0] == cells[-1, -1] == 0
    assert (cells[4:10, 4:10] == 255).all()


def test_a_face_at_the_edge_has_a_map_of_what_is_in_the_frame():
    """The box is clipped, and the cells stay where they belong."""
    heat = heat_in_frame(mouth(), Crop(30.0, 120.0, 112.0, 0.0, 320, 240))
    assert heat.box.x0 == 0
    assert heat.box.x1 * 320 == pytest.approx(86)
    ys, xs = np.nonzero(shown(heat) > 200)
    x = (xs.mean() + 0.5) / 14 * 86
    assert x == pytest.approx(30, abs=6)
    assert ys.mean() == pytest.approx(9.5, abs=0.6)


def test_a_crop_outside_the_frame_has_no_map():
    """There is no place to point at."""
    assert heat_in_frame(mouth(), Crop(-100.0, 120.0, 112.0, 0.0, 320, 240)) is None


@given(st.lists(st.integers(0, 30), max_size=12), st.integers(0, 40))
def test_shares_are_fair_and_spend_what_there_is(sizes, total):
    """Nobody gets more than they have, all is given out, and who could take more differs by one at most."""
    given_out = shares(sizes, total)
    assert all(g <= s for g, s in zip(given_out, sizes, strict=True))
    assert sum(given_out) == min(total, sum(sizes))
    unsated = [g for g, s in zip(given_out, sizes, strict=True) if g < s]
    assert not unsated or max(given_out) - min(unsated) <= 1


@pytest.mark.parametrize("options", [{"crops": 0}, {"smallest_face": 0}])
def test_options_that_cannot_work_are_refused(options):
    """A nonsensical option is an error when the registry is made."""
    with pytest.raises(ValueError, match="at least 1"):
        FaceForgery(**options)
