"""The voice activity model on the real server, against its authors' graph asked chunk by chunk."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from pipeline.detect.hear_speech import STEP, HearSpeech
from pipeline.detect.triton import Triton
from pipeline.models.sources import fetch, read_sources
from tests.integration.conftest import REPOSITORY

pytestmark = pytest.mark.slow

RATE, CONTEXT = 16_000, 64


@pytest.mark.parametrize("samples", [STEP, 3 * RATE, 5 * RATE + 100])
async def test_one_request_says_what_asking_chunk_by_chunk_says(infer: Triton, home: Path, samples: int) -> None:
    """A probability for each 512 samples, the same as the published graph's with its state handed on."""
    waveform = babble(samples)
    answer = await infer(HearSpeech.model, {"waveform": waveform}, within=60)
    name = "silero-vad-by-chunk"
    wanted = by_chunk(fetch(read_sources(REPOSITORY / "models/sources.toml"), [name], home)[name], waveform)
    assert answer["probability"].shape == (-(-samples // STEP),)
    assert answer["probability"] == pytest.approx(wanted, abs=1e-4)


async def test_silence_is_no_speech_and_something_like_vowels_is_more(infer: Triton) -> None:
    """The highest probability in silence stays low; that of a buzz with moving formants is above it."""
    quiet, loud = [
        await infer(HearSpeech.model, {"waveform": sound}, within=60)
        for sound in (np.zeros(3 * RATE, np.float32), babble(3 * RATE))
    ]
    assert quiet["probability"].max() < 0.1
    assert loud["probability"].max() > quiet["probability"].max()


def babble(samples: int) -> NDArray[np.float32]:
    """A glottal buzz through two resonances that move, in syllables, with a little noise."""
    t = np.arange(samples) / RATE
    phase = 2 * np.pi * np.cumsum(130 + 20 * np.sin(2 * np.pi * 0.7 * t)) / RATE
    formants = (500 + 250 * np.sin(2 * np.pi * 1.9 * t), 1500 + 600 * np.sin(2 * np.pi * 1.3 * t))
    harmonics = range(1, 40)
    gains = [sum(1 / (1 + ((130 * n - f) / 120) ** 2) for f in formants) for n in harmonics]
    voice = sum(gain * np.sin(n * phase) for gain, n in zip(gains, harmonics, strict=True))
    syllables = np.clip(np.sin(2 * np.pi * 3.5 * t), 0, None)
    noise = np.random.default_rng(0).normal(0, 0.003, samples)
    return np.asarray(0.1 * voice * syllables + noise, np.float32)


def by_chunk(graph: Path, waveform: NDArray[np.float32]) -> list[float]:
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    line = np.concatenate([np.zeros(CONTEXT), waveform, np.zeros(-len(waveform) % STEP)]).astype(np.float32)
    state, heard = np.zeros((2, 1, 128), np.float32), []
    for start in range(0, len(line) - CONTEXT, STEP):
        rows = line[None, start : start + CONTEXT + STEP]
        answer, state = session.run(None, {"input": rows, "state": state, "sr": np.array(RATE, np.int64)})
        heard.append(float(answer[0, 0]))
    return heard
