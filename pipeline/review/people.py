"""Who may do what. Pure: roles, permissions, and people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What somebody is. `reviewer` works queues, `lead` runs them, `admin` manages people, `auditor` reads everything
    and the log, `readonly` sees queues without cases, `integration` is a platform's own tool."""

    REVIEWER = "reviewer"
    LEAD = "lead"
    ADMIN = "admin"
    AUDITOR = "auditor"
    READONLY = "readonly"
    INTEGRATION = "integration"


class Permission(StrEnum):
    """One thing that may be done."""

    SEE_SELF = "see_self"
    SEE_QUEUES = "see_queues"
    SEE_CASES = "see_cases"
    WORK = "work"
    MOVE = "move"
    ADJUDICATE = "adjudicate"
    SEE_QUALITY = "see_quality"
    SEE_LOG = "see_log"
    MANAGE_PEOPLE = "manage_people"
    APPEAL = "appeal"


_P = Permission
GRANTS: Mapping[Role, frozenset[Permission]] = {
    Role.REVIEWER: frozenset({_P.SEE_SELF, _P.SEE_QUEUES, _P.SEE_CASES, _P.WORK}),
    Role.LEAD: frozenset({_P.SEE_SELF, _P.SEE_QUEUES, _P.SEE_CASES, _P.WORK, _P.MOVE, _P.ADJUDICATE, _P.SEE_QUALITY}),
    Role.ADMIN: frozenset({_P.SEE_SELF, _P.SEE_QUEUES, _P.MANAGE_PEOPLE, _P.SEE_QUALITY}),
    Role.AUDITOR: frozenset({_P.SEE_SELF, _P.SEE_QUEUES, _P.SEE_CASES, _P.SEE_QUALITY, _P.SEE_LOG}),
    Role.READONLY: frozenset({_P.SEE_SELF, _P.SEE_QUEUES}),
    Role.INTEGRATION: frozenset({_P.SEE_SELF, _P.SEE_QUEUES, _P.SEE_CASES, _P.WORK, _P.APPEAL}),
}
"""The authorisation matrix. A person with several roles may do what any of them may."""

EVERY_QUEUE = "*"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is signed in. `queues`: those they may see and work; `*` for every one."""

    id: str
    name: str
    roles: frozenset[Role]
    queues: frozenset[str]

    def may(self, permission: Permission) -> bool:
        """Whether one of their roles grants it."""
        return any(permission in GRANTS[role] for role in self.roles)

    def sees(self, queue: str) -> bool:
        """Whether a queue is theirs."""
        return EVERY_QUEUE in self.queues or queue in self.queues

    def among(self, queues: Iterable[str]) -> tuple[str, ...]:
        """Those of these queues that are theirs."""
        return tuple(queue for queue in queues if self.sees(queue))


def from_claims(claims: Mapping[str, object], roles_claim: str, queues_claim: str) -> Person | None:
    """A person from an OIDC provider's claims; None where no known role is among them: nobody comes in by default.

    Roles are the values `reviewer`, `lead`, … of the roles claim, or those that end in `unmask-reviewer` and so on, as
    directories name groups. Queues are the values of the queues claim; where a reviewer has none, they see none.
    """
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        return None
    named = {str(value).rpartition("unmask-")[2] for value in _values(claims, roles_claim)}
    roles = frozenset(role for role in Role if role.value in named)
    if not roles:
        return None
    name = claims.get("name") or claims.get("preferred_username") or subject
    return Person(subject, str(name), roles, frozenset(map(str, _values(claims, queues_claim))))


def _values(claims: Mapping[str, object], path: str) -> list[object]:
    """The values of a claim; `realm_access.roles` goes into objects."""
    found: object = claims
    for step in path.split("."):
        found = found.get(step) if isinstance(found, Mapping) else None
    if isinstance(found, str):
        return list(found.replace(",", " ").split())
    return list(found) if isinstance(found, (list, tuple)) else []
