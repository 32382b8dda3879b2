"""What can be measured of a stretch of speech. Pure functions of samples: no model, no state.

All of them take float32 samples, mono, 16 kHz. Whatever a channel adds to every frame alike (gain, a microphone's
response) is taken off by subtracting means over time, so that what remains is how the sound moves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pipeline.decode.port import SAMPLE_RATE

Samples = NDArray[np.float32]
Series = NDArray[np.float64]
Grid = NDArray[np.float64]
"""Frames × bands."""

FRAME = 400
"""Samples of one frame, 25 ms: short enough for one sound of speech, as is usual (ETSI ES 201 108)."""
HOP = 160
"""Samples from frame to frame, 10 ms."""
_FFT = 512
_FLOOR = 1e-10
"""Power below which a band counts as empty: −100 dB of full scale."""

_HEARD = 35.0
"""dB under the mean of each frequency at which everything is levelled out: how quiet the pauses are says how a
recording was made and cleaned, not who speaks."""
_PITCH_FRAME = 640
_LOWEST_PITCH, _HIGHEST_PITCH = 70.0, 400.0
_VOICED = 0.55
"""Normalised autocorrelation at the pitch lag above which a frame counts as voiced (Boersma 1993 uses 0.45–0.6)."""
_MODULATIONS = ((0.5, 2.0), (2.0, 4.0), (4.0, 8.0), (8.0, 16.0), (16.0, 30.0), (30.0, 50.0))
"""Hz: how fast bands may swell and fade. Speech peaks at 4 Hz; smoothed spectra lack what is above 16."""


def frames(samples: Samples, size: int = FRAME, hop: int = HOP) -> NDArray[np.float32]:
    """Overlapping frames, n × `size`, without copying; none when there are too few samples."""
    if len(samples) < size:
        return np.zeros((0, size), np.float32)
    return np.lib.stride_tricks.sliding_window_view(samples, size)[::hop]


def power(samples: Samples) -> Grid:
    """Power spectrum per frame: n × 257, Hann window, 1.0 for a full-scale sine's bin within a factor of two."""
    window = np.hanning(FRAME).astype(np.float32)
    spectrum = np.fft.rfft(frames(samples) * window, _FFT, axis=1)
    return np.asarray(np.abs(spectrum) ** 2 / (window.sum() / 2) ** 2, np.float64)


