"""From settings to a working fetch."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import ConfigError, Permanent, Reason
from pipeline.fetch.factory import from_settings
from pipeline.settings import Settings


async def test_reads_a_local_file_and_leaves_nothing(tmp_path: Path) -> None:
    """The folder may be given through a link; the spool lies in home."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a").write_bytes(b"abc")
    (tmp_path / "root").symlink_to(tmp_path / "real")
    settings = Settings(home=tmp_path / "home", fetch_schemes=("file",), fetch_roots=(str(tmp_path / "root"),))
    async with from_settings(settings) as fetch:
        async with fetch((tmp_path / "root" / "a").as_uri()) as media:
            assert media.path.parent == tmp_path / "home" / "spool"
            assert media.size == 3
        assert list((tmp_path / "home" / "spool").iterdir()) == []


async def test_nothing_is_allowed_by_default(tmp_path: Path) -> None:
    """Without hosts, buckets and folders every URI is refused."""
    async with from_settings(Settings(home=tmp_path)) as fetch:
        for uri in (
            "https://example.com/",
            "http://example.com/",
            "s3://b/a",
            "gs://b/a",
            "az://b/a",
            "file:///etc/passwd",
        ):
            with pytest.raises(Permanent) as caught:
                async with fetch(uri):
                    pass
            assert caught.value.reason is Reason.SOURCE_FORBIDDEN


def test_a_senseless_host_is_told_at_start(tmp_path: Path) -> None:
    """Not at the first upload."""
    with pytest.raises(ConfigError, match="fetch_hosts"):
        from_settings(Settings(home=tmp_path, fetch_hosts=("https://cdn.example.net",)))


def test_what_the_dead_left_is_swept_at_start(tmp_path: Path) -> None:
    """A file of a process that cannot exist goes."""
    spool = tmp_path / "spool"
    spool.mkdir()
    (spool / f"{10**12}-00000000-0.spool").write_bytes(b"x")
    from_settings(Settings(home=tmp_path))
    assert list(spool.iterdir()) == []
