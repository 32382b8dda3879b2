"""Statements over HTTP. The only door to it for reports.

A call that got no answer may have been taken all the same: it is repeated as it was, and the endpoint then names the
statements that it has. Redirects are not followed: the token is for one address.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from types import TracebackType

import aiohttp
import stamina
from yarl import URL

from pipeline.errors import ConfigError, UnmaskError
from pipeline.statements.answers import Verdict, read, try_later
from pipeline.statements.rows import Entry

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class EndpointAway(UnmaskError):
    """The endpoint does not answer, or cannot take statements now. `retry_after`: seconds that it asks for."""

    def __init__(self, detail: str, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: for one call; for a call with its repeats; and the first and the longest wait between them."""

    call: float = 60.0
    within: float = 300.0
    first: float = 0.5
    longest: float = 30.0


class Endpoint:
    """An address that takes statements as the DSA Transparency Database does. Use it as an async context manager."""

    def __init__(self, url: str, token: str | None, patience: Patience = Patience()) -> None:
        """Raises ConfigError when the token would travel in the clear, or the address names a user."""
        address = URL(url)
        if address.scheme not in ("http", "https") or not address.host or address.user:
            raise ConfigError("an endpoint is https://host/path, without a user")
        if address.scheme == "http" and address.host not in _LOOPBACK:
            raise ConfigError("statements and the token are only sent over https")
        self._url = address
        self._token = token
        self._patience = patience
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Endpoint:
        headers = {"Accept": "application/json", "Content-Type": "application/json", "User-Agent": "unmask"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        timeout = aiohttp.ClientTimeout(total=self._patience.call)
        self._session = aiohttp.ClientSession(headers=headers, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def deliver(self, batch: str, entries: Sequence[Entry]) -> AsyncIterator[Verdict]:  # noqa: ARG002
        """Send a batch, and after each call what came of it.

        Raises:
            EndpointAway: it did not answer for as long as is waited.
            ConfigError: it will never take what is sent like this.
        """
        waiting = [tuple(entries)]
        while waiting:
            part = waiting.pop()
            verdict = await self._call(part)
            yield verdict
            if verdict.halve:
                middle = len(part) // 2
                waiting += [part[middle:], part[:middle]]
            elif verdict.again:
                waiting.append(tuple(entry for entry in part if entry.puid in verdict.again))

    async def _call(self, entries: Sequence[Entry]) -> Verdict:
        body = b'{"statements":[' + b",".join(entry.body.encode() for entry in entries) + b"]}"
        patience = self._patience
        retries = stamina.retry_context(
            on=self._again,
            attempts=None,
            timeout=patience.within,
            wait_initial=patience.first,
            wait_max=patience.longest,
            wait_jitter=patience.first,
        )
        async for attempt in retries:
            with attempt:
                status, answer = await self._post(body)
        return read(status, answer, [entry.puid for entry in entries])

    def _again(self, error: Exception) -> bool | float:
        """Whether to try again, and when, if the endpoint said so; not when it wants more time than there is."""
        if not isinstance(error, EndpointAway):
            return False
        wish = error.retry_after
        return True if wish is None else wish if wish <= self._patience.within else False

    async def _post(self, body: bytes) -> tuple[int, bytes]:
        assert self._session is not None, "enter the endpoint first"
        try:
            async with self._session.post(self._url, data=body, allow_redirects=False) as response:
                if try_later(response.status):
                    wish = response.headers.get("Retry-After", "")
                    after = float(wish) if wish.isascii() and wish.isdigit() and len(wish) <= 6 else None
                    raise EndpointAway(f"{self._url.host} answered {response.status}", after)
                return response.status, await response.read()
        except TimeoutError as error:
            raise EndpointAway(f"{self._url.host} did not answer within {self._patience.call:g} s") from error
        except aiohttp.ClientError as error:
            raise EndpointAway(f"{self._url.host}: {type(error).__name__}: {error}") from error
