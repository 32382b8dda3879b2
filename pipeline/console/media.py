"""Media of a case, by short-lived signed links: the only way to them. Nothing is fetched by the reviewer's browser from
where the platform keeps it.

A link is signed for one person and one task, and read only by that person's session.
"""

from __future__ import annotations

import re
from asyncio import to_thread
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import Response, StreamingResponse

from pipeline.console import renditions
from pipeline.console.api import VIEWS, keeps_scores_back
from pipeline.console.entry import needs, parts_of
from pipeline.console.guard import MEDIA_HEADERS
from pipeline.console.parts import Parts
from pipeline.decode.port import RGB, Clip, Keyframe, Span
from pipeline.errors import ItemError
from pipeline.events import ReviewRequested
from pipeline.events.values import Box, MediaKind
from pipeline.fetch.port import Media
from pipeline.report.pictures import heated
from pipeline.review.people import Permission, Person

router = APIRouter(prefix="/api/v1/m", include_in_schema=False)

SeesCases = Annotated[Person, Depends(needs(Permission.SEE_CASES))]

_CHUNK = 256 * 1024
_NEAR = 0.1
"""Seconds: a frame this near the moment shows it."""
_PLAYABLE = {
    "mp4": "video/mp4",
    "mov": "video/mp4",
    "webm": "video/webm",
    "matroska": "video/webm",
    "ogg": "audio/ogg",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "aac": "audio/aac",
    "m4a": "audio/mp4",
}
"""What browsers play, by a word of the container's name. The uploader's own content type is never repeated."""


@router.get("/{task_id}/{token}/original")
async def original(request: Request, person: SeesCases, task_id: UUID, token: str) -> Response:
    """The bytes of a video or a sound, with ranges. Pictures are given as `picture`, made anew."""
    parts, task = await _signed(request, person, task_id, token, "original")
    kind = task.facts.kind if task.facts else None
    if kind not in (MediaKind.VIDEO, MediaKind.AUDIO):
        raise HTTPException(404, "Only videos and sounds are played as they are.")
    container = task.facts.container.lower() if task.facts else ""
    found = next((mime for word, mime in _PLAYABLE.items() if word in container), "application/octet-stream")
    if kind is MediaKind.AUDIO:
        found = found.replace("video/", "audio/")
    try:
        opened = parts.shelf.media(task.upload.uri, task.sha256)
        media = await opened.__aenter__()
    except ItemError as error:
        raise _gone(error) from None
    span = _range(request.headers.get("range"), media.size)
    if span is None:
        await opened.__aexit__(None, None, None)
        return Response(status_code=416, headers={"Content-Range": f"bytes */{media.size}"})
    start, end = span

    async def body() -> AsyncIterator[bytes]:
        try:
            with media.path.open("rb") as file:
                file.seek(start)
                left = end - start + 1
                while left > 0 and (chunk := await to_thread(file.read, min(_CHUNK, left))):
                    left -= len(chunk)
                    yield chunk
        finally:
            await opened.__aexit__(None, None, None)

    partial = _one(request.headers.get("range")) is not None
    headers = MEDIA_HEADERS | {"Accept-Ranges": "bytes", "Content-Length": str(end - start + 1)}
    if partial:
        headers["Content-Range"] = f"bytes {start}-{end}/{media.size}"
    return StreamingResponse(body(), 206 if partial else 200, headers, found)


@router.get("/{task_id}/{token}/{what}")
async def picture(
    request: Request,
    person: SeesCases,
    task_id: UUID,
    token: str,
    what: str,
    at: Annotated[float, Query(ge=0, le=1e6, allow_inf_nan=False)] = 0.0,
    box: Annotated[str, Query(max_length=100)] = "",
    evidence: Annotated[int, Query(ge=0, le=1000)] = 0,
    family: Annotated[str, Query(max_length=40)] = "",
) -> Response:
    """A picture made of the media: `picture` (or a frame `at` seconds), `crop` of a `box`, `noise`, `compression`,
    `spectrum`, `wave`, `spectrogram`, or `heat`: a piece of evidence's map over its frame."""
    parts, task = await _signed(request, person, task_id, token, what)
    if what == "heat":
        held = await to_thread(parts.desk.holding, person.id, parts.clock())
        mine = held if held and any(each.task_id == task_id for each in held.tasks) else None
        if keeps_scores_back(parts, person, task, mine):
            raise HTTPException(403, "This queue asks for an answer before the scores are shown.")
    try:
        async with parts.shelf.clip(task.upload.uri, task.sha256) as (media, clip):
            made = await _made(parts, task, media, clip, what, at, box, family, evidence)
    except ItemError as error:
        raise _gone(error) from None
    return Response(made, headers=MEDIA_HEADERS | {"Cache-Control": "private, max-age=600"}, media_type="image/jpeg")


