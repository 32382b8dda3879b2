"""Judge local files through the same stages as the stream, without Kafka and without a ledger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client import CollectorRegistry

from pipeline.app import metrics_for, screening
from pipeline.errors import ItemError
from pipeline.events import MediaDecided, MediaUploaded
from pipeline.events.values import Failure, Surface
from pipeline.ledger.port import KnownContent
from pipeline.policy.rules import Policy
from pipeline.screen import screen, unscreenable
from pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class Screened:
    """One file and what the policy says of it."""

    path: Path
    decided: MediaDecided


async def screen_files(
    paths: Sequence[Path],
    settings: Settings,
    policy: Policy,
    surface: Surface = Surface.POST,
    on_done: Callable[[Screened], None] = lambda _: None,
) -> tuple[Screened, ...]:
    """Judge each file; one that cannot be judged gets the fail mode's decision, as on the stream.

    Args:
        paths: files; several are under way at once.
        settings: `triton_url` has to name a running server.
        policy: what to decide by.
        surface: where the uploads are meant to appear.
        on_done: hears of each file as it is done.
    """
    real = [path.resolve() for path in paths]
    local = settings.model_copy(
        update={"fetch_schemes": ("file",), "fetch_roots": tuple(sorted({str(path.parent) for path in real}))}
    )
    places = asyncio.Semaphore(settings.concurrency)
    metrics = metrics_for(policy, CollectorRegistry())
    async with screening(local, policy, metrics, _nothing_known) as (by, _):

        async def one(given: Path, path: Path) -> Screened:
            now = datetime.now(UTC)
            upload = MediaUploaded(media_id=given.name, uri=path.as_uri(), uploaded_at=now, surface=surface)
            async with places:
                try:
                    decided = await screen(upload, 1, now=now, within=settings.item_deadline, by=by)
                except ItemError as error:
                    why = Failure(stage=error.stage.value, reason=error.reason.value, detail=error.detail)
                    decided = unscreenable(upload, 1, why, now=now, policy=policy)
            done = Screened(given, decided)
            on_done(done)
            return done

        return tuple(await asyncio.gather(*(one(given, path) for given, path in zip(paths, real, strict=True))))


async def _nothing_known(_sha256: str, _detectors: tuple[str, ...]) -> KnownContent | None:
    return None


@asynccontextmanager
async def triton_at_hand(settings: Settings, on_event: Callable[[str], None]) -> AsyncIterator[str]:
    """The address of an inference server: the one in the settings when it answers, else one started for the while."""
    from pipeline.detect.triton import Triton as Client
    from pipeline.models.build import build
    from pipeline.stack.triton import Triton as Server

    client = Client(settings.triton_url)
    answers = await client.server_ready()
    await client.close()
    if answers:
        yield settings.triton_url
        return
    await asyncio.to_thread(build, settings.models_dir, settings.home, on_event)
    server = Server(settings.models_dir, settings.home, lambda event: on_event(f"{event.part}: {event.kind}"))
    addresses = await asyncio.to_thread(server.start)
    try:
        yield addresses.grpc
    finally:
        await asyncio.to_thread(server.stop)
