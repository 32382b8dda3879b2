"""What answers amount to."""

from __future__ import annotations

from uuid import uuid4

import pytest

from pipeline.events.values import Action
from pipeline.review.port import Given, Stands, stands
from tests.records import NOON


@pytest.mark.parametrize(
    ("said", "people", "result"),
    [
        (["allow"], 1, Stands.SETTLED),
        (["allow"], 2, Stands.SECOND),
        (["allow", "allow"], 2, Stands.SETTLED),
        (["allow", "limit"], 2, Stands.DISPUTED),
        (["allow", "limit", "limit"], 2, Stands.SETTLED),
        (["allow", "limit", "remove"], 2, Stands.SETTLED),
    ],
)
def test_what_answers_amount_to(said: list[str], people: int, result: Stands) -> None:
    """One is enough where one is asked; two have to agree; a third, the lead's, decides."""
    given = tuple(Given(uuid4(), f"p{i}", Action(action), NOON) for i, action in enumerate(said))
    assert stands(given, people) is result
