"""What every answer of the console carries and every request has to pass: headers, CSRF, rate limits.

Sources: OWASP Secure Headers and CSRF cheat sheets; CSP level 3. Media comes from strangers: it is served with a
sandbox of its own (`MEDIA_HEADERS`), so that a file that is a page cannot act as one.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import ip_network

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from pipeline.errors import ConfigError

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "font-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
MEDIA_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Content-Disposition": "inline",
    "Cache-Control": "private, no-store",
}
"""For bytes that an uploader sent."""

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class SmallBodies:
    """Refuses bodies that are larger than anything the console takes: they are read before anybody is asked who sends
    them."""

    def __init__(self, app: ASGIApp, most: int = 1_000_000) -> None:
        self._app, self._most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        said = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not said.isdigit() or len(said) > 18 or int(said) > self._most:
            await _TOO_LARGE(scope, receive, send)
            return
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._most:  # it came in chunks, and did not say how many
                raise HTTPException(413, "The request is too large.")
            return message

        await self._app(scope, counted, send)


_TOO_LARGE = JSONResponse({"detail": "The request is too large."}, 413)


class SecureHeaders:
    """Adds `HEADERS` to every response that does not say otherwise itself."""

    def __init__(self, app: ASGIApp, https: bool) -> None:
        self._app = app
        self._headers = HEADERS | ({"Strict-Transport-Security": "max-age=63072000"} if https else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers)


class BehindProxies:
    """Takes the address of who asks from `X-Forwarded-For`, where a proxy that is trusted has said it: the rightmost
    address that is not such a proxy's. What anybody else says in that header is not heard."""

    def __init__(self, app: ASGIApp, proxies: tuple[str, ...]) -> None:
        self._app = ProxyHeadersMiddleware(app, list(proxies)) if proxies else app  # type: ignore[arg-type]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        await self._app(scope, receive, send)  # type: ignore[arg-type]


def check_proxies(proxies: Iterable[str]) -> tuple[str, ...]:
    """Raises ConfigError for what is no address or network, and for one that holds every address: then whoever asks
    could say who they are."""
    found = []
    for each in proxies:
        try:
            network = ip_network(each)
        except ValueError as error:
            raise ConfigError(f"UNMASK_CONSOLE_TRUSTED_PROXIES: {error}") from None
        if network.prefixlen == 0:
            raise ConfigError(f"UNMASK_CONSOLE_TRUSTED_PROXIES: {each} is everybody")
        found.append(str(network))
    return tuple(found)


def from_elsewhere(headers: Mapping[str, str]) -> bool:
    """Whether a browser says that a page of another site sends this form. (`Origin` says nothing here: it is `null`
    under `Referrer-Policy: no-referrer`.) Source: Fetch Metadata Request Headers, W3C."""
    return headers.get("sec-fetch-site", "none") not in ("same-origin", "none")


def csrf_token(session_id: str, secret: bytes) -> str:
    """What a page has to send back with whatever it changes: tied to its session, known to nobody else."""
    return hmac.new(secret, b"csrf" + session_id.encode(), sha256).hexdigest()


def csrf_holds(token: str, session_id: str, secret: bytes) -> bool:
    """Whether it is this session's."""
    return hmac.compare_digest(token.encode(), csrf_token(session_id, secret).encode())


@dataclass
class RateLimit:
    """A token bucket per key: `burst` at once, `per_second` after that. Kept in memory, per process.

    `clock`: seconds that only grow.
    """

    burst: int
    per_second: float
    clock: Callable[[], float] = time.monotonic
    most_keys: int = 100_000
    _left: dict[str, tuple[float, float]] = field(default_factory=dict)

    def takes(self, key: str) -> bool:
        """Whether one more is allowed now."""
        now = self.clock()
        left, then = self._left.get(key, (float(self.burst), now))
        left = min(float(self.burst), left + (now - then) * self.per_second)
        if len(self._left) >= self.most_keys:
            self._forget(now)
        allowed = left >= 1.0
        self._left[key] = (left - 1.0 if allowed else left, now)
        return allowed

    def _forget(self, now: float) -> None:
        full = self.burst / self.per_second
        self._left = {key: value for key, value in self._left.items() if now - value[1] < full}


@dataclass
class Told:
    """What was told lately, so that it is not told again. In memory, per process; the oldest is forgotten first."""

    most: int = 50_000
    _keys: dict[str, None] = field(default_factory=dict)

    def is_new(self, key: str) -> bool:
        """Whether it was not told lately."""
        return key not in self._keys

    def add(self, key: str) -> None:
        """It has been told."""
        while len(self._keys) >= self.most:
            del self._keys[next(iter(self._keys))]
        self._keys[key] = None


@dataclass(frozen=True, slots=True)
class Signer:
    """Short-lived links to media: whoever has one may read one thing, as one person, until it ends."""

    secret: bytes

    def sign(self, claims: Mapping[str, str], until: float) -> str:
        """A token: `expiry.signature`, to be used with exactly these claims. `until`: seconds of Unix time."""
        expiry = str(int(until))
        return f"{expiry}.{self._signature(claims, expiry)}"

    def holds(self, token: str, claims: Mapping[str, str], now: float) -> bool:
        """Whether it was signed for these claims and has not ended."""
        expiry, _, signature = token.partition(".")
        if not expiry.isdecimal() or len(expiry) > 12 or now >= int(expiry):
            return False
        return hmac.compare_digest(signature.encode(), self._signature(claims, expiry).encode())

    def _signature(self, claims: Mapping[str, str], expiry: str) -> str:
        words = "\n".join(f"{name}={claims[name]}" for name in sorted(claims))
        return hmac.new(self.secret, f"media\n{expiry}\n{words}".encode(), sha256).hexdigest()
