"""A policy's harms against the closed sets of the DSA Transparency Database."""

from __future__ import annotations

from pipeline.policy.file import load
from pipeline.policy.rules import Ground, Harm
from pipeline.statements.terms import EEA, KEYWORDS_OF, Category, Keyword, additions, check_harms


def test_the_policy_that_ships_speaks_the_databases_words() -> None:
    """Every harm of the default policy can be reported."""
    assert check_harms(load(None).harms) == []


def test_words_that_the_database_does_not_know_are_named_with_the_nearest() -> None:
    """The first version's words are refused, and what took their place is offered."""
    harm = Harm(
        what="x",
        severity=1,
        category="STATEMENT_CATEGORY_SCAMS_AND_FRAUDS",
        keywords=("KEYWORD_NON_CONSENSUAL_ITEMS_DEEPFAKE", "KEYWORD_PHISHING"),
    )
    found = check_harms({"a": Harm(what="fine", severity=1), "b": harm})
    assert [name for name, _ in found] == ["b", "b"]
    assert "STATEMENT_CATEGORY_SCAMS_AND_FRAUD?" in found[0][1]
    assert "KEYWORD_NON_CONSENSUAL_MATERIAL_DEEPFAKE?" in found[1][1]


def test_what_is_illegal_names_a_law() -> None:
    """The database requires a legal ground; the platform's own terms may be told by what the harm is."""
    assert check_harms({"a": Harm(what="x", severity=1, ground=Ground.ILLEGAL)}) == [
        ("a", "`ground: illegal` needs `rule_text`: which law")
    ]
    assert check_harms({"a": Harm(what="x", severity=1, ground=Ground.ILLEGAL, rule_text="Law, section 1")}) == []


def test_a_keyword_is_given_once() -> None:
    """Sets hold each value once."""
    harm = Harm(what="x", severity=1, keywords=("KEYWORD_NUDITY", "KEYWORD_NUDITY"))
    assert check_harms({"a": harm}) == [("a", "a keyword is given twice")]


def test_every_category_has_its_keywords_and_none_is_in_two() -> None:
    """The tables of the regulation: every keyword but the general one and a leftover belongs to one category."""
    assert set(KEYWORDS_OF) == set(Category)
    listed = [keyword for keywords in KEYWORDS_OF.values() for keyword in keywords]
    assert len(listed) == len(set(listed))
    assert set(Keyword) - set(listed) == {Keyword.OTHER, Keyword.STALKING}


def test_keywords_of_other_categories_add_those() -> None:
    """A fraud that is also disinformation belongs to both."""
    found = additions(Category.SCAMS_AND_FRAUD, [Keyword.PHISHING, Keyword.MISINFORMATION_DISINFORMATION])
    assert found == (Category.CIVIC_DISCOURSE,)


def test_the_territory_is_the_eea() -> None:
    """The 27 members of the Union, Iceland, Liechtenstein and Norway."""
    assert len(EEA) == 30
    assert {"IS", "LI", "NO"} <= set(EEA)
    assert not {"GB", "CH", "US", "EL"} & set(EEA)
