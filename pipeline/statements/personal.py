"""Personal data in texts that are to be published. Pure, and of limited reach.

It finds what has a form (addresses of mail, web accounts, telephones, banks, cards, networks) and what is known to be
about the people concerned (ids, caption, file name, consent reference). It does not find names of people, streets or
descriptions of a person: no rule of this size can. Texts are safe because they are made of the policy's words and
standard sentences; this is the net below. It may stop harmless text (a version number of four parts reads as a network
address); then a person releases the statement.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from ipaddress import ip_address

import msgspec

from pipeline.events import MediaDecided, ReviewDecided
from pipeline.statements.form import TEXTS, Statement

EXCERPT = 40
"""Characters of what was found that a finding shows."""

SHORTEST_ID = 3
"""Shorter ids are not looked for: `7` stands in every text."""

CAPTION_WORDS = 4
"""So many words in a row from a caption are taken from it."""


class Kind(StrEnum):
    """What was found."""

    EMAIL = "e-mail address"
    PHONE = "telephone number"
    ACCOUNT_URL = "URL of an account"
    HANDLE = "handle"
    IBAN = "bank account"
    CARD = "payment card"
    IP = "network address"
    UPLOADER = "id of the uploader"
    REVIEWER = "id of the reviewer"
    MEDIA = "id of the upload"
    REQUEST = "id of a request"
    CONSENT = "consent reference"
    FILE_NAME = "file name"
    CAPTION = "caption"
    IDENTITY = "identity in the credentials"


class Finding(msgspec.Struct, frozen=True):
    """Something that may be about a person, and in which field."""

    field: str
    kind: str
    excerpt: str


_EMAIL = re.compile(r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)+")
_ACCOUNT_URL = re.compile(
    r"https?://(?:[^\s/@]+@\S+|[^\s/]+/(?:@\S+|(?:u|user|users|profile|profiles|people|in|channel|c)/\S+|\S*[?&](?:user|uid|id)=\S+))",
    re.IGNORECASE,
)
_HANDLE = re.compile(r"(?<![\w@./])@[A-Za-z0-9_](?:[A-Za-z0-9_.]{1,29})")
_PHONE = re.compile(
    r"(?<![\w.])(?:\+|00)\d(?:[ ()./-]{0,2}\d){7,14}(?!\w)|(?<![\w.])\(?0\d{1,4}\)?[ /-]\d(?:[ -]?\d){4,9}(?!\w)"
)
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b")
_CARD = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-])")
_IP4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]*\d)")
_IP6 = re.compile(r"(?<![\w:])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])")
_WORD = re.compile(r"\w+")


def look(texts: Mapping[str, str], known: Iterable[tuple[Kind, str]] = ()) -> tuple[Finding, ...]:
    """Everything in these texts (by field) that may be about a person.

    Args:
        texts: what is to be published.
        known: what belongs to the case and must not appear.
    """
    known = tuple(known)
    return tuple(
        Finding(field, kind.value, excerpt[:EXCERPT])
        for field, text in texts.items()
        for kind, excerpt in dict.fromkeys((*_formed(text), *_leaked(text, known)))
    )


def in_statement(
    statement: Statement, decided: MediaDecided, review: ReviewDecided | None = None
) -> tuple[Finding, ...]:
    """Everything in a statement's free texts that may be about a person."""
    texts = {field: getattr(statement, field) for field in TEXTS}
    return look({field: text for field, text in texts.items() if text}, known_of(decided, review))


def known_of(decided: MediaDecided, review: ReviewDecided | None = None) -> Iterator[tuple[Kind, str]]:
    """What is known of the people concerned and of the file."""
    upload = decided.upload
    credentials = decided.facts.credentials if decided.facts else None
    name = upload.uri.partition("?")[0].rstrip("/").rpartition("/")[2]
    yield Kind.MEDIA, upload.media_id
    yield Kind.FILE_NAME, name
    yield Kind.FILE_NAME, name.rpartition(".")[0]
    yield Kind.CAPTION, upload.caption
    if upload.uploader_id:
        yield Kind.UPLOADER, upload.uploader_id
    if upload.consent and upload.consent.reference:
        yield Kind.CONSENT, upload.consent.reference
    if decided.request is not None:
        yield Kind.REQUEST, decided.request.request_id
    if credentials is not None and credentials.identity:
        yield Kind.IDENTITY, credentials.identity
    if review is not None:
        yield Kind.REVIEWER, review.reviewer_id


def _formed(text: str) -> Iterator[tuple[Kind, str]]:
    for kind, pattern in ((Kind.EMAIL, _EMAIL), (Kind.ACCOUNT_URL, _ACCOUNT_URL), (Kind.HANDLE, _HANDLE)):
        yield from ((kind, found.group()) for found in pattern.finditer(text))
    for found in _IBAN.finditer(text):
        if _is_iban(found.group().replace(" ", "")):
            yield Kind.IBAN, found.group()
    cards = [found for found in _CARD.finditer(text) if _passes_luhn(found.group())]
    yield from ((Kind.CARD, found.group()) for found in cards)
    for found in _PHONE.finditer(text):
        if not any(card.start() <= found.start() < card.end() for card in cards):
            yield Kind.PHONE, found.group()
    for found in (*_IP4.finditer(text), *_IP6.finditer(text)):
        if _is_address(found.group()):
            yield Kind.IP, found.group()


def _leaked(text: str, known: Iterable[tuple[Kind, str]]) -> Iterator[tuple[Kind, str]]:
    folded, words = text.casefold(), f" {' '.join(_words(text))} "
    for kind, value in known:
        if kind is Kind.CAPTION:
            yield from ((kind, run) for run in _runs(value) if f" {run} " in words)
        elif len(value) >= SHORTEST_ID and re.search(rf"(?<!\w){re.escape(value.casefold())}(?!\w)", folded):
            yield kind, value


def _runs(caption: str) -> Iterator[str]:
    words = _words(caption)
    for start in range(len(words) - CAPTION_WORDS + 1):
        yield " ".join(words[start : start + CAPTION_WORDS])


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _is_iban(text: str) -> bool:
    """ISO 13616: the check digits make the number ≡ 1 (mod 97)."""
    turned = text[4:] + text[:4]
    return 15 <= len(text) <= 34 and int("".join(str(int(each, 36)) for each in turned)) % 97 == 1


def _passes_luhn(text: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    digits = [int(each) for each in reversed(text) if each.isdigit()]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return any(each.isalnum() for each in text)
