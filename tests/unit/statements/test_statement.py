"""Decisions and outcomes as statements of reasons."""

from __future__ import annotations

from datetime import date

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.events.values import (
    Action,
    Credentials,
    Family,
    MediaFacts,
    MediaKind,
    RegionalDecision,
    RequestFacts,
    RequestKind,
    RuleMode,
    Saw,
    Signal,
    SignalStatus,
    Surface,
)
from pipeline.ledger.port import Standing
from pipeline.reopen import floored
from pipeline.statements.form import trouble
from pipeline.statements.statement import restrictions, statements
from pipeline.statements.terms import EEA, AutomatedDecision, ContentType, Country, SourceType, Visibility, YesNo
from tests.restricted import HARMS, NOON, NUDE, REQUEST, SWAP, answer, final, hit, outcome_of, restricted, standing


def one(decided, outcome=None, **more):
    """The only statement of a decision."""
    (found,) = statements(decided, outcome or outcome_of(decided), HARMS, **more)
    assert trouble(msgspec.json.encode(found)) is None
    return found


@pytest.mark.parametrize(
    ("action", "visibility"),
    [
        (Action.LABEL, "DECISION_VISIBILITY_CONTENT_LABELLED"),
        (Action.LIMIT, "DECISION_VISIBILITY_CONTENT_DEMOTED"),
        (Action.HOLD, "DECISION_VISIBILITY_CONTENT_DISABLED"),
        (Action.REMOVE, "DECISION_VISIBILITY_CONTENT_REMOVED"),
    ],
)
def test_each_action_that_restricts_has_its_visibility(action: Action, visibility: str) -> None:
    """Everything but `allow` restricts, in its own way."""
    decided = restricted(action, review=action is Action.HOLD, label="Manipulated" if action is Action.LABEL else None)
    assert one(decided).decision_visibility == (visibility,)


def test_what_is_allowed_is_not_reported() -> None:
    """A review alone restricts nothing."""
    decided = restricted(Action.ALLOW, review=True)
    assert statements(decided, outcome_of(decided), HARMS) == ()


def test_a_limit_with_a_label_is_both() -> None:
    """Two restrictions at once are one statement with both."""
    found = one(restricted(Action.LIMIT, label="Manipulated"))
    assert found.decision_visibility == (Visibility.DEMOTED, Visibility.LABELLED)


def test_a_label_that_repeats_the_uploader_is_no_restriction() -> None:
    """The uploader said so, or the file's own credentials do: that is disclosure."""
    saw = (Saw(field="upload.declared_synthetic", value=True),)
    declared = hit(Action.LABEL, "unsaid", label="AI", family=None, saw=saw)
    decided = restricted(Action.LABEL, "unsaid", hits=(declared,), label="AI", declared_synthetic=True, signals=())
    assert statements(decided, outcome_of(decided), HARMS) == ()
    saw = (Saw(field="credentials.state", value="trusted"),)
    stated = hit(Action.LABEL, "unsaid", label="AI", family=None, saw=saw)
    decided = restricted(Action.LABEL, "unsaid", hits=(stated,), label="AI", signals=())
    assert statements(decided, outcome_of(decided), HARMS) == ()


def test_a_label_that_contradicts_the_uploader_is_reported() -> None:
    """A detector said so, and the uploader did not."""
    assert one(restricted(Action.LABEL, label="Manipulated")).decision_visibility == (Visibility.LABELLED,)


def test_only_the_eea_is_reported() -> None:
    """An upload that names no region is shown everywhere; elsewhere is nobody's business here."""
    assert one(restricted(Action.REMOVE)).territorial_scope == EEA
    assert one(restricted(Action.REMOVE, regions=("US", "FR", "DE"))).territorial_scope == ("DE", "FR")
    decided = restricted(Action.REMOVE, regions=("US", "GB"))
    assert statements(decided, outcome_of(decided), HARMS) == ()


def test_regions_with_another_outcome_have_their_own_statement() -> None:
    """Removed in Germany, demoted in France and Spain, nothing in the rest."""
    hits = (
        hit(Action.REMOVE, "intimate", regions=("DE", "US")),
        hit(Action.LIMIT, "fraud", regions=("ES", "FR")),
    )
    regional = (
        RegionalDecision(regions=("DE", "US"), action=Action.REMOVE, reasons=()),
        RegionalDecision(regions=("ES", "FR"), action=Action.LIMIT, reasons=()),
    )
    decided = restricted(Action.ALLOW, hits=hits, regional=regional)
    found = {each.territorial_scope: each for each in statements(decided, outcome_of(decided), HARMS)}
    assert set(found) == {("DE",), ("ES", "FR")}
    assert found["DE",].illegal_content_legal_ground == HARMS["intimate"].rule_text
    assert found["ES", "FR"].category == HARMS["fraud"].category
    assert len({each.puid for each in found.values()}) == 2


