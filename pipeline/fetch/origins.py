"""A circuit breaker per origin: a host or bucket that is down is left alone, and no other upload suffers for it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

from pipeline.breaker import Breaker, State
from pipeline.fetch.port import Fetch, Media

_MOST_ORIGINS = 1000
"""Strangers' events name the hosts, so the number of breakers is bounded; the least recently used one goes."""


class PerOrigin:
    """The `Fetch` port over another one.

    Args:
        fetch: what really fetches.
        breaker: makes the breaker of a new origin.
    """

    def __init__(self, fetch: Fetch, breaker: Callable[[str], Breaker]) -> None:
        self._fetch = fetch
        self._make = breaker
        self._breakers: OrderedDict[str, Breaker] = OrderedDict()

    @asynccontextmanager
    async def __call__(self, uri: str, *, sha256: str | None = None, size: int | None = None) -> AsyncIterator[Media]:
        """The upload's bytes on disk. Raises `Unavailable` at once while its origin is left alone."""
        async with AsyncExitStack() as spool:
            spooled = self._fetch(uri, sha256=sha256, size=size)
            yield await self._breaker(origin(uri)).call(lambda: spool.enter_async_context(spooled))

    @property
    def worst(self) -> State:
        """The state of the origin that is worst off."""
        states = {breaker.state for breaker in self._breakers.values()}
        return next((state for state in (State.OPEN, State.HALF_OPEN) if state in states), State.CLOSED)

    def _breaker(self, name: str) -> Breaker:
        breaker = self._breakers.setdefault(name, self._make(name))
        self._breakers.move_to_end(name)
        if len(self._breakers) > _MOST_ORIGINS:
            self._breakers.popitem(last=False)
        return breaker


def origin(uri: str) -> str:
    """`scheme://host-or-bucket`; whatever cannot be read as a URI shares one origin (the guard refuses it anyway)."""
    try:
        parts = urlsplit(uri)
        return f"{parts.scheme.lower()}://{(parts.hostname or '').lower()}"
    except ValueError:
        return "://"
