"""The published schema of statements is that of the code, and both refuse the same."""

from __future__ import annotations

import json
import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pipeline.events import MediaDecided, Versions, ids
from pipeline.events.uploaded import MediaUploaded
from pipeline.events.values import (
    Action,
    Evidence,
    Failure,
    Family,
    MediaFacts,
    MediaKind,
    RequestFacts,
    RequestKind,
    Signal,
    SignalStatus,
    Surface,
)
from pipeline.policy.case import Case
from pipeline.policy.decide import decide
from pipeline.policy.file import load
from pipeline.route import route
from pipeline.statements.drafts import drafts
from pipeline.statements.form import MOST_IN_A_CALL, REQUIRES, SETS, Batch, Statement, trouble
from pipeline.statements.rows import StatementState
from pipeline.statements.schema import FOLDER, batch_schema, rendered, statement_schema
from pipeline.statements.statement import statements
from tests.restricted import HARMS, NOON, outcome_of, restricted

VALIDATOR = Draft202012Validator(statement_schema(), format_checker=Draft202012Validator.FORMAT_CHECKER)
BATCHES = Draft202012Validator(batch_schema(), format_checker=Draft202012Validator.FORMAT_CHECKER)
DOC = (Path(__file__).parents[3] / "docs" / "reports.md").read_text(encoding="utf-8")
POLICY = load(None)


def valid() -> dict[str, Any]:
    """A statement that is fine."""
    decided = restricted(Action.LIMIT)
    (statement,) = statements(decided, outcome_of(decided), HARMS)
    content: dict[str, Any] = json.loads(msgspec.json.encode(statement))
    return content


def both_refuse(content: object) -> bool:
    """What the types and the schema say of this; they must agree."""
    by_code = trouble(json.dumps(content).encode()) is not None
    by_schema = not VALIDATOR.is_valid(content)
    assert by_code == by_schema, (content, trouble(json.dumps(content).encode()))
    return by_code


def test_committed_schemas_are_those_of_the_code() -> None:
    """`python -m pipeline.statements.schema` was run after the last change, and nothing else lies there."""
    assert {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()} == rendered()


def test_they_are_schemas() -> None:
    """Valid JSON Schema 2020-12, patterns included."""
    for schema in (statement_schema(), batch_schema()):
        Draft202012Validator.check_schema(schema)
        for pattern in re.findall(r'"pattern": "((?:[^"\\]|\\.)*)"', json.dumps(schema)):
            re.compile(json.loads(f'"{pattern}"'))


@pytest.mark.parametrize("field", [field.name for field in msgspec.structs.fields(Statement)])
def test_every_field_is_required_alike_and_documented(field: str) -> None:
    """What one needs the other needs; docs/reports.md says what the field is filled with."""
    content = valid()
    content.pop(field, None)
    required = next(each.required for each in msgspec.structs.fields(Statement) if each.name == field)
    refused = both_refuse(content)
    assert refused or not required
    assert f"`{field}`" in DOC


@pytest.mark.parametrize(
    "change",
    [
        {"puid": "with space"},
        {"puid": ""},
        {"puid": "x" * 501},
        {"puid": "line\n"},
        {"category": "STATEMENT_CATEGORY_NON_CONSENSUAL_BEHAVIOUR"},
        {"category_specification": ["KEYWORD_NOTHING"]},
        {"category_specification": ["KEYWORD_NUDITY", "KEYWORD_NUDITY"]},
        {"territorial_scope": []},
        {"territorial_scope": ["US"]},
        {"territorial_scope": ["DE", "DE"]},
        {"content_type": []},
        {"content_type": ["CONTENT_TYPE_OTHER"]},
        {"decision_visibility": []},
        {"decision_visibility": ["DECISION_VISIBILITY_OTHER"]},
        {"decision_visibility": [], "decision_monetary": "DECISION_MONETARY_OTHER"},
        {"decision_ground": "DECISION_GROUND_ILLEGAL_CONTENT"},
        {"decision_facts": ""},
        {"decision_facts": "x" * 5001},
        {"incompatible_content_explanation": "x" * 2001},
        {"incompatible_content_ground": "x" * 501},
        {"automated_detection": "yes"},
        {"automated_decision": "Yes"},
        {"content_date": "1999-12-31"},
        {"content_date": "2038-01-01"},
        {"content_date": "2026-1-5"},
        {"application_date": "2019-12-31"},
        {"application_date": "2026-01-05-10"},
        {"end_date_visibility_restriction": "2019-01-01"},
        {"content_language": "en"},
        {"decision_ground_reference_url": "https://anna@platform.example/"},
        {"uploader_id": "u-7"},
    ],
    ids=str,
)
def test_both_refuse(change: dict[str, object]) -> None:
    """What the database would refuse, and what has no place in a statement."""
    assert both_refuse(valid() | change)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"decision_visibility": [], "decision_account": "DECISION_ACCOUNT_SUSPENDED"},
        {"decision_visibility": ["DECISION_VISIBILITY_OTHER"], "decision_visibility_other": "blurred"},
        {"content_type": ["CONTENT_TYPE_OTHER"], "content_type_other": "a scene"},
        {"content_language": "DE", "account_type": "ACCOUNT_TYPE_BUSINESS"},
        {"end_date_visibility_restriction": "2037-12-31"},
        {"content_date": "2000-01-01"},
    ],
    ids=str,
)
def test_both_accept(change: dict[str, object]) -> None:
    """Also what Unmask never fills itself."""
    assert not both_refuse(valid() | change)


