"""Roles, permissions and what an identity provider says of people."""

from __future__ import annotations

import pytest

from pipeline.review.people import GRANTS, Permission, Person, Role, from_claims


def test_nobody_does_everything() -> None:
    """Who manages people sees no case, and who reads the log decides nothing."""
    assert not GRANTS[Role.ADMIN] & {Permission.SEE_CASES, Permission.WORK, Permission.SEE_LOG}
    assert not GRANTS[Role.AUDITOR] & {Permission.WORK, Permission.MOVE, Permission.MANAGE_PEOPLE}
    assert GRANTS[Role.READONLY] == {Permission.SEE_SELF, Permission.SEE_QUEUES}


def test_roles_add_up() -> None:
    """A person with two roles may do what either may; queues are theirs by name, or all of them."""
    both = Person("a", "A", frozenset({Role.REVIEWER, Role.AUDITOR}), frozenset({"faces"}))
    assert both.may(Permission.WORK)
    assert both.may(Permission.SEE_LOG)
    assert not both.may(Permission.MOVE)
    assert both.among(("faces", "triage")) == ("faces",)
    assert Person("b", "B", frozenset(), frozenset({"*"})).among(("faces", "triage")) == ("faces", "triage")


@pytest.mark.parametrize(
    ("claims", "roles", "queues"),
    [
        ({"sub": "1", "roles": ["reviewer"], "queues": ["faces"]}, {Role.REVIEWER}, {"faces"}),
        ({"sub": "1", "roles": "lead, auditor", "queues": "*"}, {Role.LEAD, Role.AUDITOR}, {"*"}),
        ({"sub": "1", "roles": ["/groups/unmask-reviewer", "staff"]}, {Role.REVIEWER}, set()),
        ({"sub": "1", "realm": {"roles": ["lead"]}, "roles": "nothing"}, None, None),
        ({"sub": "1", "roles": ["boss"]}, None, None),
        ({"sub": "", "roles": ["lead"]}, None, None),
        ({"roles": ["lead"]}, None, None),
        ({"sub": "1", "roles": 7}, None, None),
    ],
)
def test_claims(claims: dict[str, object], roles: set[Role] | None, queues: set[str] | None) -> None:
    """Without a known role nobody comes in; without a queue a reviewer sees none."""
    found = from_claims(claims, "roles", "queues")
    if roles is None:
        assert found is None
    else:
        assert found is not None
        assert (set(found.roles), set(found.queues)) == (roles, queues)


def test_claims_inside_objects() -> None:
    """Providers put roles where they like."""
    found = from_claims({"sub": "1", "realm_access": {"roles": ["lead"]}, "name": "Ann"}, "realm_access.roles", "q")
    assert found == Person("1", "Ann", frozenset({Role.LEAD}), frozenset())
