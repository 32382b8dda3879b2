"""What is measured of speech: gain does not matter, how the sound moves does."""

import numpy as np
import pytest

from pipeline.decode.port import SAMPLE_RATE
from pipeline.detect import sound


def voice(seconds: float = 4.0, hertz: float = 120.0, seed: int = 0) -> np.ndarray:
    """Pulses of a wavering pitch through two resonances, in syllables, with a little noise."""
    rng = np.random.default_rng(seed)
    count = round(seconds * SAMPLE_RATE)
    pitch = hertz * (1 + 0.02 * np.cumsum(rng.normal(size=count)) / np.sqrt(count))
    phase = np.cumsum(pitch) / SAMPLE_RATE
    pulses = np.diff(np.floor(phase), prepend=0.0)
    spectrum = np.fft.rfft(pulses)
    at = np.fft.rfftfreq(count, 1 / SAMPLE_RATE)
    spectrum *= sum(1 / (1 + ((at - peak) / 150) ** 2) for peak in (600, 1500, 2600))
    wave = np.fft.irfft(spectrum, count)
    wave *= 0.55 + 0.45 * np.sin(2 * np.pi * 4 * np.arange(count) / SAMPLE_RATE)
    return (0.1 * wave / wave.std() + 0.001 * rng.normal(size=count)).astype(np.float32)


def spoken(samples: np.ndarray) -> np.ndarray:
    return np.ones(len(samples) // sound.HOP, bool)


def test_frames_overlap_and_do_not_reach_beyond_the_end():
    """One frame per 10 ms as long as 25 ms are left; none of too few samples."""
    cut = sound.frames(np.arange(1000, dtype=np.float32))
    assert cut.shape == (4, 400)
    assert cut[1, 0] == 160
    assert sound.frames(np.zeros(399, np.float32)).shape == (0, 400)


@pytest.mark.parametrize("scale", ["linear", "mel"])
def test_a_tone_sounds_in_its_band(scale):
    """The loudest of 40 bands holds the tone's frequency, on either scale."""
    tone = np.sin(2 * np.pi * 1000 * np.arange(SAMPLE_RATE) / SAMPLE_RATE).astype(np.float32)
    loudest = sound.log_bands(sound.power(tone), 40, scale).mean(axis=0).argmax()
    edges = np.linspace(0, 8000, 42) if scale == "linear" else 700 * (10 ** (np.linspace(0, 2840.03, 42) / 2595) - 1)
    assert edges[loudest] <= 1000 <= edges[loudest + 2]


def test_a_band_passes_what_lies_in_it_alone():
    """Of two tones the one outside is gone; the envelope of the other is its size."""
    at = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    both = (np.sin(2 * np.pi * 500 * at) + np.sin(2 * np.pi * 3000 * at)).astype(np.float32)
    assert np.abs(sound.band_pass(both, 2000, 4000))[1000:-1000] == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("hertz", [90.0, 140.0, 220.0, 330.0])
def test_the_pitch_is_found_and_not_half_or_double_of_it(hertz):
    """Within 3 % on most voiced frames, from low to high voices."""
    found = sound.pitch(voice(hertz=hertz))
    voiced = found.period[found.voiced]
    assert len(voiced) > 50
    assert np.median(SAMPLE_RATE / voiced) == pytest.approx(hertz, rel=0.03)


def test_noise_has_no_pitch():
    """Hardly a frame counts as voiced."""
    noise = np.random.default_rng(0).normal(size=2 * SAMPLE_RATE).astype(np.float32)
    assert sound.pitch(noise).voiced.mean() < 0.1


def test_loudness_follows_the_sound():
    """Ten times the amplitude is ln(100) more."""
    samples = voice(1.0)
    louder = sound.envelope(10 * samples, 0.04) - sound.envelope(samples, 0.04)
    assert louder == pytest.approx(np.log(100), abs=1e-3)


def test_measures_do_not_depend_on_gain_or_offset():
    """The same voice, half as loud and with a constant added, measures the same."""
    samples = voice()
    one = sound.voice_measures(samples, spoken(samples))
    other = sound.voice_measures(0.5 * samples + 0.01, spoken(samples))
    assert one.keys() == other.keys()
    assert np.array(list(other.values())) == pytest.approx(np.array(list(one.values())), abs=1e-3, nan_ok=True)


def test_smoothed_speech_measures_smoother():
    """A spectrum that is blurred over time is less loud or soft at once."""
    samples = voice()
    windows = np.lib.stride_tricks.sliding_window_view(samples, 512)[::128] * np.hanning(512)
    spectrum = np.fft.rfft(windows, axis=1)
    size = np.stack([np.convolve(column, np.ones(9) / 9, "same") for column in np.abs(spectrum).T], axis=1)
    blurred = np.zeros(len(windows) * 128 + 512)
    for i, row in enumerate(np.fft.irfft(size * np.exp(1j * np.angle(spectrum)), axis=1)):
        blurred[i * 128 : i * 128 + 512] += row
    blurred = blurred[: len(samples)].astype(np.float32)
    before, after = (sound.voice_measures(s, spoken(samples)[: len(s) // sound.HOP]) for s in (samples, blurred))
    assert after["jump_1000"] < before["jump_1000"]


@pytest.mark.parametrize(
    "samples", [np.zeros(64_000, np.float32), np.ones(64_000, np.float32), np.zeros(500, np.float32)]
)
def test_silence_and_scraps_are_measured_without_error(samples):
    """Digital silence, a constant and 30 ms give the same measures as speech, as numbers or NaN."""
    measures = sound.voice_measures(samples, spoken(samples))
    assert measures.keys() == sound.voice_measures(voice(), spoken(voice())).keys()
    assert not np.isinf(list(measures.values())).any()


@pytest.mark.parametrize("cut", [3400, 5500, 8000])
def test_the_band_limit_is_found(cut):
    """Noise that ends at a frequency ends there, within 350 Hz; silence has no band."""
    noise = np.random.default_rng(0).normal(size=2 * SAMPLE_RATE)
    spectrum = np.fft.rfft(noise)
    spectrum[np.fft.rfftfreq(len(noise), 1 / SAMPLE_RATE) > cut] = 0
    limited = np.fft.irfft(spectrum).astype(np.float32)
    assert sound.band_limit(limited) == pytest.approx(cut, abs=350)
    assert sound.band_limit(np.zeros(SAMPLE_RATE, np.float32)) == 0.0


def test_digital_silence_is_found_where_it_is():
    """The longest run of nothing, from when and how long; a quiet room is none."""
    samples = np.full(SAMPLE_RATE, 0.001, np.float32)
    assert sound.digital_silence(samples) is None
    samples[4000:4200] = 0
    assert sound.digital_silence(samples) is None
    samples[8000:9600] = 0
    assert sound.digital_silence(samples) == (0.5, 0.1)
