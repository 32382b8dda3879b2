"""What all queues look like, computed every two seconds at most however many people watch them live.

Who asks while it is computed waits for it: a full desk must not compute it fifty times. They wait without a thread,
for reviewers who want their next case need one.
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
    """The latest views. `seconds`: how old one may be; 0 computes each anew. `clock`: seconds that only grow."""

    seconds: float = 2.0
    clock: Callable[[], float] = time.monotonic
    _views: Mapping[str, QueueView] = field(default_factory=dict)
    _made: float | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def views(self, compute: Compute) -> Mapping[str, QueueView]:
        """By queue; `compute` blocks, in a thread. Raises as it does, and keeps nothing then."""
        async with self._lock:
            if self._made is None or self.clock() - self._made >= self.seconds:
                self._views, self._made = await asyncio.to_thread(compute), self.clock()
            return self._views
