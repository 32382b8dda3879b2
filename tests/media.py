"""Sample media of every kind, made by code: nothing is downloaded and nothing is stored.

All functions return bytes, except those that make large files, which write to a path. Every video carries a *stamp*:
the top left corner of each frame is a grey block that tells its second (`stamp_of`), so a test can see which moment it
got. The texture stands still otherwise, so that encoders place keyframes where they are asked to.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

pillow_heif.register_heif_opener()
os.environ.setdefault("SVT_LOG", "0")  # its encoder prints a page otherwise

RGB = NDArray[np.uint8]

STAMP_SHARE = 4
"""The stamp covers the top left 1/4 × 1/4 of a frame."""


@cache
def texture(width: int = 320, height: int = 180, seed: int = 0) -> RGB:
    """Something like a photograph to a codec: noise on several scales, smooth colours. height × width × 3."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3))
    for cells, weight in ((3, 90), (9, 60), (33, 40), (97, 20)):
        coarse = rng.normal(size=(cells, cells, 3))
        rows = np.linspace(0, cells - 1.001, height)
        columns = np.linspace(0, cells - 1.001, width)
        r, c = rows.astype(int), columns.astype(int)
        fr, fc = (rows - r)[:, None, None], (columns - c)[None, :, None]
        top = coarse[r][:, c] * (1 - fc) + coarse[r][:, c + 1] * fc
        bottom = coarse[r + 1][:, c] * (1 - fc) + coarse[r + 1][:, c + 1] * fc
        picture += weight * (top * (1 - fr) + bottom * fr)
    picture += rng.normal(scale=3, size=picture.shape)
    return np.clip(picture + 128, 0, 255).astype(np.uint8)


def stamped(width: int, height: int, second: float, seed: int = 0) -> RGB:
    """The texture with the stamp of a second."""
    frame = texture(width, height, seed).copy()
    frame[: height // STAMP_SHARE, : width // STAMP_SHARE] = 20 + (int(second) % 24) * 9
    return frame


def stamp_of(image: RGB) -> int:
    """The second (modulo 24) that a decoded, upright frame was stamped with."""
    height, width = image.shape[:2]
    block = image[height // 16 : height // 6, width // 16 : width // 6]
    return round((float(block.mean()) - 20) / 9)


# Still images


def image(kind: str = "JPEG", width: int = 320, height: int = 180, *, seed: int = 0, **save: Any) -> bytes:
    """A still image; `kind` as Pillow names it (JPEG, PNG, WEBP, AVIF, HEIF, GIF, TIFF, BMP), `save` for its writer."""
    return _saved(Image.fromarray(texture(width, height, seed)), kind, **save)


def rotated_photo(orientation: int = 6, width: int = 320, height: int = 180) -> bytes:
    """A JPEG whose EXIF orientation says how to turn it, with camera tags. Its stamp is top left once it is upright."""
    upright = Image.fromarray(stamped(width, height, 7))
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Maker"
    exif[0x0110] = "Model One"
    exif[0x0131] = "Firmware 1.2"
    return _saved(upright.transpose(undo[orientation]) if orientation > 1 else upright, "JPEG", exif=exif, quality=95)


def generated_png(parameters: str = "a portrait, Steps: 20, Sampler: Euler a", **texts: str) -> bytes:
    """A PNG with the text chunks that image generators leave."""
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", parameters)
    for key, value in texts.items():
        info.add_itxt(key, value)
    return image("PNG", pnginfo=info)


XMP_SYNTHETIC = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    b'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:CreatorTool="Imaginer 3" '
    b'Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"/>'
    b"</rdf:RDF></x:xmpmeta>"
)


def synthetic_photo() -> bytes:
    """A JPEG whose XMP says that a trained algorithm made it."""
    return image("JPEG", xmp=XMP_SYNTHETIC)


def animation(
    kind: str = "GIF", frames: int = 10, width: int = 160, height: int = 90, milliseconds: int = 500
) -> bytes:
    """An animated GIF, WEBP, PNG or AVIF; frame i carries the stamp of second i."""
    pictures = [Image.fromarray(stamped(width, height, i)) for i in range(frames)]
    out = io.BytesIO()
    more: dict[str, Any] = {} if kind == "AVIF" else {"loop": 0}
    pictures[0].save(out, kind, save_all=True, append_images=pictures[1:], duration=milliseconds, **more)
    return out.getvalue()


# Video and sound


def video(
    container: str = "mp4",
    codec: str = "libx264",
    *,
    width: int = 320,
    height: int = 180,
    seconds: float = 4,
    fps: int = 10,
    gop: int = 10,
    audio: str | None = None,
    metadata: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
    pixel_format: str = "yuv420p",
    motion: int = 0,
) -> bytes:
    """A video with a keyframe every `gop` frames; `audio`: the codec of a 440 Hz tone beside it.

    `motion`: pixels that the picture moves from frame to frame; 0 is cheap to make.
    """
    out = io.BytesIO()
    _encode(
        out,
        container,
        codec,
        width,
        height,
        seconds,
        fps,
        gop,
        audio,
        metadata or {},
        options if options is not None else _speed(codec),
        pixel_format,
        motion,
    )
    return out.getvalue()


def rotated_video(degrees: int = 90, **video_args: Any) -> bytes:
    """A MOV as phones write it: `degrees` clockwise are to be turned on showing. The stamp is where it was recorded."""
    data = bytearray(video("mov", **video_args))
    cosine, sine = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    matrix = struct.pack(">9i", *(v << 16 for v in (cosine, sine, 0, -sine, cosine, 0, 0, 0)), 1 << 30)
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + 36] = matrix
    return bytes(data)


