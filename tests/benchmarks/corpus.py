"""Uploads as a platform might get them: photographs with and without faces, a few videos, some sound. Made by code.

Each file of each set has contents of its own (the seed turns, crops, lights and grains every picture anew), so that
nothing is decided from an earlier screening.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
from PIL import Image

from pipeline.demo.media import RGB, rendered, write_video
from tests import media

pillow_heif.register_heif_opener()

Photos = Mapping[str, RGB]
"""The source photographs, by name; `astronaut` shows a face."""

SIZES = ((640, 480), (1080, 1350), (1280, 960), (1920, 1440), (720, 720), (2560, 1920))
FORMATS = ("JPEG",) * 13 + ("WEBP",) * 3 + ("PNG",) * 2 + ("HEIF", "AVIF")
"""Which formats images come in, and how often."""
_FACELESS = ("coffee", "rocket", "chelsea")


def make_corpus(
    folder: Path, count: int, seed: int, photos: Photos, on_file: Callable[[], None] = lambda: None
) -> tuple[Path, ...]:
    """Write `count` files of mixed kinds, in a mixed order: of 100, 4 videos, 4 sounds, 3 animations, 89 images."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    kinds = [_kind(i) for i in range(count)]
    rng.shuffle(kinds)
    paths = []
    for i, kind in enumerate(kinds):
        paths.append(_WRITERS[kind](folder / f"{i:04d}", rng, photos))
        on_file()
    return tuple(paths)


def read_photos(paths: Mapping[str, Path]) -> Photos:
    """The photographs as RGB."""
    photos = {}
    for name, path in paths.items():
        with Image.open(path) as image:
            photos[name] = np.asarray(image.convert("RGB"), np.uint8)
    return photos


def photograph(rng: np.random.Generator, photos: Photos, size: tuple[int, int], *, face: bool) -> RGB:
    """A photograph that was never seen before: a part of one, turned, lit and grained by chance."""
    width, height = size
    source = photos["astronaut" if face else str(rng.choice(_FACELESS))]
    rows, columns = source.shape[:2]
    # The face of the portrait lies in its upper left; a cut from that corner keeps it.
    share = rng.uniform(0.62, 1.0)
    top, left = (0, 0) if face else (int(rows * rng.uniform(0, 1 - share)), int(columns * rng.uniform(0, 1 - share)))
    part = source[top : top + int(rows * share), left : left + int(columns * share)]
    if not face and rng.random() < 0.5:
        part = part[:, ::-1]
    scale = max(width / part.shape[1], height / part.shape[0])
    move = np.array([[scale, 0, 0], [0, scale, 0]])
    picture = cv2.warpAffine(np.ascontiguousarray(part), move, (width, height), flags=cv2.INTER_CUBIC)
    grain = rng.normal(0, 3, (height // 2, width // 2, 1)).repeat(2, 0).repeat(2, 1)[:height, :width]
    return np.clip(
        picture * rng.uniform(0.8, 1.15) + rng.uniform(-8, 8) + _padded(grain, height, width), 0, 255
    ).astype(np.uint8)


def _kind(i: int) -> str:
    match i % 100:
        case 10 | 35 | 60 | 85:
            return "video"
        case 5 | 30 | 55 | 80:
            return "sound"
        case 20 | 50 | 75:
            return "animation"
    return ("face", "no face")[i % 2] if i % 10 else "drawn"


def _image(stem: Path, rng: np.random.Generator, picture: RGB) -> Path:
    kind = str(rng.choice(FORMATS))
    path = stem.with_suffix(f".{kind.lower().replace('jpeg', 'jpg').replace('heif', 'heic')}")
    more = {} if kind == "PNG" else {"quality": int(rng.integers(70, 93))}
    more |= {"speed": 9} if kind == "AVIF" else {}
    Image.fromarray(picture).save(path, kind, **more)
    return path


def _with_face(stem: Path, rng: np.random.Generator, photos: Photos) -> Path:
    return _image(stem, rng, photograph(rng, photos, _size(rng), face=True))


def _without_face(stem: Path, rng: np.random.Generator, photos: Photos) -> Path:
    return _image(stem, rng, photograph(rng, photos, _size(rng), face=False))


def _drawn(stem: Path, rng: np.random.Generator, _: Photos) -> Path:
    width, height = _size(rng)
    return _image(stem, rng, rendered(int(rng.integers(2**32)), height, width))


def _animation(stem: Path, rng: np.random.Generator, photos: Photos) -> Path:
    pictures = [
        Image.fromarray(photograph(rng, photos, (320, 240), face=bool(i % 2))) for i in range(int(rng.integers(4, 9)))
    ]
    path = stem.with_suffix(".gif")
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=400, loop=0)
    return path


def _video(stem: Path, rng: np.random.Generator, photos: Photos) -> Path:
    path = stem.with_suffix(".mp4")
    size = ((640, 360), (1280, 720))[int(rng.integers(2))]
    stills = [(photograph(rng, photos, size, face=face), float(rng.uniform(1.5, 3))) for face in (True, False)]
    write_video(path, stills, size=size)
    return path


def _sound(stem: Path, rng: np.random.Generator, _: Photos) -> Path:
    suffix, container, codec = ((".wav", "wav", "pcm_s16le"), (".mp3", "mp3", "libmp3lame"), (".flac", "flac", "flac"))[
        int(rng.integers(3))
    ]
    path = stem.with_suffix(suffix)
    path.write_bytes(media.sound(container, codec, seconds=float(rng.uniform(3, 20))))
    return path


def _size(rng: np.random.Generator) -> tuple[int, int]:
    return SIZES[int(rng.integers(len(SIZES)))]


def _padded(grain: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.pad(grain, ((0, height - grain.shape[0]), (0, width - grain.shape[1]), (0, 0)), "edge")


_WRITERS: dict[str, Callable[[Path, np.random.Generator, Photos], Path]] = {
    "face": _with_face,
    "no face": _without_face,
    "drawn": _drawn,
    "animation": _animation,
    "video": _video,
    "sound": _sound,
}
