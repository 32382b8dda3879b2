"""Whatever is wrong with a file is said with the line and column where its author wrote it."""

from __future__ import annotations

import pytest

from pipeline.policy.places import BadPolicy, Place, Places, Problem

STYLES = {
    "plain": "rules:\n  - when: first && second",
    "plain over lines": "rules:\n  - when: first\n      && second",
    "single quotes": "rules:\n  - when: 'it''s first && second'",
    "double quotes": 'rules:\n  - when: "\\"first\\"\\t\\u0041\\\\ && second"',
    "double quotes over lines": 'rules:\n  - when: "first \\\n      && second"',
    "literal": "rules:\n  - when: |\n      first\n\n      && second",
    "literal, indented, with a comment": "rules:\n  - when: |2-  # why\n        first\n      && second",
    "folded": "rules:\n  - when: >-\n      first\n      && second\n    action: x",
    "folded with a blank line": "rules:\n  - when: >\n      first\n\n      && third || second\n",
    "flow": "rules: [{name: x, when: first && second}]",
    "with an anchor": "rules:\n  - when: &it !!str first && second",
    "windows": "rules:\r\n  - when: >-\r\n      first\r\n      && second\r\n",
    "other letters": "# ümläut\nrules:\n  - when: first == 'ü𝄞' && second",
}


@pytest.mark.parametrize("text", STYLES.values(), ids=STYLES.keys())
def test_a_word_inside_a_text(text: str) -> None:
    """In every way in which YAML writes a text, the place of a word in it is where the word stands in the file."""
    places = Places(text, "p.yaml")
    value = places.content["rules"][0]["when"]
    found = places.of(("rules", 0, "when"), value.index("second"))
    before = text[: text.index("second")]
    assert found == Place(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)


def test_past_the_end() -> None:
    """What is missing at the end of a text is said of its last character."""
    places = Places("when: >-\n  first\n  && second\nname: x", "p.yaml")
    assert places.of(("when",), 99) == Place(3, 11)


def test_keys_and_what_is_nearest() -> None:
    """A value is where its key stands; what is not there, where its parent stands."""
    places = Places("a:\n  b: [1, 2]\n  c: 3\n", "p.yaml")
    assert places.of(("a", "c")) == Place(3, 3)
    assert places.of(("a", "b", 1)) == Place(2, 10)
    assert places.of(("a", "d", "e")) == Place(1, 1)
    assert places.of(()) == Place(1, 1)
    assert Places("", "p.yaml").of(("a",)) is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: [", "line 1, column 5: "),
        ("a: 1\nb: 2\na: 3", "line 3, column 1: 'a' is given twice"),
        ("a: !!python/object:os.system x", "line 1, column 4: "),
        ("[" * 3000, "nested too deeply"),
        (
            "a: &a [x, x, x, x, x, x, x, x, x]\n"
            + "".join(
                f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdef", "bcdefg", strict=True)
            ),
            "says more than a policy can say",
        ),
        ("a: \x00", "line 1, column 4: '\\x00' is no character of YAML"),
    ],
)
def test_no_yaml(text: str, complaint: str) -> None:
    """What is no YAML, or stands for more than anybody would write, is refused with its place."""
    with pytest.raises(BadPolicy) as caught:
        Places(text, "p.yaml")
    assert str(caught.value).startswith(f"policy p.yaml: {complaint}")


def test_truth_and_norway() -> None:
    """`true` and `false` are truth values; `NO`, `on` and `yes` are words."""
    content = Places("[true, false, NO, on, yes, off, y]", "p.yaml").content
    assert content == [True, False, "NO", "on", "yes", "off", "y"]


def test_problems_in_words() -> None:
    """Place, subject and reason, as far as they are known."""
    assert str(Problem("why", Place(1, 2), "rules[0]")) == "line 1, column 2: rules[0]: why"
    assert str(Problem("why")) == "why"
