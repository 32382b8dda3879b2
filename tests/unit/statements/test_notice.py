"""What the uploader is told."""

from __future__ import annotations

import re

from pipeline.events.values import Action, RegionalDecision, RequestKind
from pipeline.statements.notice import notice
from tests.restricted import HARMS, REQUEST, answer, final, hit, outcome_of, restricted


def told(decided, outcome=None, **more):
    found = notice(decided, outcome or outcome_of(decided), HARMS, **more)
    assert found is not None
    return found


def test_nothing_restricted_nothing_to_tell() -> None:
    """An upload that is allowed needs no notice."""
    decided = restricted(Action.ALLOW, review=True)
    assert notice(decided, outcome_of(decided), HARMS) is None


def test_a_notice_says_all_that_the_law_asks_for() -> None:
    """What, where, since when and how long, why, on which ground, by whom, with which means, and how to complain."""
    found = told(restricted(Action.HOLD, "intimate", review=True), appeal_url="https://platform.example/appeal")
    for part in (
        "About your upload m-1",
        "Everywhere: It is not shown until a person has looked at it.",
        "since 15 January 2026, 12:00 UTC",
        "15 January 2026, 16:00 UTC at the latest",
        "Possible face swap at 00:03.2.",
        "sexual imagery of a person who did not consent",
        "suspected",
        "in law: Directive (EU) 2024/1385, Article 5.",
        "examined by automated means",
        "taken by automated means",
        "free of charge for at least six months, here: https://platform.example/appeal",
        "out-of-court dispute settlement",
    ):
        assert part in found.text, part
    assert found.automated_decision
    assert found.illegal


def test_scores_and_thresholds_stay_with_the_platform() -> None:
    """No number that says by how much a forgery would have to change."""
    assert not re.search(r"\b[01]\.\d|probability|threshold", told(restricted(Action.HOLD, review=True)).text)


def test_a_person_decided() -> None:
    """The reviewer's words are told, the reviewer is not, and nothing more is to come."""
    decided = restricted(Action.HOLD, review=True)
    review = answer(decided, Action.REMOVE, reason="A false endorsement.", notes="third time")
    found = told(decided, final(decided, review), review=review)
    assert "A person looked at it and decided." in found.text
    assert "A false endorsement." in found.text
    assert "was found to break it" in found.text
    assert "at the latest" not in found.text
    assert "third time" not in found.text
    assert "reviewer-3" not in found.text
    assert not found.automated_decision


def test_what_tells_of_other_people_is_left_out() -> None:
    """A sentence with somebody's address, or the request's id, is withheld and counted."""
    decided = restricted(Action.HOLD, review=True, request=REQUEST)
    review = answer(decided, Action.REMOVE, reason="As anna@mail.example asked in req-1.")
    found = told(decided, final(decided, review), review=review)
    assert "anna" not in found.text
    assert found.withheld == 1


def test_the_uploaders_own_words_are_no_secret() -> None:
    """A rule may quote the caption to whoever wrote it."""
    quoted = hit(Action.LIMIT, "fraud", because="It says: send me all your money today.")
    found = told(restricted(Action.LIMIT, hits=(quoted,), caption="Send me all your money today"))
    assert "It says: send me all your money today." in found.text
    assert found.withheld == 0


def test_regions_are_told_apart() -> None:
    """What applies where, with its label."""
    regional = (
        RegionalDecision(regions=("DE", "FR"), action=Action.REMOVE, reasons=()),
        RegionalDecision(regions=("US",), action=Action.ALLOW, reasons=()),
    )
    found = told(restricted(Action.LABEL, label="Manipulated", regional=regional))
    assert 'Everywhere else: It was labelled for viewers. The label reads: "Manipulated".' in found.text
    assert "DE, FR: It was removed." in found.text
    assert "US" not in found.text


def test_a_request_is_told_without_who_asked() -> None:
    """The uploader learns that somebody shown asked, and how a copy was found."""
    assert (
        "because a person who is shown in it asked" in told(restricted(Action.HOLD, review=True, request=REQUEST)).text
    )
    copy = REQUEST.__class__(
        request_id="req-1", kind=RequestKind.REMOVAL, received_at=REQUEST.received_at, near_copy=True
    )
    assert "found by automated means, as a copy" in told(restricted(Action.HOLD, review=True, request=copy)).text


def test_an_appeal_is_told_as_one() -> None:
    """Nobody else asked for it."""
    appeal = REQUEST.__class__(request_id="req-2", kind=RequestKind.APPEAL, received_at=REQUEST.received_at)
    found = told(restricted(Action.LIMIT, review=True, request=appeal))
    assert "because you appealed" in found.text
    assert "person who is shown" not in found.text


def test_a_precaution_is_called_one() -> None:
    """Nobody is accused because a detector was down."""
    plain = hit(Action.HOLD, "unsaid", family=None, saw=(), fail_mode=True, because="Could not be screened.")
    found = told(restricted(Action.HOLD, "unsaid", hits=(plain,), review=True, signals=()))
    assert "as a precaution" in found.text
    assert "Nothing is alleged of it." in found.text
