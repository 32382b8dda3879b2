"""What all queues look like, computed once a second at most however many people watch them live.

A view is up to a second old. Who asks while it is computed waits for it: a full desk must not compute it fifty times.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pipeline.console.models import QueueView

Compute = Callable[[], Mapping[str, QueueView]]


@dataclass
class Board:
    """The latest views. `seconds`: how old one may be; 0 computes each anew. `clock`: seconds that only grow."""

    seconds: float = 1.0
    clock: Callable[[], float] = time.monotonic
    _views: Mapping[str, QueueView] = field(default_factory=dict)
    _made: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def views(self, compute: Compute) -> Mapping[str, QueueView]:
        """By queue. Raises as `compute` does, and keeps nothing then."""
        with self._lock:
            if self._made is None or self.clock() - self._made >= self.seconds:
                self._views, self._made = compute(), self.clock()
            return self._views
