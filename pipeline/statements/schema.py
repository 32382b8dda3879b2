"""JSON Schema (2020-12) of a statement and of what one call sends.

They lie in `schema/` beside this file; `python -m pipeline.statements.schema` writes them, and a test fails when they
differ from the code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from pipeline.events.schema import DIALECT, Json, texts, write
from pipeline.statements.form import DECISIONS, REQUIRES, SETS, Batch, Statement

FOLDER: Final = Path(__file__).with_name("schema")


def rendered() -> dict[str, str]:
    """Every generated file: its name → its text."""
    return texts({"dsa-statement.json": statement_schema(), "dsa-batch.json": batch_schema()})


def statement_schema() -> Json:
    """Of one statement."""
    return _document("dsa-statement", "Statement of reasons, DSA Transparency Database", msgspec.json.schema(Statement))


def batch_schema() -> Json:
    """Of the body of one call."""
    return _document("dsa-batch", "Statements of reasons, one call", msgspec.json.schema(Batch))


def _document(name: str, title: str, schema: Json) -> Json:
    statement = schema["$defs"]["Statement"]
    for field in SETS:
        statement["properties"][field]["uniqueItems"] = True
    statement["anyOf"] = [_given(field) for field in DECISIONS]
    statement["allOf"] = [{"if": _is(field, value), "then": _given(needed)} for field, value, needed in REQUIRES]
    return {"$schema": DIALECT, "$id": f"urn:unmask:{name}:v2", "title": title, **schema}


def _given(field: str) -> Json:
    """The field is there with a value."""
    value: Json = {"minItems": 1} if field in SETS else {"not": {"type": "null"}}
    return {"required": [field], "properties": {field: value}}


def _is(field: str, value: str) -> Json:
    found: Json = {"contains": {"const": value}} if field in SETS else {"const": value}
    return {"required": [field], "properties": {field: found}}


if __name__ == "__main__":
    write(FOLDER, rendered())
