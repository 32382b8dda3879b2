"""A collector of the tests' own: takes spans as OTLP over HTTP, decodes and keeps them."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pipeline.trace import ENDPOINTS


def untold(environment: pytest.MonkeyPatch) -> None:
    """Where the tests run, nobody has said anything of tracing."""
    for name in (*ENDPOINTS, "OTEL_SDK_DISABLED", "OTEL_TRACES_SAMPLER", "OTEL_SERVICE_NAME"):
        environment.delenv(name, raising=False)
    environment.setenv("NO_PROXY", "127.0.0.1")


@dataclass(frozen=True, slots=True)
class Received:
    """A span as it arrived; ids in hexadecimal digits, `parent` empty for a root."""

    name: str
    trace: str
    span: str
    parent: str
    links: tuple[str, ...]
    attributes: dict[str, str]
    error: str
    resource: dict[str, str]


class Collector:
    """What arrived. While `open` is not set, whoever sends is left waiting."""

    def __init__(self) -> None:
        self.endpoint = ""
        self.spans: list[Received] = []
        self.asked = threading.Event()
        self.open = threading.Event()
        self.open.set()

    def take(self, body: bytes) -> None:
        """One request."""
        request = ExportTraceServiceRequest.FromString(body)
        for of_resource in request.resource_spans:
            resource = _attributes(of_resource.resource.attributes)
            for of_scope in of_resource.scope_spans:
                for span in of_scope.spans:
                    self.spans.append(
                        Received(
                            span.name,
                            span.trace_id.hex(),
                            span.span_id.hex(),
                            span.parent_span_id.hex(),
                            tuple(link.span_id.hex() for link in span.links),
                            _attributes(span.attributes),
                            span.status.message if span.status.code == 2 else "",
                            resource,
                        )
                    )

    def until(self, names: set[str], trace: str, within: float = 60.0) -> list[Received]:
        """The spans of a trace, as soon as these are among them."""
        end = time.monotonic() + within
        while not names <= {span.name for span in self.of(trace)}:
            assert time.monotonic() < end, f"{names - {s.name for s in self.of(trace)}} did not come; {self.spans}"
            time.sleep(0.1)
        return self.of(trace)

    def of(self, trace: str) -> list[Received]:
        """The spans of a trace that are here by now."""
        return [span for span in self.spans if span.trace == trace]


@contextmanager
def collector() -> Iterator[Collector]:
    """A collector on a free port of 127.0.0.1."""
    kept = Collector()

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.asked.set()
            kept.open.wait()
            if self.path == "/v1/traces":
                kept.take(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            self.send_response(200 if self.path == "/v1/traces" else 404)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        server.daemon_threads = True
        kept.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield kept
        finally:
            kept.open.set()
            server.shutdown()
            thread.join()


def _attributes(pairs: object) -> dict[str, str]:
    found = {}
    for pair in pairs:  # type: ignore[attr-defined]
        value = pair.value
        found[pair.key] = str(getattr(value, value.WhichOneof("value")))
    return found
