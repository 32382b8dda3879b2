"""What all queues look like, computed every two seconds at most however many people watch them live.

Who asks while it is computed waits for it: a full desk must not compute it fifty times. They wait without a thread,
for reviewers who want their next case need one. With very many tasks it takes a quarter of a second of the database's
time, and whoever asks for a case meanwhile waits with it: then it is computed less often.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pipeline.console.models import QueueView

Compute = Callable[[], Mapping[str, QueueView]]


@dataclass
class Board:
    """The latest views.

    Args:
        seconds: how old they may be; 0 computes them anew each time.
        rest: they are kept so many times as long as computing them took, if that is longer.
        most: seconds, the longest that they are kept for that reason.
        clock: seconds that only grow.
    """

    seconds: float = 2.0
    rest: float = 30.0
    most: float = 10.0
    clock: Callable[[], float] = time.monotonic
    _views: Mapping[str, QueueView] = field(default_factory=dict)
    _until: float | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def views(self, compute: Compute) -> Mapping[str, QueueView]:
        """By queue; `compute` blocks, in a thread. Raises as it does, and keeps nothing then."""
        async with self._lock:
            began = self.clock()
            if self._until is None or began >= self._until:
                self._views = await asyncio.to_thread(compute)
                ended = self.clock()
                long = min(self.rest * (ended - began), self.most) if self.seconds else 0.0
                self._until = ended + max(self.seconds, long)
            return self._views
