"""Reading objects, on stores in memory and stores that fail."""

from __future__ import annotations

import os

import pytest
from obstore.exceptions import GenericError, InvalidPathError, PermissionDeniedError, UnauthenticatedError
from obstore.store import AzureStore, GCSStore, MemoryStore, ObjectStore, S3Store

from pipeline.errors import Permanent, Reason, Transient
from pipeline.fetch import objects
from pipeline.fetch.guard import Rules
from pipeline.fetch.objects import ObjectSource, S3Access, connector
from pipeline.fetch.port import FetchLimits

LIMITS = FetchLimits(max_bytes=10**8, max_seconds=5)
RULES = Rules.of(schemes=["s3", "gs", "az"], buckets=["uploads", "more"])


async def read(source: ObjectSource, uri: str) -> bytes:
    async with source.open(uri, LIMITS) as opened:
        data = b"".join([bytes(chunk) async for chunk in opened.chunks])
        assert opened.size == len(data)
        return data


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
@pytest.mark.parametrize("size", [0, 1, 3_000_000])
async def test_reads_objects_with_size_and_type(scheme: str, size: int) -> None:
    """Of any size, from any of the schemes."""
    store = MemoryStore()
    data = os.urandom(size)
    store.put("a/b c%20é.bin", data, attributes={"Content-Type": "image/png"})
    source = ObjectSource(RULES, lambda *_: store)
    uri = f"{scheme}://uploads/a/b c%20é.bin"
    assert await read(source, uri) == data
    async with source.open(uri, LIMITS) as opened:
        assert opened.content_type == "image/png"


async def test_one_store_per_bucket() -> None:
    """Stores hold connections, so they are made once."""
    made: list[tuple[str, str]] = []
    store = MemoryStore()
    store.put("a", b"x")

    def connect(scheme: str, bucket: str) -> ObjectStore:
        made.append((scheme, bucket))
        return store

    source = ObjectSource(RULES, connect)
    for uri in ("s3://uploads/a", "s3://uploads/a", "s3://more/a", "gs://uploads/a", "s3://uploads/a"):
        await read(source, uri)
    assert made == [("s3", "uploads"), ("s3", "more"), ("gs", "uploads")]


async def test_unlisted_buckets_are_not_connected_to() -> None:
    """The guard comes first."""
    source = ObjectSource(RULES, lambda *_: pytest.fail("connected"))
    with pytest.raises(Permanent) as caught:
        await read(source, "s3://other/a")
    assert caught.value.reason is Reason.SOURCE_FORBIDDEN


async def test_missing_objects_are_not_found() -> None:
    """For good."""
    with pytest.raises(Permanent) as caught:
        await read(ObjectSource(RULES, lambda *_: MemoryStore()), "s3://uploads/missing")
    assert caught.value.reason is Reason.SOURCE_NOT_FOUND


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (PermissionDeniedError("403"), Permanent, Reason.SOURCE_DENIED),
        (UnauthenticatedError("401"), Permanent, Reason.SOURCE_DENIED),
        (InvalidPathError("bad"), Permanent, Reason.SOURCE_FORBIDDEN),
        (GenericError("connection refused\n\nDebug source: …"), Transient, Reason.SOURCE_UNAVAILABLE),
        (ValueError("no account"), Transient, Reason.SOURCE_UNAVAILABLE),
    ],
)
async def test_what_errors_of_the_store_mean(
    monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[Exception], reason: Reason
) -> None:
    """Denied is for good; trouble on the way, or with the set-up, is for later."""

    async def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(objects.obstore, "get_async", fail)
    with pytest.raises(kind) as caught:
        await read(ObjectSource(RULES, lambda *_: MemoryStore()), "s3://uploads/a")
    assert caught.value.reason is reason  # type: ignore[attr-defined]
    assert "\n" not in caught.value.detail  # type: ignore[attr-defined]


def test_each_scheme_has_its_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """s3 with the given endpoint and keys, gs and az with what their environment says."""
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    s3 = S3Access("http://127.0.0.1:1", "eu-west-1", "key", "secret")
    connect = connector(s3, LIMITS)
    store = connect("s3", "uploads")
    assert isinstance(store, S3Store)
    assert store.config["endpoint"] == "http://127.0.0.1:1"
    assert store.config["bucket"] == "uploads"
    assert store.client_options is not None
    assert store.client_options["allow_http"] == "true"
    assert isinstance(connect("gs", "uploads"), GCSStore)
    assert isinstance(connect("az", "uploads"), AzureStore)


def test_plain_http_is_allowed_for_such_an_endpoint_only() -> None:
    """Credentials do not travel in the clear unless the operator gave an http endpoint."""
    store = connector(S3Access("https://127.0.0.1:1", "eu-west-1", "key", "secret"), LIMITS)("s3", "uploads")
    assert isinstance(store, S3Store)
    assert store.client_options is not None
    assert store.client_options["allow_http"] == "false"
