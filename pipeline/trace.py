"""The door to OpenTelemetry: spans of workers, relay and console, below what the records say.

A record's `traceparent` (`events/cloudevents.py`) is a digest, not a draw: a record that is written twice is the same
record twice. The span of a sending therefore takes the id that its record carries, and whoever handles the record hangs
below it, so that a trace is one tree from the producer's span to the last outcome:

    the platform's span ─ screen ─┬─ fetch, decode, detect ─ triton …, decide
                                  └─ send media.decided ─ route ─┬─ ledger
                                                                 ├─ send media.enforced
                                                                 └─ send review.requested ─ relay ─ send review.decided
                                                                      ─ settle ─ send media.enforced

A record that is delivered again is traced again, under the same ids.

Tracing never holds up or fails the work: ended spans wait in a bounded queue, from which a thread of its own sends
them; when the queue is full the oldest go. Nothing here is global, so no library's own spans are sent along.

Sources: W3C Trace Context, level 1; OpenTelemetry's specification of environment variables and its semantic conventions
for messaging.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opentelemetry import context as contexts
from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NoOpTracer,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    Tracer,
    get_current_span,
    set_span_in_context,
    use_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from pipeline import VERSION
from pipeline.errors import Permanent, Transient

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

Attributes = Mapping[str, str | int | float | bool]

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""Where OpenTelemetry's own variables say that spans go."""
_PATH = "/v1/traces"

_given: ContextVar[SpanContext | None] = ContextVar("ids of the span that begins now", default=None)
_propagator = TraceContextTextMapPropagator()


LAST_SPANS_SECONDS = 2.0
"""For how long a process that ends waits for its last spans."""


@dataclass
class SpanCounts:
    """Spans since the start: that ended, that the collector took, that it did not take. The others wait, or were
    dropped because too many waited."""

    ended: int = 0
    delivered: int = 0
    refused: int = 0


class Tracing:
    """Begins and ends spans; without a provider all of it does nothing. `counts`: None when it is off."""

    def __init__(self, provider: TracerProvider | None = None, counts: SpanCounts | None = None) -> None:
        self._provider, self.counts = provider, counts
        self._tracer: Tracer = provider.get_tracer("unmask", VERSION) if provider else NoOpTracer()

    def began(self, name: str, traceparent: str | None, attributes: Attributes) -> None:
        """A record is taken up: until `ended`, what the current task does lies in a span below that of its sending."""
        span = self._tracer.start_span(name, _context_of(traceparent), SpanKind.CONSUMER, attributes)
        contexts.attach(set_span_in_context(span))

    def again(self, trouble: Transient) -> None:
        """An attempt of the current span failed and will be repeated."""
        get_current_span().add_event("retry", _told(trouble))

    def ended(self, result: str, failure: Permanent | None) -> None:
        """The record of the current task left. The task is over with it, and its context too."""
        span = get_current_span()
        span.set_attribute("unmask.result", result)
        if failure is not None:
            _failed(span, failure)
        span.end()

    @contextmanager
    def joined(self, name: str, traceparent: str | None) -> Iterator[None]:
        """What is done because of a record of long ago: a span below its sending; the root of a trace without one."""
        with _current(self._tracer.start_span(name, _context_of(traceparent), SpanKind.INTERNAL)):
            yield

    @contextmanager
    def serving(self, method: str, traceparent: str | None) -> Iterator[Callable[[str, int], None]]:
        """A request over HTTP; yields what to call with its route and the status of the answer."""
        said = {"http.request.method": method}
        span = self._tracer.start_span(method, _context_of(traceparent), SpanKind.SERVER, said)

        def answered(route: str, status: int) -> None:
            span.update_name(f"{method} {route}")
            span.set_attributes({"http.route": route, "http.response.status_code": status})
            if status >= 500:
                span.set_status(StatusCode.ERROR, str(status))

        with _current(span):
            yield answered

    @contextmanager
    def span(self, name: str, attributes: Attributes | None = None, *, remote: bool = False) -> Iterator[None]:
        """A part of the work; `remote`: another process does it, and this one waits."""
        kind = SpanKind.CLIENT if remote else SpanKind.INTERNAL
        with _current(self._tracer.start_span(name, None, kind, attributes)):
            yield

    @contextmanager
    def sending(self, topic: str, traceparent: str | None) -> Iterator[None]:
        """The sending of a record: it has the id that the record carries.

        Where what led to it was in no trace, the record begins one (`child_traceparent`): the span is the root of that,
        and names what led to it by a link.
        """
        here, theirs = get_current_span().get_span_context(), get_current_span(_context_of(traceparent))
        record = theirs.get_span_context()
        apart = record.trace_id != here.trace_id
        token = _given.set(record if record.is_valid else None)
        try:
            span = self._tracer.start_span(
                f"send {topic}",
                Context() if apart else None,
                SpanKind.PRODUCER,
                {"messaging.system": "kafka", "messaging.destination.name": topic},
                [Link(here)] if apart and here.is_valid else (),
            )
        finally:
            _given.reset(token)
        with _current(span):
            yield

    def exemplar(self) -> dict[str, str] | None:
        """The current span, for a histogram's bucket; None when it is not recorded."""
        span = get_current_span()
        if not span.is_recording():
            return None
        ids = span.get_span_context()
        return {"trace_id": f"{ids.trace_id:032x}", "span_id": f"{ids.span_id:016x}"}

    def close(self, within: float) -> None:
        """Send what waits, but never longer than so many seconds: an endpoint that hangs must not hold up the end."""
        if self._provider is None:
            return
        last = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        last.start()
        last.join(within)


