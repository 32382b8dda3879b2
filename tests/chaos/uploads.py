"""What is uploaded: contents on disk, and the records of `media.uploaded` that speak of them, drawn from a seed."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.demo import media
from pipeline.events import MediaUploaded
from pipeline.events.codec import encode
from pipeline.events.values import Surface
from pipeline.learn.blend import self_blend
from pipeline.learn.features import FaceReader
from pipeline.models.samples import sample_photographs

_SIDE = 288
"""Pixels: screening has to be cheap, and a face still large enough for the detectors."""

_MALFORMED: tuple[bytes | None, ...] = (
    None,
    b"",
    b"\x00\xff\xfe no event",
    b"[]",
    b'{"schema": "media.uploaded/1", "media_id": 7',
    b'{"schema": "media.uploaded/1", "media_id": "no-uri", "uploaded_at": "2026-01-01T00:00:00Z"}',
    b'{"schema": "media.uploaded/1", "media_id": "", "uri": "file:///x", "uploaded_at": "2026-01-01T00:00:00Z"}',
    b'{"schema": "media.uploaded/9", "media_id": "later", "uri": "file:///x", "uploaded_at": "2026-01-01T00:00:00Z"}',
    b'{"schema": "media.decided/1"}',
)


@dataclass(frozen=True, slots=True)
class Publication:
    """One record of `media.uploaded`. `media_id` None: it is no event, and must end as a dead letter."""

    key: bytes | None
    value: bytes | None
    media_id: str | None
    repeat: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is published, in order; and besides, what kills its decoder."""

    publications: tuple[Publication, ...]
    poison: tuple[Publication, ...]
    media_ids: frozenset[str]
    repeats: int
    malformed: int
    contents: int