def trimmed_video(cut: float, **video_args: Any) -> bytes:
    """An MP4 whose first `cut` seconds an edit list hides, as trimming without encoding again leaves it."""
    data = bytearray(video("mp4", **video_args))
    scale_at = data.index(b"mdhd") + 4 + 12
    (scale,) = struct.unpack_from(">I", data, scale_at)
    edit_at = data.index(b"elst") + 4 + 8
    length, begin = struct.unpack_from(">Ii", data, edit_at)
    struct.pack_into(">Ii", data, edit_at, length - int(1000 * cut), begin + int(scale * cut))
    return bytes(data)


def sound(container: str = "wav", codec: str = "pcm_s16le", *, seconds: float = 3, rate: int = 48_000) -> bytes:
    """A 440 Hz tone."""
    out = io.BytesIO()
    with av.open(out, "w", format=container) as target:
        track = target.add_stream(codec, rate=rate)
        _tone(target, track, seconds, rate)
    return out.getvalue()


def song_with_cover(seconds: float = 3) -> bytes:
    """An MP3 with an ID3v2.3 tag that holds a cover picture: sound, not a video."""
    cover = image("JPEG", 200, 200)
    frame_body = b"\x00image/jpeg\x00\x03\x00" + cover
    frame = b"APIC" + struct.pack(">IH", len(frame_body), 0) + frame_body
    size = len(frame)
    syncsafe = bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\x00\x00" + syncsafe + frame + sound("mp3", "libmp3lame", seconds=seconds)


def repeat_video(source: bytes, path: Path, seconds: float) -> None:
    """Write a video as long as asked by repeating the packets of a short one: hours in a moment, no encoding.

    The audio and video of `source` must start at 0 and be as long as each other; the stamps repeat with it.
    """
    with av.open(str(path), "w") as target:
        tracks: dict[int, Any] = {}
        shift = Fraction(0)
        while shift < seconds:
            with av.open(io.BytesIO(source)) as take:
                length = Fraction(take.duration or 0, 1_000_000)
                video_track = take.streams.video[0]
                if video_track.duration and video_track.time_base:
                    length = video_track.duration * video_track.time_base
                for stream in take.streams:
                    if stream.index not in tracks:
                        tracks[stream.index] = target.add_stream_from_template(stream)
                for packet in take.demux():
                    if packet.dts is None or packet.pts is None or packet.time_base is None:
                        continue
                    if packet.pts * packet.time_base >= length or (shift and packet.pts < 0):
                        continue
                    move = int(shift / packet.time_base)
                    packet.pts += move
                    packet.dts += move
                    packet.stream = tracks[packet.stream.index]
                    target.mux(packet)
                shift += length


def _speed(codec: str) -> dict[str, str]:
    match codec:
        case "libx264":
            return {"preset": "ultrafast", "crf": "24", "sc_threshold": "0"}
        case "libx265":
            return {
                "preset": "ultrafast",
                "x265-params": "log-level=none:scenecut=0:keyint=10:open-gop=0",
            }
        case "libvpx" | "libvpx-vp9":
            return {"deadline": "realtime", "cpu-used": "8"}
        case "libsvtav1":
            return {"preset": "12", "svtav1-params": "scd=0"}
    return {}


