"""Still and animated images: the only door to Pillow and pillow-heif. Runs inside the sandbox.

A still image is judged whole or not at all: a truncated one is `media_corrupt`. Of an animation, the frames before the
damage are judged, and the manifest says so.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

import msgspec
import numpy as np
import pillow_heif
from PIL import AvifImagePlugin, ExifTags, Image, ImageSequence, PngImagePlugin, UnidentifiedImageError
from PIL import __version__ as _pillow_version

from pipeline.decode import sampling
from pipeline.decode.geometry import fit, middle
from pipeline.decode.handover import FrameAt, LumaAt, Outbox, Report
from pipeline.decode.metadata import Entries, bounded, from_xmp
from pipeline.decode.port import DecodeBudget
from pipeline.errors import Permanent, Reason, Stage
from pipeline.events.values import MediaFacts, MediaKind, TrackFacts

DECODER = f"Pillow {_pillow_version}"

WALK_FRAMES = 5
"""An animation has to be decoded in order; it may cost this many times `max_pixels` before the walk ends."""

_ANIMATED = frozenset({"GIF", "PNG", "WEBP", "AVIF"})
_DEFAULT_DELAY = 0.1
_DAMAGE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    RuntimeError,
    TypeError,
    LookupError,
    ArithmeticError,
    AssertionError,
    struct.error,
)
"""What Pillow's readers raise on damaged files; it has no exception of its own for them."""
_EXIF = ("Software", "Make", "Model", "ImageDescription", "DateTime", "Artist", "HostComputer")
_STRIP = 64
"""Rows that are converted and handed over at once."""
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation → what makes the picture upright."""
_QUARTERS = {3: 180, 4: 180, 5: 90, 6: 90, 7: 270, 8: 270}

pillow_heif.register_heif_opener(thumbnails=False)
pillow_heif.options.DECODE_THREADS = 1
AvifImagePlugin.DEFAULT_MAX_THREADS = 1
Image.MAX_IMAGE_PIXELS = None  # the budget decides, below, before anything is allocated
PngImagePlugin.MAX_TEXT_CHUNK = 1024**2
PngImagePlugin.MAX_TEXT_MEMORY = 4 * 1024**2
Image.init()  # the sandbox opens no files: every plugin has to be in memory before


def decode(file: BinaryIO, name: str, budget: DecodeBudget, out: Outbox) -> Report:
    """Decode one image of the format `name` (as Pillow calls it)."""
    try:
        with Image.open(file, formats=[name, "MPO"] if name == "JPEG" else [name]) as picture:
            width, height = picture.size
            if width * height > budget.max_pixels:
                raise _permanent(Reason.MEDIA_BOMB, f"{width} × {height} pixels in one frame")
            count = int(getattr(picture, "n_frames", 1))
            if count > 1 and picture.format in _ANIMATED:
                return _animation(picture, count, budget, out)
            return _still(picture, file, budget, out)
    except Permanent:
        raise
    except UnidentifiedImageError:
        raise _permanent(Reason.MEDIA_CORRUPT, f"not readable as {name}") from None
    except _DAMAGE as error:
        raise _broken(name, error) from error


def _still(picture: Image.Image, file: BinaryIO, budget: DecodeBudget, out: Outbox) -> Report:
    name = (picture.format or "image").lower()
    width, height = picture.size
    orientation = _orientation(picture)
    metadata = _metadata(picture)
    picture.draft("RGB", (budget.max_side, budget.max_side))  # JPEG: let the DCT do most of the scaling
    frame = _frame(picture, 0.0, budget, out, orientation)
    if budget.native_side:
        frame = msgspec.structs.replace(frame, native=_native(picture, file, budget.native_side, out))
    if orientation >= 5:
        width, height = height, width
    facts = MediaFacts(
        kind=MediaKind.IMAGE,
        container=name,
        width=width,
        height=height,
        rotation=_QUARTERS.get(orientation, 0),
        tracks=(TrackFacts(kind="image", codec=name, width=width, height=height),),
        metadata=metadata,
        quantization=_quantization(picture),
    )
    manifest = sampling.manifest(DECODER, budget, looked_at=(0.0,), complete=True)
    return Report(facts, manifest, (frame,))


def _quantization(picture: Image.Image) -> tuple[tuple[int, ...], ...]:
    """A JPEG's tables, in natural order; nothing for other formats."""
    tables = getattr(picture, "quantization", None) or {}
    return tuple(tuple(int(step) for step in table) for _, table in sorted(tables.items()) if len(table) == 64)


