"""A statement of reasons as the DSA Transparency Database takes it (API documentation, schema version 2).

The types say what a field may hold; `trouble` adds what one field asks of another. `schema/` says the same in JSON
Schema, and a test holds the two together. Fields that Unmask never fills are here, so that a statement which was
completed by hand is checked by the same rules.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from pipeline.statements.terms import (
    Account,
    AccountType,
    AutomatedDecision,
    Category,
    ContentType,
    Country,
    DecisionGround,
    Keyword,
    Monetary,
    Provision,
    SourceType,
    Visibility,
    YesNo,
)

MOST_IN_A_CALL: Final = 100
"""Statements per call, by the documentation."""

Short = Annotated[str, Meta(min_length=1, max_length=500)]
Explanation = Annotated[str, Meta(min_length=1, max_length=2000)]
Facts = Annotated[str, Meta(min_length=1, max_length=5000)]
Puid = Annotated[str, Meta(min_length=1, max_length=500, pattern=r"^[a-zA-Z0-9_-]+$(?!\n)")]
Url = Annotated[str, Meta(max_length=500, pattern=r"^https?://[^\s@]+$(?!\n)", description="names no user")]
Language = Annotated[str, Meta(pattern=r"^[A-Z]{2}$(?!\n)", description="ISO 639-1, upper case")]
# The database takes days before 2038, contents from 2000 on and decisions from 2020 on.
ContentDay = Annotated[date, Meta(extra_json_schema={"pattern": "^20([0-2][0-9]|3[0-7])-"})]
DecisionDay = Annotated[date, Meta(extra_json_schema={"pattern": "^20(2[0-9]|3[0-7])-"})]

EARLIEST_CONTENT = date(2000, 1, 1)
EARLIEST_DECISION = date(2020, 1, 1)
LATEST = date(2037, 12, 31)


class Statement(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One restriction, for the territory in which it applies, and why. It names nobody."""

    puid: Puid
    decision_ground: DecisionGround
    content_type: Annotated[tuple[ContentType, ...], Meta(min_length=1)]
    category: Category
    territorial_scope: Annotated[tuple[Country, ...], Meta(min_length=1)]
    content_date: ContentDay
    application_date: DecisionDay
    decision_facts: Facts
    source_type: SourceType
    automated_detection: YesNo
    automated_decision: AutomatedDecision
    decision_visibility: tuple[Visibility, ...] = ()
    decision_visibility_other: Short | None = None
    end_date_visibility_restriction: DecisionDay | None = None
    decision_monetary: Monetary | None = None
    decision_monetary_other: Short | None = None
    end_date_monetary_restriction: DecisionDay | None = None
    decision_provision: Provision | None = None
    end_date_service_restriction: DecisionDay | None = None
    decision_account: Account | None = None
    end_date_account_restriction: DecisionDay | None = None
    account_type: AccountType | None = None
    decision_ground_reference_url: Url | None = None
    illegal_content_legal_ground: Short | None = None
    illegal_content_explanation: Explanation | None = None
    incompatible_content_ground: Short | None = None
    incompatible_content_explanation: Explanation | None = None
    incompatible_content_illegal: YesNo | None = None
    content_type_other: Short | None = None
    category_addition: tuple[Category, ...] = ()
    category_specification: tuple[Keyword, ...] = ()
    category_specification_other: Short | None = None
    content_language: Language | None = None
    source_identity: Short | None = None


class Batch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one call sends."""

    statements: Annotated[tuple[Statement, ...], Meta(min_length=1, max_length=MOST_IN_A_CALL)]


TEXTS: Final = (
    "decision_facts",
    "decision_visibility_other",
    "decision_monetary_other",
    "decision_ground_reference_url",
    "illegal_content_legal_ground",
    "illegal_content_explanation",
    "incompatible_content_ground",
    "incompatible_content_explanation",
    "content_type_other",
    "category_specification_other",
    "source_identity",
)
"""Fields that hold free text."""

SETS: Final = (
    "content_type",
    "territorial_scope",
    "decision_visibility",
    "category_addition",
    "category_specification",
)
"""Fields that hold each value once."""

REQUIRES: Final = (
    ("decision_visibility", Visibility.OTHER, "decision_visibility_other"),
    ("decision_monetary", Monetary.OTHER, "decision_monetary_other"),
    ("content_type", ContentType.OTHER, "content_type_other"),
    ("decision_ground", DecisionGround.ILLEGAL, "illegal_content_legal_ground"),
    ("decision_ground", DecisionGround.ILLEGAL, "illegal_content_explanation"),
    ("decision_ground", DecisionGround.INCOMPATIBLE, "incompatible_content_ground"),
    ("decision_ground", DecisionGround.INCOMPATIBLE, "incompatible_content_explanation"),
)
"""(field, value, field): where the first has that value, the second must be there."""

DECISIONS: Final = ("decision_visibility", "decision_monetary", "decision_provision", "decision_account")
"""One of these must be there."""

_statement = msgspec.json.Decoder(Statement)


def trouble(raw: bytes) -> str | None:
    """Why the database would refuse this, or None: the first thing that is wrong."""
    try:
        statement = _statement.decode(raw)
    except ValueError as error:  # msgspec's errors, and bytes that are not UTF-8
        return str(error)
    return next(iter(_across(statement)), None)


def _across(statement: Statement) -> Iterable[str]:
    if not any(getattr(statement, field) for field in DECISIONS):
        yield f"one of {', '.join(DECISIONS)} is needed"
    for field, value, needed in REQUIRES:
        found = getattr(statement, field)
        if (found == value or (isinstance(found, tuple) and value in found)) and getattr(statement, needed) is None:
            yield f"`{needed}` is needed with {value}"
    for field in SETS:
        held = getattr(statement, field)
        if len(set(held)) < len(held):
            yield f"`{field}` holds a value twice"
    if not EARLIEST_CONTENT <= statement.content_date <= LATEST:
        yield f"`content_date` {statement.content_date} is not between {EARLIEST_CONTENT} and {LATEST}"
    for field in _DECISION_DAYS:
        day = getattr(statement, field)
        if day is not None and not EARLIEST_DECISION <= day <= LATEST:
            yield f"`{field}` {day} is not between {EARLIEST_DECISION} and {LATEST}"


_DECISION_DAYS = (
    "application_date",
    "end_date_visibility_restriction",
    "end_date_monetary_restriction",
    "end_date_service_restriction",
    "end_date_account_restriction",
)
