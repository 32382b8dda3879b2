"""What an endpoint answered."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.errors import ConfigError
from pipeline.statements.answers import ACCEPTED, ALREADY, Verdict, read, try_later

PUIDS = ["a", "b", "c"]


def answer(status: int, content: Any, puids: list[str] = PUIDS) -> Verdict:
    return read(status, json.dumps(content).encode(), puids)


def test_created_statements_have_the_databases_ids() -> None:
    """The receipt is what the database calls them."""
    made = [{"puid": puid, "uuid": f"u-{puid}"} for puid in PUIDS]
    assert answer(201, {"statements": made}).sent == {"a": "u-a", "b": "u-b", "c": "u-c"}


def test_an_endpoint_may_say_no_more_than_yes() -> None:
    """A bare 2xx is for all."""
    for body in (b"", b"ok", b"[]", b'{"statements": "yes"}'):
        assert read(200, body, PUIDS).sent == dict.fromkeys(PUIDS, ACCEPTED)


def test_what_was_not_among_the_created_is_not_taken_for_sent() -> None:
    """It stays queued, and is asked about again."""
    found = answer(201, {"statements": [{"puid": "a", "uuid": "u"}]})
    assert (found.sent, found.silent) == ({"a": "u"}, ("b", "c"))


def test_what_is_there_already_counts_as_sent() -> None:
    """None of the call was created: the rest goes again."""
    found = answer(422, {"message": "…", "errors": {"puid": ["not unique"], "existing_puids": ["c", "x"]}})
    assert (found.sent, found.again) == ({"c": ALREADY}, ("a", "b"))


def test_refusals_are_by_place() -> None:
    """None of the call was created: the rest goes again."""
    found = answer(422, {"errors": {"statement_1": {"category": ["is invalid"]}, "statement_9": {}}})
    assert found.refused == {"b": '{"category": ["is invalid"]}'}
    assert found.again == ("a", "c")


def test_a_refusal_that_says_nothing_is_halved_until_it_does() -> None:
    """And a single one is refused with what there is."""
    assert answer(422, {"message": "no"}).halve
    assert read(413, b"<html>", PUIDS).halve
    assert answer(422, {"message": "no"}, ["a"]).refused == {"a": "no"}
    assert read(400, b"", ["a"]).refused == {"a": "the endpoint answered 400"}


def test_a_conflict_on_a_single_one_means_it_is_there() -> None:
    """As endpoints for one statement answer."""
    assert answer(409, {}, ["a"]).sent == {"a": ALREADY}
    existing = {"errors": {"puid": ["not unique"]}, "existing": {"uuid": "u"}}
    assert answer(422, existing, ["a"]).sent == {"a": ALREADY}


@pytest.mark.parametrize("status", [301, 302, 401, 403, 404, 405])
def test_a_wrong_address_or_token_is_the_operators_to_mend(status: int) -> None:
    """Nothing is marked."""
    with pytest.raises(ConfigError):
        read(status, b"", PUIDS)


def test_what_may_work_later() -> None:
    """Too many calls, and everything that the server says of itself."""
    assert [status for status in (200, 400, 408, 409, 422, 425, 429, 500, 503) if try_later(status)] == [
        408,
        425,
        429,
        500,
        503,
    ]
