"""How unusual something is: right on cases that can be worked out by hand."""

import math

import msgspec
import pytest

from pipeline.detect.normal import Normal, Range, Ranges, departure, read_ranges, strangeness
from pipeline.errors import ConfigError

BOTH = Range("both", 10.0, 2.0, "things on both sides")
MORE = Range("more", 0.0, 1.0, "things of which more is odd", 1)
FILE = Ranges("test", (BOTH, MORE), (0.5, 1.0, 1.5, 2.0), {})
NORMAL = Normal(FILE, "12345678")


@pytest.mark.parametrize(
    ("usual", "value", "expected"),
    [
        (BOTH, 14.0, 2.0),
        (BOTH, 6.0, 2.0),
        (MORE, 3.0, 3.0),
        (MORE, -3.0, 0.0),
        (MORE, 99.0, 6.0),
        (BOTH, math.nan, 0.0),
    ],
)
def test_departures(usual, value, expected):
    """In spreads, on the side that counts, bounded; nothing for what could not be measured."""
    assert departure(usual, value) == expected


def test_the_score_is_the_share_of_genuine_windows_that_are_less_unusual():
    """Departures of 2 and 1 make √2.5 = 1.58: three of four genuine windows are below."""
    assert NORMAL.score({"both": 14.0, "more": 1.0}) == 3 / 5
    assert NORMAL.score({"both": 10.0, "more": 0.0}) == 0.0


def test_more_unusual_never_scores_less():
    """As one measure departs further, the score rises or stays."""
    scores = [NORMAL.score({"both": 10.0 + step, "more": 0.5}) for step in range(10)]
    assert scores == sorted(scores)


def test_too_little_measured_says_nothing():
    """Of two measures none could be taken; with one of two it is judged by that one."""
    assert strangeness(FILE.ranges, {}) is None
    assert NORMAL.score({"both": math.nan, "more": math.nan}) is None
    assert strangeness(FILE.ranges, {"more": 2.0}) == 2.0


def test_notes_name_what_is_unusual():
    """With what is usual; and say so when nothing is."""
    assert NORMAL.notes({"both": 20.0, "more": 0.0}) == "things on both sides 20, where genuine video has 10 ± 2"
    assert NORMAL.notes({"both": 10.0, "more": 0.0}) == "within what genuine video shows"


@pytest.mark.parametrize("name", ["eyes_and_head", "lighting", "reenactment"])
def test_the_ranges_that_ship_are_sound(name):
    """Every range has a spread, and the genuine windows are in order."""
    file = read_ranges(name).file
    assert all(usual.spread > 0 and usual.side in (-1, 0, 1) for usual in file.ranges)
    assert list(file.strangeness) == sorted(file.strangeness)
    assert len(file.strangeness) >= 30


def test_missing_ranges_are_named(tmp_path):
    """The error says which file."""
    (tmp_path / "odd.json").write_bytes(msgspec.json.encode({}))
    for name in ("odd", "absent"):
        with pytest.raises(ConfigError, match=rf"{name}\.json"):
            read_ranges(name, tmp_path)
