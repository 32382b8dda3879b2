"""The published schemas are those of the code, and the AsyncAPI description hangs together."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator, ValidationError

from pipeline.events import Event, ReviewDecided
from pipeline.events.cloudevents import headers
from pipeline.events.codec import MalformedEvent, decode, encode
from pipeline.events.schema import EVENTS, FOLDER, asyncapi, json_schema, rendered
from pipeline.topology import topics
from tests import strategies
from tests.contract.events.test_examples import FOLDER as EXAMPLES

VALIDATORS = {event: Draft202012Validator(json_schema(topic)) for topic, event in EVENTS.items()}
ASYNCAPI = asyncapi()


def test_committed_schemas_are_those_of_the_code() -> None:
    """`python -m pipeline.events.schema` was run after the last change, and nothing else lies there."""
    committed = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    assert committed == rendered()


@pytest.mark.parametrize("topic", EVENTS)
def test_is_a_schema(topic: str) -> None:
    """Each is valid JSON Schema 2020-12, its patterns included."""
    schema = json_schema(topic)
    Draft202012Validator.check_schema(schema)
    for pattern in re.findall(r'"pattern": "((?:[^"\\]|\\.)*)"', json.dumps(schema)):
        re.compile(json.loads(f'"{pattern}"'))


@given(strategies.events)
def test_what_is_written_satisfies_the_schema(event: Event) -> None:
    """Every event that the code can write is one that the schema accepts."""
    VALIDATORS[type(event)].validate(json.loads(encode(event)))


@pytest.mark.parametrize("change", [{"action": "hold"}, {"schema": "review.decided/2"}, {"media_id": ""}, {"round": 0}])
def test_schema_and_codec_refuse_the_same(change: dict[str, object]) -> None:
    """What the codec refuses in a review, the schema refuses too."""
    review = json.loads((EXAMPLES / "review.decided" / "v1" / "full.json").read_bytes()) | change
    assert isinstance(decode(json.dumps(review).encode(), ReviewDecided), MalformedEvent)
    with pytest.raises(ValidationError):
        VALIDATORS[ReviewDecided].validate(review)


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, entry in value.items():
            if key == "$ref":
                yield entry
            else:
                yield from references(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from references(entry)


def test_asyncapi_references_resolve() -> None:
    """Every reference leads to a part of the document or to a schema file beside it."""
    for reference in references(ASYNCAPI):
        if reference.startswith("./"):
            assert (FOLDER / reference).is_file()
            continue
        found: Any = ASYNCAPI
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]
        assert found


def test_asyncapi_has_every_topic() -> None:
    """The addresses are the topics of the topology, queues as a parameter."""
    addresses = {channel["address"] for channel in ASYNCAPI["channels"].values()}
    assert addresses == {spec.name for spec in topics(["{queue}"])}
    for channel in ASYNCAPI["channels"].values():
        assert set(channel.get("parameters", {})) == set(re.findall(r"{(\w+)}", channel["address"]))


def test_asyncapi_operations() -> None:
    """Unmask receives uploads, its own decisions, reviews and requests, and sends the rest."""
    ways = {(each["action"], each["channel"]["$ref"].rpartition("/")[2]) for each in ASYNCAPI["operations"].values()}
    assert ways == {
        ("receive", "mediaUploaded"),
        ("send", "mediaDecided"),
        ("receive", "mediaDecided"),
        ("send", "reviewRequested"),
        ("receive", "reviewDecided"),
        ("send", "mediaEnforced"),
        ("receive", "subjectRequested"),
        ("send", "subjectAnswered"),
        ("send", "mediaDeadLetter"),
    }
    for each in ASYNCAPI["operations"].values():
        assert all(message["$ref"].startswith(each["channel"]["$ref"] + "/") for message in each["messages"])


@given(strategies.events)
def test_headers_are_as_described(event: Event) -> None:
    """The headers that the code writes are those of the AsyncAPI description."""
    described = ASYNCAPI["components"]["messages"][type(event).__name__]["headers"]
    written = {
        name: value.decode()
        for name, value in headers(event, source="/unmask/worker", time=strategies.NOW, traceparent=None)
    }
    assert set(written) <= set(described["properties"])
    Draft202012Validator(described).validate(written)
