"""What is called impossible is impossible: no upload lies outside what is looked through."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.policy import reach
from pipeline.policy.case import Case
from pipeline.policy.condition import Condition, Language
from pipeline.policy.fields import FIELDS, read
from pipeline.policy.reach import All, Leaf, Not, Some, TooMany, blind, formula, leaves, space, truth, vague
from tests import strategies

LANGUAGE = Language(FIELDS)

PARTS = (
    "face_swap.probability >= 0.5",
    "0.8 < face_swap.probability",
    "face_swap.probability != 0.5",
    "face_swap.low >= 0.3",
    "face_swap.high < face_swap.low",
    "nudity.probability > face_swap.probability",
    "nudity.probability >= -1.0",
    "face_swap.judged",
    "face_swap.abstained == true",
    "face_swap.missing",
    "face_swap.coverage < 0.5",
    "face_swap.probability + nudity.probability > 1.0",
    "upload.surface in ['ad', 'story']",
    "upload.surface != 'ad'",
    "upload.caption == 'x'",
    "upload.caption.contains('a')",
    "upload.caption == upload.content_type",
    "'DE' in upload.regions",
    "upload.regions == []",
    "upload.regions.exists(r, r in ['DE', 'FR'])",
    "upload.regions.all(r, r == 'DE')",
    "size(upload.tags) > 0",
    "upload.tags.exists(t, t == 'election')",
    "'campaign' in upload.attributes",
    "upload.attributes.campaign == 'x'",
    "upload.attributes['exempt'] != 'yes'",
    "upload.declared_synthetic",
    "'satire' in upload.purposes",
    "uploader.known",
    "uploader.followers >= uploader.strikes",
    "uploader.strikes < 3.0",
    "uploader.verified",
    "consent.given",
    "consent.revoked",
    "consent.relation == 'self'",
    "request.kind == ''",
    "request.jurisdiction == 'IN'",
    "request.near_copy",
    "credentials.state == 'trusted'",
    "credentials.issuer == ''",
    "'digitalCapture' in credentials.source_types",
    "known.exact",
    "known.share >= 0.5",
    "'intimate' in known.banks",
    "known.tried_banks == []",
    "media.kind == 'video'",
    "media.duration > 60.0",
    "looked.frames >= 3.0",
    "now > timestamp('2026-01-01T00:00:00Z')",
    "true",
)


def compiled(text: str) -> Condition:
    found = LANGUAGE.compile(text)
    assert isinstance(found, Condition), found
    return found


written = st.recursive(
    st.sampled_from(PARTS),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]} && {pair[1]})"),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]} || {pair[1]})"),
        inner.map(lambda part: f"!({part})"),
    ),
    max_leaves=5,
)


@given(written, strategies.cases())
def test_taken_apart_and_put_together_again(text: str, upload: Case) -> None:
    """The parts of a condition, judged one by one, give what the library gives for the whole."""
    whole = compiled(text)
    seen = LANGUAGE.see(read(FIELDS, upload))
    known = {}
    for leaf, _ in leaves(formula(whole.written)):
        held = compiled(leaf.text).holds(seen)
        known[leaf.text] = None if held.error else held.yes
    found = whole.holds(seen)
    assert truth(formula(whole.written), known) is (None if found.error else found.yes)


@given(st.lists(written, min_size=1, max_size=2), strategies.cases())
def test_every_upload_is_of_a_kind_that_is_looked_at(texts: list[str], upload: Case) -> None:
    """For whatever comes in there is a kind of upload of which the same parts are true, false or without an answer."""
    conditions = [compiled(text) for text in texts]
    seen = LANGUAGE.see(read(FIELDS, upload))
    try:
        worlds = list(space(LANGUAGE, conditions))
    except TooMany:
        return
    known = {}
    for condition in conditions:
        for leaf, _ in leaves(formula(condition.written)):
            held = compiled(leaf.text).holds(seen)
            known[leaf.text] = None if held.error else held.yes
    assert any(world.known == known for world in worlds)


@pytest.mark.parametrize(
    "text",
    [
        "face_swap.probability >= 0.8 && face_swap.probability < 0.8",
        "face_swap.probability > 1.0",
        "face_swap.probability >= 0.5 && !face_swap.judged",
        "face_swap.missing && face_swap.probability >= 0.0",
        "face_swap.low > face_swap.probability",
        "face_swap.high < 0.5 && face_swap.low > 0.6",
        "upload.surface == 'ad' && upload.surface == 'post'",
        "!(upload.surface in ['post', 'story', 'ad', 'profile', 'message', 'comment', 'live', 'other'])",
        "upload.caption == 'a' && upload.caption == 'b'",
        "upload.caption.matches('x') && !upload.caption.matches('x')",
        "upload.regions == [] && 'DE' in upload.regions",
        "consent.given && consent.revoked",
        "request.kind == '' && request.jurisdiction == 'IN'",
        "credentials.state == 'absent' && credentials.identity == 'x'",
        "known.exact && known.banks == []",
        "!uploader.known && uploader.verified",
        "media.kind == '' && media.duration > 1.0",
        "!('x' in upload.attributes) && upload.attributes.x == 'y'",
        "known.share >= 1.5",
    ],
)
def test_never(text: str) -> None:
    """Contradictions are found, also those that only follow from what the fields mean."""
    condition = compiled(text)
    assert not any(world.holds(condition) for world in space(LANGUAGE, [condition]))


@pytest.mark.parametrize("text", PARTS)
def test_sometimes(text: str) -> None:
    """A single part that is no contradiction holds for some kind of upload, and there is an example of it."""
    condition = compiled(text)
    impossible = text == "face_swap.high < face_swap.low"
    assert any(world.holds(condition) for world in space(LANGUAGE, [condition])) is not impossible


def test_an_example_is_one() -> None:
    """The example of a kind of upload is an upload of that kind."""
    condition = compiled("face_swap.probability >= 0.8 && upload.surface in ['ad'] && 'DE' in upload.regions")
    for world in space(LANGUAGE, [condition]):
        assert condition.holds(LANGUAGE.see(world.example)).yes is world.holds(condition)
    (told,) = [world.told() for world in space(LANGUAGE, [condition]) if world.holds(condition)]
    assert "face_swap.probability = 0.8" in told
    assert "upload.surface = 'ad'" in told


def test_too_much_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of a guess there is an error."""
    monkeypatch.setattr(reach, "MOST", 3)
    with pytest.raises(TooMany):
        list(space(LANGUAGE, [compiled("face_swap.judged && nudity.judged")]))


