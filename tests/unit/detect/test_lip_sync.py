"""Whether the mouth moves to the sound: on sounds and mouths whose agreement is known."""

import math

import numpy as np
import pytest

from pipeline.decode.port import Audio, Keyframe, Span, Window
from pipeline.detect import lip_sync as subject
from pipeline.detect.lip_sync import LAGS, Heard, LipSync, Match, MatchFile, Talk
from pipeline.detect.port import MeshedFace, Speech, Track, View
from pipeline.errors import ConfigError
from pipeline.events.values import Box, Family
from pipeline.testing import clip_of, picture

SECONDS = 8.0


def loudness(seed: int) -> np.ndarray:
    """How loud a made-up speaker is, 100 times a second: syllables of uneven length and strength."""
    rng = np.random.default_rng(seed)
    out = np.zeros(round(SECONDS * 100))
    at = 0
    while at < len(out):
        length = int(rng.integers(12, 30))
        out[at : at + length] = (np.hanning(length) * rng.uniform(0.3, 1.0))[: len(out) - at]
        at += length + int(rng.integers(0, 12))
    return out


def heard_as(shape: np.ndarray, start: float = 0.0, seed: int = 9) -> Audio:
    """Noise as loud as `shape`."""
    noise = np.random.default_rng(seed).normal(size=len(shape) * 160)
    size = np.interp(np.arange(len(noise)) / 160, np.arange(len(shape)), 0.002 + shape)
    return Audio((0.1 * noise * size).astype(np.float32), start)


def seen_as(shape: np.ndarray, rate: float = 25.0) -> tuple[np.ndarray, np.ndarray]:
    """A mouth that opens with the loudness, 40 ms ahead of it."""
    at = np.arange(0, SECONDS - 0.2, 1 / rate)
    opening = np.interp(at + 0.04, np.arange(len(shape)) / 100, shape)
    return at, np.stack([0.2 * opening, 0.6 + 0.2 * opening, 0.5 - 0.1 * opening, 0.1 + 0.1 * opening], axis=1)


@pytest.fixture
def match() -> Match:
    """A map that foretells an opening mouth from loudness 40 ms later, and a narrower one."""
    row = [(1.0 if tap == 0.04 else 0.0) for tap in subject.TAPS for _ in range(subject.BANDS)]
    weight = (tuple(row), tuple(row), tuple(-w for w in row), tuple(row))
    file = MatchFile(subject.TAPS, subject.BANDS, weight, 0.45, 0.15, 1.9, 0.4, {})
    return Match(file, np.array(weight).T, "12345678")


def curves(match: Match, audio: Audio, shape: np.ndarray) -> list[subject.Curve]:
    talk = subject.talk_from(*seen_as(shape))
    assert talk is not None
    return [Heard.of(audio, match).curve(talk)]


def test_a_mouth_that_belongs_to_the_sound_fits_at_no_lag(match):
    """The best lag is nought within two frames, high, and far above all others."""
    shape = loudness(1)
    found = curves(match, heard_as(shape), shape)
    lag, peak = subject.best_lag(found)
    measures = subject.measures_of(found)
    assert abs(lag) <= 0.08
    assert peak > 0.8
    assert measures["match"] == pytest.approx(peak)
    assert measures["margin"] > 0.3


@pytest.mark.parametrize("shift", [-0.8, -0.3, 0.3, 0.8])
def test_a_shift_is_measured(match, shift):
    """Sound that starts `shift` seconds late fits best at that lag, and badly where it lies."""
    shape = loudness(2)
    found = curves(match, heard_as(shape, start=shift), shape)
    lag, _ = subject.best_lag(found)
    assert lag == pytest.approx(shift, abs=0.08)
    assert subject.measures_of(found)["margin"] < 0


def test_the_start_of_the_sound_counts(match):
    """A sound track that begins late, and whose content lies accordingly, belongs to the mouth."""
    shape = loudness(3)
    found = curves(match, heard_as(shape[100:], start=1.0), shape)
    assert abs(subject.best_lag(found)[0]) <= 0.08


def test_another_sound_fits_nowhere(match):
    """The match is low, and no better than at other lags."""
    found = curves(match, heard_as(loudness(5)), loudness(4))
    measures = subject.measures_of(found)
    assert measures["match"] < 0.5
    assert measures["rise"] < 3


