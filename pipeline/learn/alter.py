"""What happens to media on its way through the world, done to a file: for robustness curves. Nothing is manipulated.

Each alteration makes a new file from a file, or says that it does not apply to this kind of media.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.learn.manifest import STILLS, VIDEOS
from pipeline.learn.reel import Encoding, read_reel, write_reel

Image = NDArray[np.uint8]

_SECONDS = 20.0


def _jpeg(quality: int) -> Callable[[Image, Path], None]:
    return lambda image, out: _write(out, image, [cv2.IMWRITE_JPEG_QUALITY, quality])


def _half(image: Image, out: Path) -> None:
    height, width = image.shape[:2]
    small = cv2.resize(image, (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA)
    _write(out, np.asarray(small, np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 90])


def _crop(image: Image, out: Path) -> None:
    """The middle four fifths of each side; the 8 × 8 grid of an earlier JPEG no longer lies where it did."""
    height, width = image.shape[:2]
    dy, dx = height // 10 + 3, width // 10 + 3
    _write(out, np.ascontiguousarray(image[dy : height - dy, dx : width - dx]), [cv2.IMWRITE_JPEG_QUALITY, 92])


def _screenshot(image: Image, out: Path) -> None:
    """As a phone shows it: brought to 1,080 pixels, on a border, saved without loss and shared as JPEG."""
    height, width = image.shape[:2]
    scale = 1080 / width
    shown = cv2.resize(image, (1080, max(1, round(height * scale))), interpolation=cv2.INTER_LINEAR)
    framed = cv2.copyMakeBorder(shown, 120, 160, 0, 0, cv2.BORDER_CONSTANT, value=(18, 18, 18))
    _write(out, np.asarray(framed, np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 80])


def _h264(crf: int) -> Callable[[Path, Path], None]:
    def recode(source: Path, out: Path) -> None:
        reel = read_reel(source, _SECONDS)
        if reel is None:
            raise ValueError(f"no frame of {source.name} could be read")
        write_reel(out, reel, Encoding("libx264", {"preset": "veryfast", "crf": str(crf)}))

    return recode


_OF_STILLS: Mapping[str, Callable[[Image, Path], None]] = {
    "jpeg-80": _jpeg(80),
    "jpeg-50": _jpeg(50),
    "half-size": _half,
    "crop": _crop,
    "screenshot": _screenshot,
}
_OF_VIDEOS: Mapping[str, Callable[[Path, Path], None]] = {"h264-28": _h264(28), "h264-36": _h264(36)}

ALTERATIONS = (*_OF_STILLS, *_OF_VIDEOS)


def alter(source: Path, name: str, folder: Path) -> Path | None:
    """The altered copy under `folder`; None where the alteration does not apply or the file cannot be read."""
    suffix = source.suffix.lower()
    if name in _OF_STILLS and suffix in STILLS:
        image: Any = cv2.imread(str(source), cv2.IMREAD_COLOR)
        if image is None or min(image.shape[:2]) < 32:
            return None
        out = folder / f"{source.stem}.{name}.jpg"
        _OF_STILLS[name](np.asarray(image, np.uint8), out)
        return out
    if name in _OF_VIDEOS and suffix in VIDEOS:
        out = folder / f"{source.stem}.{name}.mp4"
        _OF_VIDEOS[name](source, out)
        return out
    return None


def _write(out: Path, image: Image, options: list[int]) -> None:
    if not cv2.imwrite(str(out), image, options):
        raise OSError(f"{out} cannot be written")
