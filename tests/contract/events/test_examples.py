"""Committed examples decode for ever, and satisfy the published schemas. An example is never changed or deleted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

import pipeline.events
from pipeline.events.codec import MalformedEvent, decode, encode
from pipeline.events.schema import EVENTS, json_schema

FOLDER = Path(pipeline.events.__file__).with_name("examples")
EXAMPLES = sorted(FOLDER.glob("*/v*/*.json"))


def name(path: Path) -> str:
    return str(path.relative_to(FOLDER))


def properties(schema: Any) -> set[tuple[str, str]]:
    """(struct, field) of everything that a schema describes."""
    return {(struct, field) for struct, each in schema["$defs"].items() for field in each.get("properties", {})}


def shown(value: Any, schema: Any, defs: Any) -> set[tuple[str, str]]:
    """(struct, field) of everything that an example gives a value other than null."""
    if "$ref" in schema:
        struct = schema["$ref"].rpartition("/")[2]
        fields = defs[struct].get("properties", {})
        found: set[tuple[str, str]] = set()
        if isinstance(value, dict):
            for field, entry in value.items():
                if entry is not None and field in fields:
                    found |= {(struct, field)} | shown(entry, fields[field], defs)
        return found
    if isinstance(value, list):
        return set().union(*(shown(entry, schema.get("items") or {}, defs) for entry in value))
    options = schema.get("anyOf", [])
    return set().union(*(shown(value, option, defs) for option in options))


def test_every_topic_has_examples() -> None:
    """A minimal and a full example of each event."""
    for topic in EVENTS:
        assert {"minimal.json", "full.json"} <= {path.name for path in (FOLDER / topic / "v1").iterdir()}


@pytest.mark.parametrize("path", EXAMPLES, ids=name)
def test_decodes(path: Path) -> None:
    """Every stored example of every version decodes, and survives being written again."""
    expect = EVENTS[path.parent.parent.name]
    event = decode(path.read_bytes(), expect)
    assert not isinstance(event, MalformedEvent), event
    assert decode(encode(event), expect) == event


@pytest.mark.parametrize("path", EXAMPLES, ids=name)
def test_satisfies_the_schema(path: Path) -> None:
    """The published JSON Schema accepts every example, as it is stored and as it is written again."""
    topic = path.parent.parent.name
    validator = Draft202012Validator(json_schema(topic), format_checker=Draft202012Validator.FORMAT_CHECKER)
    stored = json.loads(path.read_bytes())
    validator.validate(stored)
    event = decode(path.read_bytes(), EVENTS[topic])
    assert not isinstance(event, MalformedEvent)
    validator.validate(json.loads(encode(event)))


ONE_OF = {"subject.requested": {"media_id"}}
"""Events that need one of several fields; the minimal example has this one."""


@pytest.mark.parametrize("topic", EVENTS)
def test_minimal_is_minimal(topic: str) -> None:
    """The minimal example has the required fields alone, so a new field without a default is noticed."""
    stored = json.loads((FOLDER / topic / "v1" / "minimal.json").read_bytes())
    required = {field.encode_name for field in msgspec.structs.fields(EVENTS[topic]) if field.required}
    assert set(stored) == required | ONE_OF.get(topic, set()) | {"schema"}


@pytest.mark.parametrize("topic", EVENTS)
def test_every_field_is_shown(topic: str) -> None:
    """The examples of a topic show every field of its event and of all that it holds."""
    schema = json_schema(topic)
    found: set[tuple[str, str]] = set()
    for path in (FOLDER / topic / "v1").iterdir():
        found |= shown(json.loads(path.read_bytes()), {"$ref": schema["$ref"]}, schema["$defs"])
    assert properties(schema) - found == set()