def test_a_region_that_is_left_alone_is_left_out() -> None:
    """What applies everywhere does not apply where something else does."""
    regional = (RegionalDecision(regions=("DE",), action=Action.ALLOW, reasons=()),)
    found = one(restricted(Action.REMOVE, regional=regional))
    assert set(EEA) - set(found.territorial_scope) == {Country.DE}


def test_the_worst_harm_is_the_ground_and_the_others_are_added() -> None:
    """Two rules hold an upload: the statement rests on the graver one and names the other's category."""
    hits = (hit(Action.HOLD, "fraud"), hit(Action.HOLD, "intimate", family=Family.NUDITY))
    found = one(restricted(Action.HOLD, "fraud", hits=hits, review=True, signals=(SWAP, NUDE)))
    assert found.decision_ground == "DECISION_GROUND_ILLEGAL_CONTENT"
    assert found.category == "STATEMENT_CATEGORY_CYBER_VIOLENCE"
    assert set(found.category_addition) == {
        "STATEMENT_CATEGORY_SCAMS_AND_FRAUD",
        "STATEMENT_CATEGORY_NEGATIVE_EFFECTS_ON_CIVIC_DISCOURSE_OR_ELECTIONS",
    }
    assert "KEYWORD_NON_CONSENSUAL_MATERIAL_DEEPFAKE" in found.category_specification


def test_rules_that_did_not_act_are_no_reason() -> None:
    """Neither a shadow rule nor an exempted one is behind a restriction."""
    hits = (
        hit(Action.LIMIT, "fraud"),
        hit(Action.LIMIT, "intimate", mode=RuleMode.SHADOW),
        hit(Action.LIMIT, "intimate", exempted_by="consented"),
    )
    found = one(restricted(Action.LIMIT, hits=hits))
    assert found.category == HARMS["fraud"].category
    assert found.category_specification == HARMS["fraud"].keywords


def test_the_platforms_terms_are_named_and_linked() -> None:
    """The clause is the ground; its address goes where the database wants it."""
    found = one(restricted(Action.LIMIT))
    assert found.decision_ground == "DECISION_GROUND_INCOMPATIBLE_CONTENT"
    assert found.incompatible_content_ground == HARMS["fraud"].rule_text
    assert found.decision_ground_reference_url == "https://platform.example/terms#4"
    assert found.illegal_content_legal_ground is None


def test_a_harm_that_the_policy_no_longer_knows_is_still_reported() -> None:
    """A policy may change between decision and report; nothing is lost for that."""
    found = one(restricted(Action.LIMIT, "gone"))
    assert found.category == "STATEMENT_CATEGORY_OTHER_VIOLATION_TC"
    assert found.incompatible_content_ground


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (MediaKind.VIDEO, ContentType.VIDEO),
        (MediaKind.AUDIO, ContentType.AUDIO),
        (MediaKind.IMAGE, ContentType.IMAGE),
        (MediaKind.ANIMATION, ContentType.IMAGE),
    ],
)
def test_the_content_type_is_what_the_bytes_are(kind: MediaKind, expected: ContentType) -> None:
    """And synthetic media too, where the decision rests on that."""
    assert one(restricted(Action.LIMIT, kind=kind)).content_type == (expected, ContentType.SYNTHETIC_MEDIA)


def test_what_could_not_be_read_is_what_it_claimed_to_be() -> None:
    """A claim is better than nothing; without one it is other media."""
    plain = hit(Action.HOLD, "fraud", family=None, saw=(), fail_mode=True)
    claimed = restricted(Action.HOLD, hits=(plain,), review=True, kind=None, content_type="audio/mpeg", signals=())
    assert one(claimed).content_type == (ContentType.AUDIO,)
    found = one(restricted(Action.HOLD, hits=(plain,), review=True, kind=None, signals=()))
    assert found.content_type == (ContentType.OTHER,)
    assert found.content_type_other


def test_a_second_signal_counts_only_where_it_is_likely() -> None:
    """A rule on nudity and swaps makes synthetic media of it; nudity beside an unlikely swap does not."""
    saw = (Saw(field="nudity.probability", value=0.97), Saw(field="face_swap.probability", value=0.6))
    both = hit(Action.HOLD, "intimate", family=Family.NUDITY, saw=saw)
    assert (
        ContentType.SYNTHETIC_MEDIA
        in one(restricted(Action.HOLD, "intimate", hits=(both,), review=True, signals=(SWAP, NUDE))).content_type
    )
    unlikely = msgspec.structs.replace(SWAP, probability=0.1)
    found = one(restricted(Action.HOLD, "intimate", hits=(both,), review=True, signals=(unlikely, NUDE)))
    assert found.content_type == (ContentType.VIDEO,)


