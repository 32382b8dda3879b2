"""Statements as files: one per batch, as the body of a call.

A file is named after its batch and appears whole or not at all. A batch is the same after a restart, so a repeat writes
the same file again.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from pipeline.statements.answers import Verdict
from pipeline.statements.rows import Entry


class Folder:
    """Where batches are put for somebody else to send."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def deliver(self, batch: str, entries: Sequence[Entry]) -> AsyncIterator[Verdict]:
        """Write a batch to disk; all of it is sent once the file is there."""
        path = self._path / f"statements-{batch}.json"
        body = b'{"statements":[\n' + b",\n".join(entry.body.encode() for entry in entries) + b"\n]}\n"
        _write(path, body)
        yield Verdict(sent={entry.puid: path.name for entry in entries})


def _write(path: Path, content: bytes) -> None:
    """Whole and on disk before the name is there: what is marked as sent must survive a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(part).replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