def test_windows_are_pooled_by_their_length():
    """A curve of two windows is their mean, weighted by seconds; what one lacks the other gives."""
    one, other = np.full(len(LAGS), 0.8), np.full(len(LAGS), 0.2)
    other[0] = np.nan
    whole = subject.pooled([subject.Curve(one, 6.0), subject.Curve(other, 2.0)])
    assert whole.match[0] == pytest.approx(0.8)
    assert whole.match[1:] == pytest.approx(0.65)
    assert whole.seconds == 8.0


def test_without_sound_there_is_nothing_to_measure(match):
    """A mouth that is seen before the sound begins yields NaN, and words that say so."""
    shape = loudness(6)
    found = curves(match, heard_as(shape, start=60.0), shape)
    measures = subject.measures_of(found)
    assert math.isnan(measures["match"])
    assert all(math.isnan(v) for v in subject.best_lag(found))
    assert subject.words(measures, math.nan, math.nan, math.nan, match.file) == "no sound where the mouth was seen"


def test_short_or_thinly_sampled_tracks_are_not_measured():
    """Under two seconds, or under eight frames a second, no talk comes of a track."""
    at, mouth = seen_as(loudness(7))
    assert subject.talk_from(at[:30], mouth[:30]) is None
    assert subject.talk_from(at[::5], mouth[::5]) is None
    assert subject.talk_from(at[::2], mouth[::2]) is not None


def test_slow_motion_is_taken_off():
    """A smile that comes over seconds leaves nothing, syllables stay."""
    at = np.arange(200) * 0.04
    slow, fast = at[:, None] * 0.1, np.sin(2 * np.pi * 4 * at)[:, None]
    assert subject.detrended(slow)[25:-25].std() < 1e-9
    assert subject.detrended(fast).std() == pytest.approx(fast.std(), rel=0.05)


@pytest.mark.parametrize(
    ("measures", "lag", "soft", "holds"),
    [
        ({"match": 0.5}, 0.0, 1.9, "match by 0.50 (genuine video has 0.45 ± 0.15)"),
        ({"match": 0.1}, 0.44, 1.9, "when the sound is moved by -0.44 s"),
        ({"match": 0.1}, 0.0, 1.9, "fit at no shift"),
        ({"match": 0.5}, 0.0, 0.2, "much softer"),
    ],
)
def test_a_reviewer_is_told_what_was_found(match, measures, lag, soft, holds):
    """The match and what is usual; the shift, or that there is none; a soft mouth."""
    peak = 0.6 if lag else measures["match"]
    assert holds in subject.words(measures, lag, peak, soft, match.file)


def face_at(frame: int, at: float, opening: float) -> MeshedFace:
    """A face whose points lie on a spiral, with a mouth that is open by so much."""
    turn, reach = np.linspace(0, 40 * np.pi, 478), np.linspace(0.02, 0.3, 478)
    points = np.column_stack([0.5 + reach * np.cos(turn), 0.5 + reach * np.sin(turn), 0 * reach])
    points[[33, 263], :2] = [[0.3, 0.4], [0.7, 0.4]]
    points[[13, 14], :2] = [[0.5, 0.62 - opening / 5], [0.5, 0.62 + opening / 5]]
    points[[2, 152], :2] = [[0.5, 0.55], [0.5, 0.75 + opening / 4]]
    points[[78, 308], :2] = [[0.42 + opening / 20, 0.62], [0.58 - opening / 20, 0.62]]
    points[[0, 17], 1] = [0.58 - opening / 5, 0.66 + opening / 5]
    return MeshedFace(frame, at, Box(0.2, 0.2, 0.8, 0.8), points.astype(np.float32), 0.99)


def watched(shape: np.ndarray, audio: Audio | None, *, speech: bool = True, person: int | None = 3) -> View:
    """Six seconds of one face at 25 frames a second."""
    count = 150
    image = picture(200, 200)
    frames = tuple(Keyframe(1 + i, i / 25, image) for i in range(count))
    faces = tuple(
        face_at(1 + i, i / 25, float(np.interp(i / 25 + 0.04, np.arange(len(shape)) / 100, shape)))
        for i in range(count)
    )
    clip = clip_of(image, audio=audio)
    found = Speech(np.full(300, 0.9 if speech else 0.1, np.float32))
    track = Track(0, 0, faces, person)
    return View(clip, (), found, (Window(Span(0, 6, 25, "speech"), frames),), (track,))