@cache
def _triangles(bands: int, scale: str, low: float = 0.0, high: float = SAMPLE_RATE / 2) -> NDArray[np.float64]:
    """Triangular filters, 257 × bands, evenly spaced in Hz or in mel (O'Shaughnessy: 2595 · log10(1 + f / 700))."""
    if scale == "mel":
        ends = 2595 * np.log10(1 + np.array([low, high]) / 700)
        edges = 700 * (10 ** (np.linspace(ends[0], ends[1], bands + 2) / 2595) - 1)
    else:
        edges = np.linspace(low, high, bands + 2)
    bins = np.arange(_FFT // 2 + 1) * SAMPLE_RATE / _FFT
    rising = (bins[:, None] - edges[None, :-2]) / np.diff(edges)[None, :-1]
    falling = (edges[None, 2:] - bins[:, None]) / np.diff(edges)[None, 1:]
    filters = np.maximum(0, np.minimum(rising, falling))
    return np.asarray(filters / np.maximum(filters.sum(axis=0), 1e-9))


def log_bands(spectrum: Grid, bands: int, scale: str = "linear") -> Grid:
    """Natural logarithm of the power in `bands` triangular bands, n × bands."""
    return np.asarray(np.log(spectrum @ _triangles(bands, scale) + _FLOOR))


def band_pass(samples: Samples, low: float, high: float) -> NDArray[np.complex128]:
    """The part between two frequencies as an analytic signal: its real part is the sound, its size the envelope."""
    spectrum = np.fft.fft(samples.astype(np.float64))
    hertz = np.fft.fftfreq(len(samples), 1 / SAMPLE_RATE)
    edge = 50.0
    gain = np.clip((hertz - low) / edge + 0.5, 0, 1) * np.clip((high - hertz) / edge + 0.5, 0, 1)
    return np.asarray(np.fft.ifft(spectrum * gain * 2))


def envelope(samples: Samples, step: float, low: float = 100.0, high: float = 7000.0) -> Series:
    """Loudness over time: the natural logarithm of the mean power per `step` seconds."""
    size = round(step * SAMPLE_RATE)
    part = np.abs(band_pass(samples, low, high)[: len(samples) // size * size]) ** 2
    return np.asarray(np.log(part.reshape(-1, size).mean(axis=1) + _FLOOR))


@dataclass(frozen=True, slots=True, eq=False)
class Pitch:
    """Per frame of 40 ms, every 10 ms: the period in samples, and how periodic the frame is (0–1)."""

    period: Series
    strength: Series

    @property
    def voiced(self) -> NDArray[np.bool_]:
        return np.asarray(self.strength > _VOICED)


def pitch(samples: Samples) -> Pitch:
    """The strongest repetition between 70 and 400 Hz, by the window-corrected autocorrelation (Boersma 1993)."""
    cut = frames(np.asarray(band_pass(samples, 60, 1200).real, np.float32), _PITCH_FRAME, HOP).astype(np.float64)
    window = np.hanning(_PITCH_FRAME)
    own = _autocorrelation(window[None])[0]
    normal = _autocorrelation((cut - cut.mean(axis=1, keepdims=True)) * window)
    normal = normal / np.maximum(normal[:, :1], 1e-12) / (own / own[0])[None, :]
    first, last = int(SAMPLE_RATE / _HIGHEST_PITCH), int(SAMPLE_RATE / _LOWEST_PITCH)
    lags = np.arange(first, last + 1)
    # A long period repeats a short one: without a price on length half the voice's pitch would be found.
    priced = normal[:, first : last + 1] - 0.03 * np.log2(lags / first)[None, :]
    best = priced.argmax(axis=1) if len(cut) else np.zeros(0, int)
    rows = np.arange(len(cut))
    at = np.clip(best + first, 1, normal.shape[1] - 2)
    before, here, after = normal[rows, at - 1], normal[rows, at], normal[rows, at + 1]
    bend = before - 2 * here + after
    shift = np.where(np.abs(bend) > 1e-9, 0.5 * (before - after) / np.where(np.abs(bend) > 1e-9, bend, 1), 0)
    return Pitch(at + np.clip(shift, -0.5, 0.5), np.clip(here, 0, 1))


def _autocorrelation(cut: NDArray[np.float64]) -> Grid:
    spectrum = np.fft.rfft(cut, 2 * _PITCH_FRAME, axis=1)
    return np.asarray(np.fft.irfft(np.abs(spectrum) ** 2, axis=1)[:, : _PITCH_FRAME // 2 + 8])


def band_limit(samples: Samples) -> float:
    """Hz above which there is nothing: the power lies 60 dB under the loudest kilohertz's, which no voice falls to.

    Telephones end at 3.4–4 kHz, much synthesis and many codecs at 5.5, 7 or 8.
    """
    # Of the louder frames: one click would fill the whole mean.
    loud = np.percentile(power(samples), 75, axis=0) if len(samples) >= FRAME else np.zeros(_FFT // 2 + 1)
    smooth = np.convolve(loud, np.ones(8) / 8, "same")
    heard = np.flatnonzero(smooth > smooth.max() * 1e-6)
    return float(heard[-1] * SAMPLE_RATE / _FFT) if len(heard) and smooth.max() > 0 else 0.0


def digital_silence(samples: Samples) -> tuple[float, float] | None:
    """The first second, and the length, of the longest stretch without a single step of 16 bits; None under 50 ms.

    No microphone is that quiet: something cut, gated or made the sound.
    """
    silent = np.abs(samples) < 2**-16
    edges = np.flatnonzero(np.diff(np.concatenate([[0], silent.astype(np.int8), [0]])))
    starts, ends = edges[::2], edges[1::2]
    if not len(starts):
        return None
    longest = int(np.argmax(ends - starts))
    length = float(ends[longest] - starts[longest]) / SAMPLE_RATE
    return (float(starts[longest]) / SAMPLE_RATE, length) if length >= _SILENT else None


_SILENT = 0.05


def voice_measures(samples: Samples, speech: NDArray[np.bool_]) -> dict[str, float]:
    """Everything that the voice-clone head reads of one stretch; `speech`: per 10 ms frame, whether somebody speaks.

    NaN where a measure cannot be taken (no voiced frame, no pause).
    """
    samples = np.asarray(samples - samples.mean(), np.float32)
    samples = np.asarray(samples / max(float(np.sqrt(np.mean(samples**2))), 1e-6) * 0.1, np.float32)
    spectrum = power(samples)
    count = min(len(spectrum), len(speech))
    spectrum, speech = spectrum[:count], speech[:count]
    spectrum = spectrum + 10 ** (-_HEARD / 10) * spectrum.mean(axis=0)
    tone = pitch(samples)
    measures: dict[str, float] = {}
    for taken in (_loudness(spectrum, speech), _modulation(spectrum), _voicing(tone, speech)):
        measures.update(taken)
    return measures


def _loudness(spectrum: Grid, speech: NDArray[np.bool_]) -> Iterator[tuple[str, float]]:
    """How far and how abruptly eight bands of a kilohertz swell and fade, and how alike neighbours do."""
    spoken = np.log(spectrum[speech] + _FLOOR)
    if len(spoken) < 8:
        spoken = np.full((8, spectrum.shape[1]), np.nan)
    for low in range(0, 8000, 1000):
        first, last = low * _FFT // SAMPLE_RATE, (low + 1000) * _FFT // SAMPLE_RATE
        level = spoken[:, max(first, 3) : last].mean(axis=1)
        yield f"range_{low}", float(np.subtract(*np.percentile(level, [95, 5])))
        yield f"jump_{low}", float(np.log(np.abs(np.diff(level)).mean() + 1e-6))
    bands = log_bands(np.exp(spoken), 16)
    together = np.corrcoef((bands - bands.mean(axis=0)).T + 1e-9 * np.random.default_rng(0).normal(size=bands.T.shape))
    for i in range(0, 15, 2):
        yield f"together_{i}", float(together[i, i + 1])
    yield "together_far", float(together[:4, 12:].mean())


def _modulation(spectrum: Grid) -> Iterator[tuple[str, float]]:
    """Shares of how fast four broad bands swell and fade."""
    bands = log_bands(spectrum, 16, "mel")
    swing = np.abs(np.fft.rfft((bands - bands.mean(axis=0)) * np.hanning(len(bands))[:, None], axis=0)) ** 2
    hertz = np.fft.rfftfreq(len(bands), HOP / SAMPLE_RATE)
    for part in range(4):
        own = swing[:, part * 4 : part * 4 + 4].sum(axis=1)
        whole = own[(hertz >= 0.5) & (hertz < 50)].sum() + 1e-9
        for low, high in _MODULATIONS:
            yield f"swing_{part}_{low:g}", float(np.log(own[(hertz >= low) & (hertz < high)].sum() / whole + 1e-6))


def _voicing(tone: Pitch, speech: NDArray[np.bool_]) -> Iterator[tuple[str, float]]:
    """Pitch that wavers, breaks, and is more or less clear: what glottal folds do by themselves."""
    count = min(len(tone.period), len(speech))
    voiced = tone.voiced[:count] & speech[:count]
    runs = voiced[1:] & voiced[:-1]
    relative = np.abs(np.diff(tone.period[:count])) / tone.period[1:count]
    smooth = runs & (relative < 0.1)
    yield "voiced", float(voiced.sum() / max(1, speech[:count].sum()))
    yield "waver", float(np.log(relative[smooth].mean() + 1e-5)) if smooth.sum() > 5 else float("nan")
    yield "breaks", float((runs & (relative >= 0.1)).sum() / max(1, runs.sum()))
    strength = tone.strength[:count][voiced]
    yield "strength", _mean(strength)
    yield "strength_spread", float(strength.std()) if len(strength) else float("nan")


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else float("nan")
