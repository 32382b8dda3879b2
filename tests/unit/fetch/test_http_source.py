"""Reading http from servers on the loopback interface."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from pipeline.errors import Permanent, Reason, Transient
from pipeline.fetch.guard import Rules
from pipeline.fetch.http import HttpSource, _seconds
from pipeline.fetch.port import FetchLimits

LIMITS = FetchLimits(max_bytes=10_000, max_seconds=5, idle_seconds=5, max_redirects=3)
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Answer], Awaitable[int]]
Wire = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts servers that answer every path by one function; returns the port."""
    runners: list[web.AppRunner] = []

    async def start(answer: Answer) -> int:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return int(runner.addresses[0][1])

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def wire() -> AsyncIterator[Callable[[Wire], Awaitable[int]]]:
    """Starts servers that write raw bytes; returns the port."""
    servers: list[asyncio.Server] = []

    async def start(talk: Wire) -> int:
        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    yield start
    for server in servers:
        server.close()


def rules(*hosts: str, private: bool = True, schemes: tuple[str, ...] = ("http", "https")) -> Rules:
    return Rules.of(schemes=schemes, hosts=hosts, private_addresses=private)


async def read(source: HttpSource, uri: str, limits: FetchLimits = LIMITS) -> bytes:
    """All bytes, and the source closed."""
    try:
        async with source.open(uri, limits) as opened:
            return b"".join([bytes(chunk) async for chunk in opened.chunks])
    finally:
        await source.close()


