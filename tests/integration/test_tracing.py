"""One upload through the embedded stack, and a collector that receives its trace."""

from __future__ import annotations

import re
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from confluent_kafka import Producer

from pipeline.demo.media import rendered, write_jpeg
from pipeline.events import MediaUploaded
from pipeline.events.codec import encode
from pipeline.kafka import client_config
from pipeline.settings import Settings
from pipeline.stack.up import Stack, StackOptions
from pipeline.topology import UPLOADED
from tests.otlp import Collector, collector
from tests.stacks import stack_options

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
PATIENCE = 120.0


def options(home: Path, folder: Path, **environment: str) -> StackOptions:
    return stack_options(home, folder, {"NO_PROXY": "127.0.0.1", **environment}, partitions=1)


def traced_upload(stack: Stack, path: Path) -> None:
    """Published by a platform that traces."""
    write_jpeg(path, rendered(3))
    event = MediaUploaded(media_id=str(uuid4()), uri=path.as_uri(), uploaded_at=datetime.now(UTC))
    producer = Producer(client_config(Settings(), stack.bootstrap_servers))
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    producer.produce(UPLOADED, key=event.media_id, value=encode(event), headers=headers)
    assert producer.flush(30) == 0


def metrics(stack: Stack, accept: str) -> str:
    request = urllib.request.Request(f"http://{stack.workers[0].http_address}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request) as answer:
        return answer.read().decode()


def paths(received: Collector) -> dict[str, str]:
    """Each span's name with those above it; a word stands for the producer's span."""
    spans = {span.span: span for span in received.of(TRACE)}

    def path(span_id: str) -> str:
        if span_id == PARENT:
            return "platform"
        return f"{path(spans[span_id].parent)}/{spans[span_id].name}"

    return {span.name: path(span.span) for span in spans.values()}


def test_an_upload_is_one_tree_from_the_producer_s_span_to_its_outcome(home: Path, tmp_path: Path) -> None:
    """Stages and inference below the screening, routing below the decision's record; buckets name the same trace."""
    with collector() as received:
        with Stack(options(home, tmp_path, UNMASK_OTLP_ENDPOINT=received.endpoint)) as stack:
            traced_upload(stack, tmp_path / "media" / "picture.jpg")
            wanted = {"screen", "fetch", "decode", "detect", "decide", "route", "ledger", "send media.enforced"}
            found = received.until(wanted, TRACE, PATIENCE)
            asked_for = metrics(stack, "application/openmetrics-text; version=1.0.0")
            classic = metrics(stack, "text/plain")
        by_path = paths(received)
        assert {by_path[name] for name in ("fetch", "decode", "detect", "decide")} == {
            f"platform/screen/{stage}" for stage in ("fetch", "decode", "detect", "decide")
        }
        inferences = [path for name, path in by_path.items() if name.startswith("triton ")]
        assert inferences
        assert all(path.startswith("platform/screen/detect/triton ") for path in inferences)
        assert by_path["route"] == "platform/screen/send media.decided/route"
        assert by_path["send media.enforced"] == f"{by_path['route']}/send media.enforced"
        assert len({span.span for span in received.of(TRACE)}) == len(received.of(TRACE))
        assert {span.resource["service.name"] for span in found} == {"unmask"}
        assert not any(span.error for span in found)
    named = set(re.findall(rf'^(\w+)_bucket{{.*# {{span_id="\w+",trace_id="{TRACE}"}}', asked_for, re.MULTILINE))
    assert {"unmask_item_seconds", "unmask_item_age_seconds", "unmask_stage_seconds"} <= named
    assert "trace_id" not in classic


def test_a_collector_that_hangs_does_not_hold_up_an_upload_or_the_worker_s_end(home: Path, tmp_path: Path) -> None:
    """The outcome is published while the collector keeps its first request waiting; the worker ends by itself."""
    with collector() as received:
        received.open.clear()
        with Stack(options(home, tmp_path, UNMASK_OTLP_ENDPOINT=received.endpoint)) as stack:
            traced_upload(stack, tmp_path / "media" / "picture.jpg")
            assert received.asked.wait(PATIENCE)
            end = time.monotonic() + PATIENCE
            while 'unmask_items_total{agent="route",result="ok"} 1.0' not in metrics(stack, "text/plain"):
                assert time.monotonic() < end
                time.sleep(0.2)
            assert not received.open.is_set()
        assert not received.open.is_set()
        assert received.spans == []