@given(st.data())
def test_they_agree_on_whatever_is_changed(data: st.DataObject) -> None:
    """Fields dropped, emptied, doubled or given another's value: code and schema say the same."""
    content = valid()
    names = [field.name for field in msgspec.structs.fields(Statement)]
    values = st.sampled_from([None, "", "x", [], ["x"], 3, "2026-01-15", *content.values()])
    for name in data.draw(st.lists(st.sampled_from(names), max_size=4)):
        if data.draw(st.booleans()):
            content.pop(name, None)
        else:
            content[name] = data.draw(values)
    for _, value, needed in data.draw(st.lists(st.sampled_from(REQUIRES), max_size=1)):
        content[needed] = str(value)
    both_refuse(content)


@given(st.dates(date(1990, 1, 1), date(2045, 1, 1)), st.dates(date(1990, 1, 1), date(2045, 1, 1)))
def test_they_agree_on_dates(content_date: date, application_date: date) -> None:
    """Both bounds of both dates."""
    both_refuse(valid() | {"content_date": str(content_date), "application_date": str(application_date)})


def test_a_batch_holds_a_hundred() -> None:
    """As many as a call takes, and at least one."""
    decoder = msgspec.json.Decoder(Batch)
    for count, fine in ((0, False), (1, True), (MOST_IN_A_CALL, True), (MOST_IN_A_CALL + 1, False)):
        content = {"statements": [valid()] * count}
        assert BATCHES.is_valid(content) is fine
        if fine:
            assert len(decoder.decode(json.dumps(content)).statements) == count
        else:
            with pytest.raises(msgspec.ValidationError):
                decoder.decode(json.dumps(content))


def test_sets_are_fields() -> None:
    """Names in the tables of the form are those of its fields."""
    names = {field.name for field in msgspec.structs.fields(Statement)}
    assert {*SETS, *(each for field, _, needed in REQUIRES for each in (field, needed))} <= names


def signal(family: Family, probability: float) -> Signal:
    return Signal(
        family=family,
        status=SignalStatus.SCORED,
        probability=probability,
        low=max(0.0, probability - 0.05),
        high=min(1.0, probability + 0.05),
        evidence=(Evidence(detector="d@1", score=probability, at=3.2),),
    )


CALM = (signal(Family.FACE_SWAP, 0.05), signal(Family.FACE_SYNTHESIS, 0.05))
SWAPPED = (signal(Family.FACE_SWAP, 0.95), signal(Family.FACE_SYNTHESIS, 0.05))
REALISTIC = {
    "nothing": (CALM, None, None, {}),
    "swap": (SWAPPED, None, None, {}),
    "swap in an advertisement": (SWAPPED, None, None, {"surface": Surface.AD, "regions": ("DE", "US", "IN")}),
    "intimate": ((*SWAPPED, signal(Family.NUDITY, 0.97)), None, None, {"regions": ("FR",)}),
    "declared": (CALM, None, None, {"declared_synthetic": True}),
    "election": (SWAPPED, None, None, {"tags": ("election",)}),
    "unreadable": ((), Failure(stage="decode", reason="media_corrupt", detail="/srv/x"), None, {}),
    "missing": ((signal(Family.FACE_SWAP, 0.05),), None, None, {}),
    "removal": (CALM, None, RequestKind.REMOVAL, {}),
    "revoked": (CALM, None, RequestKind.CONSENT_REVOKED, {}),
}


@pytest.mark.parametrize("case", REALISTIC)
def test_statements_of_the_default_policys_decisions_validate(case: str) -> None:
    """Whatever the policy that ships decides, its statements are valid, hold no personal data, and are queued."""
    signals, failure, kind, context = REALISTIC[case]
    asked = kind and RequestFacts(request_id="req-1", kind=kind, received_at=NOON, harm="intimate-imagery")
    upload = MediaUploaded(
        media_id="m-17",
        uri="s3://b/anna_smith.mp4",
        uploaded_at=NOON - timedelta(days=1),
        uploader_id="u-99",
        **context,
    )
    facts = MediaFacts(kind=MediaKind.VIDEO, container="mp4", duration=10.0)
    decision = decide(
        Case(upload=upload, now=NOON, signals=signals, facts=facts, failure=failure, request=asked or None), POLICY
    )
    decided = MediaDecided(
        decision_id=ids.decision_id("m-17", 1), media_id="m-17", upload=upload, decided_at=NOON, decision=decision,
        versions=Versions(unmask="0", policy=POLICY.version), facts=facts, signals=signals, failure=failure,
        request=asked or None,
    )  # fmt: skip
    outcome = route(decided).outcome
    found = drafts(decided, outcome, None, None, harms=POLICY.harms)
    reported = outcome.action in (Action.LIMIT, Action.HOLD, Action.REMOVE) or any(
        each.action in (Action.LIMIT, Action.HOLD, Action.REMOVE) and {"DE", "FR"} & set(each.regions)
        for each in outcome.regional
    )
    assert bool(found) is reported
    for draft in found:
        VALIDATOR.validate(json.loads(draft.body))
        assert draft.state is StatementState.QUEUED, draft.findings