def plan(uploads: int, contents: tuple[str, ...], seed: int, poison: tuple[str, ...] = ()) -> Plan:
    """`uploads` distinct uploads over the contents (URIs), most of them of bytes that were uploaded before; on top of
    them 3 % repeated events and 2 % records that are no event (at least three of each). `poison`: URIs of files that
    kill their decoder, each uploaded once, when the saboteur says so."""
    drawn = random.Random(seed)
    unseen = list(contents)
    drawn.shuffle(unseen)
    seen = [unseen.pop()]
    share = len(unseen) / uploads
    order: list[Publication] = []
    for number in range(uploads):
        if unseen and drawn.random() < 1.3 * share:
            seen.append(unseen.pop())
            uri = seen[-1]
        else:
            uri = drawn.choice(seen)
        order.append(_upload(f"chaos-{seed}-{number:05d}", uri, drawn))
    repeats = max(3, uploads * 3 // 100)
    for first in drawn.sample(order, repeats):
        # Half of them at once, as a client that did not wait for its answer; half at some later time.
        place = order.index(first) + 1
        where = place if drawn.random() < 0.5 else drawn.randint(place, len(order))
        order.insert(where, Publication(first.key, first.value, first.media_id, repeat=True))
    malformed = max(3, uploads * 2 // 100)
    for number in range(malformed):
        key = drawn.choice((None, b"broken", f"broken-{number}".encode()))
        order.insert(drawn.randint(0, len(order)), Publication(key, _MALFORMED[number % len(_MALFORMED)], None))
    poisoned = tuple(_upload(f"poison-{seed}-{number:03d}", uri, drawn) for number, uri in enumerate(poison))
    ids = frozenset(each.media_id for each in (*order, *poisoned) if each.media_id is not None)
    return Plan(tuple(order), poisoned, ids, repeats, malformed, len(seen))


def _upload(media_id: str, uri: str, drawn: random.Random) -> Publication:
    event = MediaUploaded(
        media_id=media_id,
        uri=uri,
        uploaded_at=datetime.now(UTC),
        surface=drawn.choice(tuple(Surface)),
        declared_synthetic=drawn.random() < 0.05,
    )
    return Publication(media_id.encode(), encode(event), media_id)


def write_contents(
    folder: Path, count: int, seed: int, models_dir: Path, home: Path, progress: Callable[[str], None]
) -> tuple[Path, ...]:
    """About `count` distinct files: small photographs with and without a genuine or a blended face, pictures with a
    generator's metadata, short videos, sound, and media that are broken or not there."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = random.Random(seed)
    photos = {photo.name: _read(photo.path) for photo in sample_photographs(home, models_dir, progress)}
    portrait = photos["astronaut"]
    face = FaceReader(models_dir, home).largest_face(portrait)
    assert face is not None, "the sample portrait has a face"
    blended, _ = self_blend(portrait, face.box, face.landmarks, seed)
    scenes = [photos[name] for name in ("coffee", "rocket", "chelsea")]
    progress("writing media")

    paths: list[Path] = []

    def place(name: str) -> Path:
        paths.append(folder / name)
        return paths[-1]

    videos = max(1, count // 60)
    for number in range(videos):
        still = drawn.choice((portrait, blended, scenes[0]))
        media.write_video(place(f"{number:04d}.mp4"), [(still, 1.0 + 0.2 * number)], size=(320, 240))
    media.write_sound(place("voice.wav"), 2)
    media.write_bomb(place("bomb.png"))
    place("empty.jpg").write_bytes(b"")
    place("not-there.jpg")
    for number in range(max(3, count // 12)):
        whole = folder / "whole.jpg"
        media.write_jpeg(whole, _crop(drawn.choice(scenes), drawn))
        data = whole.read_bytes()
        junk = drawn.randbytes(400) if drawn.random() < 0.3 else data[: drawn.randint(20, 200)] + drawn.randbytes(4)
        place(f"broken-{number:04d}.jpg").write_bytes(junk)
        whole.unlink()
    for number in range(max(2, count // 25)):
        texts = {"parameters": f"a picture of nothing\nSteps: 20, Sampler: Euler a, Seed: {number}, Model: sd-xl"}
        media.write_png_with_text(place(f"generated-{number:04d}.png"), media.rendered(number, 160, 160), texts)
    number = 0
    while len(paths) < count:
        number += 1
        match number % 5:
            case 0:
                image = _around_face(blended, drawn)
            case 1:
                image = _around_face(portrait, drawn)
            case _:
                image = _crop(drawn.choice(scenes), drawn)
        media.write_jpeg(place(f"photo-{number:04d}.jpg"), image, drawn.randint(70, 92))
    return tuple(paths)


def _crop(image: media.RGB, drawn: random.Random) -> media.RGB:
    height, width = image.shape[:2]
    y, x = drawn.randint(0, height - _SIDE), drawn.randint(0, width - _SIDE)
    return image[y : y + _SIDE, x : x + _SIDE]


def _around_face(image: media.RGB, drawn: random.Random) -> media.RGB:
    """The sample portrait's face lies around (225, 115)."""
    y, x = drawn.randint(0, 20), drawn.randint(70, 100)
    bright = np.clip(image.astype(np.int16) + drawn.randint(-12, 12), 0, 255).astype(np.uint8)
    return bright[y : y + _SIDE, x : x + _SIDE]


def _read(path: Path) -> media.RGB:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), np.uint8)


def write_poison(folder: Path, count: int) -> tuple[Path, ...]:
    """Small files, no two alike, that cost their decoder minutes: progressive JPEGs of 36 million pixels, whose last
    pass over the picture, 59 bytes long, comes thousands of times. No limit of size stops them; that of time does."""
    whole = io.BytesIO()
    Image.new("L", (6000, 6000), 128).save(whole, "JPEG", progressive=True, quality=60)
    data = whole.getvalue()
    last = data[data.rindex(b"\xff\xda") : -2]
    paths = []
    for number in range(count):
        words = f"number {number}".encode()
        comment = b"\xff\xfe" + (len(words) + 2).to_bytes(2) + words
        paths.append(folder / f"poison-{number:03d}.jpg")
        paths[-1].write_bytes(data[:2] + comment + data[2:-2] + last * 5000 + b"\xff\xd9")
    return tuple(paths)
