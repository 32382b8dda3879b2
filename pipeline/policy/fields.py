"""The fields that conditions may use: name, type, meaning, and how each is read off a case. The one list of them.

What is not known is not a number: `face_swap.probability` of a family that was not judged compares with nothing, so
neither `>= 0.8` nor `< 0.2` holds. Suspicion and reassurance both need somebody who looked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pipeline.events.values import (
    CredentialState,
    Family,
    MediaKind,
    Purpose,
    Relation,
    RequestKind,
    Seen,
    Signal,
    SignalStatus,
    Surface,
)
from pipeline.policy.case import Case
from pipeline.policy.regions import COUNTRIES

Value = float | str | bool | list[str] | dict[str, str] | datetime
"""What a field holds."""

UNKNOWN = math.nan


class Kind(StrEnum):
    """The type of a field."""

    NUMBER = "number"
    TEXT = "text"
    FLAG = "true or false"
    TEXTS = "list of texts"
    PAIRS = "texts by name"
    MOMENT = "moment"


@dataclass(frozen=True, slots=True)
class Field:
    """One field.

    Args:
        values: all that it can hold, where that is a closed set.
        evidence: whether it tells of a finding by a model (`signal`), of something that people or records vouch for
            (`fact`), or of circumstances (`context`).
        most: the largest number that it can hold; the smallest is 0 everywhere.
        known: a number that is always there; others may be not a number.
    """

    name: str
    kind: Kind
    what: str
    of: Callable[[Case], Value]
    values: tuple[str, ...] = ()
    evidence: str = "context"
    most: float = math.inf
    known: bool = False


def _fields() -> Iterable[Field]:
    for family in Family:
        yield from _signal_fields(family)
    text, texts, flag, number = Kind.TEXT, Kind.TEXTS, Kind.FLAG, Kind.NUMBER
    yield Field(
        "credentials.state",
        text,
        "Content Credentials: `absent`, `invalid` (no proof of forgery), `untrusted` (nobody vouches for the signer),"
        " `trusted`; empty where they were not looked for",
        lambda c: c.facts.credentials.state.value if c.facts and c.facts.credentials else "",
        ("", *(state.value for state in CredentialState)),
        "fact",
    )
    yield Field("credentials.issuer", text, "who signed them", lambda c: _credential(c, "issuer"), evidence="fact")
    yield Field(
        "credentials.generator",
        text,
        "the software that wrote them",
        lambda c: _credential(c, "generator"),
        evidence="fact",
    )
    yield Field(
        "credentials.identity",
        text,
        "whom a verified identity assertion names; empty without one",
        lambda c: _credential(c, "identity"),
        evidence="fact",
    )
    yield Field(
        "credentials.source_types",
        texts,
        "IPTC digital source types that they assert, such as `digitalCapture`, `trainedAlgorithmicMedia`",
        lambda c: list(c.facts.credentials.source_types) if c.facts and c.facts.credentials else [],
        evidence="fact",
    )
    yield Field(
        "known.banks",
        texts,
        "banks of known content that match and act",
        lambda c: sorted({match.bank for match in c.matches if match.live}),
        evidence="fact",
    )
    yield Field(
        "known.tried_banks",
        texts,
        "banks that match and are only being tried out, quarantined or negative",
        lambda c: sorted({match.bank for match in c.matches if not match.live}),
        evidence="fact",
    )
    yield Field(
        "known.share",
        number,
        "largest share of the upload's frames that an acting bank knows (1.0 for a still)",
        lambda c: max((match.share for match in c.matches if match.live), default=0.0),
        evidence="fact",
        most=1.0,
        known=True,
    )
    yield Field(
        "known.exact",
        flag,
        "an acting bank knows these very bytes or an identical picture",
        lambda c: any(match.live and match.distance == 0 for match in c.matches),
        evidence="fact",
    )
    yield Field(
        "upload.surface", text, "where it appears", lambda c: c.upload.surface.value, tuple(s.value for s in Surface)
    )
    yield Field(
        "upload.regions",
        texts,
        "where it is shown (ISO 3166-1 alpha-2); empty means everywhere",
        lambda c: list(c.upload.regions),
        tuple(sorted(COUNTRIES)),
    )
    yield Field("upload.caption", text, "the text beside it", lambda c: c.upload.caption)
    yield Field("upload.content_type", text, "what the platform says it is", lambda c: c.upload.content_type or "")
    yield Field(
        "upload.tags", texts, "what the platform knows of the subject (`election`, …)", lambda c: list(c.upload.tags)
    )
    yield Field(
        "upload.attributes",
        Kind.PAIRS,
        "the platform's own: `'campaign' in upload.attributes && upload.attributes.campaign == 'x'`",
        lambda c: dict(c.upload.attributes),
    )
    yield Field(
        "upload.declared_synthetic",
        flag,
        "the uploader says that it is synthetic",
        lambda c: c.upload.declared_synthetic,
        evidence="fact",
    )
    yield Field(
        "upload.purposes",
        texts,
        "what the uploader says that a manipulation is for",
        lambda c: [purpose.value for purpose in c.upload.purposes],
        tuple(purpose.value for purpose in Purpose),
    )
    yield Field(
        "uploader.known", flag, "the platform says anything of the uploader", lambda c: c.upload.uploader is not None
    )
    yield Field(
        "uploader.verified",
        flag,
        "the platform has verified who it is",
        lambda c: bool(c.upload.uploader and c.upload.uploader.verified),
    )
    for name, what in (
        ("account_days", "age of the account, days"),
        ("followers", "followers"),
        ("strikes", "restrictions in the recent past"),
    ):
        yield Field(f"uploader.{name}", number, f"{what}; not a number when unknown", _uploader_number(name))
    yield Field(
        "consent.given",
        flag,
        "the person shown consented: a reference, not revoked, not ended, for the purposes that the uploader names",
        _consented,
        evidence="fact",
    )
    yield Field(
        "consent.revoked",
        flag,
        "consent was given and is revoked or has ended",
        lambda c: bool(c.upload.consent and c.upload.consent.reference and not _in_force(c)),
        evidence="fact",
    )
    yield Field(
        "consent.relation",
        text,
        "what the uploader is to the person shown",
        lambda c: c.upload.consent.relation.value if c.upload.consent else Relation.UNKNOWN.value,
        tuple(relation.value for relation in Relation),
        "fact",
    )
    yield Field(
        "request.kind",
        text,
        "what the person shown asks for; empty when nobody asked",
        lambda c: c.request.kind.value if c.request else "",
        ("", *(kind.value for kind in RequestKind)),
        "fact",
    )
    yield Field(
        "request.harm", text, "what the person calls it", lambda c: c.request.harm if c.request else "", evidence="fact"
    )
    yield Field(
        "request.jurisdiction",
        text,
        "whose law the person invokes",
        lambda c: (c.request.jurisdiction or "") if c.request else "",
        ("", *sorted(COUNTRIES)),
        "fact",
    )
    yield Field(
        "request.near_copy",
        flag,
        "the request named another upload, of which this is a copy",
        lambda c: bool(c.request and c.request.near_copy),
        evidence="fact",
    )
    yield Field(
        "media.kind",
        text,
        "what the bytes are; empty when they could not be read",
        lambda c: c.facts.kind.value if c.facts else "",
        ("", *(kind.value for kind in MediaKind)),
    )
    for name, what in (("duration", "seconds"), ("width", "pixels"), ("height", "pixels")):
        yield Field(f"media.{name}", number, f"{what}; not a number when unknown", _media_number(name))
    yield Field(
        "looked.frames",
        number,
        "frames that were looked at",
        lambda c: float(len(c.sampling.looked_at)) if c.sampling else 0.0,
        known=True,
    )
    yield Field(
        "looked.largest_gap",
        number,
        "longest stretch without a look, seconds; not a number for stills",
        lambda c: _number(c.sampling.largest_gap) if c.sampling else UNKNOWN,
    )
    yield Field("now", Kind.MOMENT, "when it is decided, UTC", lambda c: c.now)


def _signal_fields(family: Family) -> Iterable[Field]:
    spoken = family.value.replace("_", " ")
    parts: tuple[tuple[str, Kind, str, Callable[[Signal | None], Value]], ...] = (
        (
            "probability",
            Kind.NUMBER,
            f"calibrated probability of {spoken}",
            lambda s: _number(s.probability if s else None),
        ),
        ("low", Kind.NUMBER, "its lower bound", lambda s: _number(s.low if s else None)),
        ("high", Kind.NUMBER, "its upper bound", lambda s: _number(s.high if s else None)),
        (
            "coverage",
            Kind.NUMBER,
            "share of what should have been looked at that was",
            lambda s: s.coverage if s else 0.0,
        ),
        ("judged", Kind.FLAG, "there is a probability", lambda s: s is not None and s.probability is not None),
        (
            "abstained",
            Kind.FLAG,
            "judged, but too uncertain to say",
            lambda s: s is not None and s.status is SignalStatus.ABSTAINED,
        ),
        (
            "missing",
            Kind.FLAG,
            "should have been judged and was not",
            lambda s: s is not None and s.status is SignalStatus.MISSING,
        ),
    )
    for name, kind, what, of in parts:
        yield Field(
            f"{family}.{name}",
            kind,
            what,
            _of_signal(family, of),
            evidence="signal",
            most=1.0,
            known=name == "coverage",
        )
    yield Field(
        f"{family}.supported",
        Kind.NUMBER,
        "how many signals that see the same by other traces bear it out; 0.0 where it is not suspicious",
        lambda c, family=family: float(sum(len(a.supports) for a in c.agreement if a.about is family)),  # type: ignore[misc]
        evidence="signal",
        most=float(len(Family)),
        known=True,
    )


def _of_signal(family: Family, of: Callable[[Signal | None], Value]) -> Callable[[Case], Value]:
    return lambda case: of(next((signal for signal in case.signals if signal.family is family), None))


def _credential(case: Case, name: str) -> str:
    credentials = case.facts.credentials if case.facts else None
    return str(getattr(credentials, name) or "") if credentials else ""


def _uploader_number(name: str) -> Callable[[Case], Value]:
    return lambda case: _number(getattr(case.upload.uploader, name) if case.upload.uploader else None)


def _media_number(name: str) -> Callable[[Case], Value]:
    return lambda case: _number(getattr(case.facts, name) if case.facts else None)


def _number(value: float | None) -> float:
    return UNKNOWN if value is None else float(value)


def _in_force(case: Case) -> bool:
    consent, request = case.upload.consent, case.request
    return (
        consent is not None
        and consent.reference is not None
        and not consent.revoked
        and (consent.until is None or case.now < consent.until)
        and (request is None or request.kind is not RequestKind.CONSENT_REVOKED)
    )


def _consented(case: Case) -> bool:
    consent = case.upload.consent
    if consent is None or not _in_force(case):
        return False
    return not consent.purposes or set(case.upload.purposes or (Purpose.OTHER,)) <= set(consent.purposes)


FIELDS: Mapping[str, Field] = {field.name: field for field in _fields()}


NEUTRAL: Mapping[Kind, Value] = {
    Kind.NUMBER: UNKNOWN,
    Kind.TEXT: "",
    Kind.FLAG: False,
    Kind.TEXTS: [],
    Kind.PAIRS: {},
}
"""What fields hold when nothing is known."""


def neutral(field: Field) -> Value:
    """What a field holds when nobody looked and nobody said anything."""
    if field.kind is Kind.NUMBER and field.known:
        return 0.0
    if field.kind is Kind.TEXT and field.values and "" not in field.values:
        return Relation.UNKNOWN.value if field.name == "consent.relation" else field.values[0]
    return NEUTRAL[field.kind]


def read(names: Iterable[str], case: Case) -> dict[str, Value]:
    """The values of these fields for a case."""
    return {name: FIELDS[name].of(case) for name in names}


def spoken(value: Value) -> Seen | None:
    """A value as the trace records it; None for what was not known."""
    match value:
        case bool() | str():
            return value
        case float():
            return None if math.isnan(value) else value
        case list():
            return ", ".join(value)
        case dict():
            return ", ".join(f"{name}={text}" for name, text in sorted(value.items()))
    return value.isoformat()


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the list of fields."""

    name: str
    kind: str
    what: str


