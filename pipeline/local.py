"""Judge local files through the same stages as the stream, without Kafka and without a ledger."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
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


@asynccontextmanager
async def judging(
    settings: Settings, policy: Policy, folders: Sequence[Path], surface: Surface = Surface.POST
) -> AsyncIterator[tuple[Callable[[Path], Awaitable[Screened]], tuple[str, ...]]]:
    """Judges one file after another through the stages of the stream, as long as it is open; and by which detectors.

    A file that cannot be judged gets the fail mode's decision, as on the stream.

    Args:
        settings: `triton_url` has to name a running server.
        policy: what to decide by.
        folders: where the files lie; nothing else is read.
        surface: where the uploads are meant to appear.
    """
    roots = tuple(sorted({str(folder.resolve()) for folder in folders}))
    local = settings.model_copy(update={"fetch_schemes": ("file",), "fetch_roots": roots})
    metrics = metrics_for(policy, CollectorRegistry())
    here = Path.cwd()
    async with screening(local, policy, metrics, _nothing_known) as (by, _):

        async def judge(path: Path) -> Screened:
            now = datetime.now(UTC)
            upload = MediaUploaded(media_id=path.name, uri=uri_of(here / path), uploaded_at=now, surface=surface)
            try:
                decided = await screen(upload, 1, now=now, within=settings.item_deadline, by=by)
            except ItemError as error:
                why = Failure(stage=error.stage.value, reason=error.reason.value, detail=error.detail)
                decided = unscreenable(upload, 1, why, now=now, policy=policy)
            return Screened(path, decided)

        yield judge, by.detectors


def uri_of(path: Path) -> str:
    """Of an absolute path, without `..`, which no fetch follows. Links stay: the guard decides about them."""
    return Path(os.path.normpath(path)).as_uri()


async def screen_files(
    paths: Sequence[Path],
    settings: Settings,
    policy: Policy,
    surface: Surface = Surface.POST,
    on_done: Callable[[Screened], None] = lambda _: None,
) -> tuple[Screened, ...]:
    """Judge each file, several at once; `on_done` hears of each as it is done."""
    places = asyncio.Semaphore(settings.concurrency)
    async with judging(settings, policy, [path.resolve().parent for path in paths], surface) as (judge, _):

        async def one(path: Path) -> Screened:
            async with places:
                done = await judge(path)
            on_done(done)
            return done

        return tuple(await asyncio.gather(*map(one, paths)))


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
