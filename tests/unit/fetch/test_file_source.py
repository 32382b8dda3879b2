"""Reading files below allowed folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.errors import Permanent, Reason, Transient
from pipeline.fetch import files
from pipeline.fetch.files import FileSource
from pipeline.fetch.guard import Rules
from pipeline.fetch.port import FetchLimits

LIMITS = FetchLimits(max_bytes=10**9, max_seconds=5)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


async def read(path: Path | str, root: Path) -> bytes:
    source = FileSource(Rules.of(schemes=["file"], roots=[root.resolve()]))
    uri = path.as_uri() if isinstance(path, Path) else path
    async with source.open(uri, LIMITS) as opened:
        data = b"".join([bytes(chunk) async for chunk in opened.chunks])
        assert (opened.size, opened.content_type) == (len(data), None)
    await source.close()
    return data


@pytest.mark.parametrize("size", [0, 1, files._BLOCK - 1, files._BLOCK, files._BLOCK + 1, 3 * files._BLOCK])
async def test_reads_files_of_any_size(root: Path, size: int) -> None:
    """Around the block size nothing is lost or repeated."""
    data = os.urandom(1009) * (size // 1009) + b"z" * (size % 1009)
    (root / "a b#é.bin").write_bytes(data)
    assert await read(root / "a b#é.bin", root) == data


async def test_reads_below_the_root_through_links_that_stay_inside(root: Path) -> None:
    """Links are fine as long as they lead to a place inside."""
    (root / "deep" / "er").mkdir(parents=True)
    (root / "deep" / "er" / "a").write_bytes(b"x")
    (root / "link").symlink_to(root / "deep")
    assert await read(root / "link" / "er" / "a", root) == b"x"


async def test_links_out_of_the_root_are_refused(root: Path, tmp_path: Path) -> None:
    """Neither a link at the end nor one on the way leads out, and the answer is the same whether its target exists."""
    (tmp_path / "secret").write_bytes(b"s")
    (root / "a").symlink_to(tmp_path / "secret")
    (root / "d").symlink_to(tmp_path)
    (root / "nowhere").symlink_to(tmp_path / "missing")
    for path in (root / "a", root / "d" / "secret", root / "d" / "missing", root / "nowhere", tmp_path / "secret"):
        with pytest.raises(Permanent, match="outside") as caught:
            await read(path, root)
        assert caught.value.reason is Reason.SOURCE_FORBIDDEN


async def test_a_link_slipped_in_after_the_check_is_not_followed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if the path was checked while it was harmless, opening follows no link."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").write_bytes(b"s")
    (root / "d").symlink_to(tmp_path / "d")
    (root / "a").symlink_to(tmp_path / "d" / "a")
    monkeypatch.setattr(files.os.path, "realpath", lambda path, **_: path)
    for path in (root / "d" / "a", root / "a"):
        with pytest.raises(Permanent):
            await read(path, root)


async def test_only_regular_files_are_read(root: Path) -> None:
    """Folders, FIFOs (without hanging) and devices are no media."""
    os.mkfifo(root / "fifo")
    (root / "folder").mkdir()
    for name in ("fifo", "folder"):
        with pytest.raises(Permanent, match="regular"):
            await read(root / name, root)
    with pytest.raises(Permanent, match="regular"):
        await read("file:///dev/zero", Path("/dev"))


@pytest.mark.parametrize("name", ["missing", "missing/deeper", "file/below", "x" * 300])
async def test_what_is_not_there_is_not_found(root: Path, name: str) -> None:
    """Missing files, missing folders, files used as folders and impossible names."""
    (root / "file").write_bytes(b"")
    with pytest.raises(Permanent) as caught:
        await read(root / name, root)
    assert caught.value.reason is Reason.SOURCE_NOT_FOUND


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (PermissionError(13, "denied"), Permanent, Reason.SOURCE_DENIED),
        (OSError(40, "loop"), Permanent, Reason.SOURCE_FORBIDDEN),
        (OSError(5, "I/O error"), Transient, Reason.SOURCE_UNAVAILABLE),
        (OSError(116, "stale handle"), Transient, Reason.SOURCE_UNAVAILABLE),
    ],
)
async def test_what_errors_of_the_system_mean(
    root: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, kind: type[Exception], reason: Reason
) -> None:
    """Denied is for good, trouble with the disk or the network is for later."""

    def fail(path: str, rules: Rules) -> None:
        raise error

    monkeypatch.setattr(files, "_open", fail)
    with pytest.raises(kind) as caught:
        await read(root / "a", root)
    assert caught.value.reason is reason  # type: ignore[attr-defined]


@pytest.mark.parametrize("change", ["shrinks", "grows", "is rewritten"])
async def test_a_file_that_changes_while_it_is_read_is_read_again_later(root: Path, change: str) -> None:
    """Half of a file that is being replaced is not taken for the upload."""
    path = root / "a"
    path.write_bytes(b"x" * (2 * files._BLOCK))
    os.utime(path, (0, 0))
    source = FileSource(Rules.of(schemes=["file"], roots=[root.resolve()]))

    async def read_and_change() -> None:
        async with source.open(path.as_uri(), LIMITS) as opened:
            async for _ in opened.chunks:
                if change == "shrinks":
                    os.truncate(path, files._BLOCK)
                else:
                    path.write_bytes(b"y" * ((3 if change == "grows" else 2) * files._BLOCK))

    with pytest.raises(Transient, match="changed"):
        await read_and_change()
