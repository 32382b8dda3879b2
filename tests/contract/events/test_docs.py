"""The documentation names what is there, and its examples work."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest

from pipeline.events.cloudevents import headers
from pipeline.events.codec import MalformedEvent, decode, encode, schema_of
from pipeline.events.schema import EVENTS
from pipeline.fuse import FamilyFusion, Fusion
from pipeline.policy.fields import markdown_of_fields
from pipeline.policy.file import load
from pipeline.policy.rules import (
    Clock,
    Exemption,
    FailMode,
    Harm,
    Jurisdiction,
    Mode,
    On,
    PolicyFile,
    Queue,
    Review,
    Rule,
    Starts,
)
from tests.strategies import NOW

DOCS = Path(__file__).parents[3] / "docs"
EVENTS_DOC = (DOCS / "events.md").read_text(encoding="utf-8")
INTEGRATE_DOC = (DOCS / "integrate.md").read_text(encoding="utf-8")
REQUESTS_DOC = (DOCS / "requests.md").read_text(encoding="utf-8")
POLICY_DOC = (DOCS / "policy.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("topic", EVENTS)
def test_every_field_is_documented(topic: str) -> None:
    """Each event has a section in docs/events.md with a row for each field, and no row for what is not there."""
    (section,) = re.findall(rf"^## {re.escape(topic)}\b[^\n]*\n(.*?)(?=^## |\Z)", EVENTS_DOC, re.DOTALL | re.MULTILINE)
    rows = re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE)
    documented = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(documented) == sorted(field.name for field in msgspec.structs.fields(EVENTS[topic]))


@pytest.mark.parametrize("doc", [EVENTS_DOC, INTEGRATE_DOC], ids=["events", "integrate"])
def test_every_header_is_documented(doc: str) -> None:
    """The headers that the code writes are listed."""
    event = decode(re.findall(r"```json\n(.*?)```", INTEGRATE_DOC, re.DOTALL)[0].encode(), EVENTS["media.uploaded"])
    assert not isinstance(event, MalformedEvent)
    for name, _ in headers(event, source="/x", time=NOW, round_=2):
        assert f"`{name}" in doc


def test_json_examples_decode() -> None:
    """Every JSON record in docs/integrate.md and docs/requests.md is an event."""
    by_schema = {schema_of(event): event for event in EVENTS.values()}
    examples = re.findall(r"```json\n(.*?)```", INTEGRATE_DOC + REQUESTS_DOC, re.DOTALL)
    examples += re.findall(r"'[^'{]*({\"schema\".*?})'", INTEGRATE_DOC)
    assert len(examples) == 6
    for example in examples:
        event = decode(example.encode(), by_schema[json.loads(example)["schema"]])
        assert not isinstance(event, MalformedEvent), event
        assert encode(event)


SECTIONS = (PolicyFile, Harm, Queue, Jurisdiction, Clock, Exemption, Fusion, FamilyFusion, Rule, Review, FailMode)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_word_of_a_policy_is_documented(section: type[msgspec.Struct]) -> None:
    """Each word that a policy file may use is in docs/policy.md."""
    for field in msgspec.structs.fields(section):
        assert f"`{field.name}`" in POLICY_DOC
    for each in (*On, *Mode, *Starts):
        assert f"`{each}`" in POLICY_DOC


def test_every_field_of_conditions_is_documented() -> None:
    """docs/policy.md has the table of fields as `markdown_of_fields()` makes it."""
    assert markdown_of_fields() in POLICY_DOC


def test_the_default_policys_numbers_are_documented() -> None:
    """What docs/policy.md says of the default policy has its thresholds, queues and bands."""
    policy = load(None)
    table = POLICY_DOC[POLICY_DOC.index("## What the default does") :]
    for queue in policy.queues:
        assert f"`{queue}`" in table
    for name, threshold in policy.file.thresholds.items():
        assert f"{threshold:.2f}" in table, name
    for family in policy.fusion.requires:
        band = policy.fused.abstain(family)
        assert band is None or f"{band.low:.2f}–{band.high:.2f}" in table
