"""The files that are offered, made beforehand: a few originals of each kind, and for every upload a copy of its own.

A copy differs from its original in bytes that no decoder shows (a comment, a free box, a chunk to be skipped), so its
digest is new, it has to be judged, and it costs exactly what the original costs.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from pipeline.demo.media import RGB, rendered, write_jpeg, write_sound, write_video
from pipeline.errors import ConfigError
from pipeline.load.mix import Kind, Planned
from pipeline.models.samples import sample_photographs

Originals = Mapping[Kind, Sequence[Path]]

SHORT_SECONDS = 10.0
LONG_SECONDS = 120.0
SOUND_SECONDS = 20.0
_SIZES = ((1080, 1350), (1280, 960), (720, 720), (1920, 1440))
_LARGEST_COMMENT = 65_533  # the length field of a JPEG segment counts itself


def make_originals(
    folder: Path, home: Path, models_dir: Path, kinds: frozenset[Kind], tell: Callable[[str], None]
) -> dict[Kind, tuple[Path, ...]]:
    """Write what the kinds need into `folder`; what is there already stays. Half of the pictures show a face.

    Raises:
        ConfigError: the photographs cannot be had.
    """
    folder.mkdir(parents=True, exist_ok=True)
    photographs = {photo.name: _read(photo.path) for photo in sample_photographs(home, models_dir, tell)}
    portrait, coffee = photographs["astronaut"], photographs["coffee"]
    pictures = [
        _cut(portrait if n % 2 == 0 else coffee if n % 4 == 1 else rendered(n), n, size)
        for n, size in enumerate(_SIZES * 2)
    ]

    def made(name: str, write: Callable[[Path], None]) -> Path:
        path = folder / name
        if not path.exists():
            tell(f"making {name}")
            unfinished = path.with_stem(f"{path.stem}-unfinished")  # the ending chooses the format
            write(unfinished)
            unfinished.replace(path)
        return path

    def damaged(path: Path) -> None:
        write_jpeg(path, pictures[0])
        path.write_bytes(path.read_bytes()[:400])

    stills = [(coffee, 2.0), (portrait, 6.0), (coffee, 2.0)]
    writers: dict[Kind, list[tuple[str, Callable[[Path], None]]]] = {
        Kind.IMAGE: [(f"image-{n}.jpg", lambda at, p=p: write_jpeg(at, p)) for n, p in enumerate(pictures)],  # type: ignore[misc]
        Kind.SHORT_VIDEO: [("short.mp4", lambda at: write_video(at, stills))],
        Kind.LONG_VIDEO: [("long.mp4", lambda at: write_video(at, stills * round(LONG_SECONDS / SHORT_SECONDS)))],
        Kind.AUDIO: [("sound.wav", lambda at: write_sound(at, SOUND_SECONDS))],
        Kind.BROKEN: [("damaged.jpg", damaged), ("nothing.bin", lambda at: _write(at, bytes(range(256)) * 16))],
    }
    return {kind: tuple(made(*each) for each in writers[kind]) for kind in writers if kind in kinds}


def write_copies(
    folder: Path, originals: Originals, planned: Sequence[Planned], stamp: str, on_file: Callable[[], None]
) -> tuple[Path, ...]:
    """A file for each planned upload, a re-upload's being that of the upload that it repeats. `stamp`: of this run."""
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    for position, each in enumerate(planned):
        if each.again is not None:
            paths.append(paths[each.again])
        else:
            those = originals[each.kind]
            original = those[each.number % len(those)]
            path = folder / f"{stamp}-{position:06d}{original.suffix}"
            path.write_bytes(stamped(original.read_bytes(), original.suffix, f"{stamp} {position}".encode()))
            paths.append(path)
        on_file()
    return tuple(paths)


def stamped(data: bytes, suffix: str, text: bytes) -> bytes:
    """The same content with other bytes: a comment segment after a JPEG's first marker (ITU-T T.81, B.2.4.5), a `free`
    box after an MP4's last (ISO/IEC 14496-12, 8.1.2), a chunk after a WAV's last (RIFF), plain bytes after all else.
    """
    match suffix:
        case ".jpg":
            return data[:2] + b"\xff\xfe" + struct.pack(">H", len(text[:_LARGEST_COMMENT]) + 2) + text + data[2:]
        case ".mp4":
            return data + struct.pack(">I", len(text) + 8) + b"free" + text
        case ".wav":
            even = text + b"\0" * (len(text) % 2)
            longer = data + b"junk" + struct.pack("<I", len(text)) + even
            return longer[:4] + struct.pack("<I", len(longer) - 8) + longer[8:]
    return data + text


def _cut(picture: RGB, seed: int, size: tuple[int, int]) -> RGB:
    """A part of a photograph at another size and light. The sample portrait's face lies in the corner that is kept."""
    rng = np.random.default_rng(seed)
    rows, columns = picture.shape[:2]
    share = rng.uniform(0.65, 1.0)
    part = picture[: int(rows * share), : int(columns * share)]
    width, height = size
    scale = max(width / part.shape[1], height / part.shape[0])
    move = np.array([[scale, 0, 0], [0, scale, 0]])
    larger = cv2.warpAffine(np.ascontiguousarray(part), move, (width, height), flags=cv2.INTER_CUBIC)
    return np.asarray(np.clip(larger * rng.uniform(0.85, 1.1), 0, 255), np.uint8)


def _read(path: Path) -> RGB:
    found = cv2.imread(str(path))
    if found is None:
        raise ConfigError(f"not a picture: {path}")
    return np.asarray(cv2.cvtColor(found, cv2.COLOR_BGR2RGB), np.uint8)


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
