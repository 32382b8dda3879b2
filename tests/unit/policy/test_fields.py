"""Every field has a value of its type for every upload; what is not known is not a number, or empty."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from msgspec import structs

from pipeline.events.values import (
    Agreement,
    Consent,
    Credentials,
    CredentialState,
    Family,
    Match,
    MediaFacts,
    MediaKind,
    Purpose,
    Relation,
    RequestFacts,
    RequestKind,
    Sampling,
    Signal,
    SignalStatus,
    UploaderFacts,
)
from pipeline.policy.case import Case
from pipeline.policy.condition import Language
from pipeline.policy.fields import FIELDS, Kind, Value, markdown_of_fields, neutral, read, rows, spoken
from tests import strategies
from tests.unit.policy.sample import NOW, UPLOAD, case, scored

TYPES = {
    Kind.NUMBER: float,
    Kind.TEXT: str,
    Kind.FLAG: bool,
    Kind.TEXTS: list,
    Kind.PAIRS: dict,
    Kind.MOMENT: datetime,
}


def value(name: str, given: Case) -> Value:
    return FIELDS[name].of(given)


@given(strategies.cases())
def test_every_field_of_every_upload(given: Case) -> None:
    """Values have their type and lie in their range; the trace can hold them."""
    for name, found in read(FIELDS, given).items():
        field = FIELDS[name]
        assert type(found) is TYPES[field.kind], name
        if isinstance(found, float):
            assert (0 <= found <= field.most) or (math.isnan(found) and not field.known), name
        said = spoken(found)
        assert said is None or isinstance(said, bool | float | str)


@given(strategies.cases())
def test_closed_sets_are_closed(given: Case) -> None:
    """A field with a list of values holds nothing else."""
    for field in FIELDS.values():
        if field.values and field.name != "upload.regions":
            found = field.of(given)
            assert set(found if isinstance(found, list) else [found]) <= set(field.values)


@pytest.mark.parametrize("name", [name for name, field in FIELDS.items() if field.kind is not Kind.MOMENT])
def test_neutral_is_what_an_upload_without_anything_has(name: str) -> None:
    """What rules see when nobody looked and nobody said anything is what `neutral` says."""
    found = FIELDS[name].of(Case(UPLOAD, NOW))
    said = neutral(FIELDS[name])
    assert found == said or (found != found and said != said)


def test_conditions_can_speak_of_every_field() -> None:
    """Each is declared in the language under its own name and type."""
    language = Language(FIELDS)
    forms = {
        Kind.NUMBER: "{} >= 0.0",
        Kind.TEXT: "{} == ''",
        Kind.FLAG: "{}",
        Kind.TEXTS: "size({}) > 0",
        Kind.PAIRS: "'x' in {}",
        Kind.MOMENT: "{} > timestamp('2026-01-01T00:00:00Z')",
    }
    seen = language.see(read(FIELDS, case()))
    for name, field in FIELDS.items():
        if field.values and field.kind is Kind.TEXT:
            continue
        found = language.compile(forms[field.kind].format(name))
        assert found.holds(seen).error is None, name  # type: ignore[union-attr]


def test_signals() -> None:
    """Probability, bounds, coverage and status; who bears it out."""
    (signal,) = scored(face_swap=0.9)
    given = replace(
        case(structs.replace(signal, status=SignalStatus.ABSTAINED, coverage=0.5)),
        agreement=(Agreement(about=Family.FACE_SWAP, supports=(Family.SPLICE, Family.LIGHTING)),),
    )
    names = ("probability", "low", "coverage", "judged", "abstained", "missing", "supported")
    assert [value(f"face_swap.{name}", given) for name in names] == [0.9, 0.85, 0.5, True, True, False, 2.0]
    gone = case(Signal(family=Family.FACE_SWAP, status=SignalStatus.MISSING, coverage=0.1))
    assert value("face_swap.missing", gone)
    assert not value("face_swap.judged", gone)
    assert math.isnan(value("face_swap.probability", gone))  # type: ignore[arg-type]


GIVEN = Consent(reference="c-1")


@pytest.mark.parametrize(
    ("consent", "purposes", "given", "revoked"),
    [
        (None, (), False, False),
        (Consent(relation=Relation.SELF), (), False, False),
        (GIVEN, (), True, False),
        (structs.replace(GIVEN, revoked=True), (), False, True),
        (structs.replace(GIVEN, until=NOW + timedelta(days=1)), (), True, False),
        (structs.replace(GIVEN, until=NOW), (), False, True),
        (structs.replace(GIVEN, purposes=(Purpose.DUB,)), (Purpose.DUB,), True, False),
        (structs.replace(GIVEN, purposes=(Purpose.DUB,)), (Purpose.DUB, Purpose.SATIRE), False, False),
        (structs.replace(GIVEN, purposes=(Purpose.DUB,)), (), False, False),
        (structs.replace(GIVEN, purposes=(Purpose.OTHER,)), (), True, False),
        (GIVEN, (Purpose.SATIRE,), True, False),
    ],
)
def test_consent(consent: Consent | None, purposes: tuple[Purpose, ...], given: bool, revoked: bool) -> None:
    """A reference, in force, for all that the uploader names; what is not named counts as something else."""
    found = case(consent=consent, purposes=purposes)
    assert (value("consent.given", found), value("consent.revoked", found)) == (given, revoked)


def test_a_request_can_revoke_consent() -> None:
    """Whoever says that their consent is revoked has revoked it, whatever the upload says."""
    request = RequestFacts(request_id="r", kind=RequestKind.CONSENT_REVOKED, received_at=NOW, jurisdiction="IN")
    found = replace(case(consent=GIVEN), request=request)
    assert (value("consent.given", found), value("consent.revoked", found)) == (False, True)
    assert value("request.kind", found) == "consent_revoked"
    assert value("request.jurisdiction", found) == "IN"
    removal = replace(found, request=structs.replace(request, kind=RequestKind.REMOVAL))
    assert value("consent.given", removal)


def test_credentials_known_content_and_the_rest() -> None:
    """What the file, the banks and the platform say."""
    credentials = Credentials(state=CredentialState.TRUSTED, issuer="A", identity="B", source_types=("digitalCapture",))
    known = Match(bank="b", hash_id="1", kind="pdq", distance=0, share=0.5)
    found = replace(
        case(uploader=UploaderFacts(verified=True, strikes=2)),
        facts=MediaFacts(kind=MediaKind.VIDEO, container="mp4", duration=3.0, credentials=credentials),
        matches=(known, structs.replace(known, bank="a", live=False, share=1.0)),
        sampling=Sampling(decoder="d", looked_at=(0.0, 1.0), largest_gap=1.5),
    )
    expected = {
        "credentials.state": "trusted",
        "credentials.identity": "B",
        "credentials.source_types": ["digitalCapture"],
        "known.banks": ["b"],
        "known.tried_banks": ["a"],
        "known.share": 0.5,
        "known.exact": True,
        "uploader.verified": True,
        "uploader.strikes": 2.0,
        "media.kind": "video",
        "media.duration": 3.0,
        "looked.frames": 2.0,
        "looked.largest_gap": 1.5,
    }
    assert {name: value(name, found) for name in expected} == expected
    assert math.isnan(value("uploader.followers", found))  # type: ignore[arg-type]


def test_spoken() -> None:
    """Lists and pairs are written out; what is unknown is left out."""
    assert spoken(["a", "b"]) == "a, b"
    assert spoken({"b": "2", "a": "1"}) == "a=1, b=2"
    assert spoken(math.nan) is None
    assert spoken(NOW) == "2026-01-01T00:00:00+00:00"


def test_the_list_for_people_has_every_field_once() -> None:
    """Families share their rows; everything else is named."""
    names = [row.name for row in rows()]
    assert len(names) == len(set(names))
    listed = {name.replace("<family>", family) for name in names for family in Family}
    assert listed == set(FIELDS)
    table = markdown_of_fields()
    assert all(f"| `{name}` |" in table for name in names)
    assert all(f"`{family}`" in table for family in Family)
