"""What the browser meets: a console on a free port, with uploads that wait for a person, their media made by code."""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import msgspec
import uvicorn

from pipeline.console.accounts import make_account
from pipeline.console.parts import Parts, Times
from pipeline.console.server import console
from pipeline.console.shelf import Shelf
from pipeline.decode.pool import DecodePool
from pipeline.decode.port import DecodeBudget
from pipeline.events.values import (
    Action,
    Box,
    Credentials,
    Evidence,
    Family,
    Heat,
    MediaFacts,
    MediaKind,
    ReviewNeed,
    Sampling,
    Signal,
    SignalStatus,
)
from pipeline.fetch.factory import from_settings as fetch_from_settings
from pipeline.policy.rules import Policy
from pipeline.review.desk import Desk
from pipeline.review.people import EVERY_QUEUE, Person, Role
from pipeline.settings import Settings
from pipeline.stack.ports import free_ports
from tests import media
from tests.console import POLICY, make_console
from tests.records import decided, reviewed, upload
from tests.work_promises import put

T = TypeVar("T")

SECONDS = 6
"""Length of the sample video and of the sample sound."""
PEAK = 4.0
"""Where the sample video's evidence is strongest."""


class Backstage:
    """A thread with a loop: what serves pages runs there, beside the test that looks at them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="backstage")
        self._thread.start()
        self._opened = AsyncExitStack()
        self.shelf = self.run(self._open())

    def run(self, task: Coroutine[Any, Any, T]) -> T:
        """Its result."""
        return self.begin(task).result(timeout=60)

    def begin(self, task: Coroutine[Any, Any, T]) -> Future[T]:
        """Run it there; does not wait."""
        return asyncio.run_coroutine_threadsafe(task, self._loop)

    async def _open(self) -> Shelf:
        home = self.folder / "home"
        settings = Settings(home=home, fetch_schemes=("file",), fetch_roots=(str(self.folder),))
        fetch = await self._opened.enter_async_context(fetch_from_settings(settings))
        decode = await self._opened.enter_async_context(DecodePool(1, DecodeBudget(max_side=1280)))
        shelf = Shelf(fetch, decode)
        self._opened.push_async_callback(shelf.close)
        return shelf

    async def _end(self) -> None:
        await self._opened.aclose()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    def close(self) -> None:
        """End the loop and what runs on it."""
        self.run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@dataclass(frozen=True)
class Samples:
    """Media files."""

    video: Path
    photo: Path
    sound: Path

    @classmethod
    def written(cls, folder: Path) -> Samples:
        """Made now."""
        found = cls(folder / "clip.mp4", folder / "photo.jpg", folder / "voice.wav")
        found.video.write_bytes(media.video(seconds=SECONDS, audio="aac", width=480, height=270))
        found.photo.write_bytes(media.image("JPEG", 640, 480))
        found.sound.write_bytes(media.sound(seconds=SECONDS))
        return found


@dataclass
class Site:
    """A console that is being served."""

    url: str
    parts: Parts
    samples: Samples

    @property
    def now(self) -> datetime:
        """What time it is there: the real one, since the browser counts too."""
        return self.parts.clock()

    def cookie(self, *roles: Role, name: str = "ann", queues: tuple[str, ...] = (EVERY_QUEUE,)) -> dict[str, Any]:
        """The session of this person, as a browser keeps it."""
        person = Person(name, name.title(), frozenset(roles), frozenset(queues))
        secret = self.parts.people.open_session(person, self.now, self.now + timedelta(hours=1))
        return {"name": "unmask_session", "value": secret, "url": self.url}

    def account(self, name: str, *roles: Role) -> str:
        """A local account; its password, which works once."""
        person = Person(name, name.title(), frozenset(roles), frozenset({EVERY_QUEUE}))
        return make_account(self.parts.people, person, self.now)

    def video(self, media_id: str, queue: str = "faces", **changes: Any) -> UUID:
        """A video with a suspicious face and suspicious lips waits."""
        facts = MediaFacts(MediaKind.VIDEO, "mov,mp4,m4a,3gp,3g2,mj2", float(SECONDS), 480, 270)
        looked = tuple(i / 2 for i in range(SECONDS * 2))
        scores = {1.0: 0.62, 2.5: 0.71, PEAK: 0.93, 5.0: 0.66}
        face = Box(x0=0.3, y0=0.2, x1=0.6, y1=0.8)
        cells = bytes(range(0, 256, 4))
        heat = Heat(box=face, rows=8, cols=8, cells=cells)
        points = tuple(Evidence("faces@1", score, at=at, box=face, track=0, heat=heat) for at, score in scores.items())
        signals = (
            Signal(Family.FACE_SWAP, SignalStatus.SCORED, 0.86, 0.71, 0.94, evidence=points, detectors=("faces@1",)),
            Signal(
                Family.LIP_SYNC,
                SignalStatus.ABSTAINED,
                0.44,
                0.2,
                0.7,
                evidence=(Evidence("lips@1", 0.5, at=2.0, until=3.5, note="lips run behind the voice"),),
                detectors=("lips@1",),
            ),
            Signal(Family.VOICE_CLONE, SignalStatus.MISSING, coverage=0.0),
        )
        sampling = Sampling("pyav", looked, 0.5)
        return self._wait(media_id, queue, self.samples.video, facts, signals, sampling, **changes)

    def photo(self, media_id: str, queue: str = "faces", **changes: Any) -> UUID:
        """A photograph with a suspicious place waits."""
        facts = MediaFacts(
            MediaKind.IMAGE,
            "JPEG",
            width=640,
            height=480,
            metadata=(("Software", "Imaginer 3"),),
            credentials=Credentials(),
        )
        place = Evidence("splice@1", 0.8, box=Box(x0=0.1, y0=0.1, x1=0.4, y1=0.5))
        signals = (Signal(Family.SPLICE, SignalStatus.SCORED, 0.7, 0.5, 0.85, evidence=(place,), advisory=True),)
        return self._wait(
            media_id, queue, self.samples.photo, facts, signals, Sampling("pillow", complete=True), **changes
        )

    def sound(self, media_id: str, queue: str = "faces", **changes: Any) -> UUID:
        """A recording with a suspicious voice waits."""
        facts = MediaFacts(MediaKind.AUDIO, "wav", float(SECONDS))
        points = tuple(Evidence("voice@1", 0.5 + at / 20, at=at, until=at + 2) for at in (0.0, 2.0, 4.0))
        signals = (Signal(Family.VOICE_CLONE, SignalStatus.SCORED, 0.93, 0.8, 0.97, evidence=points),)
        sampling = Sampling("pyav", audio_seconds=float(SECONDS))
        return self._wait(media_id, queue, self.samples.sound, facts, signals, sampling, **changes)

    def decided(self, media_id: str, queue: str = "faces", *, golden: bool = False) -> UUID:
        """A photograph that somebody decided to remove; golden: from now on it measures people."""
        task = self.photo(media_id, queue)
        found = self.parts.work.task(task)
        assert found is not None
        self.parts.ledger.record_review(reviewed(found[0], reviewer="rae"))
        if golden:
            self.parts.golden.add(task, Action.REMOVE, "lou", self.now)
        return task

    def _wait(
        self,
        media_id: str,
        queue: str,
        path: Path,
        facts: MediaFacts,
        signals: tuple[Signal, ...],
        sampling: Sampling,
        *,
        harm: str = "impersonation",
        starts: float = 60,
        **said: Any,
    ) -> UUID:
        """`starts`: in how many minutes work on it has to start."""
        start = self.now + timedelta(minutes=starts)
        need = ReviewNeed(queue, harm, 50, start + timedelta(hours=1), start_by=start)
        made = decided(media_id, review=queue, signals=signals, sha256=None, decided_at=self.now)
        words = {"caption": "See what happened today", "uploader_id": "u-7", "uploaded_at": self.now, **said}
        return put(
            self.parts.ledger,
            msgspec.structs.replace(
                made,
                upload=upload(media_id, uri=path.as_uri(), **words),
                decision=msgspec.structs.replace(made.decision, review=need),
                facts=facts,
                sampling=sampling,
            ),
        )

    def answered(self) -> list[str]:
        """The outcome of every answer that stands, in order."""
        far = self.now + timedelta(days=1)
        found = [msgspec.json.decode(value) for _, _, _, value in self.parts.work.due(far, 1000)]
        return [each["action"] for each in found]


def policy_with(**queue: Any) -> Policy:
    """The default policy, its queue `faces` changed."""
    queues = {**POLICY.queues, "faces": msgspec.structs.replace(POLICY.queues["faces"], **queue)}
    return replace(POLICY, file=msgspec.structs.replace(POLICY.file, queues=queues))


@contextmanager
def served(
    backstage: Backstage, samples: Samples, folder: Path, policy: Policy = POLICY, times: Times | None = None
) -> Iterator[Site]:
    """A console with an empty ledger, on a free port."""
    made = make_console(folder, policy)
    times = times or Times()
    parts = replace(
        made.parts,
        clock=lambda: datetime.now(UTC),
        shelf=backstage.shelf,
        times=times,
        desk=Desk(made.work, made.parts.golden, times.lease, times.grace),
        signer=type(made.parts.signer)(secrets.token_bytes(32)),
    )
    (port,) = free_ports(1)
    config = uvicorn.Config(console(parts), port=port, log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    running = backstage.begin(server.serve())
    until(lambda: server.started or running.done(), "the console listens")
    try:
        yield Site(f"http://127.0.0.1:{port}", parts, samples)
    finally:
        server.should_exit = True
        running.result(timeout=30)
        made.ledger.close()


def until(true: Callable[[], object], what: str, patience: float = 30.0) -> None:
    """Wait for something that a browser or a server does in its own time."""
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end, f"not within {patience} s: {what}"
        time.sleep(0.05)
