"""Settings → the `Fetch` that the pipeline uses."""

from __future__ import annotations

from pathlib import Path

from pipeline.fetch.files import FileSource
from pipeline.fetch.guard import OBJECT_SCHEMES, Rules
from pipeline.fetch.http import HttpSource
from pipeline.fetch.objects import ObjectSource, S3Access, connector
from pipeline.fetch.port import FetchLimits, Source
from pipeline.fetch.spool import Spool, sweep
from pipeline.settings import Settings


def rules_from_settings(settings: Settings) -> Rules:
    """What the settings allow to be read. Roots are resolved here, once. Raises ConfigError."""
    return Rules.of(
        schemes=settings.fetch_schemes,
        hosts=settings.fetch_hosts,
        buckets=settings.fetch_buckets,
        roots=[Path(root).expanduser().resolve() for root in settings.fetch_roots],
        private_addresses=settings.fetch_private_addresses,
    )


def from_settings(settings: Settings) -> Spool:
    """The sources that the settings allow, behind a spool in `home`; removes what dead processes left there.

    Works without, but is better used as `async with`, which closes connections at the end.
    """
    rules = rules_from_settings(settings)
    limits = FetchLimits(max_bytes=settings.fetch_max_bytes, max_seconds=settings.fetch_max_seconds)
    secret = settings.s3_secret_access_key
    s3 = S3Access(
        endpoint=settings.s3_endpoint,
        region=settings.s3_region,
        access_key_id=settings.s3_access_key_id,
        secret_access_key=secret.get_secret_value() if secret else None,
    )
    sources: list[Source] = []
    if rules.schemes & HttpSource.schemes:
        sources.append(HttpSource(rules))
    if rules.schemes & OBJECT_SCHEMES:
        sources.append(ObjectSource(rules, connector(s3, limits)))
    if rules.schemes & FileSource.schemes:
        sources.append(FileSource(rules))
    directory = (settings.home / "spool").absolute()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    sweep(directory)
    return Spool(sources, limits, directory)
