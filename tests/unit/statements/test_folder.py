"""Statements as files."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from pipeline.statements.folder import Folder
from pipeline.statements.rows import Entry, StatementState

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def entry(puid: str) -> Entry:
    return Entry(puid, "m", 1, StatementState.QUEUED, NOW, json.dumps({"puid": puid}), "[]")


async def test_a_batch_is_a_file_and_a_repeat_the_same_file(tmp_path: Path) -> None:
    """Its name follows from the batch, its content from the statements; no part files are left."""
    folder = Folder(tmp_path / "deep")
    for _ in range(2):
        (verdict,) = [each async for each in folder.deliver("b-1", [entry("a"), entry("b")])]
        assert verdict.sent == {"a": "statements-b-1.json", "b": "statements-b-1.json"}
        (path,) = (tmp_path / "deep").iterdir()
        assert json.loads(path.read_bytes()) == {"statements": [{"puid": "a"}, {"puid": "b"}]}