def test_dates_are_those_of_decision_and_upload() -> None:
    """When it began to apply, and when the content came to the platform."""
    found = one(restricted(Action.LIMIT))
    assert (found.application_date, found.content_date) == (date(2026, 1, 15), date(2026, 1, 13))


def test_own_initiative_unless_somebody_asked() -> None:
    """A request on illegal content is a notice under Art. 16, another one is another notification."""
    assert one(restricted(Action.LIMIT)).source_type is SourceType.VOLUNTARY
    asked = one(restricted(Action.HOLD, "intimate", review=True, request=REQUEST))
    assert asked.source_type is SourceType.ARTICLE_16
    revoked = msgspec.structs.replace(REQUEST, kind=RequestKind.CONSENT_REVOKED)
    assert one(restricted(Action.HOLD, review=True, request=revoked)).source_type is SourceType.OTHER_NOTIFICATION


def test_detection_is_automated_unless_a_request_named_the_content() -> None:
    """A copy of what a request named was found by a machine."""
    assert one(restricted(Action.LIMIT)).automated_detection == "Yes"
    assert one(restricted(Action.LIMIT, request=REQUEST)).automated_detection == "No"
    copy = msgspec.structs.replace(REQUEST, near_copy=True)
    assert one(restricted(Action.LIMIT, request=copy)).automated_detection == "Yes"


def test_a_person_who_decides_otherwise_leads_to_a_statement_of_its_own() -> None:
    """Held by the policy, removed by a person: disabling and removal are two restrictions."""
    decided = restricted(Action.HOLD, review=True)
    review = answer(decided, Action.REMOVE)
    found = one(decided, final(decided, review), review=review, before=standing(decided))
    assert found.decision_visibility == (Visibility.REMOVED,)
    assert found.automated_decision == "AUTOMATED_DECISION_PARTIALLY"
    assert found.automated_detection == "Yes"
    assert found.puid != one(decided).puid


def test_a_person_who_confirms_leads_to_none() -> None:
    """The restriction was reported when it began."""
    decided = restricted(Action.LIMIT, review=True)
    review = answer(decided, Action.LIMIT)
    assert statements(decided, final(decided, review), HARMS, review=review, before=standing(decided)) == ()


def test_a_person_who_confirms_for_more_countries_leads_to_one_for_those() -> None:
    """Limited in Germany by the policy, everywhere by a person."""
    hits = (hit(Action.LIMIT, "fraud", regions=("DE",)),)
    regional = (RegionalDecision(regions=("DE",), action=Action.LIMIT, reasons=()),)
    decided = restricted(Action.ALLOW, hits=hits, regional=regional, review=True)
    review = answer(decided, Action.LIMIT)
    found = one(decided, final(decided, review), review=review, before=standing(decided))
    assert set(EEA) - set(found.territorial_scope) == {Country.DE}


def test_a_person_who_lifts_leads_to_none() -> None:
    """The database has no way to take a statement back."""
    decided = restricted(Action.HOLD, review=True)
    review = answer(decided, Action.ALLOW)
    assert statements(decided, final(decided, review), HARMS, review=review, before=standing(decided)) == ()


def test_a_person_who_decides_on_a_request_without_any_signal_decided_alone() -> None:
    """Nothing automated was relied on."""
    asked = hit(Action.HOLD, "intimate", family=None, saw=(Saw(field="request.kind", value="removal"),))
    decided = restricted(Action.HOLD, "intimate", hits=(asked,), review=True, request=REQUEST, signals=())
    review = answer(decided, Action.REMOVE)
    found = one(decided, final(decided, review), review=review, before=standing(decided))
    assert found.automated_decision == "AUTOMATED_DECISION_NOT_AUTOMATED"


def test_what_a_reviewer_confirms_or_denies_counts() -> None:
    """Synthetic by the person's word, and not synthetic by the person's word."""
    decided = restricted(Action.HOLD, review=True)
    for fields, synthetic in (
        ({"denied": (Family.FACE_SWAP,)}, False),
        ({"denied": (Family.FACE_SWAP,), "confirmed": (Family.VOICE_CLONE,)}, True),
    ):
        review = answer(decided, Action.REMOVE, **fields)
        found = one(decided, final(decided, review), review=review, before=standing(decided))
        assert (ContentType.SYNTHETIC_MEDIA in found.content_type) is synthetic


