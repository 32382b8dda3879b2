"""The banks as a process has them at hand: loaded again when their files change, with what is quarantined now.

Files that cannot be used leave the banks as they were, and the log says so: an operator's slip must not switch matching
off. A ledger that is away leaves the quarantine as it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from pipeline import log
from pipeline.errors import ConfigError, UnmaskError
from pipeline.events.values import FrameHash
from pipeline.match.banks import Banks
from pipeline.match.flood import Counted, Quarantine, floods
from pipeline.match.load import changed, load
from pipeline.match.match import NOTHING, Quarantined, Recognised, recognise

logger = log.get(__name__)

REFRESH_SECONDS = 15.0
"""How often files, floods and the quarantine are looked at."""


class Floods(Protocol):
    """What the ledger counts and keeps. Methods raise `Transient` while it is away."""

    def matched_contents(self, bank: str, since: datetime) -> tuple[Counted, ...]:
        """How many different contents each hash matched since then; an empty id: the bank as a whole."""
        ...

    def decided_contents(self, since: datetime) -> int:
        """How many different contents were decided since then."""
        ...

    def quarantine(self, found: Iterable[Quarantine]) -> tuple[Quarantine, ...]:
        """Keep what is not there yet; those that are new."""
        ...

    def quarantines(self) -> tuple[Quarantine, ...]:
        """All that ever were."""
        ...


@dataclass(frozen=True, slots=True)
class _State:
    """Swapped as a whole, so that a lookup never sees banks and a quarantine that do not belong together."""

    banks: Banks = ()
    quarantined: Quarantined = frozenset()


class BanksAtHand:
    """Ask with `recognise`; keep up to date with `refresh`, which blocks."""

    def __init__(
        self,
        folder: Path | None,
        kept: Path,
        *,
        ledger: Floods | None = None,
        timed: Callable[[], AbstractContextManager[object]] = nullcontext,
        told: Callable[[Banks, Quarantined], None] = lambda *_: None,
    ) -> None:
        """Nothing is read before `open`.

        Args:
            folder: where banks.yaml lies; None: there are no banks.
            kept: where compiled banks are kept.
            ledger: counts matches and keeps the quarantine; None: nothing is quarantined.
            timed: observes how long one upload's lookup takes.
            told: hears of the banks and the quarantine whenever they were looked at.
        """
        self._folder = folder
        self._kept = kept
        self._ledger = ledger
        self._timed = timed
        self._told = told
        self._state = _State()
        self._seen: tuple[tuple[str, int, int], ...] = ()

    @property
    def banks(self) -> Banks:
        """As they are now."""
        return self._state.banks

    @property
    def quarantined(self) -> Quarantined:
        """What decides nothing now."""
        return self._state.quarantined

    def open(self) -> None:
        """Load the banks. Raises ConfigError when banks.yaml or a file cannot be used."""
        if self._folder is None:
            return
        seen = changed(self._folder)
        self._state = _State(load(self._folder, self._kept, _problem), self._state.quarantined)
        self._seen = seen
        for bank in self._state.banks:
            logger.info("bank", bank=bank.version, entries=bank.size, mode=bank.spec.mode.value)
        self._look(datetime.now(UTC))

    def refresh(self, now: datetime) -> None:
        """Load what changed, quarantine what floods, and learn what is quarantined."""
        if self._folder is None:
            return
        try:
            if changed(self._folder) != self._seen:
                self.open()
                return
        except (ConfigError, OSError) as error:  # OSError: what was compiled cannot be kept, as on a full disk
            logger.error("the banks stay as they were", detail=str(error))
        self._look(now)

    async def keep(self) -> None:
        """Refresh until cancelled."""
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            await asyncio.to_thread(self.refresh, datetime.now(UTC))

    async def recognise(self, sha256: str, hashes: tuple[FrameHash, ...], media_id: str) -> Recognised:
        """What the banks know of an upload, in a thread. Costs nothing without banks."""
        if not self._state.banks:
            return NOTHING
        return await asyncio.to_thread(self._ask, sha256, hashes, media_id)

    def _ask(self, sha256: str, hashes: tuple[FrameHash, ...], media_id: str) -> Recognised:
        state = self._state
        with self._timed():
            return recognise(sha256, hashes, state.banks, media_id, state.quarantined)

    def _look(self, now: datetime) -> None:
        if self._ledger is not None:
            try:
                self._flooded(self._ledger, now)
                held = frozenset((each.bank, each.hash_id) for each in self._ledger.quarantines() if each.holds)
                self._state = _State(self._state.banks, held)
            except UnmaskError as error:
                logger.warning("the quarantine stays as it was", detail=str(error))
        self._told(self._state.banks, self._state.quarantined)

    def _flooded(self, ledger: Floods, now: datetime) -> None:
        for bank in self._state.banks:
            limits = bank.spec.flood
            since = now - limits.within
            counts = ledger.matched_contents(bank.name, since)
            if not any(each.contents >= min(limits.least, limits.contents) for each in counts):
                continue
            for new in ledger.quarantine(floods(counts, ledger.decided_contents(since), limits, now)):
                logger.error(
                    "a hash matches suspiciously much" if new.hash_id else "a bank matches suspiciously much",
                    bank=new.bank,
                    hash_id=new.hash_id,
                    reason=new.reason,
                    action=new.action.value,
                )


def _problem(bank: str, problem: str) -> None:
    logger.warning("a line of a bank cannot be read", bank=bank, problem=problem)
