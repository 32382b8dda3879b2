"""file: sources, inside the folders that the rules name."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

from pipeline.errors import Permanent, Reason, Stage, Transient
from pipeline.fetch.guard import Rules, check_path, check_uri
from pipeline.fetch.port import FetchLimits, Opened

_BLOCK = 1024 * 1024
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC  # O_PATH: searchable is enough
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # non-blocking, for a FIFO would hang the opening

_MISSING = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})
_REFUSED = frozenset({errno.EACCES, errno.EPERM})


class FileSource:
    """Reads regular files below the allowed roots. Symbolic links may be followed, but not out of a root."""

    schemes = frozenset({"file"})

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    @asynccontextmanager
    async def open(self, uri: str, limits: FetchLimits) -> AsyncIterator[Opened]:  # noqa: ARG002
        """Blocking calls run in a thread; a small file costs one hop."""
        path = check_uri(uri, self._rules).path
        try:
            file, first = await asyncio.to_thread(_open, path, self._rules)
            with file:
                async with aclosing(_chunks(file, first)) as chunks:
                    yield Opened(chunks, os.fstat(file.fileno()).st_size)
        except OSError as error:
            raise _mapped(error) from error

    async def close(self) -> None:
        """Nothing is kept open."""


def _open(path: str, rules: Rules) -> tuple[io.FileIO, bytes]:
    """Open without following a link from the root on, so that no link can be slipped in between check and use."""
    real = Path(os.path.realpath(path))
    root = check_path(real, rules)
    *folders, name = real.relative_to(root).parts
    folder = os.open(root, _FOLDER)
    try:
        for part in folders:
            below = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = below
        handle = os.open(name, _FILE | os.O_NOFOLLOW, dir_fd=folder)
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise Permanent(Stage.FETCH, Reason.SOURCE_FORBIDDEN, "not a regular file")
    file = io.FileIO(handle)
    return file, file.read(_BLOCK) or b""


async def _chunks(file: io.FileIO, block: bytes) -> AsyncGenerator[bytes | memoryview, None]:
    before = os.fstat(file.fileno())
    read = 0
    while block:
        read += len(block)
        yield block
        block = await asyncio.to_thread(file.read, _BLOCK) or b"" if len(block) == _BLOCK else b""
    after = os.fstat(file.fileno())
    if not read == before.st_size == after.st_size or before.st_mtime_ns != after.st_mtime_ns:
        raise Transient(Stage.FETCH, Reason.SOURCE_UNAVAILABLE, "the file changed while it was read")


def _mapped(error: OSError) -> Permanent | Transient:
    detail = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in _MISSING:
        return Permanent(Stage.FETCH, Reason.SOURCE_NOT_FOUND, detail)
    if error.errno in _REFUSED:
        return Permanent(Stage.FETCH, Reason.SOURCE_DENIED, detail)
    if error.errno == errno.ELOOP:
        return Permanent(Stage.FETCH, Reason.SOURCE_FORBIDDEN, detail)
    return Transient(Stage.FETCH, Reason.SOURCE_UNAVAILABLE, detail)
