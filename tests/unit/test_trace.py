"""Spans, as a collector receives them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from pipeline.agents.delivery import Record
from pipeline.agents.watch import AgentWatch, Progress
from pipeline.errors import Permanent, Reason, Stage, Transient
from pipeline.events.cloudevents import child_traceparent
from pipeline.metrics import Metrics
from pipeline.trace import OFF, Tracing, tracing
from tests.otlp import Collector, collector, untold

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
PRODUCER = f"00-{TRACE}-{PARENT}-01"
PATIENCE = 30.0


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    untold(monkeypatch)


@pytest.fixture
def received() -> Iterator[Collector]:
    with collector() as kept:
        yield kept


def in_task(work: object) -> None:
    """Run in a context of its own, as each record is handled."""

    async def one() -> None:
        work()  # type: ignore[operator]

    asyncio.run(one())


def test_without_an_endpoint_nothing_is_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a setting nor a variable: no provider, no thread, no exemplar, and all calls are harmless."""
    assert tracing(None) is OFF
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert tracing(None) is OFF

    def work() -> None:
        OFF.began("screen", PRODUCER, {})
        with OFF.span("fetch"), OFF.sending("media.decided", PRODUCER):
            assert OFF.exemplar() is None
        OFF.ended("ok", None)
        OFF.close(0.0)

    in_task(work)


