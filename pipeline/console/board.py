"""What many people watch live (all queues, who is at work), computed every two seconds at most however many they are.

Who asks while it is computed waits for it: a full desk must not compute it fifty times. They wait without a thread,
for reviewers who want their next case need one. With very many tasks it takes a quarter of a second of the database's
time, and whoever asks for a case meanwhile waits with it: then it is computed less often.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass
class Board(Generic[T]):
    """The latest view of something.

    Args:
        seconds: how old it may be; 0 computes it anew each time.
        rest: it is kept so many times as long as computing it took, if that is longer.
        most: seconds, the longest that it is kept for that reason.
        clock: seconds that only grow.
    """

    seconds: float = 2.0
    rest: float = 30.0
    most: float = 10.0
    clock: Callable[[], float] = time.monotonic
    _view: T | None = None
    _until: float | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def view(self, compute: Callable[[], T]) -> T:
        """What `compute` gives, which blocks, in a thread. Raises as it does, and keeps nothing then."""
        async with self._lock:
            began = self.clock()
            view = self._view
            if view is None or self._until is None or began >= self._until:
                self._view = view = await asyncio.to_thread(compute)
                ended = self.clock()
                long = min(self.rest * (ended - began), self.most) if self.seconds else 0.0
                self._until = ended + max(self.seconds, long)
            return view
