"""http(s) sources. The only door to an HTTP client.

The addresses of a name are checked after it was resolved, and the client connects to those very addresses: a name
that changes its answer between check and use gains nothing. Redirects are followed here, and every hop is checked
like the first. Nothing is sent along: no cookies, no credentials, no proxy from the environment.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from pipeline.errors import Permanent, Reason, Stage, Transient
from pipeline.fetch.guard import WEB_PORTS, ParsedUri, Rules, check_address, check_uri
from pipeline.fetch.port import FetchLimits, Opened

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_GONE = frozenset({404, 410})
_TRY_LATER = frozenset({408, 425, 429})
_READ_BUFFER = 256 * 1024


class CheckedResolver(AbstractResolver):
    """Resolves names and refuses those with a forbidden address, even if others of their addresses are allowed."""

    def __init__(self, rules: Rules, inner: AbstractResolver) -> None:
        self._rules = rules
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of `host`; Permanent(SOURCE_FORBIDDEN) if one may not be connected to."""
        found = await self._inner.resolve(host, port, family)
        for result in found:
            check_address(result["host"], self._rules)
        return found

    async def close(self) -> None:
        """Close the resolver that is asked."""
        await self._inner.close()


class HttpSource:
    """Reads http(s) URLs that the rules allow. Belongs to the event loop in which it is first used."""

    schemes = frozenset(WEB_PORTS)

    def __init__(self, rules: Rules, resolver: AbstractResolver | None = None) -> None:
        """`resolver` answers instead of the system's."""
        self._rules = rules
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def open(self, uri: str, limits: FetchLimits) -> AsyncIterator[Opened]:
        """Follow redirects to the bytes. Only what a 200 carries is media."""
        hop = check_uri(uri, self._rules)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=limits.idle_seconds, sock_read=limits.idle_seconds)
        try:
            for _ in range(limits.max_redirects + 1):
                async with self._client().get(
                    URL(hop.url, encoded=True), allow_redirects=False, timeout=timeout
                ) as response:
                    if response.status not in _REDIRECTS:
                        _check_answer(response)
                        async with aclosing(_chunks(response)) as chunks:
                            yield Opened(chunks, response.content_length, response.headers.get("Content-Type"))
                        return
                    hop = self._next(hop, response)
        except TimeoutError as error:
            raise Transient(Stage.FETCH, Reason.SOURCE_TOO_SLOW, "the server let the connection idle") from error
        except aiohttp.InvalidURL as error:
            raise Permanent(Stage.FETCH, Reason.SOURCE_FORBIDDEN, "the URL is malformed") from error
        except aiohttp.ClientError as error:
            raise Transient(Stage.FETCH, Reason.SOURCE_UNAVAILABLE, f"{type(error).__name__}: {error}") from error
        raise Permanent(
            Stage.FETCH, Reason.SOURCE_FORBIDDEN, f"the server redirected more than {limits.max_redirects} times"
        )

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    resolver=CheckedResolver(self._rules, self._resolver or ThreadedResolver()), limit=0
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
                headers={"Accept-Encoding": "identity", "User-Agent": "unmask"},
                read_bufsize=_READ_BUFFER,
            )
        return self._session

    def _next(self, hop: ParsedUri, response: aiohttp.ClientResponse) -> ParsedUri:
        location = response.headers.get("Location")
        if location is None:
            raise _unavailable(f"a {response.status} without a Location", response)
        try:
            target = check_uri(urljoin(hop.url, location), self._rules)
        except ValueError:
            raise Permanent(Stage.FETCH, Reason.SOURCE_FORBIDDEN, "redirected to a malformed URL") from None
        except Permanent as refused:
            raise Permanent(Stage.FETCH, refused.reason, f"redirected: {refused.detail}") from None
        if target.scheme not in WEB_PORTS:
            raise Permanent(Stage.FETCH, Reason.SOURCE_FORBIDDEN, f"redirected to {target.scheme}:")
        if hop.scheme == "https" and target.scheme != "https":
            raise Permanent(Stage.FETCH, Reason.SOURCE_FORBIDDEN, "redirected from https to http")
        return target


async def _chunks(response: aiohttp.ClientResponse) -> AsyncGenerator[bytes | memoryview, None]:
    async for chunk in response.content.iter_any():
        yield chunk


def _check_answer(response: aiohttp.ClientResponse) -> None:
    status = response.status
    if status in _GONE:
        raise Permanent(Stage.FETCH, Reason.SOURCE_NOT_FOUND, f"the server answered {status}")
    if status in _TRY_LATER or status >= 500:
        raise _unavailable(f"the server answered {status}", response)
    if status >= 400:
        raise Permanent(Stage.FETCH, Reason.SOURCE_DENIED, f"the server answered {status}")
    if status != 200:
        raise _unavailable(f"the server answered {status}", response)
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        raise Permanent(Stage.FETCH, Reason.MEDIA_UNSUPPORTED, "the server insists on compressing what it sends")


def _unavailable(detail: str, response: aiohttp.ClientResponse) -> Transient:
    wish = _seconds(response.headers.get("Retry-After", ""), datetime.now(UTC))
    return Transient(Stage.FETCH, Reason.SOURCE_UNAVAILABLE, detail, retry_after=wish)


def _seconds(retry_after: str, now: datetime) -> float | None:
    """Seconds that a Retry-After header (a number or a date) asks for."""
    if retry_after.isascii() and retry_after.isdigit() and len(retry_after) <= 9:
        return float(retry_after)
    try:
        moment = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())
