"""Local accounts: the way in for the demo and for trying things out. Not for production: no second factor, no central
way to take somebody's access away. The one door to Argon2."""

from __future__ import annotations

import secrets
from datetime import datetime

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from pipeline.errors import ConfigError
from pipeline.ledger.people import People
from pipeline.review.people import Person

_hasher = PasswordHasher()
_NOBODYS = _hasher.hash(secrets.token_urlsafe(16))
"""Verified where there is no such account, so that an answer takes as long as for one that there is."""

SHORTEST = 12
"""Characters of a password that somebody chooses (NIST SP 800-63B asks for at least 8; there is no second factor)."""
TROUBLE = {
    "short": f"A password needs at least {SHORTEST} characters, not all alike.",
    "easy": "A password must not contain your name or a word that everybody tries first.",
}
_KNOWN = frozenset({"password", "administrator", "changeme", "letmein", "unmask", "moderator", "reviewer"})


def make_account(people: People, person: Person, now: datetime) -> str:
    """Add a local account, or give it a new password; returns the password, which works once."""
    password = secrets.token_urlsafe(12)
    people.put_account(person, _hasher.hash(password), one_time=True, now=now)
    return password


def sign_in(people: People, person_id: str, password: str) -> tuple[Person, bool] | None:
    """(the person, whether they have to choose another password first); None for a wrong name or password."""
    found = people.account(person_id)
    try:
        _hasher.verify(found[1] if found else _NOBODYS, password)
    except (VerificationError, InvalidHashError):
        return None
    return (found[0], found[2]) if found else None


def trouble_with(person_id: str, password: str) -> str | None:
    """Why it is too easy, a key of `TROUBLE`; None for one that will do."""
    plain = password.lower()
    if len(password) < SHORTEST or len(set(password)) < 5:
        return "short"
    return "easy" if person_id.lower() in plain or any(word in plain for word in _KNOWN) else None


def choose_password(people: People, person_id: str, password: str) -> None:
    """From now on this one. Raises ConfigError when it is too easy."""
    if trouble := trouble_with(person_id, password):
        raise ConfigError(TROUBLE[trouble])
    people.set_password(person_id, _hasher.hash(password))


def check_secret(secret: str) -> bytes:
    """The console's secret as bytes. Raises ConfigError for one that anybody could guess."""
    if len(secret) < 32 or len(set(secret)) < 8 or any(word in secret.lower() for word in _KNOWN):
        raise ConfigError(
            "UNMASK_CONSOLE_SECRET must be at least 32 random characters (for example of `openssl rand -base64 32`); "
            "defaults and easy words are refused"
        )
    return secret.encode()