OFF = Tracing()


def tracing(endpoint: str | None) -> Tracing:
    """Tracing to an OTLP endpoint over HTTP; `OFF` when neither `endpoint` nor OpenTelemetry's own variables name one.

    Args:
        endpoint: a collector's address, such as `http://collector:4318`; it goes before the environment's.
    """
    wanted = endpoint or any(os.environ.get(name) for name in ENDPOINTS)
    if not wanted or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return OFF
    counts = SpanCounts()
    return Tracing(_provider(endpoint, counts), counts)


def _provider(endpoint: str | None, counts: SpanCounts) -> TracerProvider:
    # Only needed here, and slow to import.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class Counting(OTLPSpanExporter):
        """Says what became of them. One thread at a time calls it."""

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            result = super().export(spans)
            if result is SpanExportResult.SUCCESS:
                counts.delivered += len(spans)
            else:
                counts.refused += len(spans)
            return result

    class Ended(BatchSpanProcessor):
        """Counts what is to be sent; spans end in more than one thread."""

        _counting = threading.Lock()

        def on_end(self, span: ReadableSpan) -> None:
            if span.context is not None and span.context.trace_flags.sampled:
                with self._counting:
                    counts.ended += 1
            super().on_end(span)

    class Ids(RandomIdGenerator):
        """Random, but for the sending of a record, which has the record's."""

        def generate_span_id(self) -> int:
            given = _given.get()
            return given.span_id if given else super().generate_span_id()

        def generate_trace_id(self) -> int:
            given = _given.get()
            return given.trace_id if given else super().generate_trace_id()

    described = Resource.create(
        {
            "service.name": os.environ.get("OTEL_SERVICE_NAME") or "unmask",
            "service.version": VERSION,
            "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
        }
    )
    provider = TracerProvider(resource=described, id_generator=Ids(), shutdown_on_exit=False)
    exporter = Counting(endpoint.rstrip("/") + _PATH if endpoint else None)
    provider.add_span_processor(Ended(exporter))
    return provider


def _context_of(traceparent: str | None) -> Context:
    """The context that a record came in; an empty one, in which a new trace begins, when it has none."""
    return _propagator.extract({"traceparent": traceparent} if traceparent else {}, Context())


@contextmanager
def _current(span: Span) -> Iterator[None]:
    """Ends the span. Of a failure stage and reason are told, not the words: those may hold a signed address."""
    with use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield
        except BaseException as error:
            _failed(span, error)
            raise


def _failed(span: Span, error: BaseException) -> None:
    if isinstance(error, Permanent | Transient):
        span.set_attributes(_told(error))
        span.set_status(StatusCode.ERROR, error.reason.value)
    else:
        span.set_status(StatusCode.ERROR, type(error).__name__)


def _told(error: Permanent | Transient) -> dict[str, str]:
    return {"unmask.stage": error.stage.value, "unmask.reason": error.reason.value}
