"""The policy that ships does what its cases say, and they leave nothing out."""

from __future__ import annotations

from datetime import timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pipeline.events.values import Decision, Family, Purpose, Relation, RequestKind, Surface
from pipeline.policy.cases import (
    USUAL,
    Given,
    GivenConsent,
    GivenCredentials,
    GivenMatch,
    GivenRequest,
    GivenUploader,
    beside,
    case_of,
    read,
)
from pipeline.policy.decide import decide
from pipeline.policy.file import DEFAULT, load
from pipeline.statements.terms import check_harms

POLICY = load(None)
JUDGED = (
    Family.FACE_SWAP,
    Family.FACE_SYNTHESIS,
    Family.IMAGE_SYNTHESIS,
    Family.LIP_SYNC,
    Family.SPLICE,
    Family.VOICE_CLONE,
    Family.GENERATOR_METADATA,
    Family.PROVENANCE,
    Family.NUDITY,
)
AT = (None, "US", "IN", "GB", "DE", "BR")
PROBABILITIES = st.sampled_from((0.0, 0.2, 0.3, 0.48, 0.5, 0.6, 0.75, 0.8, 0.83, 0.9, 0.98, 1.0)) | st.floats(0, 1)
UPLOADS = st.builds(
    Given,
    signals=st.fixed_dictionaries({}, optional=dict.fromkeys(JUDGED, PROBABILITIES)),
    surface=st.sampled_from(Surface),
    regions=st.sampled_from(((), ("US",), ("DE", "IN"), ("DE",))),
    caption=st.sampled_from(("", "Double your bitcoin", "Where to vote")),
    tags=st.sampled_from(((), ("election",), ("adult",), ("private-person", "crisis"))),
    purposes=st.lists(st.sampled_from(Purpose), max_size=2, unique=True).map(tuple),
    declared_synthetic=st.booleans(),
    uploader=st.none() | st.builds(GivenUploader, verified=st.booleans(), strikes=st.sampled_from((None, 0, 5))),
    consent=st.none()
    | st.builds(
        GivenConsent,
        reference=st.sampled_from((None, "c-1")),
        relation=st.sampled_from(Relation),
        purposes=st.sampled_from(((), (Purpose.DUB,))),
        revoked=st.booleans(),
    ),
    credentials=st.none()
    | st.builds(
        GivenCredentials, state=st.sampled_from(("trusted", "untrusted")), source_types=st.just(("digitalCapture",))
    ),
    known=st.sampled_from(((), (GivenMatch(bank="intimate-a"),), (GivenMatch(bank="debunked-a"),))),
    request=st.none()
    | st.builds(
        GivenRequest,
        kind=st.sampled_from(("removal", "consent_revoked")),
        harm=st.sampled_from(("", "intimate-imagery", "ordered")),
        jurisdiction=st.sampled_from((None, "US", "IN", "DE")),
        ago=st.sampled_from((None, "1h", "30h")),
    ),
)


def decision(given_: Given) -> Decision:
    # From words and back: what hypothesis drew is what a case could say.
    return decide(case_of(msgspec.convert(msgspec.to_builtins(given_), Given), POLICY), POLICY)


def strength(found: Decision, region: str) -> int:
    there = (each.action for each in found.regional if region in each.regions)
    return next(there, found.action).strength


def urgency(found: Decision) -> tuple[bool, timedelta]:
    return (found.review is not None, USUAL - found.review.deadline if found.review else timedelta(0))


@given(UPLOADS, st.sampled_from(JUDGED), PROBABILITIES)
def test_a_higher_probability_is_never_treated_more_mildly(upload: Given, family: Family, raised: float) -> None:
    """Whatever else is known: no milder action in any region, no later deadline, no less of a review."""
    below = upload.signals.get(family, 0.0)
    assert isinstance(below, float)
    before = decision(msgspec.structs.replace(upload, signals={**upload.signals, family: min(below, raised)}))
    after = decision(msgspec.structs.replace(upload, signals={**upload.signals, family: max(below, raised)}))
    assert all(strength(after, region) >= strength(before, region) for region in ("US", "DE", "IN", "BR"))
    assert urgency(after) >= urgency(before)


@given(UPLOADS)
def test_intimate_imagery_is_held_whatever_is_said_of_it(upload: Given) -> None:
    """No consent, purpose, tag, credential or surface helps against a suspicion of intimate imagery."""
    suspicious = {**upload.signals, Family.NUDITY: 0.9, Family.FACE_SWAP: 0.6}
    found = decision(msgspec.structs.replace(upload, signals=suspicious))
    assert found.action == "hold"
    assert found.review is not None


@given(UPLOADS, st.sampled_from(("missing", {"probability": 0.1, "coverage": 0.1})))
def test_what_could_not_be_judged_is_never_simply_allowed(upload: Given, how: object) -> None:
    """Whatever is said of an upload, a required family that nobody judged leads to a restriction and a person."""
    written = msgspec.to_builtins(upload)
    written["signals"] = {**written["signals"], "face_swap": how}
    found = decision(msgspec.convert(written, Given))
    assert found.action.strength >= 2
    assert found.review is not None


def test_every_case_holds_and_nothing_is_without_one() -> None:
    """Each rule, fail mode, exemption and clock of the default policy has a case, and comes out as it says."""
    ran = read(beside(DEFAULT), POLICY).run()
    assert [(result.name, result.misses) for result in ran.results if not result.held] == []
    assert ran.idle == {}


@given(
    UPLOADS, st.sampled_from(RequestKind), st.sampled_from(("", *POLICY.harms, "something else")), st.sampled_from(AT)
)
def test_every_request_asks_a_person(upload: Given, kind: RequestKind, harm: str, where: str | None) -> None:
    """Whatever is asked, called and invoked: silence refuses no request, and what a person shown asks restricts."""
    asked = msgspec.structs.replace(upload, request=GivenRequest(kind=kind, harm=harm, jurisdiction=where), regions=())
    found = decision(asked)
    assert found.review is not None
    if kind in (RequestKind.REMOVAL, RequestKind.CONSENT_REVOKED):
        assert max(strength(found, region) for region in ("IN", "US")) >= 2


def test_every_rule_has_somebody_who_answers_for_it() -> None:
    """A rule without an owner is nobody's when it errs."""
    assert [rule.name for rule in POLICY.rules if not rule.owner] == []


def test_statements_of_reasons_can_be_made_of_every_harm() -> None:
    """Categories and keywords are the database's, and what is called illegal names a law."""
    assert check_harms(POLICY.harms) == []


def test_what_is_published_word_for_word_has_no_notes_for_counsel() -> None:
    """Statements cite `rule_text` to the public, and notices say `what` to uploaders."""
    for harm in POLICY.harms.values():
        assert "counsel" not in f"{harm.what} {harm.rule_text}".lower()


def test_nothing_is_removed_by_default() -> None:
    """The shipped policy asks people; who vouches for a bank may let it remove."""
    assert [rule.name for rule in POLICY.rules if rule.action == "remove"] == []


def test_every_clock_names_its_source_and_every_legal_one_counsel() -> None:
    """Deadlines are data with a source; what binds a platform is not for software to say."""
    for name, clock in POLICY.file.clocks.items():
        assert "Counsel decides" in clock.source or "own promise" in clock.source, name


def test_every_harm_has_a_fail_mode_or_is_found_by_no_detector() -> None:
    """For each harm that rests on detectors the policy says what follows when they do not answer."""
    without = set(POLICY.harms) - {mode.harm for mode in POLICY.fail_modes}
    assert without == {"without-consent", "ordered", "appealed"}
