"""s3://bucket/key, gs://bucket/key and az://container/key. The only door to obstore.

Which endpoint is asked is the operator's choice (settings, or the cloud's own environment variables), never the
event's, so addresses are not checked here: buckets are.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError, InvalidPathError, PermissionDeniedError, UnauthenticatedError
from obstore.store import AzureStore, GCSStore, ObjectStore, S3Store

from pipeline.errors import Permanent, Reason, Stage, Transient
from pipeline.fetch.guard import OBJECT_SCHEMES, Rules, check_uri
from pipeline.fetch.port import FetchLimits, Opened

if TYPE_CHECKING:  # these exist for type checkers only
    from obstore.store import ClientConfig, RetryConfig, S3Config

_BLOCK = 1024 * 1024

Connect = Callable[[str, str], ObjectStore]
"""(scheme, bucket) → its store."""


@dataclass(frozen=True, slots=True)
class S3Access:
    """How to reach S3; what is None comes from the usual AWS sources (environment, web identity, instance role)."""

    endpoint: str | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = None


class ObjectSource:
    """Reads objects from the allowed buckets, over one store (and its pool of connections) per bucket."""

    schemes = OBJECT_SCHEMES

    def __init__(self, rules: Rules, connect: Connect) -> None:
        self._rules = rules
        self._connect = connect
        self._stores: dict[tuple[str, str], ObjectStore] = {}  # bounded by the allowed buckets

    @asynccontextmanager
    async def open(self, uri: str, limits: FetchLimits) -> AsyncIterator[Opened]:  # noqa: ARG002
        """Limits of time are the store's; see `connector`."""
        parsed = check_uri(uri, self._rules)
        try:
            result = await obstore.get_async(self._store(parsed.scheme, parsed.host), parsed.path)
            size = result.meta["size"]
            async with aclosing(_chunks(result, size)) as chunks:
                yield Opened(chunks, size, result.attributes.get("Content-Type"))
        except FileNotFoundError as error:
            raise Permanent(Stage.FETCH, Reason.SOURCE_NOT_FOUND, "no such object or bucket") from error
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise Permanent(Stage.FETCH, Reason.SOURCE_DENIED, "the store denies access") from error
        except InvalidPathError as error:
            raise Permanent(Stage.FETCH, Reason.SOURCE_FORBIDDEN, "the key cannot be read") from error
        except (BaseError, OSError, ValueError) as error:
            raise Transient(Stage.FETCH, Reason.SOURCE_UNAVAILABLE, _first_line(error)) from error

    async def close(self) -> None:
        """Let the stores go; their connections close with them."""
        self._stores.clear()

    def _store(self, scheme: str, bucket: str) -> ObjectStore:
        store = self._stores.get((scheme, bucket))
        if store is None:
            store = self._stores[scheme, bucket] = self._connect(scheme, bucket)
        return store


async def _chunks(result: obstore.GetResult, size: int) -> AsyncGenerator[bytes | memoryview, None]:
    read = 0
    async for chunk in result.stream(min_chunk_size=_BLOCK):
        read += len(chunk)
        yield memoryview(chunk)
    if read != size:
        raise Transient(Stage.FETCH, Reason.SOURCE_UNAVAILABLE, f"{read} bytes came instead of {size}")


def connector(s3: S3Access, limits: FetchLimits) -> Connect:
    """Stores with the operator's credentials. Retries are few: the item is tried again as a whole."""

    client: ClientConfig = {
        "timeout": timedelta(seconds=limits.max_seconds),
        "read_timeout": timedelta(seconds=limits.idle_seconds),
        "connect_timeout": timedelta(seconds=min(5.0, limits.idle_seconds)),
        "allow_http": (s3.endpoint or "").startswith("http://"),
    }
    retry: RetryConfig = {"max_retries": 1, "retry_timeout": timedelta(seconds=limits.idle_seconds)}
    config: S3Config = {}
    if s3.endpoint is not None:
        config["endpoint"] = s3.endpoint
    if s3.region is not None:
        config["region"] = s3.region
    if s3.access_key_id is not None:
        config["access_key_id"] = s3.access_key_id
    if s3.secret_access_key is not None:
        config["secret_access_key"] = s3.secret_access_key

    def connect(scheme: str, bucket: str) -> ObjectStore:
        if scheme == "gs":
            return GCSStore(bucket, client_options=client, retry_config=retry)
        if scheme == "az":
            return AzureStore(bucket, client_options=client, retry_config=retry)
        return S3Store(bucket, config=config, client_options=client, retry_config=retry)

    return connect


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__
