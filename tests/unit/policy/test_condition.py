"""Conditions are checked against the fields before anything is decided, and never raise when it is."""

from __future__ import annotations

import math

import pytest

from pipeline.policy.condition import Comparison, Condition, Language, NoCondition, literal, tokens
from pipeline.policy.fields import FIELDS

LANGUAGE = Language(
    FIELDS,
    {"swap": 0.83},
    {"swapped": "face_swap.probability >= threshold.swap", "paid": "upload.surface == 'ad'", "both": "is.paid && true"},
)


def compiled(text: str) -> Condition:
    found = LANGUAGE.compile(text)
    assert isinstance(found, Condition), found
    return found


def holds(text: str, **values: object) -> bool:
    seen = LANGUAGE.see({name.replace("__", "."): value for name, value in values.items()})
    return compiled(text).holds(seen).yes


@pytest.mark.parametrize(
    ("text", "points_at", "why"),
    [
        ("face_swop.probability >= 0.5", "face_swop", "did you mean 'face_swap.probability'?"),
        ("true && face_swap.probabilty >= 0.5", "face_swap", "did you mean 'face_swap.probability'?"),
        ("face_swap >= 0.5", "face_swap", "there is no field 'face_swap'"),
        ("nonsense", "nonsense", "there is no field 'nonsense'"),
        ("is.swaped", "is.swaped", "did you mean 'is.swapped'?"),
        ("is.both", "is.both", "speaks of another definition"),
        ("face_swap.low >= threshold.swop", "threshold.swop", "did you mean 'threshold.swap'?"),
        ("face_swap.probability >= 1", ">=", "with a point"),
        ("is.swapped && upload.caption >= 1.0", ">=", "no matching overload"),
        ("face_swap.probability", "face_swap", "yields a value"),
        ("face_swap.probability >=", "", "Syntax error"),
        ("(is.swapped", "", "Syntax error"),
        ("upload.surface == 'adv'", "'adv'", "did you mean 'ad'?"),
        ("upload.surface in ['ad', 'storey']", "'storey'", "did you mean 'story'?"),
        ("'advert' == upload.surface", "'advert'", "is never 'advert'"),
        ("'satyre' in upload.purposes", "'satyre'", "did you mean 'satire'?"),
        ("upload.purposes.exists(p, p == 'satyre')", "'satyre'", "did you mean 'satire'?"),
        ("'UK' in upload.regions", "'UK'", "did you mean 'GB'?"),
        ("credentials.state != 'untrustd'", "'untrustd'", "It is one of '', 'absent', 'invalid', 'untrusted'"),
        ("upload.caption.matches('[')", "'['", "is no pattern"),
        ("upload.attributes.x == 1.0", "==", "no matching overload"),
    ],
)
def test_refused(text: str, points_at: str, why: str) -> None:
    """What is wrong is said, with where in the text: also where definitions and thresholds were put in before it."""
    found = LANGUAGE.compile(text)
    assert isinstance(found, NoCondition)
    assert why in found.why
    if points_at:
        assert found.offset == text.index(points_at)


def test_what_a_condition_uses() -> None:
    """Fields and comparisons are found through definitions and thresholds, each once."""
    found = compiled("is.swapped && (nudity.probability > 0.8 || is.swapped) && upload.surface in ['ad']")
    assert found.fields == ("face_swap.probability", "nudity.probability", "upload.surface")
    assert found.comparisons == (Comparison("face_swap", 0.83), Comparison("nudity", 0.8))
    assert compiled("upload.attributes.campaign == 'x'").fields == ("upload.attributes",)
    assert compiled("upload.regions.exists(r, r == 'DE')").fields == ("upload.regions",)


def test_texts_and_comments_are_no_fields() -> None:
    """What stands in quotes, also three of them, and after `//` is not looked at."""
    text = "upload.caption == 'face_swop.x >= 1' // face_swop.y\n || upload.caption == '''it's is.swapped'''"
    assert compiled(text).fields == ("upload.caption",)
    assert holds(text, upload__caption="it's is.swapped")


def test_unknown_numbers_compare_with_nothing() -> None:
    """Neither high nor low: only a negation is true."""
    for operator in (">=", ">", "<", "<=", "=="):
        assert not holds(f"face_swap.probability {operator} 0.5", face_swap__probability=math.nan)
    assert holds("!(face_swap.probability >= 0.5)", face_swap__probability=math.nan)


def test_what_cannot_be_answered_does_not_hold() -> None:
    """A key that is not there is said, and matters only where the rest leaves it open."""
    seen = LANGUAGE.see({"upload.attributes": {}, "upload.declared_synthetic": True})
    held = compiled("upload.attributes.x == 'y'").holds(seen)
    assert (held.yes, held.error is not None) == (False, True)
    assert "x" in str(held.error)
    assert compiled("upload.attributes.x == 'y' || upload.declared_synthetic").holds(seen).yes
    assert compiled("'x' in upload.attributes && upload.attributes.x == 'y'").holds(seen).error is None


def test_times() -> None:
    """`now` is a moment with CEL's functions."""
    from tests.unit.policy.sample import NOW

    assert holds("now >= timestamp('2026-01-01T00:00:00Z') && now.getHours() == 0", now=NOW)


def test_pieces() -> None:
    """Names are dotted, numbers may have exponents, texts keep their quotes."""
    found = [(token.kind, token.text) for token in tokens("a . b>=1e-05 && r'\\d' != .5")]
    assert found == [
        ("name", "a.b"),
        ("operator", ">="),
        ("number", "1e-05"),
        ("operator", "&&"),
        ("string", "r'\\d'"),
        ("operator", "!="),
        ("number", ".5"),
    ]
    assert [literal(text) for text in (r"'it\'s'", r"'\?'", r"r'\d'", '"""\'"""')] == ["it's", "?", r"\d", "'"]