def rows() -> tuple[Row, ...]:
    """All fields for people: those that every family has once, as `<family>.…`."""
    first = next(iter(Family))
    found = []
    for field in FIELDS.values():
        family, _, what = field.name.partition(".")
        if family in tuple(Family) and family != first:
            continue
        name = f"<family>.{what}" if family == first else field.name
        meaning = field.what.replace(f" of {first.value.replace('_', ' ')}", "")
        if field.values and len(field.values) <= _LISTED and "`" not in meaning:
            meaning += f": {', '.join(f'`{value}`' for value in field.values if value)}"
        if field.kind is Kind.NUMBER and not field.known and "not a number" not in meaning:
            meaning += "; not a number when not judged" if family == first else "; not a number when unknown"
        found.append(Row(name, field.kind.value, meaning))
    return tuple(found)


_LISTED = 20
"""So many values of a field are listed."""


def markdown_of_fields() -> str:
    """The table of fields as docs/policy.md has it."""
    families = ", ".join(f"`{family}`" for family in Family)
    lines = ["| field | type | meaning |", "|---|---|---|"]
    lines += [f"| `{row.name}` | {row.kind} | {row.what.replace('|', chr(92) + '|')} |" for row in rows()]
    return "\n".join(lines) + f"\n\nFamilies: {families}.\n"
