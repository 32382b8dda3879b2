"""One question, one answer, within a clip."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from pipeline.detect.memo import Memo
from pipeline.detect.nudity import Nudity
from pipeline.errors import Reason, Stage, Transient
from pipeline.testing import FakeInfer, Hang, constant

MODEL = Nudity.model
DOWN = Transient(Stage.DETECT, Reason.INFERENCE_UNAVAILABLE, "down")


def question(value=0):
    return {"image": np.full((1, 224, 224, 3), value, np.uint8)}


async def test_the_same_question_is_asked_once():
    """Twice at once and once later: one request, one answer."""
    infer = FakeInfer()
    memo = Memo(infer)
    answers = await asyncio.gather(*(memo(MODEL, question(), within=5) for _ in range(2)))
    answers.append(await memo(MODEL, question(), within=5))
    assert infer.asked(MODEL.name) == 1
    assert all(np.array_equal(answers[0]["probabilities"], other["probabilities"]) for other in answers)


async def test_other_pixels_and_other_outputs_are_other_questions():
    """Whatever may change the answer is part of the question."""
    infer = FakeInfer()
    memo = Memo(infer)
    await memo(MODEL, question(), within=5)
    await memo(MODEL, question(1), within=5)
    await memo(replace(MODEL, outputs=()), question(), within=5)
    assert infer.asked(MODEL.name) == 3


async def test_a_failure_is_not_remembered():
    """Who asks after a failure is answered when the server is back."""
    memo = Memo(FakeInfer({MODEL.name: [DOWN, constant()]}))
    with pytest.raises(Transient):
        await memo(MODEL, question(), within=5)
    assert await memo(MODEL, question(), within=5)


async def test_nobody_waits_longer_than_he_has():
    """While another with more time waits for a silent server, who has less gives up in time."""
    memo = Memo(FakeInfer({MODEL.name: Hang()}))
    patient = asyncio.create_task(memo(MODEL, question(), within=30))
    await asyncio.sleep(0)
    with pytest.raises(Transient, match="no answer"):
        await memo(MODEL, question(), within=0.05)
    patient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await patient
