"""Logs: one JSON object a line on stderr; media_id and trace_id are on every line that concerns an upload."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable

import structlog


def configure(level: str = "info", fmt: str = "json") -> None:
    """Send structlog's and the libraries' records through one formatter.

    Args:
        level: debug, info, warning or error; libraries speak from warning up unless `debug` is asked for.
        fmt: `json` for machines, `console` for people.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if fmt == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    handler.addFilter(Sparingly("aiokafka", seconds=1.0))
    handler.addFilter(Sparingly("opentelemetry", seconds=60.0))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.DEBUG if level == "debug" else logging.WARNING)
    logging.getLogger("pipeline").setLevel(level.upper())


class Sparingly(logging.Filter):
    """Lets one record per call site through in so many seconds; only for loggers under `prefix`.

    While a broker is away, aiokafka says so about a hundred times a second; OpenTelemetry says of every batch that the
    collector is away.
    """

    def __init__(self, prefix: str, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._prefix = prefix
        self._seconds = seconds
        self._clock = clock
        self._last: dict[tuple[str, int], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        if record.name.partition(".")[0] != self._prefix:
            return True
        site, now = (record.pathname, record.lineno), self._clock()
        if now - self._last.get(site, float("-inf")) < self._seconds:
            return False
        self._last[site] = now
        return True


def get(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def bind(**values: object) -> None:
    """Put these on every line that the current task writes from now on; each record is handled in a task of its own."""
    structlog.contextvars.bind_contextvars(**values)
