"""Genuine speech, taken apart and put together again as vocoders do: training fakes without any speech generator.

What gives a cloned voice away is mostly its vocoder, the last step that turns a spectrogram into a wave. A head that is
trained on vocoded copies of genuine speech learns those traces and not one generator's voices (Wang & Yamagishi, ICASSP
2023; for pictures: self-blended images, Shiohara & Yamasaki, CVPR 2022). Nobody is made to say what he has not said.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline.decode.port import SAMPLE_RATE
from pipeline.detect.sound import Samples, band_pass, pitch

Spectrogram = NDArray[np.complex128]
Magnitude = NDArray[np.float64]

_SIZE = 1024


def revoice(samples: Samples, rng: np.random.Generator) -> tuple[Samples, str]:
    """A vocoded copy and the way it was made; as long and as loud as the original."""
    name = str(rng.choice(list(WAYS)))
    made = WAYS[name](samples, rng)
    if rng.random() < 0.3:
        made = _imaged(made, rng)
    made = np.nan_to_num(made[: len(samples)])
    made = np.pad(made, (0, len(samples) - len(made)))
    loud = np.sqrt(np.mean(samples.astype(np.float64) ** 2)) / max(float(np.sqrt(np.mean(made**2))), 1e-9)
    return np.asarray(np.clip(made * loud, -1, 1), np.float32), name


def _griffin_lim(samples: Samples, rng: np.random.Generator) -> Magnitude:
    """Mel spectrogram → magnitudes → phases found by iteration (Griffin & Lim 1984; Perraudin 2013)."""
    hop = int(rng.choice([128, 160, 200, 256]))
    wanted = np.abs(_through_mel(_stft(samples, hop), rng))
    found = wanted * np.exp(2j * np.pi * rng.random(wanted.shape))
    before = found
    for _ in range(int(rng.integers(6, 24))):
        again = _stft(_istft(found, hop), hop)
        again = _fit(again, wanted.shape)
        push = again + 0.99 * (again - before)
        before = again
        found = wanted * push / np.maximum(np.abs(push), 1e-9)
    return _istft(found, hop)


def _own_phase(samples: Samples, rng: np.random.Generator) -> Magnitude:
    """Magnitudes through a mel bank, the phases kept and roughened towards high frequencies: a good neural vocoder."""
    hop = int(rng.choice([128, 160, 256]))
    own = _stft(samples, hop)
    smooth = np.abs(_through_mel(own, rng))
    share = float(rng.uniform(0.5, 1.0))
    size = np.abs(own) ** (1 - share) * smooth**share
    height = np.linspace(0, 1, own.shape[1]) ** float(rng.uniform(0.5, 2))
    rough = rng.normal(size=own.shape) * height * float(rng.uniform(0.2, 2.5))
    return _istft(size * np.exp(1j * (np.angle(own) + rough)), hop)


def _coarse(samples: Samples, rng: np.random.Generator) -> Magnitude:
    """Smoothed over time, or over frequency, with the phases kept: the over-smooth spectrograms of acoustic models."""
    hop = 160
    own = _stft(samples, hop)
    logs = np.log(np.abs(own) + 1e-6)
    wide = int(rng.integers(3, 8))
    kernel = np.hanning(wide + 2)[1:-1]
    kernel /= kernel.sum()
    axis = int(rng.integers(0, 2))
    smooth = np.apply_along_axis(np.convolve, axis, logs, kernel, "same")
    share = float(rng.uniform(0.4, 1.0))
    return _istft(np.exp(share * smooth + (1 - share) * logs) * np.exp(1j * np.angle(own)), hop)


def _source_filter(samples: Samples, rng: np.random.Generator) -> Magnitude:
    """Harmonics of the measured pitch and noise, shaped by the smoothed spectrum (WORLD, Morise 2016; neural
    source-filter models): the voice's shape with a made-up excitation."""
    hop = 160
    tone = pitch(samples)
    hertz = SAMPLE_RATE / tone.period
    voiced = tone.voiced.astype(float)
    steps = np.arange(len(samples)) / hop
    where = np.arange(len(hertz)) + 2.0
    f0 = np.interp(steps, where, hertz)
    mix = np.interp(steps, where, np.convolve(voiced, np.ones(3) / 3, "same"))
    turn = 2 * np.pi * np.cumsum(f0) / SAMPLE_RATE
    top = float(rng.uniform(2500, 7800))
    wave = np.zeros(len(samples))
    flat = bool(rng.random() < 0.5)
    for k in range(1, 80):
        gate = np.clip((top - k * f0) / 300, 0, 1)
        if not gate.any():
            break
        wave += gate * np.cos(k * turn + (0 if flat else rng.uniform(0, 2 * np.pi)))
    wave *= np.sqrt(2 / np.maximum(top / f0, 1))
    noise = rng.normal(size=len(samples))
    high = band_pass(np.asarray(noise, np.float32), top, 8000).real
    excitation = mix * (wave + high + 0.03 * noise) + (1 - mix) * noise
    made = _stft(np.asarray(excitation, np.float32), hop)
    shape = np.abs(_through_mel(_stft(samples, hop), rng))
    own = np.abs(_through_mel(made, np.random.default_rng(0)))
    return _istft(made / np.maximum(own, 1e-6) * shape, hop)


