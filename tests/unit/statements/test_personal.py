"""Personal data in texts that are to be published."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.events.values import Action, Consent, Credentials, MediaFacts, MediaKind
from pipeline.policy.file import load
from pipeline.statements.personal import Kind, in_statement, known_of, look
from pipeline.statements.statement import statements
from tests.restricted import HARMS, REQUEST, answer, outcome_of, restricted


def kinds(text: str, *known: tuple[Kind, str]) -> list[str]:
    return [finding.kind for finding in look({"text": text}, known)]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("write to anna.smith+x@mail.example.org please", Kind.EMAIL),
        ("call +49 (0)30 1234-5678 today", Kind.PHONE),
        ("call 0049 30 12345678", Kind.PHONE),
        ("call 030 1234567", Kind.PHONE),
        ("see https://social.example/@anna", Kind.ACCOUNT_URL),
        ("see https://social.example/users/anna", Kind.ACCOUNT_URL),
        ("see https://social.example/p?uid=17", Kind.ACCOUNT_URL),
        ("see https://anna@social.example/", Kind.ACCOUNT_URL),
        ("it shows @anna_smith again", Kind.HANDLE),
        ("paid to DE89 3704 0044 0532 0130 00", Kind.IBAN),
        ("paid to GB82WEST12345698765432", Kind.IBAN),
        ("card 4111 1111 1111 1111", Kind.CARD),
        ("from 192.168.10.7", Kind.IP),
        ("from 2001:db8::8a2e:370:7334", Kind.IP),
    ],
)
def test_what_has_a_form_is_found(text: str, kind: Kind) -> None:
    """Addresses of mail, accounts, telephones, banks, cards and networks."""
    assert kind in kinds(text)


@pytest.mark.parametrize(
    "text",
    [
        "Directive (EU) 2024/1385, Article 5(1)(b), of 14 May 2024",
        "Terms of the platform, section 4.2: https://platform.example/terms/4#2",
        "The content is a video that was posted on 2026-01-15 at 12:30.",
        "Possible face swap at 00:03.2.",
        "IBAN-like but not one: DE00 1234 5678 9012 3456 78",
        "1234 5678 9012 3456 is no card",
        "version 1.2.3.4.5, ratio 3:2",
        "18 U.S.C. § 2255, 47 U.S.C. 223a",
    ],
)
def test_what_law_and_policy_say_is_not(text: str) -> None:
    """Numbers of laws, dates, versions and the platform's own pages pass."""
    assert kinds(text) == []


def test_the_default_policy_holds_none() -> None:
    """Nothing that the policy that ships contributes to statements would be held back."""
    policy = load(None)
    texts = {f"{name}.{part}": text for name, harm in policy.harms.items() for part, text in
             (("what", harm.what), ("rule_text", harm.rule_text))}  # fmt: skip
    texts |= {rule.name: rule.reason for rule in (*policy.rules, *policy.fail_modes)}
    assert look(texts) == ()


def test_what_is_known_of_the_case_is_found() -> None:
    """Ids, file name, consent reference, identity, reviewer: whole words only, whatever their case."""
    facts = MediaFacts(kind=MediaKind.VIDEO, container="mp4", credentials=Credentials(identity="Anna Smith"))
    decided = restricted(
        Action.HOLD,
        review=True,
        request=REQUEST,
        uri="https://x.example/up/Anna_S.final.mp4?sig=1",
        media_id="media-17",
        consent=Consent(reference="consent-8"),
    )
    decided = msgspec.structs.replace(decided, facts=facts)
    known = tuple(known_of(decided, answer(decided, Action.REMOVE)))
    for text, kind in [
        ("by Uploader-7.", Kind.UPLOADER),
        ("by reviewer-3", Kind.REVIEWER),
        ("the upload MEDIA-17", Kind.MEDIA),
        ("after req-1", Kind.REQUEST),
        ("under consent-8", Kind.CONSENT),
        ("the file anna_s.final.mp4", Kind.FILE_NAME),
        ("the file anna_s.final", Kind.FILE_NAME),
        ("it shows anna smith", Kind.IDENTITY),
    ]:
        assert kind in kinds(text, *known), text
    assert kinds("by uploader-71, xmedia-17, preconsent-8", *known) == []


def test_a_caption_is_found_by_four_words_in_a_row() -> None:
    """Whatever stands between them."""
    known = (Kind.CAPTION, "My neighbour Anna, at the beach!")
    assert kinds("It says: my NEIGHBOUR anna at the pool", known) == [Kind.CAPTION, Kind.CAPTION]
    assert kinds("It was at the beach", known) == []
    assert kinds("anything", (Kind.CAPTION, "")) == []


def test_short_ids_are_not_looked_for() -> None:
    """They stand in every text; that is a limit."""
    assert kinds("7 times", (Kind.UPLOADER, "7")) == []


def test_every_text_of_a_statement_is_looked_at() -> None:
    """A finding names its field."""
    decided = restricted(Action.LIMIT)
    (statement,) = statements(decided, outcome_of(decided), HARMS)
    assert in_statement(statement, decided) == ()
    for field in ("decision_facts", "incompatible_content_explanation", "source_identity"):
        found = in_statement(msgspec.structs.replace(statement, **{field: "anna@mail.example"}), decided)
        assert [(each.field, each.kind) for each in found] == [(field, Kind.EMAIL)]