class TestLipSync:
    """The detector, with the head and the map that ship or, where it says so, made-up ones."""

    @pytest.fixture(autouse=True)
    def _map(self, match, monkeypatch):
        monkeypatch.setattr(subject, "read_match", lambda: match)

    def score(self, view: View):
        (probe,) = LipSync().prepare(view)
        (score,) = LipSync().interpret(probe, probe.tensors)
        return score

    def test_the_original_scores_low_and_shifted_and_replaced_sound_high(self):
        """One score for the person, over the window, in the family's name."""
        shape = loudness(1)
        genuine, late, other = (
            self.score(watched(shape, audio))
            for audio in (heard_as(shape), heard_as(shape, start=0.5), heard_as(loudness(8)))
        )
        assert genuine.value < 0.3 < 0.7 < late.value
        assert genuine.value < other.value
        assert "-0.5" in late.note or "-0.4" in late.note
        assert (genuine.family, genuine.track, genuine.at) == (Family.LIP_SYNC, 3, 0.0)
        assert genuine.until == pytest.approx(6.0, abs=0.1)

    def test_nothing_is_asked_without_sound_speech_or_tracks(self):
        """Silence, music and films without faces are not applicable."""
        shape = loudness(1)
        assert LipSync().prepare(watched(shape, None)) == []
        assert LipSync().prepare(watched(shape, heard_as(shape), speech=False)) == []
        view = watched(shape, heard_as(shape))
        assert LipSync().prepare(View(view.clip, (), view.speech, view.windows, ())) == []

    def test_when_speech_is_not_known_the_question_is_skipped(self):
        """It lowers the coverage: nobody knows whether there was something to judge."""
        view = watched(loudness(1), heard_as(loudness(1)))
        (probe,) = LipSync().prepare(View(view.clip, (), None, view.windows, view.tracks))
        assert probe.skipped

    def test_a_mouth_that_does_not_move_is_no_speaker(self):
        """A listener is not held against the sound."""
        assert LipSync().prepare(watched(np.zeros(800), heard_as(loudness(1)))) == []

    def test_of_two_faces_the_one_that_fits_is_the_speaker(self):
        """The other one chews."""
        shape = loudness(1)
        speaker, other = watched(shape, heard_as(shape), person=1), watched(loudness(8), None, person=2)
        tracks = (Track(1, 0, other.tracks[0].faces, 2), *speaker.tracks)
        (probe,) = LipSync().prepare(View(speaker.clip, (), speaker.speech, speaker.windows, tracks))
        assert probe.track == 1

    def test_its_version_changes_with_its_numbers(self, monkeypatch):
        """The digests of head and map are part of it."""
        before = LipSync().version
        other = Match(subject.read_match().file, subject.read_match().weight, "87654321")
        monkeypatch.setattr(subject, "read_match", lambda: other)
        assert LipSync().version != before


def test_a_map_that_is_none_is_refused(tmp_path):
    """Missing, or with weights that do not fit: ConfigError names the file."""
    with pytest.raises(ConfigError, match=r"gone\.json"):
        subject.read_match(tmp_path / "gone.json")
    rest = '"match": 0, "match_spread": 1, "soft": 0, "soft_spread": 1, "trained": {}'
    (tmp_path / "odd.json").write_text(f'{{"taps": [0], "bands": 2, "weight": [[1]], {rest}}}')
    with pytest.raises(ConfigError, match="do not go together"):
        subject.read_match(tmp_path / "odd.json")


def test_the_map_that_ships_is_read():
    """It has the bands and taps that the code reads."""
    file = subject.read_match().file
    assert (file.bands, file.taps) == (subject.BANDS, subject.TAPS)


def test_talk_is_on_an_even_clock():
    """Frames that come unevenly are brought to 25 Hz."""
    at, mouth = seen_as(loudness(3))
    kept = np.random.default_rng(0).random(len(at)) < 0.8
    talk = subject.talk_from(at[kept], mouth[kept])
    assert isinstance(talk, Talk)
    assert np.diff(talk.at) == pytest.approx(0.04)
    assert talk.mouth.shape == (len(talk.at), 4)
