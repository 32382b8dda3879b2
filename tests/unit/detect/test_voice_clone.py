"""Stretches of speech, measured and weighed: which are listened to, where scores point, what is said of them."""

import numpy as np
import pytest

from pipeline.decode.port import SAMPLE_RATE, Audio
from pipeline.detect import sound
from pipeline.detect import voice_clone as subject
from pipeline.detect.head import Head, HeadFile, Layer
from pipeline.detect.port import Speech, View
from pipeline.detect.voice_clone import KINDS, VoiceClone, speaking, spoken_frames, stretches
from pipeline.events.values import Family
from pipeline.testing import clip_of

STEP = 512 / SAMPLE_RATE


def noise(seconds: float, start: float = 0.0) -> Audio:
    rng = np.random.default_rng(0)
    return Audio((0.1 * rng.normal(size=round(seconds * SAMPLE_RATE))).astype(np.float32), start)


def speech(*spans: tuple[float, float], seconds: float = 40.0, start: float = 0.0) -> Speech:
    """Speech in these spans of the sound's own seconds."""
    at = np.arange(round(seconds / STEP)) * STEP
    probability = np.zeros(len(at), np.float32)
    for first, last in spans:
        probability[(at >= first) & (at < last)] = 0.9
    return Speech(probability, start)


def view(audio: Audio | None, heard: Speech | None) -> View:
    return View(clip_of(audio=audio), (), heard)


def test_speech_is_brought_to_frames_of_ten_milliseconds():
    """A word from 1 to 2 s is a hundred frames, whenever the sound begins."""
    for start in (0.0, 5.0):
        frames = spoken_frames(noise(4, start), speech((1, 2), start=start))
        assert len(frames) == 400
        assert frames.sum() == pytest.approx(100, abs=5)
        assert frames[110:190].all()


def test_stretches_hold_enough_speech():
    """Half a second of speech in four is none; two seconds are."""
    found = list(stretches(noise(20), speech((0, 0.5), (8, 10))))
    assert [first for first, _ in found] == [8 * SAMPLE_RATE]


def test_stretches_do_not_reach_beyond_the_sound():
    """The last one is as long as the sound is."""
    found = list(stretches(noise(6), speech((0, 6))))
    assert [(first, len(spoken)) for first, spoken in found] == [(0, 400), (4 * SAMPLE_RATE, 200)]


def test_nothing_is_asked_without_sound_or_speech():
    """Silent films, music and a cough are not applicable."""
    assert VoiceClone().prepare(view(None, None)) == []
    assert VoiceClone().prepare(view(noise(10), speech())) == []
    assert VoiceClone().prepare(view(noise(10), speech((1, 1.8)))) == []


def test_when_speech_is_not_known_the_question_is_skipped():
    """It lowers the coverage."""
    (probe,) = VoiceClone().prepare(view(noise(10), None))
    assert probe.skipped


def test_long_speech_is_sampled_over_all_of_it():
    """As many stretches as the option says, the first and the last among them."""
    probes = VoiceClone(stretches=3).prepare(view(noise(40), speech((0, 40))))
    assert [probe.at for probe in probes] == [0.0, pytest.approx(20, abs=4), 36.0]


def test_a_score_points_at_its_stretch():
    """From where it starts in the media to where it ends, with the seconds of speech in words."""
    audio = noise(10, start=2.0)
    probes = VoiceClone().prepare(view(audio, speech((0, 10), start=2.0)))
    (score,) = VoiceClone().interpret(probes[0], probes[0].tensors)
    assert (score.family, score.at, score.until) == (Family.VOICE_CLONE, 2.0, 6.0)
    assert 0 <= score.value <= 1
    assert "4.0 s of speech from 2.0 to 6.0 s" in score.note


def test_every_kind_of_measure_has_words():
    """What the head reads can be told to a reviewer, and the head reads what is measured."""
    names = sound.voice_measures(noise(4).samples, np.ones(400, bool)).keys()
    assert {name.partition("_")[0] for name in names} == set(KINDS)
    assert set(subject.read_head("voice_clone").file.measures) <= set(names)


def test_the_kinds_that_speak_for_generated_speech_are_told_strongest_first():
    """What speaks against one, or not at all, is left out."""
    names = ("jump_0", "jump_1000", "waver", "swing_0_4")
    weight = Layer(((1.0, 1.0, 3.0, -1.0),), (0.0,))
    head = Head(HeadFile("x", names, (0.0,) * 4, (1.0,) * 4, (weight,), {}), "")
    measures = {"jump_0": 1.0, "jump_1000": 0.5, "waver": 1.0, "swing_0_4": 2.0}
    assert speaking(head, measures) == ["wavering of the pitch", "jumps of loudness within bands"]


def test_its_version_changes_with_the_head(monkeypatch):
    """The head's digest is part of it."""
    before = VoiceClone().version
    changed = Head(subject.read_head("voice_clone").file, "87654321")
    monkeypatch.setattr(subject, "read_head", lambda _: changed)
    assert VoiceClone().version != before


def test_a_narrow_band_and_digital_silence_are_told():
    """With the moment in the media, beside the score."""
    audio = noise(4, start=1.0)
    spectrum = np.fft.rfft(audio.samples)
    spectrum[np.fft.rfftfreq(len(audio.samples), 1 / SAMPLE_RATE) > 3900] = 0
    samples = np.fft.irfft(spectrum).astype(np.float32)
    samples[2 * SAMPLE_RATE : 2 * SAMPLE_RATE + 3200] = 0
    (probe,) = VoiceClone().prepare(view(Audio(samples, 1.0), speech((0, 4), start=1.0)))
    (score,) = VoiceClone().interpret(probe, probe.tensors)
    assert "nothing above" in score.note
    assert "digital silence of 0.20 s at 3.0 s" in score.note