def test_a_later_round_that_changes_nothing_leads_to_none() -> None:
    """Judged anew, restricted as before."""
    first, again = restricted(Action.LIMIT), restricted(Action.LIMIT, round_=2)
    assert statements(again, outcome_of(again), HARMS, before=standing(first)) == ()


def test_a_later_round_on_another_ground_leads_to_one() -> None:
    """Limited for fraud, then for intimate imagery: the uploader is owed the new reason."""
    first, again = restricted(Action.LIMIT), restricted(Action.LIMIT, "intimate", round_=2)
    assert one(again, before=standing(first)).category == HARMS["intimate"].category


APPEAL = RequestFacts(request_id="req-2", kind=RequestKind.APPEAL, received_at=NOON)


def appealed(action: Action = Action.LIMIT, **changes):
    """A restriction for fraud that its uploader appealed against; the policy has a harm for appeals."""
    decided = restricted(action, round_=2, review=True, request=APPEAL, **changes)
    need = msgspec.structs.replace(decided.decision.review, harm="appealed", queue="appeals")
    return msgspec.structs.replace(decided, decision=msgspec.structs.replace(decided.decision, review=need))


def test_an_appeal_is_no_restriction() -> None:
    """Neither while it is open, whatever ground is found now, nor when what was decided is confirmed."""
    before = standing(restricted(Action.LIMIT, "unsaid"))
    decided = appealed()
    assert statements(decided, outcome_of(decided), HARMS, before=before) == ()
    review = answer(decided, Action.LIMIT)
    assert statements(decided, final(decided, review), HARMS, review=review, before=standing(decided)) == ()


def test_an_appeal_that_ends_stricter_is_about_the_same_harm() -> None:
    """The ground is what the content is; an appeal is no notice, and the content was found by machines."""
    decided = appealed()
    review = answer(decided, Action.REMOVE)
    found = one(decided, final(decided, review), review=review, before=standing(decided))
    assert found.category == HARMS["fraud"].category
    assert "asked for another look" in found.decision_facts
    assert (found.source_type, found.automated_detection) == (SourceType.VOLUNTARY, YesNo.YES)
    assert found.automated_decision == AutomatedDecision.PARTIALLY


def test_what_an_appeal_keeps_in_force_is_about_what_it_was_about() -> None:
    """A person restricted it where the policy would not: an appeal does not change what for."""
    first = restricted(Action.ALLOW, review=True)
    before = Standing(first, final(first, answer(first, Action.LIMIT, harm="intimate")))
    plain = appealed(hits=())
    again = floored(msgspec.structs.replace(plain.decision, action=Action.ALLOW, harm="appealed"), before, appeal=True)
    decided = msgspec.structs.replace(plain, decision=again)
    assert again.harm == "intimate"
    assert statements(decided, outcome_of(decided), HARMS, before=before) == ()
    review = answer(decided, Action.REMOVE)
    found = one(decided, final(decided, review), review=review, before=standing(decided))
    assert found.category == HARMS["intimate"].category


def test_the_harm_that_a_person_names_is_the_ground() -> None:
    """Asked about fraud, the person calls it intimate imagery; what the policy does not know is not taken over."""
    decided = restricted(Action.LIMIT, review=True)
    review = answer(decided, Action.REMOVE, harm="intimate")
    found = one(decided, final(decided, review), review=review, before=standing(decided))
    assert (found.category, found.category_addition) == (HARMS["intimate"].category, ())
    assert found.illegal_content_legal_ground == HARMS["intimate"].rule_text
    other = answer(decided, Action.REMOVE, harm="nonsense")
    found = one(decided, final(decided, other), review=other, before=standing(decided))
    assert found.category == HARMS["fraud"].category


def test_a_person_who_confirms_on_another_ground_leads_to_one() -> None:
    """The restriction stays, what it is for does not."""
    decided = restricted(Action.LIMIT, review=True)
    review = answer(decided, Action.LIMIT, harm="intimate")
    found = one(decided, final(decided, review), review=review, before=standing(decided))
    assert found.category == HARMS["intimate"].category


def test_a_label_that_repeats_metadata_is_reported() -> None:
    """Metadata are no disclosure: nobody is shown them, and anybody could have written them."""
    said = (Signal(family=Family.GENERATOR_METADATA, status=SignalStatus.SCORED, probability=0.9),)
    named = hit(Action.LABEL, "unsaid", label="AI", family=Family.GENERATOR_METADATA, saw=())
    decided = restricted(Action.LABEL, "unsaid", hits=(named,), label="AI", signals=said)
    assert one(decided).decision_visibility == (Visibility.LABELLED,)


