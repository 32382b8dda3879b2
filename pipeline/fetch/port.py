"""What fetching yields: a file on local disk, with its true size and digest."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Media:
    """The bytes of one upload, spooled. `path` is gone once the context that yielded it ends.

    `size` in bytes, `sha256` lower-case hexadecimal, both of what really arrived.
    `content_type` is what the source said (None for files), never trusted by the decoder.
    """

    path: Path
    size: int
    sha256: str
    uri: str
    content_type: str | None = None


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """Bounds of one fetch: bytes in all, seconds in all, seconds without a byte, redirects followed."""

    max_bytes: int
    max_seconds: float
    idle_seconds: float = 10.0
    max_redirects: int = 5


@dataclass(frozen=True, slots=True)
class Opened:
    """A source's answer. `size` and `content_type` are what the source says, None when it does not."""

    chunks: AsyncIterator[bytes | memoryview]
    size: int | None = None
    content_type: str | None = None


class Source(Protocol):
    """One way to read bytes. Raises `Permanent` or `Transient` with stage `fetch`; checks every hop by the guard."""

    schemes: frozenset[str]

    def open(self, uri: str, limits: FetchLimits) -> AbstractAsyncContextManager[Opened]:
        """What lies at `uri`, readable for the length of a `with` block. Errors of reading come out of the block."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Fetch(Protocol):
    """What `screen` needs: bytes on disk for the length of a `with` block."""

    def __call__(
        self, uri: str, *, sha256: str | None = None, size: int | None = None
    ) -> AbstractAsyncContextManager[Media]:
        """Spool the upload; compare with the digest that the event gave, if it gave one."""
        ...
