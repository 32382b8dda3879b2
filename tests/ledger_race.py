"""Workers that decide the same uploads in ways of their own. Apart, since every child process imports it."""

from __future__ import annotations

from pipeline.events.codec import encode
from pipeline.events.values import Action
from pipeline.ledger.ledger import Ledger
from tests.records import decided, routed


def race(ledger: Ledger, racer: int, media: list[str]) -> list[bytes]:
    """What the ledger answers to this racer."""
    actions = list(Action)
    answers = []
    for media_id in media:
        event = decided(media_id, action=actions[racer % len(actions)], review="faces" if racer % 2 else None)
        answers.append(encode(ledger.record_decision(event, *routed(event))))
    return answers


def race_in_process(url: str, racer: int, uploads: int) -> list[bytes]:
    """A worker that starts, migrates, and decides."""
    ledger = Ledger(url)
    ledger.migrate()
    return race(ledger, racer, [f"m{number}" for number in range(uploads)])