def test_messages_are_not_reported() -> None:
    """What is sent to one person is not disseminated to the public."""
    decided = restricted(Action.REMOVE, surface=Surface.MESSAGE)
    assert restrictions(decided, outcome_of(decided), HARMS)
    assert statements(decided, outcome_of(decided), HARMS) == ()


def test_facts_are_plain_and_hold_no_numbers() -> None:
    """No score, threshold, moment, caption or word of a reviewer is published."""
    decided = restricted(Action.HOLD, review=True, caption="Anna Smith at the beach last summer")
    review = answer(decided, Action.REMOVE, reason="This is Anna Smith", notes="call 555")
    found = one(decided, final(decided, review), review=review, before=standing(decided))
    assert found.decision_facts == (
        "The content is a video that was posted. It was examined by automated means. Reasons: Possible face swap."
        " Relied on: automated signals of face swap. A person looked at it and decided. It was removed."
    )


def test_a_precaution_alleges_nothing() -> None:
    """What could not be judged is not called a violation."""
    plain = hit(Action.HOLD, "unsaid", family=None, saw=(), fail_mode=True, because="Could not be screened.")
    found = one(restricted(Action.HOLD, "unsaid", hits=(plain,), review=True, signals=()))
    assert "Nothing is alleged of it." in found.decision_facts
    assert found.incompatible_content_explanation
    assert "could not be judged" in found.incompatible_content_explanation


def test_a_precaution_elsewhere_does_not_excuse_a_finding() -> None:
    """Doubt lets a person look everywhere; in Germany a rule removes it: that one is no precaution."""
    doubt = hit(Action.LIMIT, "unsaid", fail_mode=True, because="A face swap cannot be ruled out.")
    found = hit(Action.REMOVE, "intimate", regions=("DE",), family=None, saw=(), because="A bank knows it.")
    regional = (RegionalDecision(regions=("DE",), action=Action.REMOVE, reasons=()),)
    decided = restricted(Action.LIMIT, hits=(found, doubt), review=True, regional=regional)
    by_scope = {each.territorial_scope: each for each in statements(decided, outcome_of(decided), HARMS)}
    germany = by_scope.pop((Country("DE"),))
    assert "precaution" not in germany.decision_facts
    assert "could not be judged" not in germany.illegal_content_explanation
    (rest,) = by_scope.values()
    assert "as a precaution" in rest.decision_facts
    assert "could not be judged" in rest.incompatible_content_explanation


def test_credentials_alone_make_no_statement_invalid() -> None:
    """Facts without what they are about are told as they are."""
    decided = restricted(Action.LIMIT)
    facts = MediaFacts(kind=MediaKind.VIDEO, container="mp4", credentials=Credentials(identity="Anna Smith"))
    assert "Anna" not in one(msgspec.structs.replace(decided, facts=facts)).decision_facts


def test_the_same_decision_gives_the_same_puid_and_another_outcome_another() -> None:
    """A repeat is refused as a repeat; nothing else is."""
    decided = restricted(Action.LIMIT)
    assert one(decided).puid == one(decided).puid
    assert one(restricted(Action.LIMIT, round_=2)).puid != one(decided).puid
    assert one(restricted(Action.LIMIT, media_id="m-2")).puid != one(decided).puid
    assert one(decided).puid.count("-") == 4


@given(
    st.sampled_from(Action),
    st.sampled_from(["fraud", "intimate", "unsaid", "gone"]),
    st.sampled_from(Surface),
    st.lists(st.sampled_from(["DE", "FR", "US", "IS", "GB"]), unique=True),
    st.sampled_from([None, *MediaKind]),
    st.sampled_from([None, *RequestKind]),
    st.text(max_size=600),
)
def test_every_statement_is_one_that_the_database_takes(action, harm, surface, regions, kind, asked, because) -> None:
    """Whatever is decided, however long its reasons: what is compiled is valid, and territories do not overlap."""
    hits = tuple(hit(action, harm, because=f"{because}{n}" * 10) for n in range(3))
    decided = restricted(
        action, harm, hits=hits, review=action is Action.HOLD, surface=surface, regions=tuple(regions), kind=kind,
        request=msgspec.structs.replace(REQUEST, kind=asked) if asked else None,
        label="x" if action is Action.LABEL else None,
    )  # fmt: skip
    found = statements(decided, outcome_of(decided), HARMS)
    covered = [country for each in found for country in each.territorial_scope]
    assert len(covered) == len(set(covered))
    for each in found:
        assert trouble(msgspec.json.encode(each)) is None
