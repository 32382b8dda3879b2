"""Sentences without numbers, whatever the policy's own words are."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.events.values import Evidence, Family, Signal, SignalStatus
from pipeline.policy import words
from pipeline.statements.wording import without_numbers

NUMBER = re.compile(r"[01]\.\d")


def signal(family: Family, probability: float, at: float | None = None) -> Signal:
    evidence = (Evidence(detector="d", score=probability, at=at),)
    return Signal(
        family=family, status=SignalStatus.SCORED, probability=probability, low=0.0, high=1.0, evidence=evidence
    )


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("Possible swap at 00:03.2: probability 0.91 (0.85–0.95), at or above 0.80.", "Possible swap at 00:03.2."),
        ("A rule: face swap at 00:03.2 0.90 (0.85–0.95), at or above 0.50; nudity 1.00, at or above 0.80.", "A rule."),
        ("The uploader declared it as synthetic.", "The uploader declared it as synthetic."),
        ("Could not be screened: media corrupt (decode).", "Could not be screened: media corrupt (decode)."),
        ("A person looked at it: to be removed.", "A person looked at it: to be removed."),
    ],
)  # fmt: skip
def test_numbers_go_and_words_stay(reason: str, told: str) -> None:
    """What was found and when, not how surely."""
    assert without_numbers(reason) == told


def test_moments_may_go_too() -> None:
    """The public cannot look at the moment."""
    assert without_numbers("Possible face swap at 1:00:03.2: probability 0.91.", moments=False) == "Possible face swap."


@given(
    st.lists(
        st.tuples(st.sampled_from(Family), st.floats(0, 1), st.floats(0.01, 1), st.none() | st.floats(0, 9999)),
        min_size=1,
        max_size=3,
    )
)
def test_no_score_of_the_policys_sentences_survives(drawn) -> None:
    """Whatever `words` writes of signals, no probability or threshold is left of it."""
    crossed = tuple((signal(family, probability, at), threshold) for family, probability, threshold, at in drawn)
    first, threshold = crossed[0]
    for sentence in (
        words.crossed("Possible manipulation", crossed),
        words.doubtful("It cannot be ruled out", first, threshold),
        words.doubtful("It cannot be ruled out", first, None),
    ):
        told = without_numbers(sentence, moments=False)
        assert not NUMBER.search(told), sentence
        assert told in ("Possible manipulation.", "It cannot be ruled out.")
