"""Where to look closely."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decode.port import Packets
from pipeline.detect.closer import Doubt, LookCloser
from pipeline.detect.port import DetectorReport, Face, Mode, ReportStatus, Score, Speech
from pipeline.events.values import Box, Family, Sampling, TrackFacts
from pipeline.testing import clip_of, picture

SWAP = Family.FACE_SWAP
HOW = LookCloser(doubt=((SWAP, 0.3, 0.8),))


def video(seconds=30, every=2.0, budget=150, frame_rate=25.0):
    """A clip with a keyframe every so many seconds."""
    clip = clip_of(*[picture(320, 240)] * int(seconds / every), every=every)
    facts = replace_facts(clip.facts, frame_rate)
    at = np.arange(0, seconds, 1 / frame_rate)
    packets = Packets(at, np.full(len(at), 100, np.int32), np.isclose(at % every, 0))
    return replace(clip, facts=facts, sampling=Sampling(decoder="fake", closer_budget=budget), packets=packets)


def replace_facts(facts, frame_rate):
    track = TrackFacts(kind="video", codec="h264", frame_rate=frame_rate)
    return type(facts)(**{name: getattr(facts, name) for name in facts.__struct_fields__} | {"tracks": (track,)})


def faces(clip, at=None, side=0.5, track=0):
    """The same face in the keyframes at these moments (None: in all)."""
    return [
        Face(frame.index, frame.at, Box(x0=0.1, y0=0.1, x1=0.1 + side * 0.75, y1=0.1 + side), (), 0.9, track)
        for frame in clip.keyframes
        if at is None or frame.at in at
    ]


def speech(seconds, *stretches):
    """Speech in these stretches (seconds), silence elsewhere."""
    step = 512 / 16_000
    at = np.arange(0, seconds, step)
    return Speech(np.array([any(a <= t < b for a, b in stretches) for t in at], np.float32))


def spans(clip, faces, speech=None, doubts=(), how=HOW):
    return how.spans(clip, clip.keyframes, faces, speech, doubts)


def total(chosen, frame_rate=25.0):
    return sum((span.end - span.start) * min(span.rate, frame_rate) for span in chosen)


def test_a_still_a_clip_without_faces_and_small_faces_need_no_second_look():
    """Nothing calls for it."""
    clip = video()
    assert spans(clip_of(picture()), [Face(0, 0.0, Box(x0=0, y0=0, x1=1, y1=1), (), 0.9)]) == ()
    assert spans(clip, [], speech(30, (0, 30))) == ()
    assert spans(clip, faces(clip, side=0.2), speech(30, (0, 30))) == ()


def test_without_a_budget_nothing_is_looked_at():
    """A deployment may switch the second look off."""
    clip = video(budget=0)
    assert spans(clip, faces(clip), speech(30, (0, 30))) == ()


def test_the_window_lies_where_somebody_speaks():
    """Speech from 12 to 20 seconds: the window lies in it, at the rate of lips, and uses the whole budget."""
    clip = video()
    (only,) = spans(clip, faces(clip), speech(30, (12, 20)))
    assert 12 <= only.start < only.end <= 20
    assert (only.rate, only.end - only.start) == (25.0, 6.0)
    assert "speaks" in only.why


def test_speech_without_a_face_calls_for_nothing_there():
    """A voice over pictures, then a silent face: the window goes to the face."""
    clip = video()
    there = [frame.at for frame in clip.keyframes if frame.at >= 16]
    (only,) = spans(clip, faces(clip, there), speech(30, (0, 10)))
    assert only.start >= 14
    assert only.rate == HOW.rate


def test_a_silent_face_gets_one_window():
    """The way a face moves says something without a word."""
    clip = video()
    (only,) = spans(clip, faces(clip))
    assert only.rate == 12.5
    assert only.end - only.start == 6.0
    assert 5 < only.start < 20


def test_a_window_begins_at_a_keyframe_where_that_costs_nothing():
    """With speech throughout, nothing is decoded in vain."""
    clip = video(every=10.0)
    (only,) = spans(clip, faces(clip), speech(30, (0, 30)))
    assert only.start in (0.0, 10.0, 20.0)


def test_a_face_in_doubt_gets_a_window_where_it_was_in_doubt():
    """Beside a shorter window for the speech."""
    clip = video()
    doubt = Doubt("face_forgery", SWAP, 0, 0.6, (24.0, 22.0))
    first, second = spans(clip, faces(clip), speech(30, (2, 14)), [doubt])
    assert (first.rate, second.rate) == (25.0, 12.5)
    assert second.start == 24.0
    assert second.why == "face swap of person 0 in doubt (0.60)"


@pytest.mark.parametrize(
    ("looks", "open_"),
    [
        ((0.1, 0.1, 0.7, 0.7, 0.7), True),  # a part of the clip is enough, as it is for the verdict
        ((0.1, 0.1, 0.1, 0.1, 0.6), False),  # one stray look is not
        ((0.7,), True),
        ((0.9, 0.9, 0.9, 0.1), False),
    ],
)
def test_the_strongest_looks_tell_who_is_in_doubt(looks, open_):
    """By what the verdict goes; the moments are told, the highest first."""
    scores = tuple(Score(SWAP, value, at=float(i), track=3) for i, value in enumerate(looks))
    report = DetectorReport("f", "1", Mode.LIVE, (SWAP,), ReportStatus.OK, scores=scores, coverage=1.0)
    found = HOW.doubts([report])
    assert [doubt.person for doubt in found] == ([3] if open_ else [])
    if open_:
        (doubt,) = found
        assert doubt.score == pytest.approx(np.mean(sorted(looks)[-3:]))
        assert looks[int(doubt.at[0])] == max(looks)


def test_a_doubt_inside_a_window_needs_no_other():
    """One window serves both."""
    clip = video()
    (only,) = spans(clip, faces(clip), speech(30, (10, 20)), [Doubt("face_forgery", SWAP, 0, 0.6, (12.0,))])
    assert only.start <= 12 < only.end


def test_a_larger_budget_is_spread_over_the_clip():
    """Three windows of speech that do not overlap, in order."""
    clip = video(seconds=120, budget=450)
    chosen = spans(clip, faces(clip), speech(120, (0, 120)))
    assert len(chosen) == 3
    assert all(a.end <= b.start for a, b in pairwise(chosen))
    assert chosen[-1].start - chosen[0].start > 30


@given(
    st.floats(1, 300),
    st.floats(0.5, 20),
    st.integers(0, 600),
    st.sampled_from([12.0, 24.0, 25.0, 29.97, 50.0, 60.0]),
    st.lists(st.tuples(st.floats(0, 300), st.floats(0, 300)), max_size=3),
    st.booleans(),
)
def test_windows_lie_in_the_clip_apart_and_within_the_budget(seconds, every, budget, frame_rate, stretches, doubtful):
    """Whatever the clip: in order, no overlap, inside, and no more frames than there may be."""
    clip = video(max(seconds, every * 2), every, budget, frame_rate)
    duration = clip.facts.duration
    doubts = [Doubt("face_forgery", SWAP, 0, 0.5, (clip.keyframes[-1].at,))] if doubtful else []
    chosen = spans(clip, faces(clip), speech(duration, *stretches), doubts)
    assert bool(chosen) == (budget > 0)
    assert all(0 <= span.start < span.end <= duration + 1e-3 for span in chosen)
    assert all(a.end <= b.start + 1e-3 for a, b in pairwise(chosen))
    true = {rate: frame_rate / max(1, round(frame_rate / rate)) for rate in (25.0, 12.5)}
    assert sum((span.end - span.start) * true[span.rate] for span in chosen) <= budget + len(chosen)


def report(*scores, mode=Mode.LIVE, status=ReportStatus.OK):
    return DetectorReport("face_forgery", "1", mode, (SWAP,), status, scores)


def test_who_is_in_doubt_is_told_by_the_mean_of_his_scores():
    """One person is sure, one is not; shadow detectors raise no doubts."""
    scores = [Score(SWAP, 0.95, at=0.0, track=0), Score(SWAP, 0.4, at=2.0, track=1), Score(SWAP, 0.6, at=4.0, track=1)]
    (doubt,) = HOW.doubts([report(*scores)])
    assert (doubt.person, doubt.score, doubt.at) == (1, pytest.approx(0.5), (4.0, 2.0))
    assert HOW.doubts([report(*scores, mode=Mode.SHADOW)]) == ()
    assert HOW.doubts([report(*scores, status=ReportStatus.FAILED)]) == ()
    assert HOW.open(SWAP, 0.5)
    assert not HOW.open(SWAP, 0.8)
    assert not HOW.open(Family.FACE_SYNTHESIS, 0.5)


@pytest.mark.parametrize(
    "options",
    [{"shortest": 0}, {"shortest": 7}, {"rate": 0}, {"speaks": 1}, {"doubt": ((SWAP, 0.8, 0.3),)}, {"again": -1}],
)
def test_options_that_cannot_work_are_refused(options):
    """A nonsensical option is an error at the start."""
    with pytest.raises(ValueError, match=r"must be|shares|no stretch"):
        LookCloser(**options)
