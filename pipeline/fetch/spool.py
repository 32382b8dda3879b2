"""Bytes from any source into a private file, measured and hashed on the way.

Local files are copied too: what is judged must be what was hashed, and a file that somebody else owns may change
between the two. A wrong size claim alone is not an error (`Media.size` says what arrived); a wrong digest is.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import re
import secrets
import threading
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline.errors import Permanent, Reason, Stage, Transient
from pipeline.fetch.guard import shown
from pipeline.fetch.port import FetchLimits, Media, Opened, Source

_INLINE = 256 * 1024  # bytes hashed and written on the event loop, well under a millisecond; more goes to a thread
_BLOCK = 1024 * 1024
_LARGE = 64 * 1024**2  # removing a file of this size may take long enough to need a thread

_NAME = re.compile(r"(?P<pid>[0-9]+)-(?P<run>[0-9a-f]{8})-[0-9]+\.spool")
_RUN = secrets.token_hex(4)  # tells this process from an earlier one with the same pid, as in a restarted container
_numbers = itertools.count()


class Spool:
    """The `Fetch` of the pipeline. Use as `async with` to close the sources' connections at the end."""

    def __init__(self, sources: Iterable[Source], limits: FetchLimits, directory: Path) -> None:
        """`directory` exists and belongs to this machine's Unmask processes alone."""
        self._sources = {scheme: source for source in sources for scheme in source.schemes}
        self._limits = limits
        self._directory = directory

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the sources."""
        for source in {id(source): source for source in self._sources.values()}.values():
            await source.close()

    @asynccontextmanager
    async def __call__(self, uri: str, *, sha256: str | None = None, size: int | None = None) -> AsyncIterator[Media]:
        """Spool the upload; the file is removed when the block ends, however it ends.

        Raises:
            Permanent: it may not, cannot or need not be read: see the reasons that begin with `source_`, or its digest
                is not `sha256`.
            Transient: the source is slow or away, or the spool's disk is full.
        """
        if size is not None:
            self._check_size(size, "is said to have")
        source = self._sources.get(uri.partition(":")[0].lower())
        if source is None:
            raise Permanent(
                Stage.FETCH, Reason.SOURCE_FORBIDDEN, "the URI's scheme is not among those that may be read"
            )
        path = self._directory / f"{os.getpid()}-{_RUN}-{next(_numbers)}.spool"
        try:
            file = _SpoolFile(path)
        except OSError as error:
            raise _no_room(error) from error
        try:
            content_type = await self._fill(file, source, uri)
            digest = file.finish()
            if sha256 is not None and digest != sha256.lower():
                raise Permanent(
                    Stage.FETCH, Reason.DIGEST_MISMATCH, f"{shown(uri)} has {digest}, the event says {sha256}"
                )
            yield Media(path, file.size, digest, uri, content_type)
        finally:
            await file.remove()

    async def _fill(self, file: _SpoolFile, source: Source, uri: str) -> str | None:
        """Write what the source sends; returns its content type. One timer serves both limits of time."""
        clock = asyncio.get_running_loop().time
        end = clock() + self._limits.max_seconds
        try:
            async with asyncio.timeout_at(min(end, clock() + self._limits.idle_seconds)) as timer:
                async with source.open(uri, self._limits) as opened:
                    await self._copy(opened, file, timer, end)
                    return opened.content_type
        except TimeoutError:
            why = "took too long" if clock() >= end else f"sent nothing for {self._limits.idle_seconds:g} s"
            raise Transient(Stage.FETCH, Reason.SOURCE_TOO_SLOW, f"{shown(uri)} {why}") from None

    async def _copy(self, opened: Opened, file: _SpoolFile, timer: asyncio.Timeout, end: float) -> None:
        clock = asyncio.get_running_loop().time
        if opened.size is not None:
            self._check_size(opened.size, "has")
        waiting: list[bytes | memoryview] = []
        gathered = 0
        try:
            async for chunk in opened.chunks:
                timer.reschedule(min(end, clock() + self._limits.idle_seconds))
                waiting.append(chunk)
                gathered += len(chunk)
                self._check_size(file.size + gathered, "has at least")
                if gathered >= _BLOCK:
                    await file.append(waiting)
                    waiting, gathered = [], 0
            await file.append(waiting)
        except _WriteError as error:
            raise _no_room(error.cause) from error.cause

    def _check_size(self, size: int, says: str) -> None:
        if size > self._limits.max_bytes:
            raise Permanent(
                Stage.FETCH,
                Reason.SOURCE_TOO_LARGE,
                f"the upload {says} {size} bytes; the limit is {self._limits.max_bytes}",
            )


def sweep(directory: Path) -> int:
    """Remove what processes that died left in the spool; returns how many files. Files of living ones stay."""
    removed = 0
    for path in directory.glob("*.spool"):
        match = _NAME.fullmatch(path.name)
        if match is not None and _is_dead(int(match["pid"]), match["run"]):
            path.unlink(missing_ok=True)
            removed += 1
    return removed


def _is_dead(pid: int, run: str) -> bool:
    if pid == os.getpid():
        return run != _RUN
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        return False
    return pid == 0  # which asked about our own group; no process has it


class _WriteError(Exception):
    """The spool could not take the bytes. Apart from OSError, for sources map that to trouble of their own."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class _SpoolFile:
    """The file of one fetch.

    A cancelled fetch leaves its last block to a thread; the lock keeps the file open until that block is written.
    """

    def __init__(self, path: Path) -> None:
        self.size = 0
        self._path = path
        self._hash = hashlib.sha256()
        self._lock = threading.Lock()
        self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")

    async def append(self, chunks: list[bytes | memoryview]) -> None:
        """Hash and write; small amounts right here, for a thread costs more than they do."""
        size = sum(map(len, chunks))
        if size <= _INLINE:
            self._write(chunks)
        else:
            await asyncio.to_thread(self._write, chunks)
        self.size += size

    def finish(self) -> str:
        """Close it; the SHA-256 of all that was written."""
        try:
            self._file.close()
        except OSError as error:
            raise _no_room(error) from error
        return self._hash.hexdigest()

    async def remove(self) -> None:
        """Remove the file, whatever was going on."""
        if self.size < _LARGE:
            self._discard()
        else:
            await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, self._discard))

    def _write(self, chunks: list[bytes | memoryview]) -> None:
        with self._lock:
            if self._file.closed:
                return
            try:
                for chunk in chunks:
                    self._hash.update(chunk)
                    self._file.write(chunk)
            except OSError as error:
                raise _WriteError(error) from error

    def _discard(self) -> None:
        with self._lock:
            with suppress(OSError):
                self._file.close()
            self._path.unlink(missing_ok=True)


def _no_room(error: OSError) -> Transient:
    return Transient(Stage.FETCH, Reason.INTERNAL, f"the spool cannot be written: {error.strerror}")