def _encode(
    out: Any,
    container: str,
    codec: str,
    width: int,
    height: int,
    seconds: float,
    fps: int,
    gop: int,
    audio: str | None,
    metadata: dict[str, str],
    options: dict[str, str],
    pixel_format: str,
    motion: int,
) -> None:
    with av.open(out, "w", format=container) as target:
        target.metadata.update(metadata)
        track: Any = target.add_stream(codec, rate=fps, options=options)
        track.width, track.height, track.pix_fmt = width, height, pixel_format
        track.codec_context.gop_size = gop
        track.codec_context.thread_count = 1
        tone = target.add_stream(audio, rate=48_000) if audio else None
        stamp: tuple[float, Any] = (-1, None)
        for i in range(int(seconds * fps)):
            if stamp[0] != (i if motion else i // fps):
                stamp = (i if motion else i // fps, _picture(width, height, i // fps, i * motion, pixel_format))
            frame = stamp[1]
            frame.pts, frame.time_base = i, Fraction(1, fps)
            frame.pict_type = 1 if i % gop == 0 else 0
            target.mux(track.encode(frame))
        target.mux(track.encode(None))
        if tone:
            _tone(target, tone, seconds, 48_000)


def _picture(width: int, height: int, second: int, shift: int, pixel_format: str) -> Any:
    picture = stamped(width, height, second)
    if shift:
        stamp = picture[: height // STAMP_SHARE, : width // STAMP_SHARE].copy()
        picture = np.roll(texture(width, height), (shift // 2, shift), axis=(0, 1))
        picture[: height // STAMP_SHARE, : width // STAMP_SHARE] = stamp
    return av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixel_format)


def _tone(target: Any, track: Any, seconds: float, rate: int) -> None:
    samples = (0.4 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate) * 32767).astype(np.int16)
    for start in range(0, len(samples), 1024):
        part = samples[start : start + 1024]
        frame = av.AudioFrame.from_ndarray(part[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        target.mux(track.encode(frame))
    target.mux(track.encode(None))


# Hostile files


def empty() -> bytes:
    """Nothing at all."""
    return b""


def noise(size: int = 50_000, seed: int = 0) -> bytes:
    """Random bytes."""
    return np.random.default_rng(seed).bytes(size)


def truncated(data: bytes, share: float = 0.5) -> bytes:
    """The first part of a file."""
    return data[: int(len(data) * share)]


def mutated(data: bytes, seed: int) -> bytes:
    """A valid file with some damage: bytes flipped, a stretch cut out, doubled or zeroed."""
    rng = np.random.default_rng(seed)
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 12))):
        at = int(rng.integers(0, max(1, len(out) if rng.random() < 0.5 else min(len(out), 600))))
        length = int(rng.integers(1, 64))
        match int(rng.integers(0, 5)):
            case 0:
                out[at : at + length] = rng.bytes(length)
            case 1:
                del out[at : at + length]
            case 2:
                out[at:at] = out[at : at + length]
            case 3:
                out[at : at + length] = bytes(len(out[at : at + length]))
            case _:
                out[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00\x00\x00\x00"])
    return bytes(out)


def pixel_bomb_png(width: int = 60_000, height: int = 60_000) -> bytes:
    """A PNG of a few bytes that claims gigabytes of pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(bytes(1000)))
        + _chunk(b"IEND", b"")
    )


def inflating_png(side: int = 12_000) -> bytes:
    """A PNG whose hundred kilobytes really do inflate to `side`² grey pixels."""
    packer = zlib.compressobj(9)
    row = bytes(side + 1)
    body = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def text_bomb_png(size: int = 50_000_000) -> bytes:
    """A PNG with a compressed text chunk that inflates to `size` bytes."""
    packer = zlib.compressobj(9)
    body = b"".join(packer.compress(bytes(1_000_000)) for _ in range(size // 1_000_000)) + packer.flush()
    plain = image("PNG", 16, 16)
    return plain[:33] + _chunk(b"zTXt", b"parameters\x00\x00" + body) + plain[33:]


def pixel_bomb_jpeg(width: int = 65_000, height: int = 65_000) -> bytes:
    """A JPEG whose frame header claims 4 gigapixels."""
    data = bytearray(image("JPEG", 16, 16))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def pixel_bomb_gif(width: int = 65_535, height: int = 65_535) -> bytes:
    """A GIF whose canvas claims 4 gigapixels."""
    data = bytearray(image("GIF", 16, 16))
    data[6:10] = struct.pack("<HH", width, height)
    return bytes(data)


def frame_bomb_gif(frames: int = 3000, side: int = 2000) -> bytes:
    """A GIF of many large frames that each cost a few bytes."""
    one = image("GIF", 8, 8)
    picture = io.BytesIO()
    Image.new("P", (side, side)).save(picture, "GIF")
    data = picture.getvalue()
    at = data.index(b"\x2c")
    return data[:at] + data[at:-1] * frames + b";" if one else b""


def duration_bomb_mp4() -> bytes:
    """A short MP4 whose time tables make it last for years."""
    data = bytearray(video("mp4", seconds=2))
    for box in (b"mvhd", b"mdhd"):
        at = data.index(box) + 4 + 12
        data[at : at + 8] = struct.pack(">II", 1, 0x7FFF_FFF0)
    at = data.index(b"stts") + 4 + 12
    data[at : at + 4] = struct.pack(">I", 0x00FF_FFFF)
    at = data.index(b"edts")
    data[at : at + 4] = b"free"
    return bytes(data)


def pixel_bomb_webm(width: int = 16_383, height: int = 16_383) -> bytes:
    """A VP8 video whose frames say 16,383 × 16,383 while the container says 320 × 180."""
    data = bytearray(video("webm", "libvpx", seconds=1))
    at = data.find(b"\x9d\x01\x2a")
    while at >= 0:
        data[at + 3 : at + 7] = struct.pack("<HH", width, height)
        at = data.find(b"\x9d\x01\x2a", at + 7)
    return bytes(data)


def pixel_bomb_mkv(width: int = 60_000, height: int = 60_000) -> bytes:
    """A Matroska file whose track header claims 3.6 gigapixels."""
    data = bytearray(video("matroska", "libvpx", seconds=1))
    for tag, value in ((b"\xb0\x82\x01\x40", width), (b"\xba\x81\xb4", height)):
        at = data.index(tag)
        data[at : at + len(tag)] = (tag[:2] + struct.pack(">H", value)) if len(tag) == 4 else tag
    return bytes(data)


def hls_playlist(target: str = "file:///etc/hostname") -> bytes:
    """An HLS playlist whose only segment is another file."""
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10.0,\n{target}\n#EXT-X-ENDLIST\n".encode()


def concat_script(target: str = "/etc/hostname") -> bytes:
    """An FFmpeg concatenation script that names another file."""
    return f"ffconcat version 1.0\nfile '{target}'\n".encode()


def svg() -> bytes:
    """An SVG that pulls in another file."""
    return b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="file:///etc/hostname"/></svg>'


def mp4_with_outside_data(target: str = "/etc/hostname") -> bytes:
    """A QuickTime file whose data reference points at another file (`alis`/`url ` with a path)."""
    data = video("mov", seconds=1)
    path = target.encode() + b"\x00"
    entry = struct.pack(">I", 12 + len(path)) + b"url " + b"\x00\x00\x00\x00" + path
    at = data.index(b"dref") - 4
    (old,) = struct.unpack(">I", data[at : at + 4])
    new = struct.pack(">I", 16 + len(entry)) + b"dref" + bytes(4) + struct.pack(">I", 1) + entry
    grown = bytearray(data[:at] + new + data[at + old :])
    for box in (b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        where = grown.index(box) - 4
        (size,) = struct.unpack(">I", grown[where : where + 4])
        grown[where : where + 4] = struct.pack(">I", size + len(new) - old)
    return bytes(grown)


def archive() -> bytes:
    """A ZIP file that holds a photograph."""
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as target:
        target.writestr("photo.jpg", image())
    return out.getvalue()


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _saved(picture: Image.Image, kind: str, **save: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **save)
    return out.getvalue()


def photograph(seed: int = 0) -> bytes:
    """A JPEG of noise."""
    noise = np.random.default_rng(seed).integers(0, 255, (240, 320, 3)).astype(np.uint8)
    packed = io.BytesIO()
    Image.fromarray(noise).save(packed, "JPEG")
    return packed.getvalue()
