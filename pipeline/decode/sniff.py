"""What a file is, by its first bytes: the declared type and the name are the uploader's word and count for nothing.

Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

HEAD = 4096
"""Bytes that are looked at."""


class Shape(StrEnum):
    """Who can read a file."""

    IMAGE = "image"
    TIMELINE = "timeline"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Sniffed:
    """`name`: the image format as the image reader calls it, or a word for people."""

    shape: Shape
    name: str

    @property
    def mime(self) -> str | None:
        """The media type, where Content Credentials have been defined for it."""
        return _MIME.get(self.name)


_MIME = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "GIF": "image/gif",
    "WEBP": "image/webp",
    "TIFF": "image/tiff",
    "AVIF": "image/avif",
    "HEIF": "image/heif",
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "avi": "video/avi",
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
}

_IMAGES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (8, b"WEBP", "WEBP"),
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    (0, b"BM", "BMP"),
)

_BRANDS = {
    b"avif": "AVIF",
    b"avis": "AVIF",
    b"heic": "HEIF",
    b"heix": "HEIF",
    b"heim": "HEIF",
    b"heis": "HEIF",
    b"hevc": "HEIF",
    b"hevx": "HEIF",
}

_TIMELINES: tuple[tuple[int, bytes, str], ...] = (
    (4, b"ftyp", "mp4"),
    (4, b"moov", "mov"),
    (4, b"mdat", "mov"),
    (4, b"wide", "mov"),
    (4, b"free", "mov"),
    (4, b"skip", "mov"),
    (0, b"\x1aE\xdf\xa3", "matroska"),
    (8, b"AVI ", "avi"),
    (8, b"WAVE", "wav"),
    (0, b"OggS", "ogg"),
    (0, b"fLaC", "flac"),
    (0, b"ID3", "mp3"),
    (0, b"FLV\x01", "flv"),
    (0, b"FORM", "aiff"),
    (0, b"caff", "caf"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (0, b"#!AMR", "amr"),
    (0, b"\x00\x00\x01\xba", "mpeg"),
)

# What is no media, or is media only through other files that it names. Playlists and scripts must never be followed.
_REFUSED: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"#EXTM3U"), "playlist"),
    (re.compile(rb"ffconcat version"), "concatenation script"),
    (re.compile(rb"\[playlist\]", re.IGNORECASE), "playlist"),
    (re.compile(rb"v=0\r?\no="), "session description"),
    (re.compile(rb"(?:<\?xml[^>]*\?>\s*)?(?:<!--.*?-->\s*|<!DOCTYPE[^>]*>\s*)*<svg", re.DOTALL | re.IGNORECASE), "SVG"),
    (re.compile(rb"<\?xml|<(?:!DOCTYPE|html|MPD|smil|asx)", re.IGNORECASE), "XML or HTML"),
    (re.compile(rb"%PDF-|%!PS"), "document"),
    (re.compile(rb"PK\x03\x04|PK\x05\x06|\x1f\x8b|BZh|7z\xbc\xaf|\xfd7zXZ|Rar!|\x28\xb5\x2f\xfd"), "archive"),
    (re.compile(rb"\x7fELF|MZ|#!/"), "program"),
)


def sniff(head: bytes) -> Sniffed:
    """What `head`, the first bytes of a file, belongs to."""
    if head[4:8] == b"ftyp":
        return _by_brand(head)
    for offset, magic, name in _IMAGES:
        if head.startswith(magic, offset):
            return Sniffed(Shape.IMAGE, name)
    for offset, magic, name in _TIMELINES:
        if head.startswith(magic, offset):
            return Sniffed(Shape.TIMELINE, name)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    for pattern, name in _REFUSED:
        if pattern.match(text):
            return Sniffed(Shape.REFUSED, name)
    return Sniffed(Shape.UNKNOWN, "unknown")


def _by_brand(head: bytes) -> Sniffed:
    """ISO base media: the major brand decides, then the compatible ones (`mif1` alone says only "some image")."""
    length = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, length - 3, 4))]
    if brands[0] in _BRANDS:
        return Sniffed(Shape.IMAGE, _BRANDS[brands[0]])
    if brands[0] in (b"mif1", b"msf1", b"miaf"):
        named = [_BRANDS[brand] for brand in brands if brand in _BRANDS]
        return Sniffed(Shape.IMAGE, named[0] if named else "HEIF")
    return Sniffed(Shape.TIMELINE, "mp4")