class FakeResolver(AbstractResolver):
    """Answers each look-up with the next list of addresses, the last one for ever."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        self.asked += 1
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)
            for address in addresses
        ]

    async def close(self) -> None:
        pass


async def test_reads_bytes_and_what_the_server_says_of_them(serve: Serve) -> None:
    """Content type and length come along; the request asks for the bytes as they are, and carries nothing else."""
    seen: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request)
        response = web.Response(body=b"picture", content_type="image/png")
        response.set_cookie("a", "b")
        return response

    port = await serve(answer)
    source = HttpSource(rules(f"127.0.0.1:{port}"))
    for _ in range(2):
        async with source.open(f"http://127.0.0.1:{port}/a%2Fb.png?s=%2B#f", LIMITS) as opened:
            assert (opened.size, opened.content_type) == (7, "image/png")
            assert [bytes(chunk) async for chunk in opened.chunks] == [b"picture"]
    await source.close()
    assert [request.raw_path for request in seen] == ["/a%2Fb.png?s=%2B"] * 2
    assert {request.headers["Accept-Encoding"] for request in seen} == {"identity"}
    assert not any("Cookie" in request.headers for request in seen)


async def test_a_private_address_is_refused_before_anything_is_sent(serve: Serve) -> None:
    """Both as an address in the URL and behind a name."""
    hits = []

    async def answer(request: web.Request) -> web.Response:
        hits.append(request)
        return web.Response()

    port = await serve(answer)
    for host in ("127.0.0.1", "localhost"):
        with pytest.raises(Permanent, match="loopback") as caught:
            await read(HttpSource(rules(f"{host}:{port}", private=False)), f"http://{host}:{port}/")
        assert caught.value.reason is Reason.SOURCE_FORBIDDEN
    assert hits == []


async def test_a_proxy_in_the_environment_is_ignored(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would connect where the guard cannot look."""
    port = await serve(_ok(b"direct"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert await read(HttpSource(rules(f"127.0.0.1:{port}")), f"http://127.0.0.1:{port}/") == b"direct"


async def test_one_forbidden_address_spoils_a_name() -> None:
    """A name that also answers a private address is refused as a whole."""
    resolver = FakeResolver(["93.184.215.14", "10.0.0.7"])
    with pytest.raises(Permanent, match=r"10\.0\.0\.7"):
        await read(HttpSource(rules("rebind.example", private=False), resolver), "http://rebind.example/")


async def test_a_rebinding_name_gains_nothing(serve: Serve) -> None:
    """A name whose later answers lead elsewhere is asked once, and that very answer is used."""
    port = await serve(_ok(b"first"))
    resolver = FakeResolver(["127.0.0.1"], ["169.254.169.254"])
    uri = f"http://rebind.example:{port}/"
    assert await read(HttpSource(rules(f"rebind.example:{port}"), resolver), uri) == b"first"
    assert resolver.asked == 1
    with pytest.raises(Permanent, match="metadata"):
        await read(HttpSource(rules(f"rebind.example:{port}"), resolver), uri)


async def test_redirects_are_followed_when_every_hop_passes(serve: Serve) -> None:
    """Relative and absolute targets, to another listed host."""

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/a":
            raise web.HTTPFound("b?x=1")
        if request.path == "/b":
            assert request.query_string == "x=1"
            raise web.HTTPTemporaryRedirect(f"http://localhost:{port}/c")
        return web.Response(body=b"there" if request.path == "/c" else b"?")

    port = await serve(answer)
    source = HttpSource(rules(f"127.0.0.1:{port}", f"localhost:{port}"))
    assert await read(source, f"http://127.0.0.1:{port}/a") == b"there"


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("http://evil.example/", "host evil.example"),
        ("//evil.example/", "host evil.example"),
        ("http://127.0.0.1:1/", "port 1"),
        ("http://169.254.169.254/latest/meta-data/", "169.254.169.254 is a metadata service"),
        ("http://[::ffff:169.254.169.254]/", "malformed|metadata|not among"),
        ("http://user@127.0.0.1/", "user name"),
        ("file:///etc/passwd", "file: is not among"),
        ("s3://uploads/a", "s3"),
        ("\\\\evil.example/", "backslash"),
        ("http://[", "malformed"),
    ],
)
async def test_a_redirect_is_checked_like_the_first_hop(serve: Serve, location: str, why: str) -> None:
    """A listed host cannot send the fetch to a place that is not."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": location})

    port = await serve(answer)
    allowed = Rules.of(
        schemes=["http", "s3"],
        hosts=[f"127.0.0.1:{port}", "169.254.169.254"],
        buckets=["uploads"],
        private_addresses=True,
    )
    with pytest.raises(Permanent, match=f"redirected.*({why})") as caught:
        await read(HttpSource(allowed), f"http://127.0.0.1:{port}/")
    assert caught.value.reason is Reason.SOURCE_FORBIDDEN


async def test_a_redirect_to_a_name_with_a_private_address_is_refused(serve: Serve) -> None:
    """The address behind the second name is checked too, not only its spelling."""
    port = await serve(_redirect("http://inside.example/"))
    resolver = FakeResolver(["127.0.0.1"], ["169.254.169.254"])
    source = HttpSource(rules(f"outside.example:{port}", "inside.example"), resolver)
    with pytest.raises(Permanent, match="metadata"):
        await read(source, f"http://outside.example:{port}/")


async def test_https_is_never_left_for_http() -> None:
    """A downgrade would let anyone on the way choose the bytes."""
    source = HttpSource(rules("h.example"))
    hop = type("Hop", (), {"scheme": "https", "url": "https://h.example:443/a"})()
    response = type("Response", (), {"status": 302, "headers": {"Location": "http://h.example/b"}})()
    with pytest.raises(Permanent, match="from https to http"):
        source._next(hop, response)


async def test_endless_redirects_end(serve: Serve) -> None:
    """After the limit, and not as something to try again."""
    hits = []

    async def answer(request: web.Request) -> web.Response:
        hits.append(request.path)
        raise web.HTTPFound("/again")

    port = await serve(answer)
    with pytest.raises(Permanent, match="more than 3 times"):
        await read(HttpSource(rules(f"127.0.0.1:{port}")), f"http://127.0.0.1:{port}/")
    assert len(hits) == LIMITS.max_redirects + 1


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (400, Permanent, Reason.SOURCE_DENIED),
        (401, Permanent, Reason.SOURCE_DENIED),
        (403, Permanent, Reason.SOURCE_DENIED),
        (404, Permanent, Reason.SOURCE_NOT_FOUND),
        (410, Permanent, Reason.SOURCE_NOT_FOUND),
        (451, Permanent, Reason.SOURCE_DENIED),
        (202, Transient, Reason.SOURCE_UNAVAILABLE),
        (204, Transient, Reason.SOURCE_UNAVAILABLE),
        (304, Transient, Reason.SOURCE_UNAVAILABLE),
        (302, Transient, Reason.SOURCE_UNAVAILABLE),
        (408, Transient, Reason.SOURCE_UNAVAILABLE),
        (425, Transient, Reason.SOURCE_UNAVAILABLE),
        (429, Transient, Reason.SOURCE_UNAVAILABLE),
        (500, Transient, Reason.SOURCE_UNAVAILABLE),
        (503, Transient, Reason.SOURCE_UNAVAILABLE),
    ],
)
async def test_what_a_status_means(
    serve: Serve, status: int, kind: type[Permanent | Transient], reason: Reason
) -> None:
    """Gone and denied are for good; trouble and haste are for later."""
    port = await serve(_status(status))
    with pytest.raises(kind) as caught:
        await read(HttpSource(rules(f"127.0.0.1:{port}")), f"http://127.0.0.1:{port}/")
    assert caught.value.reason is reason
    assert str(status) in caught.value.detail


async def test_the_servers_wish_is_passed_on(serve: Serve) -> None:
    """Retry-After becomes `retry_after`."""
    port = await serve(_status(503, {"Retry-After": "17"}))
    with pytest.raises(Transient) as caught:
        await read(HttpSource(rules(f"127.0.0.1:{port}")), f"http://127.0.0.1:{port}/")
    assert caught.value.retry_after == 17


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("Wed, 01 Jul 2026 12:01:00 GMT", 60.0),
        ("Wed, 01 Jul 2026 11:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("nan", None),
        ("9" * 400, None),
        ("٣", None),
    ],
)
def test_retry_after_in_all_its_forms(header: str, seconds: float | None) -> None:
    """A number or a date; anything else is no wish."""
    assert _seconds(header, datetime(2026, 7, 1, 12, 0, tzinfo=UTC)) == seconds


async def test_a_body_that_ends_early_may_be_whole_next_time(wire: Callable[[Wire], Awaitable[int]]) -> None:
    """Fewer bytes than Content-Length are never taken for the upload."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        writer.close()

    port = await wire(talk)
    with pytest.raises(Transient) as caught:
        await read(HttpSource(rules(f"127.0.0.1:{port}")), f"http://127.0.0.1:{port}/")
    assert caught.value.reason is Reason.SOURCE_UNAVAILABLE


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"no http at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: minus\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    ],
)
async def test_broken_http_is_trouble_of_the_source(wire: Callable[[Wire], Awaitable[int]], answer: bytes) -> None:
    """Whatever the server writes, the error is typed."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            writer.write(answer)
            await writer.drain()
        writer.close()

    port = await wire(talk)
    with pytest.raises(Transient) as caught:
        await read(HttpSource(rules(f"127.0.0.1:{port}")), f"http://127.0.0.1:{port}/")
    assert caught.value.reason is Reason.SOURCE_UNAVAILABLE


async def test_a_server_that_hangs_is_too_slow(wire: Callable[[Wire], Awaitable[int]]) -> None:
    """Silence for longer than the idle limit is a Transient of its own reason."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    port = await wire(talk)
    with pytest.raises(Transient) as caught:
        await read(
            HttpSource(rules(f"127.0.0.1:{port}")),
            f"http://127.0.0.1:{port}/",
            FetchLimits(max_bytes=10, max_seconds=5, idle_seconds=0.1),
        )
    assert caught.value.reason is Reason.SOURCE_TOO_SLOW


async def test_nobody_listening_is_trouble_for_later() -> None:
    """A refused connection is a Transient."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(Transient) as caught:
            await read(HttpSource(rules(f"127.0.0.1:{port}")), f"http://127.0.0.1:{port}/")
    assert caught.value.reason is Reason.SOURCE_UNAVAILABLE


async def test_compressed_answers_are_refused(serve: Serve) -> None:
    """The bytes asked for are the upload's own; an encoding that was not asked for is not undone."""
    port = await serve(_ok(gzip.compress(b"x" * 100), {"Content-Encoding": "gzip"}))
    with pytest.raises(Permanent, match="compressing") as caught:
        await read(HttpSource(rules(f"127.0.0.1:{port}")), f"http://127.0.0.1:{port}/")
    assert caught.value.reason is Reason.MEDIA_UNSUPPORTED


def _ok(body: bytes, headers: dict[str, str] | None = None) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, headers=headers)

    return answer


def _status(status: int, headers: dict[str, str] | None = None) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, headers=headers)

    return answer


def _redirect(location: str) -> Answer:
    return _status(302, {"Location": location})
