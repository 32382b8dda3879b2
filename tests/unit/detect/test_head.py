"""Small heads: what they compute, and what they refuse."""

import math

import msgspec
import pytest

from pipeline.detect.head import Head, HeadFile, Layer, read_head
from pipeline.errors import ConfigError


def head(**changed) -> HeadFile:
    given = {
        "head": "test",
        "measures": ("a", "b"),
        "mean": (1.0, 0.0),
        "spread": (2.0, 1.0),
        "layers": (Layer(((1.0, -1.0),), (0.5,)),),
        "trained": {},
    }
    return HeadFile(**{**given, **changed})


def test_a_linear_head_is_the_logistic_of_its_sum():
    """(3 − 1)/2 − 1 + 0.5 = 0.5."""
    assert Head(head(), "")({"a": 3.0, "b": 1.0}) == pytest.approx(1 / (1 + math.exp(-0.5)))


def test_a_second_layer_sees_no_negative_values():
    """The hidden value is −1, so only the bias of the last layer is left."""
    layers = (Layer(((0.0, -1.0),), (0.0,)), Layer(((7.0,),), (2.0,)))
    assert Head(head(layers=layers), "")({"a": 1.0, "b": 1.0}) == pytest.approx(1 / (1 + math.exp(-2.0)))


def test_a_measure_that_could_not_be_taken_counts_as_its_mean():
    """NaN moves nothing."""
    assert Head(head(), "")({"a": math.nan, "b": 0.0}) == Head(head(), "")({"a": 1.0, "b": 0.0})


def test_an_absurd_measure_counts_as_the_limit():
    """Infinity and 1e9 are five standard deviations."""
    far = Head(head(), "")({"a": 11.0, "b": 0.0})
    assert Head(head(), "")({"a": math.inf, "b": 0.0}) == Head(head(), "")({"a": 1e9, "b": 0.0}) == far


@pytest.mark.parametrize(
    "changed",
    [
        {"mean": (1.0,)},
        {"spread": (0.0, 1.0)},
        {"layers": ()},
        {"layers": (Layer(((1.0,),), (0.0,)),)},
        {"layers": (Layer(((1.0, 1.0), (1.0, 1.0)), (0.0, 0.0)),)},
    ],
)
def test_numbers_that_do_not_go_together_are_refused(changed):
    """A head that would compute nonsense is no head."""
    with pytest.raises(ValueError, match="test"):
        head(**changed)


def test_a_head_is_read_from_its_file(tmp_path):
    """The digest changes with the file."""
    (tmp_path / "one.json").write_bytes(msgspec.json.encode(head()))
    (tmp_path / "two.json").write_bytes(msgspec.json.encode(head(clip=4.0)))
    assert read_head("one", tmp_path).digest != read_head("two", tmp_path).digest


def test_a_missing_head_is_named(tmp_path):
    """The error says which file."""
    with pytest.raises(ConfigError, match=r"nothing\.json"):
        read_head("nothing", tmp_path)
