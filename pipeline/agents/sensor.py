"""What Faust tells of itself, as Unmask's metrics: sends, commits, rebalances.

Faust's own Prometheus sensor is not used: its per-topic counters vanish at every rebalance and its units are mixed.
"""

from __future__ import annotations

import time
from typing import Any

import faust
from faust.types import AppT
from faust.types.transports import ConsumerT, ProducerT

from pipeline.metrics import Metrics


class MetricsSensor(faust.Sensor):
    """Faust calls these hooks; each moves one metric."""

    def __init__(self, metrics: Metrics, **kwargs: Any) -> None:
        self._metrics = metrics
        super().__init__(**kwargs)

    def on_send_initiated(self, producer: ProducerT, topic: str, message: Any, keysize: int, valsize: int) -> Any:
        """Returns the state that the two hooks below get."""
        return time.monotonic()

    def on_send_completed(self, producer: ProducerT, state: Any, metadata: Any) -> None:
        """The broker acknowledged a record."""
        self._metrics.sends.labels("ok").inc()
        self._metrics.send.observe(time.monotonic() - state)

    def on_send_error(self, producer: ProducerT, exc: BaseException, state: Any) -> None:
        """The broker did not take a record."""
        self._metrics.sends.labels("error").inc()

    def on_commit_initiated(self, consumer: ConsumerT) -> Any:
        """Returns the state that `on_commit_completed` gets."""
        return time.monotonic()

    def on_commit_completed(self, consumer: ConsumerT, state: Any) -> None:
        """Offsets are committed."""
        self._metrics.commit.observe(time.monotonic() - state)

    def on_rebalance_start(self, app: AppT) -> dict[str, float]:
        """Partitions are about to move."""
        self._metrics.rebalances.inc()
        return {"started": time.monotonic()}

    def on_rebalance_end(self, app: AppT, state: dict[str, float]) -> None:
        """Partitions have moved, and this worker reads again."""
        self._metrics.rebalance.observe(time.monotonic() - state["started"])
