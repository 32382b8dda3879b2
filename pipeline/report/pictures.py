"""The pictures of a report: the frames that evidence points at, with the place marked and the heat map laid over it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.decode.port import RGB, Clip, Decode, Keyframe, Span
from pipeline.events.values import Box, Evidence, Heat

_FRAME, _CROP = 640, 240
_MARGIN = 0.35
_AWAY = 0.15
"""Seconds: a frame this near the moment of the evidence shows it."""
_MARK = (235, 94, 40)


@dataclass(frozen=True, slots=True)
class Shot:
    """One piece of evidence as pictures, each a `data:` address; `crop` and `heat` only where there is a place."""

    frame: str
    crop: str = ""
    heat: str = ""


async def frames_at(path: Path, moments: Iterable[float], decode: Decode) -> Mapping[float, RGB]:
    """The frame shown at each moment (seconds), as far as one can be decoded; stills have theirs at 0.

    Decoded anew, in the sandbox: no frame is kept after judging. Raises as decoding does.
    """
    wanted = sorted(set(moments))
    clip: Clip = await decode(path)
    far = [at for at in wanted if clip.facts.duration and not _near(clip.keyframes, at)]
    spans = [Span(max(0.0, at - 0.02), at + _AWAY, 25.0, "a picture for the report") for at in far]
    windows = await decode.closer(path, spans, len(clip.keyframes)) if spans else ()
    seen = [*clip.keyframes, *(frame for window in windows for frame in window.frames)]
    if not seen:
        return {}
    found = {at: min(seen, key=lambda frame: abs(frame.at - at)) for at in wanted}
    # What lies too far away would show something else than the evidence speaks of.
    return {at: frame.image for at, frame in found.items() if not clip.facts.duration or abs(frame.at - at) <= 1.0}


def _near(frames: Sequence[Keyframe], at: float) -> bool:
    return any(abs(frame.at - at) <= _AWAY for frame in frames)


def shot(image: RGB, evidence: Evidence) -> Shot:
    """The frame with the place marked; the place by itself; and the place under its heat map."""
    box = evidence.heat.box if evidence.heat and evidence.box is None else evidence.box
    marked = image.copy()
    if box is not None:
        x0, y0, x1, y1 = _pixels(box, image)
        cv2.rectangle(marked, (x0, y0), (x1, y1), _MARK, max(2, max(image.shape) // 300))
    frame = address(fitted(marked, _FRAME))
    if box is None:
        return Shot(frame)
    around = evidence.heat.box if evidence.heat else _wider(box)
    heat = _cut(heated(image, evidence.heat), around) if evidence.heat else None
    return Shot(
        frame,
        address(scaled(_cut(image, around), _CROP)),
        address(scaled(heat, _CROP)) if heat is not None else "",
    )


def heated(image: RGB, heat: Heat) -> RGB:
    """The frame with a heat map laid over its place: clear where it is cold, red to yellow where it is hot."""
    x0, y0, x1, y1 = _pixels(heat.box, image)
    cells = np.frombuffer(heat.cells, np.uint8).reshape(heat.rows, heat.cols)
    smooth = cv2.resize(cells, (max(1, x1 - x0), max(1, y1 - y0)), interpolation=cv2.INTER_CUBIC)
    colours: Any = cv2.applyColorMap(smooth, cv2.COLORMAP_INFERNO)[..., ::-1]
    alpha = 0.75 * (smooth.astype(np.float32) / 255)[..., None]
    out = image.copy()
    place = out[y0:y1, x0:x1].astype(np.float32)
    rows, cols = place.shape[:2]
    out[y0:y1, x0:x1] = (place * (1 - alpha[:rows, :cols]) + colours[:rows, :cols] * alpha[:rows, :cols]).astype(
        np.uint8
    )
    return out


def address(image: NDArray[Any]) -> str:
    """The picture as a `data:` address."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg(image, 82)).decode()}"


def jpeg(image: NDArray[Any], quality: int) -> bytes:
    """An RGB or grey picture as JPEG: new bytes, so that nothing that an uploader hid in a file comes along."""
    pixels = image[..., ::-1] if image.ndim == 3 else image
    done, packed = cv2.imencode(".jpg", np.ascontiguousarray(pixels), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"cannot encode a picture of shape {image.shape}")
    return bytes(packed.tobytes())


def _pixels(box: Box, image: RGB) -> tuple[int, int, int, int]:
    height, width = image.shape[:2]
    x0, y0 = int(box.x0 * width), int(box.y0 * height)
    return x0, y0, max(x0 + 1, min(width, round(box.x1 * width))), max(y0 + 1, min(height, round(box.y1 * height)))


def _wider(box: Box) -> Box:
    dx, dy = _MARGIN * (box.x1 - box.x0), _MARGIN * (box.y1 - box.y0)
    return Box(x0=max(0.0, box.x0 - dx), y0=max(0.0, box.y0 - dy), x1=min(1.0, box.x1 + dx), y1=min(1.0, box.y1 + dy))


def _cut(image: RGB, box: Box) -> RGB:
    x0, y0, x1, y1 = _pixels(box, image)
    return image[y0:y1, x0:x1]


def fitted(image: RGB, longest: int) -> RGB:
    """At most so many pixels on the long side."""
    return image if max(image.shape[:2]) <= longest else scaled(image, longest)


def scaled(image: RGB, longest: int) -> RGB:
    """Exactly so many pixels on the long side."""
    scale = longest / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=how), dtype=np.uint8)
