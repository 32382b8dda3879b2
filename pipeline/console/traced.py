"""A span for each request of the console, where tracing is on (`pipeline.trace`).

Its name is the route's, never the address: that may hold a signed token. Only a platform's own tool, which brings a
bearer token, says what trace its request belongs to; a browser's begins one.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.trace import Tracing

_UNTOLD = ("/static/", "/livez", "/readyz", "/api/v1/events")
"""Files, probes, and a stream that lasts as long as somebody looks at it."""


class TracedRequests:
    """Begins and ends the spans."""

    def __init__(self, app: ASGIApp, traced: Tracing) -> None:
        self._app, self._traced = app, traced

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http" or scope["path"].startswith(_UNTOLD):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        theirs = headers.get("traceparent") if headers.get("authorization") else None
        with self._traced.serving(scope["method"], theirs) as answered:

            async def told(message: Message) -> None:
                if message["type"] == "http.response.start":
                    answered(getattr(scope.get("route"), "path", "unknown"), message["status"])
                await send(message)

            await self._app(scope, receive, told)