@pytest.mark.parametrize("by", ["setting", "variable"])
def test_the_endpoint_may_be_named_by_the_setting_or_by_the_standard_s_variable(
    by: str, received: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both take a collector's address and add the path of traces."""
    if by == "variable":
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", received.endpoint)
    traced = tracing(received.endpoint if by == "setting" else None)
    with traced.span("alone"):
        pass
    traced.close(PATIENCE)
    (span,) = received.spans
    assert (span.name, span.parent, span.resource["service.name"]) == ("alone", "", "unmask")


def test_spans_hang_below_the_record_and_the_next_record_below_its_sending(received: Collector) -> None:
    """One tree from the producer's span to the outcome, through the ids that the records carry."""
    traced = tracing(received.endpoint)
    decided = child_traceparent(PRODUCER, "decided")

    def screening() -> None:
        traced.began("screen", PRODUCER, {"messaging.kafka.offset": 7})
        with traced.span("detect"), traced.span("triton faces", remote=True):
            pass
        with traced.sending("media.decided", decided):
            pass
        traced.ended("ok", None)

    def routing() -> None:
        traced.began("route", decided, {})
        traced.ended("ok", None)

    in_task(screening)
    in_task(routing)
    traced.close(PATIENCE)
    by_name = {span.name: span for span in received.spans}
    parents = {name: span.parent for name, span in by_name.items()}
    assert {span.trace for span in received.spans} == {TRACE}
    assert parents == {
        "screen": PARENT,
        "detect": by_name["screen"].span,
        "triton faces": by_name["detect"].span,
        "send media.decided": by_name["screen"].span,
        "route": by_name["send media.decided"].span,
    }
    assert by_name["send media.decided"].span == decided.split("-")[2]
    assert by_name["screen"].attributes["messaging.kafka.offset"] == "7"


def test_a_record_without_a_trace_begins_one_that_its_sendings_name(received: Collector) -> None:
    """The sending is the root of the trace that the new record carries, linked to the span of what led to it."""
    traced = tracing(received.endpoint)
    decided = child_traceparent(None, "decided")

    def work() -> None:
        traced.began("screen", None, {})
        with traced.sending("media.decided", decided):
            pass
        traced.ended("ok", None)

    in_task(work)
    traced.close(PATIENCE)
    by_name = {span.name: span for span in received.spans}
    sent = by_name["send media.decided"]
    assert (sent.trace, sent.span, sent.parent) == (*decided.split("-")[1:3], "")
    assert sent.links == (by_name["screen"].span,)


def test_what_the_producer_does_not_sample_is_not_sent(received: Collector) -> None:
    """The flag of the record decides, for spans and for exemplars."""
    traced = tracing(received.endpoint)

    def work() -> None:
        traced.began("screen", f"00-{TRACE}-{PARENT}-00", {})
        with traced.span("fetch"):
            assert traced.exemplar() is None
        traced.ended("ok", None)

    in_task(work)
    traced.close(PATIENCE)
    assert received.spans == []


def test_failures_are_told_by_their_reason_without_their_words(received: Collector) -> None:
    """An address with a signature in it must not reach the collector."""
    traced = tracing(received.endpoint)
    away = Permanent(Stage.FETCH, Reason.SOURCE_NOT_FOUND, "https://cdn/x?signature=secret")

    def work() -> None:
        traced.began("screen", PRODUCER, {})
        traced.again(Transient(Stage.FETCH, Reason.SOURCE_UNAVAILABLE, "secret"))
        with pytest.raises(Permanent), traced.span("fetch"):
            raise away
        with pytest.raises(ZeroDivisionError), traced.span("decode"):
            raise ZeroDivisionError("secret")
        traced.ended("dead_letter", away)

    in_task(work)
    traced.close(PATIENCE)
    errors = {span.name: span.error for span in received.spans}
    assert errors == {"fetch": "source_not_found", "decode": "ZeroDivisionError", "screen": "source_not_found"}
    assert "secret" not in repr(received.spans)


def test_a_collector_that_hangs_neither_holds_up_the_work_nor_the_end(
    received: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spans beyond the queue's bound are dropped, and closing returns while the collector still says nothing."""
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "16")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8")
    received.open.clear()
    traced = tracing(received.endpoint)
    for number in range(1000):
        with traced.span(f"span {number}"):
            pass
    assert received.asked.wait(PATIENCE)
    traced.close(0.1)
    assert not received.open.is_set()
    assert received.spans == []
    received.open.set()
    traced.close(PATIENCE)
    assert len(received.spans) <= 8 + 16


def test_a_collector_that_is_away_changes_nothing() -> None:
    """Nobody listens: the work goes on, and the end comes."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        traced = tracing(f"http://127.0.0.1:{taken.getsockname()[1]}")
        for _ in range(10):
            with traced.span("fetch"):
                pass
        traced.close(0.5)


def _handled(metrics: Metrics, traced: Tracing, traceparent: str | None) -> None:
    headers = () if traceparent is None else (("traceparent", traceparent.encode()),)
    record = Record("media.uploaded", 0, 5, b"m1", b"", headers, timestamp=0.0)

    def work() -> None:
        watch = AgentWatch("screen", metrics, Progress(), tracing=traced)
        watch.started(record)
        watch.ended(record, "ok", 0.02, None)

    in_task(work)


def test_latency_buckets_name_a_trace_to_those_who_ask_for_openmetrics(received: Collector) -> None:
    """The exemplar is the span of the handling; the classic text has none."""
    traced, registry = tracing(received.endpoint), CollectorRegistry()
    _handled(Metrics(registry), traced, PRODUCER)
    traced.close(PATIENCE)
    (span,) = received.spans
    text = generate_openmetrics(registry).decode()
    lines = [line for line in text.splitlines() if "# {" in line]
    assert {line.partition("{")[0] for line in lines} == {
        "unmask_item_age_seconds_bucket",
        "unmask_item_seconds_bucket",
    }
    assert all(f'span_id="{span.span}",trace_id="{TRACE}"' in line for line in lines)
    assert "trace_id" not in generate_latest(registry).decode()


def test_without_a_trace_there_is_no_exemplar() -> None:
    """Also when the record carries a trace, but nothing is sent anywhere."""
    registry = CollectorRegistry()
    _handled(Metrics(registry), OFF, PRODUCER)
    assert "trace_id" not in generate_openmetrics(registry).decode()