def test_structure() -> None:
    """`!` binds closer than a comparison; `||` looser than `&&`; a choice is left whole."""
    a, b = "face_swap.judged", "nudity.judged"
    assert formula(f"{a} || !({b}) && {a}") == Some(
        (Leaf(a, 0), All((Not(Leaf(b, 22)), Leaf(a, len(f"{a} || !({b}) && ")))))
    )
    assert [leaf.text for leaf, _ in leaves(formula(f"{a} ? {b} : true"))] == [f"{a} ? {b} : true"]
    assert formula(f"!!!{a}") == Not(Leaf(a, 3))
    assert formula("!" * 1990 + a) == Leaf(a, 1990)
    assert [negated for _, negated in leaves(formula(f"!(!({a}) || {b})"))] == [False, True]


def test_forms_that_are_not_understood() -> None:
    """Sums, patterns and times count as true or false as they like, and can be named."""
    condition = compiled("face_swap.probability + 0.1 > 0.5 && upload.caption.matches('x') && face_swap.judged")
    assert len(vague(condition, LANGUAGE)) == 2
    assert any(world.holds(condition) for world in space(LANGUAGE, [condition]))


def test_negated_numbers_are_found() -> None:
    """`!(x >= 0.5)` and `x != 0.5` take what nobody knows for low; `x < 0.5` does not."""
    text = (
        "!(face_swap.probability >= 0.5) && nudity.probability != 0.5 && splice.probability < 0.5 && known.share < 1.0"
    )
    found = list(blind(compiled(text), LANGUAGE))
    assert [name for name, _ in found] == ["face_swap.probability", "nudity.probability"]
    assert [offset for _, offset in found] == [text.index("face_swap"), text.index("nudity")]


def test_only() -> None:
    """Fields can be held at a value."""
    condition = compiled("!(face_swap.probability >= 0.5) && !face_swap.judged")
    (world,) = space(LANGUAGE, [condition], {"face_swap.probability": (math.nan,)})
    assert world.holds(condition)
    with_number = space(LANGUAGE, [condition], {"face_swap.probability": (0.1,)})
    assert not any(world.holds(condition) for world in with_number)
