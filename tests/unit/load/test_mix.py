"""What is offered, and in which order."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.load.mix import DEFAULT, Kind, Mix, parse, planned

LAST = (Kind.REUPLOAD, Kind.BROKEN)
MIXES = st.dictionaries(st.sampled_from(Kind), st.floats(0.1, 100), min_size=1).filter(
    lambda weights: Kind.REUPLOAD not in weights or set(weights) - {Kind.REUPLOAD, Kind.BROKEN}
)


@given(MIXES, st.integers(0, 300), st.integers(0, 9))
def test_shares_are_kept_as_closely_as_whole_numbers_can(weights: dict[Kind, float], count: int, seed: int) -> None:
    """No kind is more than one upload off its share, unless there are re-uploads and nothing that they could repeat."""
    plan = planned(Mix(weights), count, seed)
    found = Counter(each.kind for each in plan)
    assert len(plan) == count
    some = any(share * count >= 1 for kind, share in Mix(weights).shares.items() if kind not in LAST)
    for kind, share in Mix(weights).shares.items():
        if some or Kind.REUPLOAD not in weights:
            assert abs(found[kind] - share * count) < 1


@given(MIXES, st.integers(0, 300), st.integers(0, 9))
def test_a_reupload_repeats_an_earlier_readable_file(weights: dict[Kind, float], count: int, seed: int) -> None:
    """What is repeated comes before, is no re-upload itself, and can be read."""
    plan = planned(Mix(weights), count, seed)
    for position, each in enumerate(plan):
        assert (each.again is not None) == (each.kind is Kind.REUPLOAD)
        if each.again is not None:
            assert each.again < position
            assert plan[each.again].kind not in (Kind.REUPLOAD, Kind.BROKEN)


def test_no_two_first_uploads_share_a_file_and_the_seed_decides() -> None:
    """Numbers within a kind are given once, and the same seed gives the same plan."""
    plan = planned(parse(DEFAULT), 500, 3)
    first = [(each.kind, each.number) for each in plan if each.again is None]
    assert len(first) == len(set(first))
    assert plan == planned(parse(DEFAULT), 500, 3)
    assert plan != planned(parse(DEFAULT), 500, 4)


def test_a_mix_is_written_as_kinds_with_weights() -> None:
    """Weights are shares of their sum; a kind alone weighs one; a weight of nothing leaves a kind out."""
    assert parse("image=3, audio,broken=0").shares == {Kind.IMAGE: 0.75, Kind.AUDIO: 0.25}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cats=1",
        "image=x",
        "image=-1",
        "image=nan",
        "image=inf",
        "image=1,image=2",
        "reupload=1",
        "image=0",
        "reupload=1,broken=1",
    ],
)
def test_a_mix_that_means_nothing_is_refused(text: str) -> None:
    """The operator is told what is wrong."""
    with pytest.raises(ConfigError, match="mix"):
        parse(text)
