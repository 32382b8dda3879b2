"""One vector per clip."""

import asyncio

import numpy as np

from pipeline.detect.embed import SIZE, Embed, most_telling
from pipeline.testing import FakeInfer, clip_of, constant, picture


async def test_an_embedding_is_512_half_precision_numbers():
    """1,024 bytes, little-endian."""
    infer = FakeInfer({"clip_embedding": constant(embedding=0.5)})
    until = asyncio.get_running_loop().time() + 30
    packed = await Embed()(clip_of(picture()), infer, until=until)
    assert len(packed) == 2 * SIZE
    assert np.all(np.frombuffer(packed, "<f2") == 0.5)
    assert infer.calls[0][1]["image"].shape == (1, 224, 224, 3)


def test_a_black_frame_is_passed_over():
    """The frame that tells most is taken; among equals the middle one."""
    black, lively = np.zeros((64, 64, 3), np.uint8), picture(64, 64)
    assert most_telling(clip_of(lively, black, black).keyframes).index == 0
    assert most_telling(clip_of(lively, lively, lively).keyframes).index == 1
    assert most_telling(clip_of(black).keyframes).index == 0
