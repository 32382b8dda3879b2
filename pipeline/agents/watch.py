"""Observes one agent's deliveries: metrics, spans, the progress that /livez asks for, and a log line per burial."""

from __future__ import annotations

import time

from pipeline import log
from pipeline.agents.delivery import Record
from pipeline.agents.lag import LagWatch
from pipeline.errors import Permanent, Transient
from pipeline.events.cloudevents import traceparent_of
from pipeline.metrics import Metrics
from pipeline.trace import OFF, Tracing

logger = log.get(__name__)


class Progress:
    """When something last moved, and how much is under way."""

    def __init__(self) -> None:
        self._moved = time.monotonic()
        self._under_way = 0

    def move(self, change: int = 0) -> None:
        """Something moved: an item came, went, or was tried again."""
        self._under_way += change
        self._moved = time.monotonic()

    def stalled_for(self) -> float:
        """Seconds without a move while something is under way; 0 when idle."""
        return time.monotonic() - self._moved if self._under_way else 0.0


class AgentWatch:
    """The `Watch` of one agent."""

    def __init__(
        self,
        agent: str,
        metrics: Metrics,
        progress: Progress,
        lag: LagWatch | None = None,
        tracing: Tracing = OFF,
    ) -> None:
        self._agent = agent
        self._lag = lag or LagWatch()
        self._metrics = metrics
        self._progress = progress
        self._tracing = tracing

    def started(self, record: Record) -> None:
        """A record was taken up."""
        self._progress.move(+1)
        self._lag.started(record.topic, record.partition, record.offset, record.timestamp)
        self._metrics.in_flight.labels(self._agent).inc()
        self._tracing.began(self._agent, traceparent_of(record.headers), _attributes(record))

    def retried(self, record: Record, error: Transient) -> None:
        """An attempt failed and will be repeated."""
        self._progress.move()
        self._metrics.retries.labels(self._agent).inc()
        self._tracing.again(error)
        logger.info("retrying", agent=self._agent, reason=error.reason.value, detail=error.detail, offset=record.offset)

    def ended(self, record: Record, result: str, seconds: float, failure: Permanent | None) -> None:
        """A record left."""
        self._progress.move(-1)
        self._lag.ended(record.topic, record.partition, record.offset)
        self._metrics.in_flight.labels(self._agent).dec()
        self._metrics.items.labels(self._agent, result).inc()
        exemplar = self._tracing.exemplar()
        self._metrics.handling.labels(self._agent).observe(seconds, exemplar)
        self._metrics.age.labels(self._agent).observe(max(0.0, time.time() - record.timestamp), exemplar)
        self._tracing.ended(result, failure)
        if failure is not None:
            self._metrics.dead_letters.labels(self._agent, failure.reason.value).inc()
            logger.warning(
                "buried",
                agent=self._agent,
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                stage=failure.stage.value,
                reason=failure.reason.value,
                detail=failure.detail,
            )


def _attributes(record: Record) -> dict[str, str | int]:
    """OpenTelemetry's names for what is known of a record."""
    return {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.destination.name": record.topic,
        "messaging.destination.partition.id": str(record.partition),
        "messaging.kafka.offset": record.offset,
        "messaging.kafka.message.key": (record.key or b"").decode("utf-8", "replace"),
    }