_VIEWS: dict[str, Callable[[RGB], RGB]] = {
    "picture": renditions.fitted,
    "noise": renditions.noise,
    "compression": renditions.compression,
    "spectrum": renditions.spectrum,
}


async def _made(
    parts: Parts,
    task: ReviewRequested,
    media: Media,
    clip: Clip,
    what: str,
    at: float,
    box: str,
    family: str,
    which: int,
) -> bytes:
    if what in ("wave", "spectrogram"):
        if clip.audio is None:
            raise HTTPException(404, "There is no sound.")
        draw = renditions.wave if what == "wave" else renditions.spectrogram
        return await to_thread(lambda: renditions.jpeg(draw(clip.audio)))  # type: ignore[arg-type]
    image = await _frame(parts, media.path, clip, at)
    if what == "crop":
        place = _box(box)
        return await to_thread(lambda: renditions.jpeg(renditions.cut(image, place)))
    if what == "heat":
        decided = await to_thread(parts.ledger.decision, task.media_id, task.round)
        signals = decided.signals if decided else ()
        found = [e for signal in signals if signal.family == family for e in signal.evidence]
        heat = found[which].heat if which < len(found) else None
        if heat is None:
            raise HTTPException(404, "There is no such map.")
        return await to_thread(lambda: renditions.jpeg(renditions.cut(heated(image, heat), heat.box, 0.1)))
    view = _VIEWS.get(what)
    if view is None:
        raise HTTPException(404, "There is no such view.")
    return await to_thread(lambda: renditions.jpeg(view(image)))


async def _frame(parts: Parts, path: Path, clip: Clip, at: float) -> RGB:
    """The frame that is shown at a moment: one that was looked at, or one decoded for this."""
    if not clip.keyframes:
        raise HTTPException(404, "There is no picture.")

    def nearest(frames: tuple[Keyframe, ...]) -> Keyframe:
        return min(frames, key=lambda frame: abs(frame.at - at))

    best = nearest(clip.keyframes)
    if clip.facts.duration and abs(best.at - at) > _NEAR:
        span = Span(max(0.0, at - 0.05), at + 0.15, 25.0, "a reviewer looks at it")
        windows = await parts.shelf.decode.closer(path, (span,), len(clip.keyframes))
        frames = tuple(frame for window in windows for frame in window.frames)
        best = nearest((best, *frames))
    return best.image


async def _signed(
    request: Request, person: Person, task_id: UUID, token: str, what: str
) -> tuple[Parts, ReviewRequested]:
    """The task, for who may see it. The audit log hears once of each thing that is looked at by a link; a player asks
    for hundreds of parts of one."""
    parts = parts_of(request)
    claims = {"person": person.id, "task": str(task_id)}
    if not parts.signer.holds(token, claims, parts.clock().timestamp()):
        raise HTTPException(403, "This link has ended; open the case again.")
    found = await to_thread(parts.work.task, task_id)
    if found is None or not person.sees(found[1]):
        raise HTTPException(404, "There is no such task.")
    if what in VIEWS and parts.told.is_new(f"{token} {what}"):
        await to_thread(parts.work.log, parts.clock(), person.id, "looked at", found[0].media_id, {"what": what})
        parts.told.add(f"{token} {what}")
    return parts, found[0]


def _box(text: str) -> Box:
    try:
        x0, y0, x1, y1 = (min(1.0, max(0.0, float(part))) for part in text.split(","))
    except ValueError:
        raise HTTPException(422, "`box` is x0,y0,x1,y1, in shares of the frame.") from None
    if not (x0 < x1 and y0 < y1):
        raise HTTPException(422, "`box` is empty.")
    return Box(x0=x0, y0=y0, x1=x1, y1=y1)


def _one(header: str | None) -> tuple[str, str] | None:
    """First and last as they stand; None for what is to be read as if there were no such header."""
    found = re.fullmatch(r"bytes=([0-9]{0,18})-([0-9]{0,18})", (header or "").strip())
    if found is None or found[0] == "bytes=-" or (found[1] and found[2] and int(found[2]) < int(found[1])):
        return None
    return found[1], found[2]


def _range(header: str | None, size: int) -> tuple[int, int] | None:
    """First and last byte (RFC 9110, §14): one range; several, or nonsense, mean the whole; None: not satisfiable."""
    found = _one(header)
    if found is None:
        return (0, size - 1) if size else None
    first, last = found
    if not first:
        start, end = max(0, size - int(last)), size - 1
    else:
        start, end = int(first), min(size - 1, int(last) if last else size - 1)
    return (start, end) if start <= end else None


def _gone(error: ItemError) -> HTTPException:
    return HTTPException(404, f"The media cannot be had: {error.reason.value.replace('_', ' ')}.")
