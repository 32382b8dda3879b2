"""PDQ against its authors' implementation, and under what happens to pictures on the way."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipeline.detect.known_content import frame_hashes
from pipeline.match.banks import THRESHOLD
from pipeline.match.pdq import LEAST_QUALITY, distance, pdq
from pipeline.testing import clip_of
from tests.unit.match.waves import waves

REFERENCE = {
    (64, 64): "aaab00015555bfbf6afecd3c786bf2c17283d2c147bba5d56801c6c168b1d7c0",
    (97, 301): "1beefbbaabfcf7a9ab7377b8ff026e07c40009554ea098554ea0904f541a9807",
    (480, 640): "00fbfda203f557a2fcb557a0dccb5720886556dcdd01668bc927238fd61a948b",
    (720, 1280): "0beff9524be4b94903fb56a95dfa57dc5ef056a4f401a964f409a824f6a92803",
    (5, 5): "c4f1685b390e97a53e0f8e27c4f1318c29c8685ac4f1685b3b0e97a53e0fce73",
    (1023, 777): "5e2c5001df7cfaab1e2cfa295eacf201e62bfc02a157ac54a07e80fca3d1fe03",
}
"""What the authors' C++ (pdqhash 0.2.8) says of `waves(height, width, height + width)`."""


@pytest.mark.parametrize("size", REFERENCE)
def test_it_is_the_hash_of_its_authors(size):
    """At most one pair of bits, which lie on the median, may differ from the reference."""
    code, quality = pdq(waves(*size, sum(size)))
    assert distance(code, bytes.fromhex(REFERENCE[size])) <= 2
    assert quality == 100


@pytest.mark.parametrize("seed", range(5))
def test_a_picture_is_known_again_at_another_size_and_quality(seed):
    """Half the size and JPEG at quality 60 stay within the threshold; another picture does not."""
    image = waves(480, 640, seed)
    small = cv2.resize(image, (320, 240), interpolation=cv2.INTER_AREA)
    packed = cv2.imdecode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_COLOR)
    code, _ = pdq(image)
    assert distance(code, pdq(np.asarray(packed, np.uint8))[0]) <= THRESHOLD
    assert distance(code, pdq(waves(480, 640, seed + 100))[0]) > 2 * THRESHOLD


def test_a_plain_picture_is_not_good_enough():
    """One colour has no structure; its quality says that it is not to be compared."""
    assert pdq(np.full((100, 100, 3), 80, np.uint8))[1] < LEAST_QUALITY


@pytest.mark.parametrize("size", [(1, 1), (4, 400), (400, 4)])
def test_a_tiny_picture_has_no_hash(size):
    """Below five pixels a side there is nothing to hash."""
    assert pdq(np.zeros((*size, 3), np.uint8)) == (bytes(32), 0)


def test_half_of_the_bits_are_set():
    """Each bit says on which side of the median a coefficient lies."""
    assert int.from_bytes(pdq(waves(200, 300, 1))[0]).bit_count() == 128


def test_every_frame_that_was_looked_at_is_hashed():
    """With its moment; sound has none."""
    frames = [waves(120, 160, seed) for seed in range(3)]
    hashes = frame_hashes(clip_of(*frames))
    assert [each.pdq for each in hashes] == [pdq(frame)[0] for frame in frames]
    assert [each.at for each in hashes] == [frame.at for frame in clip_of(*frames).keyframes]
    assert frame_hashes(clip_of()) == ()