def _linear_prediction(samples: Samples, rng: np.random.Generator) -> Magnitude:
    """An all-pole filter per frame; its residual flattened and its phases roughened (LPC, Atal & Hanauer 1971)."""
    hop, order = 160, int(rng.integers(14, 26))
    own = _stft(samples, hop)
    spectrum = np.abs(own) ** 2
    lags = np.fft.irfft(spectrum, axis=1)[:, : order + 1]
    lags[:, 0] = lags[:, 0] * 1.0001 + 1e-9
    shape = np.empty_like(spectrum)
    index = np.abs(np.arange(order)[:, None] - np.arange(order)[None, :])
    for i, row in enumerate(lags):
        a = np.linalg.solve(row[index] + 1e-9 * np.eye(order), row[1:])
        gain = max(float(row[0] - a @ row[1:]), 1e-12)
        shape[i] = gain / np.maximum(np.abs(np.fft.rfft(np.r_[1, -a], _SIZE)) ** 2, 1e-9)
    residual = own / np.sqrt(np.maximum(shape, 1e-12))
    size = np.abs(residual)
    share = float(rng.uniform(0.4, 1.0))
    phase = np.angle(residual) + rng.normal(size=size.shape) * float(rng.uniform(0, 1.0))
    return _istft(size ** (1 - share) * np.sqrt(shape) * np.exp(1j * phase), hop)


WAYS: dict[str, Callable[[Samples, np.random.Generator], Magnitude]] = {
    "griffin_lim": _griffin_lim,
    "own_phase": _own_phase,
    "coarse": _coarse,
    "source_filter": _source_filter,
    "linear_prediction": _linear_prediction,
}


def _imaged(made: Magnitude, rng: np.random.Generator) -> Magnitude:
    """Mirror images above half of a lower rate, as the upsampling layers of neural vocoders leave them."""
    step = int(rng.choice([2, 4]))
    thin = band_pass(np.asarray(made, np.float32), 0, SAMPLE_RATE / 2 / step).real[::step]
    held = np.repeat(thin, step)[: len(made)]
    held = np.pad(held, (0, len(made) - len(held)))
    return made + float(rng.uniform(0.02, 0.2)) * held


def _through_mel(spectrogram: Spectrogram, rng: np.random.Generator) -> Magnitude:
    """Magnitudes after a mel bank of 40–128 bands and back by its pseudo-inverse."""
    bands = int(rng.choice([40, 64, 80, 80, 100, 128]))
    ends = 2595 * np.log10(1 + np.array([0.0, 8000.0]) / 700)
    edges = 700 * (10 ** (np.linspace(ends[0], ends[1], bands + 2) / 2595) - 1)
    bins = np.linspace(0, 8000, _SIZE // 2 + 1)
    rising = (bins[:, None] - edges[None, :-2]) / np.diff(edges)[None, :-1]
    falling = (edges[None, 2:] - bins[:, None]) / np.diff(edges)[None, 1:]
    bank = np.maximum(0, np.minimum(rising, falling))
    mel = np.abs(spectrogram) @ bank
    return np.maximum(mel @ np.linalg.pinv(bank), 1e-7)


def _stft(samples: NDArray[np.floating], hop: int) -> Spectrogram:
    padded = np.pad(samples.astype(np.float64), _SIZE // 2, mode="reflect")
    cut = np.lib.stride_tricks.sliding_window_view(padded, _SIZE)[::hop]
    return np.asarray(np.fft.rfft(cut * np.hanning(_SIZE), axis=1))


def _istft(spectrogram: Spectrogram, hop: int) -> Magnitude:
    window = np.hanning(_SIZE)
    cut = np.fft.irfft(spectrogram, axis=1) * window
    length = (len(cut) - 1) * hop + _SIZE
    out, weight = np.zeros(length), np.zeros(length)
    for i, row in enumerate(cut):
        out[i * hop : i * hop + _SIZE] += row
        weight[i * hop : i * hop + _SIZE] += window**2
    return (out / np.maximum(weight, 1e-3))[_SIZE // 2 : length - _SIZE // 2]


def _fit(spectrogram: Spectrogram, shape: tuple[int, ...]) -> Spectrogram:
    missing = shape[0] - len(spectrogram)
    return np.pad(spectrogram, ((0, max(0, missing)), (0, 0)))[: shape[0]]
