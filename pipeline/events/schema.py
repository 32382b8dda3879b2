"""JSON Schema of every event and an AsyncAPI 3 description of all topics, generated from the code.

They lie in `schema/` beside this file; `python -m pipeline.events.schema` writes them, and a test fails when they
differ from the code.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from pipeline.events import (
    DeadLetter,
    Event,
    MediaDecided,
    MediaEnforced,
    MediaUploaded,
    ReviewDecided,
    ReviewRequested,
    SubjectAnswered,
    SubjectRequested,
)
from pipeline.events.cloudevents import ROUND, ce_type
from pipeline.events.codec import schema_of
from pipeline.topology import (
    DEAD_LETTER,
    DECIDED,
    ENFORCED,
    REVIEW_DECIDED,
    REVIEW_REQUESTED,
    SUBJECT_ANSWERED,
    SUBJECT_REQUESTED,
    UPLOADED,
    TopicSpec,
    review_topic,
    topics,
)

Json = dict[str, Any]
"""A JSON document: what is written here has no type of its own."""

FOLDER: Final = Path(__file__).with_name("schema")

EVENTS: Final[dict[str, type[Event]]] = {
    UPLOADED: MediaUploaded,
    DECIDED: MediaDecided,
    REVIEW_REQUESTED: ReviewRequested,
    REVIEW_DECIDED: ReviewDecided,
    ENFORCED: MediaEnforced,
    SUBJECT_REQUESTED: SubjectRequested,
    SUBJECT_ANSWERED: SubjectAnswered,
    DEAD_LETTER: DeadLetter,
}
"""What each topic carries; `review.requested` stands for the topics of all queues."""

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_QUEUE = "{queue}"


def rendered() -> dict[str, str]:
    """Every generated file: its name → its text."""
    return texts({schema_file(topic): json_schema(topic) for topic in EVENTS} | {"asyncapi.json": asyncapi()})


def texts(documents: Mapping[str, Json]) -> dict[str, str]:
    """Documents as they are committed."""
    return {name: json.dumps(document, indent=2, ensure_ascii=False) + "\n" for name, document in documents.items()}


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Write generated files into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def schema_file(topic: str) -> str:
    """`media.decided` → `media.decided.v1.json`."""
    return f"{topic}.v{_version(EVENTS[topic])}.json"


def json_schema(topic: str) -> Json:
    """The JSON Schema of what a topic carries. Unknown properties are allowed: a later version may add some."""
    event = EVENTS[topic]
    schema: Json = _tidied(msgspec.json.schema(event))
    return {"$schema": DIALECT, "$id": f"urn:unmask:{topic}:v{_version(event)}", "title": topic, **schema}


def asyncapi() -> Json:
    """Every topic as Unmask sees it: what it receives, what it sends, with headers and keys."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Unmask",
            "version": "1",
            "description": "Screens uploaded media for deepfakes and other manipulated content, on a Kafka stream. "
            "Publish one event per upload to media.uploaded and act on media.enforced.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {_word(topic): _channel(topic) for topic in EVENTS},
        "operations": {
            "screen": _operation("receive", UPLOADED, "Judge an upload."),
            "publishDecision": _operation("send", DECIDED, "What was found in an upload, and what the policy says."),
            "route": _operation("receive", DECIDED, "Say what applies at once, and whether a person should look."),
            "requestReview": _operation("send", REVIEW_REQUESTED, "Ask for a person."),
            "settle": _operation("receive", REVIEW_DECIDED, "Make what a person decided the final outcome."),
            "enforce": _operation("send", ENFORCED, "Say what applies: provisionally at most once, finally once."),
            "answer": _operation("receive", SUBJECT_REQUESTED, "Open again what a person shown asks about."),
            "publishAnswer": _operation("send", SUBJECT_ANSWERED, "Say what came of a request."),
            "bury": _operation("send", DEAD_LETTER, "Keep what could not be processed."),
        },
        "components": {"messages": {event.__name__: _message(topic) for topic, event in EVENTS.items()}},
    }


def _channel(topic: str) -> Json:
    name = EVENTS[topic].__name__
    spec = _spec(topic)
    channel: Json = {
        "address": spec.name,
        "title": topic,
        "description": f"{spec.why[0].upper()}{spec.why[1:]}.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
        "bindings": {
            "kafka": {
                "topicConfiguration": {
                    "cleanup.policy": [spec.cleanup],
                    "retention.ms": spec.retention_ms,
                    "max.message.bytes": spec.max_message_bytes,
                },
                "bindingVersion": "0.5.0",
            }
        },
    }
    if _QUEUE in spec.name:
        channel["parameters"] = {"queue": {"description": "A review queue of the policy.", "examples": ["faces"]}}
    return channel


def _spec(topic: str) -> TopicSpec:
    name = review_topic(_QUEUE) if topic == REVIEW_REQUESTED else topic
    return next(spec for spec in topics([_QUEUE]) if spec.name == name)


def _operation(action: str, topic: str, summary: str) -> Json:
    channel, message = f"#/channels/{_word(topic)}", EVENTS[topic].__name__
    return {
        "action": action,
        "channel": {"$ref": channel},
        "summary": summary,
        "messages": [{"$ref": f"{channel}/messages/{message}"}],
    }


def _message(topic: str) -> Json:
    event = EVENTS[topic]
    return {
        "name": event.__name__,
        "title": schema_of(event),
        "summary": inspect.cleandoc(event.__doc__ or "").split("\n\n")[0].replace("\n", " "),
        "contentType": "application/json",
        "headers": _headers(event),
        "payload": {
            "schemaFormat": "application/schema+json;version=draft-2020-12",
            "schema": {"$ref": f"./{schema_file(topic)}"},
        },
        "bindings": {
            "kafka": {"key": {"type": "string", "description": f"{_subject(event)}, UTF-8"}, "bindingVersion": "0.5.0"},
        },
    }


def _headers(event: type[Event]) -> Json:
    """The headers that Unmask writes. It reads only `traceparent` and the round, and needs none."""
    subject = {"type": "string", "description": _subject(event)}
    properties: Json = {
        "ce_specversion": {"type": "string", "const": "1.0"},
        "ce_id": {"type": "string", "description": "unique per source and type; the same for a repeat"},
        "ce_source": {"type": "string", "description": "who published it", "examples": ["/unmask/worker"]},
        "ce_type": {"type": "string", "const": ce_type(event)},
        "ce_time": {"type": "string", "format": "date-time"},
        "ce_subject": subject,
        "content-type": {"type": "string", "const": "application/json"},
        "traceparent": {"type": "string", "description": "W3C Trace Context"},
    }
    if event is MediaUploaded:
        properties[ROUND] = {
            "type": "string",
            "pattern": "^[0-9]+$",
            "description": "opens a later round; 1 when absent",
        }
    return {"type": "object", "properties": properties}


def _subject(event: type[Event]) -> str:
    return "request_id" if event in (SubjectRequested, SubjectAnswered) else "media_id"


def _version(event: type[Event]) -> str:
    return schema_of(event).rpartition("/")[2]


def _word(topic: str) -> str:
    first, *rest = topic.replace("-", ".").split(".")
    return first + "".join(part.capitalize() for part in rest)


def _tidied(value: Any) -> Any:
    """Descriptions without the indentation of the source."""
    if isinstance(value, dict):
        return {
            key: inspect.cleandoc(entry) if key == "description" and isinstance(entry, str) else _tidied(entry)
            for key, entry in value.items()
        }
    return [_tidied(entry) for entry in value] if isinstance(value, list) else value


if __name__ == "__main__":
    write(FOLDER, rendered())
