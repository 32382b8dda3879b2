"""The policy that the workers decide by, as the record says it: queues, harms and labels of the console are theirs."""

from __future__ import annotations

import asyncio

from pipeline import log
from pipeline.errors import ConfigError, Transient
from pipeline.pause import pause
from pipeline.policy.activations import Record
from pipeline.policy.reload import load
from pipeline.policy.rules import Policy

logger = log.get(__name__)

_EVERY = 5.0


class InForce:
    """What is in force; the policy of this process's own files until a worker has put one on record."""

    def __init__(self, record: Record, own: Policy) -> None:
        self._record, self.policy = record, own

    def look(self) -> None:
        """Take over what is on record. What cannot be read changes nothing. Blocking."""
        try:
            switch = self._record.at()
            if switch is None or switch.key == (self.policy.version, self.policy.fusion_version):
                return
            words = self._record.words(switch.key)
            if words is not None:
                self.policy = load(words.policy, words.calibration, "on record", "on record").policy
                logger.info("policy", version=self.policy.version)
        except (ConfigError, Transient) as trouble:
            logger.warning("the policy in force cannot be read", detail=str(trouble))

    async def keep(self, stop: asyncio.Event) -> None:
        """Look every few seconds until told to stop."""
        while not stop.is_set():
            await asyncio.to_thread(self.look)
            await pause(stop, _EVERY)
