"""The API against its own OpenAPI document: whatever fits the document, or nearly does, gets an answer that fits it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import CheckFunction, not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from pipeline.console.guard import csrf_token
from pipeline.events.values import Action
from pipeline.review.people import Person, Role
from pipeline.review.port import Answer
from tests.console import Console, make_console
from tests.overview_promises import settle
from tests.records import NOON
from tests.work_promises import wait

EXAMPLES = 6
"""Of each operation, for each role and each way of making them."""
CHECKS: list[CheckFunction] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    made = make_console(tmp_path)
    yield made
    made.ledger.close()


def prepared(console: Console) -> dict[str, list[UUID]]:
    """Tasks that wait, one that is held, one that was answered, two that were decided, of which one is golden; ids that
    mean something, by the name they go by."""
    tasks = [wait(console.ledger, f"m{i}", queue, starts=i) for i, queue in enumerate(["faces", "triage", "faces"] * 3)]
    answered = console.work.claim("other", ("faces",), NOON, timedelta(hours=9))
    assert answered is not None
    done = console.work.answer("other", answered.lease_id, Answer(Action.REMOVE), NOON, timedelta(hours=9), {})
    held = console.work.claim("somebody", ("faces",), NOON, timedelta(hours=9))
    assert held is not None
    decided = [settle(console.ledger, name) for name in ("known", "golden")]
    console.parts.golden.add(decided[1], Action.REMOVE, "other", NOON)
    return {"task_id": tasks + decided, "lease_id": [held.lease_id], "answer_id": [done.answer_id]}


@pytest.mark.parametrize("role", list(Role))
def test_every_answer_fits_the_document(console: Console, role: Role) -> None:
    """For every role: no 5xx, no status that the document does not name, no body of another shape."""
    known = prepared(console)
    person = Person("somebody", "Somebody", frozenset({role}), frozenset({"*"}))
    secret = console.parts.people.open_session(person, NOON, NOON + timedelta(days=1))
    entry = {
        "headers": {"X-CSRF-Token": csrf_token(secret, console.parts.signer.secret)},
        "cookies": {"unmask_session": secret},
    }
    schema = schemathesis.openapi.from_asgi("/openapi.json", console.app)
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) >= 32
    statuses: set[int] = set()

    for operation in operations:
        # What takes nothing cannot be given anything wrong.
        takes = bool(list(operation.iter_parameters()) or len(operation.body))
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)[: 1 + takes]:

            @seed(2025)
            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode), data=st.data())
            def ask(case: Any, data: st.DataObject) -> None:
                for name in set(case.path_parameters or {}) & set(known):
                    if data.draw(st.booleans()):
                        case.path_parameters[name] = str(data.draw(st.sampled_from(known[name])))
                response = case.call(**entry)
                statuses.add(response.status_code)
                case.validate_response(response, checks=CHECKS)

            ask()
    assert {200, 422} <= statuses
    assert 401 not in statuses
