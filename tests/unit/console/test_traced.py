"""Spans of the console and the relay, as a collector receives them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from pipeline.agents.delivery import Record
from pipeline.agents.publish import publisher
from pipeline.agents.route import route_record
from pipeline.agents.settle import settle_record
from pipeline.console.server import console as app_of
from pipeline.events import ReviewDecided
from pipeline.events.cloudevents import traceparent_of
from pipeline.events.codec import encode
from pipeline.events.values import Action
from pipeline.metrics import count_spans
from pipeline.review.people import Role
from pipeline.review.port import Answer
from pipeline.review.relay import headers_of, relay_once
from pipeline.topology import DECIDED, ENFORCED, REVIEW_DECIDED, review_topic
from pipeline.trace import OFF, tracing
from tests.console import Console, make_console
from tests.otlp import Collector, collector, untold
from tests.records import NOON, decided
from tests.work_promises import GRACE, LEASE, wait

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PRODUCER = f"00-{TRACE}-{PARENT}-01"
PATIENCE = 30.0


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    untold(monkeypatch)


@pytest.fixture
def received() -> Iterator[Collector]:
    with collector() as kept:
        yield kept


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    made = make_console(tmp_path)
    yield made
    made.ledger.close()


async def test_each_request_is_a_span_that_names_its_route(console: Console, received: Collector) -> None:
    """Not its address, which may hold a signed token; what was refused has its status; only who brings a token of a
    tool says which trace it belongs to; files and probes are not told."""
    parts = replace(console.parts, traced=tracing(received.endpoint))
    console = Console(parts, app_of(parts), console.watch)
    task = wait(console.ledger, "m1")
    async with console.client(Role.REVIEWER) as ann:
        await ann.get(f"/api/v1/m/{task}/123.secret/picture", headers={"traceparent": PRODUCER})
        await ann.get("/queues")
        await ann.get("/livez")
        await ann.get("/static/case.js")
        token = {"Authorization": f"Bearer {ann.cookies['unmask_session']}"}
        await ann.post("/api/v1/work/claim", json={}, headers=token | {"traceparent": PRODUCER})
        await ann.get("/nowhere")
    parts.traced.close(PATIENCE)
    told = [(each.name, each.attributes["http.response.status_code"], each.trace == TRACE) for each in received.spans]
    assert told == [
        ("GET /api/v1/m/{task_id}/{token}/{what}", "403", False),
        ("GET /queues", "200", False),
        ("POST /api/v1/work/claim", "200", True),
        ("GET unknown", "404", False),
    ]
    assert "secret" not in repr(received.spans)


async def test_upload_review_and_outcome_are_one_trace(console: Console, received: Collector) -> None:
    """The decision of a person hangs below the record that asked for it, however long ago that was, and the outcome
    below the decision; what is published again is the same to the last byte."""
    traced, ledger, work = tracing(received.endpoint), console.ledger, console.work
    sent: dict[str, tuple[bytes, tuple[tuple[str, bytes], ...]]] = {}

    async def send(topic: str, key: bytes | None, value: bytes, headers: tuple[tuple[str, bytes], ...]) -> None:
        with traced.sending(topic, traceparent_of(headers)):
            sent[topic] = value, headers

    async def handled(agent: str, handle: Any, topic: str, value: bytes, headers: Any) -> None:
        async def one() -> None:
            traced.began(agent, traceparent_of(headers), {})
            await handle(Record(topic, 0, 0, b"m1", value, headers, timestamp=0.0))
            traced.ended("ok", None)

        await asyncio.create_task(one())

    async def record_decision(event: Any, routed: Any, asked: str | None) -> Any:
        return ledger.record_decision(event, routed.task, routed.outcome, asked)

    async def record_review(review: ReviewDecided) -> Any:
        return ledger.record_review(review)

    async def record_final(outcome: Any) -> Any:
        return ledger.record_final(outcome)

    publish = publisher(send, "urn:tests")
    route = route_record(record_decision, publish, lambda *_: None)
    event = decided("m1", review="faces")
    await handled("route", route, DECIDED, encode(event), (("traceparent", PRODUCER.encode()),))
    held = work.claim("ann", ("faces",), NOON, LEASE)
    assert held is not None
    work.answer("ann", held.lease_id, Answer(Action.LIMIT, "why"), NOON, GRACE, {})

    async def publish_record(topic: str, key: bytes, value: bytes, headers: tuple[tuple[str, bytes], ...]) -> None:
        sent[topic] = value, headers

    assert await relay_once(work, publish_record, NOON + GRACE, traced=traced) == 1
    value, headers = sent[REVIEW_DECIDED]
    await handled("settle", settle_record(record_review, record_final, publish), REVIEW_DECIDED, value, headers)
    traced.close(PATIENCE)

    spans = {each.span: each for each in received.spans}
    assert {each.trace for each in spans.values()} == {TRACE}

    def path(span_id: str) -> str:
        return "platform" if span_id == PARENT else f"{path(spans[span_id].parent)} / {spans[span_id].name}"

    asked = f"platform / route / send {review_topic('faces')}"
    assert {path(each) for each in spans} >= {
        asked,
        f"{asked} / relay",
        f"{asked} / relay / send {REVIEW_DECIDED}",
        f"{asked} / relay / send {REVIEW_DECIDED} / settle",
        f"{asked} / relay / send {REVIEW_DECIDED} / settle / send {ENFORCED}",
    }


async def test_a_decision_on_a_task_of_an_unknown_trace_begins_one(console: Console, received: Collector) -> None:
    """Of tasks that an older release recorded nothing is known; the record has a trace of its own."""
    traced, seen = tracing(received.endpoint), []
    wait(console.ledger, "m1")
    held = console.work.claim("ann", ("faces",), NOON, LEASE)
    assert held is not None
    console.work.answer("ann", held.lease_id, Answer(Action.LIMIT, "why"), NOON, GRACE, {})

    async def send(topic: str, key: bytes, value: bytes, headers: tuple[tuple[str, bytes], ...]) -> None:
        seen.append(headers)

    await relay_once(console.work, send, NOON + GRACE, traced=traced)
    traced.close(PATIENCE)
    by_name = {each.name: each for each in received.spans}
    sending = by_name[f"send {REVIEW_DECIDED}"]
    assert dict(seen[0])["traceparent"].decode().split("-")[1:3] == [sending.trace, sending.span]
    assert sending.links == (by_name["relay"].span,)
    assert headers_of(None) == ()


def test_spans_that_were_lost_are_counted(received: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ended, what the collector took, and what it refused; nothing is counted where nothing is traced."""
    registry = CollectorRegistry()
    count_spans(registry, OFF)
    assert list(registry.collect()) == []
    traced = tracing(received.endpoint)
    count_spans(registry, traced)
    with traced.span("taken"):
        pass
    traced.close(PATIENCE)
    away, lost = tracing(f"{received.endpoint}/nowhere"), CollectorRegistry()
    count_spans(lost, away)
    for _ in range(3):
        with away.span("refused"):
            pass
    away.close(PATIENCE)

    def counted(of: CollectorRegistry) -> list[float | None]:
        return [of.get_sample_value("unmask_spans_total", {"state": s}) for s in ("ended", "delivered", "refused")]

    assert (counted(registry), counted(lost)) == ([1, 1, 0], [3, 0, 3])
