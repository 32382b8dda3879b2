"""Editors are told by a JSON Schema what a policy file may say: it is the one that the types give, and it holds."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from pipeline.policy import schema
from pipeline.policy.fields import FIELDS
from pipeline.policy.file import DEFAULT
from pipeline.policy.places import Places
from tests.unit.policy.sample import TEXT, replaced

FILE = DEFAULT.with_name(schema.FILE)


def errors(text: str) -> list[str]:
    """Where a policy file is not what the schema says. YAML reads dates as dates; JSON has texts."""
    content = json.loads(json.dumps(Places(text, "p.yaml").content, default=date.isoformat))
    found = Draft202012Validator(schema.schema()).iter_errors(content)
    return ["/".join(map(str, error.absolute_path)) for error in found]


def test_the_file_is_what_the_types_give() -> None:
    """`unmask policy schema > pipeline/policy/policy.schema.json` after a change of the types or fields."""
    assert FILE.read_text(encoding="utf-8") == schema.written()
    Draft202012Validator.check_schema(schema.schema())


def test_the_default_policy_names_it() -> None:
    """Editors with a YAML language server find the schema by the first line."""
    first = DEFAULT.read_text(encoding="utf-8").split("\n", 1)[0]
    assert first == f"# yaml-language-server: $schema={schema.FILE}"


def test_every_word_is_explained() -> None:
    """Each key of each section has a sentence, and the fields of conditions are listed."""
    parts: dict[str, Any] = schema.schema()["$defs"]
    small = {"Platt", "Isotonic", "Band"}
    for name, part in parts.items():
        for word, what in part.get("properties", {}).items():
            assert name in small or what.get("description", "").endswith("."), (
                f"say in {name}'s docstring what `{word}` is"
            )
    assert set(schema.schema()["x-fields"]) == set(FIELDS)
    assert parts["Rule"]["properties"]["when"]["$ref"] == "#/$defs/Condition"
    assert "upload.surface" in parts["Condition"]["description"]
    assert set(parts["Action"]["enum"]) == {"allow", "label", "limit", "hold", "remove"}


@pytest.mark.parametrize("text", [DEFAULT.read_text(encoding="utf-8"), TEXT], ids=["default", "sample"])
def test_sound_files_pass(text: str) -> None:
    """The policy that ships, and the sample with all sorts of words, are what the schema says."""
    assert errors(text) == []


def test_days_and_modes_pass() -> None:
    """What YAML could take for something else: days, and `off`."""
    assert errors(replaced("\n    action:", "\n    owner: me\n    since: 2026-01-01\n    mode: off\n    action:")) == []


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (replaced("    action: label", "    acton: label"), "rules/0"),
        (replaced("action: label", "action: lable"), "rules/0/action"),
        (replaced("swap: 0.83", "swap: 83"), "thresholds/swap"),
        (replaced("deadline: 4h", "deadline: soon"), "rules/1/review/deadline"),
        (replaced("priority: 60", "priority: 101"), "rules/1/review/priority"),
        (replaced("requires: [face_swap]", "requires: [face_swop]"), "fusion/requires/0"),
        (replaced("on: missing", "on: absent"), "fail_modes/1/on"),
        (replaced("severity: 5", "severity: 6"), "harms/intimate/severity"),
        (replaced("when: upload.declared_synthetic", "when: 1"), "rules/0/when"),
        (replaced("within: 48h", "within: 48"), "clocks/take-down/within"),
        (replaced("name: sample", "title: sample"), ""),
        (replaced("NORDIC:", "Nordic:"), "jurisdictions"),
    ],
)
def test_wrong_shapes_are_found(text: str, where: str) -> None:
    """What the loader refuses for its shape the editor underlines, at the same place."""
    assert where in errors(text)