def _animation(picture: Image.Image, count: int, budget: DecodeBudget, out: Outbox) -> Report:
    """Frames must be composed in order; only the picked ones are converted and handed over."""
    name = (picture.format or "image").lower()
    width, height = picture.size
    walk = max(1, WALK_FRAMES * budget.max_pixels // (width * height))
    wanted = frozenset(sampling.spread(min(count, walk), budget.frames))
    notes = [f"only the first {walk} of {count} frames were walked"] if count > walk else []
    metadata = _metadata(picture)
    frames: list[FrameAt] = []
    clock, walked = 0.0, 0
    try:
        for frame, delay in _frames(picture):
            if walked == walk:
                break
            if walked in wanted:
                frames.append(_frame(frame, clock, budget, out))
            clock += delay
            walked += 1
    except _DAMAGE:
        if not frames:
            raise
        notes.append(f"damaged after frame {walked} of {count}")
    if not frames:
        raise _permanent(Reason.MEDIA_CORRUPT, f"no frame of the {name} animation could be decoded")
    duration = clock * count / walked if walked else clock
    if duration > budget.max_duration:
        raise _permanent(Reason.MEDIA_BOMB, f"lasts {duration:.0f} s")
    facts = MediaFacts(
        kind=MediaKind.ANIMATION,
        container=name,
        duration=round(duration, 3),
        width=width,
        height=height,
        tracks=(
            TrackFacts(
                kind="video", codec=name, width=width, height=height, frame_rate=count / duration if duration else None
            ),
        ),
        metadata=metadata,
    )
    manifest = sampling.manifest(
        DECODER,
        budget,
        looked_at=[frame.at for frame in frames],
        duration=duration,
        complete=len(frames) == count,
        notes=notes,
    )
    return Report(facts, manifest, tuple(frames))


def _frames(picture: Image.Image) -> Iterator[tuple[Image.Image, float]]:
    """Every frame with its delay in seconds. Formats that give none, or 0, are shown at ten frames a second."""
    for frame in ImageSequence.Iterator(picture):
        frame.load()
        delay = frame.info.get("duration", 0)
        yield frame, float(delay) / 1000 if isinstance(delay, int | float) and delay > 0 else _DEFAULT_DELAY


def _frame(picture: Image.Image, at: float, budget: DecodeBudget, out: Outbox, orientation: int = 1) -> FrameAt:
    shown = _scaled(picture, budget.max_side)
    if orientation in _UPRIGHT:
        shown = shown.transpose(_UPRIGHT[orientation])
    strips = range(0, shown.height, _STRIP)
    boxes = ((0, top, shown.width, min(top + _STRIP, shown.height)) for top in strips)
    return FrameAt(at, shown.height, shown.width, out.put_parts(_rgb(shown.crop(box)).tobytes() for box in boxes))


def _native(picture: Image.Image, file: BinaryIO, side: int, out: Outbox) -> LumaAt:
    """The brightness of the middle of a loaded picture, unscaled.

    A JPEG is read again for it: its luma alone, at full size, costs less than one decode that serves both (measured).
    """
    if picture.format in {"JPEG", "MPO"}:
        file.seek(0)
        with Image.open(file, formats=["JPEG"]) as again:
            again.draft("L", None)
            luma = again.crop(middle(*again.size, side)).convert("L")
    else:
        luma = _rgb(picture.crop(middle(*picture.size, side))).convert("L")
    return LumaAt(luma.height, luma.width, out.put_parts([luma.tobytes()]))


def _scaled(picture: Image.Image, max_side: int) -> Image.Image:
    picture.load()
    size = fit(*picture.size, max_side)
    if size == picture.size:
        return picture
    if picture.mode in {"P", "PA"}:
        picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    elif picture.mode == "1":
        picture = picture.convert("L")
    elif picture.mode.startswith("I;"):
        picture = picture.convert("I")
    return picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)


def _rgb(picture: Image.Image) -> Image.Image:
    """RGB on white, as viewers show what is transparent; 16-bit grey is scaled down, not clipped."""
    if picture.mode.startswith("I"):
        grey = np.asarray(picture).astype(np.int64) >> 8
        picture = Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))
    if picture.has_transparency_data:
        layers = picture.convert("RGBA")
        picture = Image.new("RGBA", layers.size, "white")
        picture.alpha_composite(layers)
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _orientation(picture: Image.Image) -> int:
    value = _exif(picture).get(ExifTags.Base.Orientation, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _exif(picture: Image.Image) -> Any:
    """The EXIF of the picture; damaged EXIF is no EXIF, since viewers show the picture all the same."""
    try:
        return picture.getexif()
    except _DAMAGE:
        return {}


def _metadata(picture: Image.Image) -> Entries:
    """Text chunks, comments, camera and software tags, XMP. No place, no thumbnail."""
    info = picture.info
    entries: list[tuple[str, object]] = []
    exif = _exif(picture)
    entries += [(f"exif:{name}", exif[tag]) for name in _EXIF if (tag := ExifTags.Base[name]) in exif]
    details = exif.get_ifd(ExifTags.IFD.Exif) if exif else {}
    if comment := details.get(ExifTags.Base.UserComment):
        entries.append(("exif:UserComment", comment[8:] if isinstance(comment, bytes) else comment))
    for key in ("comment", "description"):
        if key in info:
            entries.append((f"{(picture.format or 'image').lower()}:{key}", info[key]))
    texts = getattr(picture, "text", {}) if picture.format == "PNG" else {}
    entries += [(f"png:{key}", value) for key, value in texts.items() if key != "XML:com.adobe.xmp"]
    packet = info.get("xmp") or texts.get("XML:com.adobe.xmp")
    if packet:
        entries += from_xmp(packet)
    return bounded(entries)


def _broken(name: str, error: Exception) -> Permanent:
    if isinstance(error, Image.DecompressionBombError) or "too large" in str(error):
        return _permanent(Reason.MEDIA_BOMB, f"{name}: {error}")
    return _permanent(Reason.MEDIA_CORRUPT, f"{name}: {type(error).__name__}: {error}"[:300])


def _permanent(reason: Reason, detail: str) -> Permanent:
    return Permanent(Stage.DECODE, reason, detail)
