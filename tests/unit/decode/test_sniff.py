"""What a file is, by its first bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decode.sniff import Shape, sniff
from tests import media


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "GIF", "TIFF", "BMP"])
def test_images_are_known_by_their_bytes(kind: str) -> None:
    """Every image format is recognised and named as its reader names it."""
    found = sniff(media.image(kind, 32, 32))
    assert (found.shape, found.name) == (Shape.IMAGE, kind)


@pytest.mark.parametrize(
    "data",
    [media.hls_playlist(), media.concat_script(), media.svg(), media.archive(), b"%PDF-1.7", b"<html>", b"\x7fELF"],
)
def test_what_is_no_media_is_refused(data: bytes) -> None:
    """Playlists, scripts, documents, archives and programs are refused before any reader sees them."""
    assert sniff(data).shape is Shape.REFUSED


@pytest.mark.parametrize(
    "prologue", [b"\xef\xbb\xbf", b"\n  ", b'<?xml version="1.0"?>\n', b"<?xml version='1.0'?><!-- a --><!DOCTYPE svg>"]
)
def test_markup_is_refused_behind_a_prologue(prologue: bytes) -> None:
    """White space, a byte order mark, comments and declarations do not hide markup."""
    assert sniff(prologue + media.svg()).shape is Shape.REFUSED


@pytest.mark.parametrize(
    ("brands", "name"),
    [
        ((b"mif1", b"heic"), "HEIF"),
        ((b"mif1", b"avif"), "AVIF"),
        ((b"avis", b"avif"), "AVIF"),
        ((b"heic",), "HEIF"),
    ],
)
def test_brands_tell_still_images_from_video(brands: tuple[bytes, ...], name: str) -> None:
    """A generic image brand is settled by the compatible ones."""
    body = b"ftyp" + brands[0] + bytes(4) + b"".join(brands)
    assert sniff((len(body) + 4).to_bytes(4, "big") + body).name == name


def test_mp4_is_a_timeline() -> None:
    """A video brand goes to the video reader."""
    assert sniff(b"\x00\x00\x00\x18ftypisom" + bytes(12)).shape is Shape.TIMELINE


@given(st.binary(max_size=200))
def test_any_bytes_get_an_answer(data: bytes) -> None:
    """No bytes make the sniffer fail."""
    assert sniff(data).shape in Shape
