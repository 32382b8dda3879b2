"""Whose turn it is: what one process at a time does, whichever of them lives.

A turn ends by itself, so that one who died holds nobody up. Moments are the holders' own: clocks that differ by more
than a turn make two of them work at once for a moment, and what they do has to bear that.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import and_, delete, or_, update

from pipeline.errors import Stage
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.work_tables import turns

_t = turns.c


class Turns:
    """Turns in one ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def take(self, name: str, holder: UUID, now: datetime, until: datetime) -> bool:
        """Have the turn until then, or keep it so long; whether it is this holder's. Raises Transient."""
        free = and_(_t.name == name, or_(_t.holder == holder, _t.until <= now))
        row = {"holder": holder, "until": until}
        with self._ledger.writing(Stage.SETTLE) as connection:
            if connection.execute(update(turns).where(free).values(row)).rowcount:
                return True
            return bool(connection.execute(self._ledger.insert_new(turns), row | {"name": name}).rowcount)

    def give_back(self, name: str, holder: UUID) -> None:
        """Whoever comes may have it at once. Raises Transient."""
        with self._ledger.writing(Stage.SETTLE) as connection:
            connection.execute(delete(turns).where(_t.name == name, _t.holder == holder))
