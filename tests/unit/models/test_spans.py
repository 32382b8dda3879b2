import numpy as np
import pytest

from pipeline.models.clip_spans import CLIP_SPANS
from pipeline.models.spans import LEAST_GELU, WIDE, block_spans


def test_the_channels_that_reach_furthest_are_narrowed_to_the_next() -> None:
    """Sixteen of forty channels are divided so that none reaches further than the seventeenth."""
    largest = np.linspace(1, 40, 40).astype(np.float32)
    span = block_spans(largest, largest, largest, largest).qkv
    assert len(span.narrow) == WIDE
    assert max(largest[i] / by for i, by in span.narrow.items()) <= span.high
    assert span.low == -span.high


def test_only_what_reaches_far_beyond_the_rest_stays_in_32_bits() -> None:
    """One channel of a hundred at thirty times the others is exact, and the scale fits the others."""
    largest = np.ones(100, np.float32)
    largest[7] = 30
    span = block_spans(largest, largest, largest, largest).down
    assert span.exact == (7,)
    assert span.low == LEAST_GELU
    assert span.high == pytest.approx(1.05)


def test_the_measured_table_has_twelve_blocks_with_channels_that_exist() -> None:
    """768 channels before a product, 3,072 behind the non-linearity; no scale is empty."""
    assert len(CLIP_SPANS) == 12
    for block in CLIP_SPANS:
        for span, width in ((block.qkv, 768), (block.out, 768), (block.up, 768), (block.down, 3072)):
            assert span.low < 0 < span.high
            assert all(0 <= i < width for i in (*span.narrow, *span.exact))
            assert all(by >= 1 for by in span.narrow.values())
