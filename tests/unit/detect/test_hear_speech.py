"""Where somebody speaks."""

import asyncio

import numpy as np
import pytest

from pipeline.decode.port import SAMPLE_RATE, Audio
from pipeline.detect.hear_speech import STEP, HearSpeech
from pipeline.errors import Reason, Stage, Transient
from pipeline.testing import FakeInfer, clip_of, picture

DOWN = Transient(Stage.DETECT, Reason.INFERENCE_UNAVAILABLE, "down")


def clip(seconds, start=0.0):
    return clip_of(picture(), picture(), audio=Audio(np.zeros(int(seconds * SAMPLE_RATE), np.float32), start))


def speaking(model, tensors):
    return {"probability": np.full(len(tensors["waveform"]) // STEP, 0.9, np.float32)}


async def hear(clip, infer, **options):
    return await HearSpeech(**options)(clip, infer, until=asyncio.get_running_loop().time() + 30)


async def test_each_stretch_of_sound_gets_a_probability():
    """One number per 32 ms, counted from where the sound begins."""
    speech = await hear(clip(2, start=0.5), FakeInfer({"voice_activity": speaking}))
    assert (speech.start, speech.step, len(speech.probability)) == (0.5, 0.032, 62)
    assert speech.probability.min() == pytest.approx(0.9)


async def test_a_long_sound_is_heard_in_part():
    """No more is sent than the option says."""
    infer = FakeInfer({"voice_activity": speaking})
    await hear(clip(9), infer, seconds=3)
    assert infer.calls[0][1]["waveform"].shape == (3 * SAMPLE_RATE,)


@pytest.mark.parametrize("silent", [clip_of(picture()), clip_of(picture(), audio=Audio(np.zeros(100, np.float32)))])
async def test_without_sound_nobody_is_asked(silent):
    """A picture, and a sound shorter than one step."""
    infer = FakeInfer()
    assert await hear(silent, infer) is None
    assert infer.calls == []


def nonsense(model, tensors):
    return {"probability": np.full(3, np.nan, np.float32)}


@pytest.mark.parametrize("answer", [DOWN, nonsense])
async def test_what_cannot_be_judged_is_not_silence(answer):
    """A server that is down and numbers that are none give no speech track, not an empty one."""
    assert await hear(clip(2), FakeInfer({"voice_activity": answer})) is None


def test_options_that_cannot_work_are_refused():
    """Nothing can be heard in no time."""
    with pytest.raises(ValueError, match="seconds"):
        HearSpeech(seconds=0)
