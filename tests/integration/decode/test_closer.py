"""A closer look, the coded brightness and the packets: through the sandbox, on videos made by code."""

import asyncio
import io
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from pipeline.decode.pool import DecodePool
from pipeline.decode.port import DecodeBudget, Span, Window
from pipeline.errors import Permanent, Reason
from tests import media
from tests.integration.decode.conftest import DecodeBytes
from tests.integration.decode.misbehaving import MANY

pytestmark = pytest.mark.asyncio(loop_scope="module")

DECODER = "tests.integration.decode.misbehaving"


@pytest.fixture
def put(tmp_path: Path):
    """Write bytes to a file."""

    def put(data: bytes) -> Path:
        path = tmp_path / "upload"
        path.write_bytes(data)
        return path

    return put


def stamps(window: Window) -> list[int]:
    """The seconds that a window's frames were stamped with."""
    return [media.stamp_of(frame.image) for frame in window.frames]


@pytest.mark.parametrize(
    ("container", "codec"),
    [("mp4", "libx264"), ("webm", "libvpx-vp9"), ("matroska", "libx264"), ("mpegts", "libx264"), ("avi", "mpeg4")],
)
async def test_spans_are_decoded_at_about_their_rate(pool: DecodePool, put, container: str, codec: str) -> None:
    """Every frame of one span, every second one of another, each at its moment; numbers run on over both."""
    path = put(media.video(container, codec, seconds=8, fps=10, gop=30))
    spans = [Span(1.0, 3.0, 10, "all"), Span(5.0, 7.0, 5, "half")]
    full, half = await pool.closer(path, spans, 24)
    assert [frame.index for frame in (*full.frames, *half.frames)] == list(range(24, 24 + 30))
    assert [frame.at for frame in full.frames] == pytest.approx(np.arange(1, 3, 0.1), abs=0.02)
    assert [frame.at for frame in half.frames] == pytest.approx(np.arange(5, 7, 0.2), abs=0.02)
    assert stamps(full) == [1] * 10 + [2] * 10
    assert stamps(half) == [5] * 5 + [6] * 5
    assert (full.span, full.note, half.note) == (spans[0], "", "")
    assert full.frames[0].native is None


async def test_windows_are_upright(pool: DecodePool, put) -> None:
    """A phone's turned recording is turned in windows too."""
    clip = await pool(put(media.rotated_video(90)))
    (window,) = await pool.closer(put(media.rotated_video(90)), [Span(1, 2, 10, "x")], 1)
    assert window.frames[0].image.shape == clip.keyframes[0].image.shape == (320, 180, 3)


async def test_the_budgets_cut_and_say_so(put) -> None:
    """Frames kept, frames decoded: whichever is used up first, what was seen until then counts."""
    path = put(media.video(seconds=8, fps=10, gop=80))
    spans = [Span(0, 2, 10, "a"), Span(4, 8, 10, "b")]
    async with DecodePool(1, DecodeBudget(closer_frames=25)) as few:
        first, second = await few.closer(path, spans, 0)
    assert (len(first.frames), len(second.frames)) == (20, 5)
    assert (first.note, second.note) == ("", "cut after 5 frames: no more are kept")
    async with DecodePool(1, DecodeBudget(closer_decoded=40)) as cheap:
        first, second = await cheap.closer(path, spans, 0)
    assert len(first.frames) == 20
    assert second.note.endswith("decoding costs")


async def test_large_frames_are_scaled_and_others_are_not(put) -> None:
    """What has no more pixels than a square of the side is left alone."""
    path = put(media.video(width=320, height=180, seconds=1))
    for side, shape in ((240, (180, 320, 3)), (160, (90, 160, 3))):
        async with DecodePool(1, DecodeBudget(closer_side=side)) as pool:
            (window,) = await pool.closer(path, [Span(0, 1, 10, "x")], 0)
        assert window.frames[0].image.shape == shape


@pytest.mark.parametrize("data", [media.image(), media.sound(), media.animation()])
async def test_what_is_no_video_has_windows_without_frames(pool: DecodePool, put, data: bytes) -> None:
    """Nothing to look at more closely is no error."""
    (window,) = await pool.closer(put(data), [Span(0, 1, 10, "x")], 0)
    assert window.frames == ()
    assert window.note


async def test_a_span_beyond_the_end_has_no_frames(pool: DecodePool, put) -> None:
    """It says so."""
    beyond, inside = await pool.closer(put(media.video(seconds=2)), [Span(9, 12, 10, "x"), Span(0, 1, 10, "y")], 3)
    assert (beyond.frames, beyond.note) == ((), "no frame could be decoded")
    assert [frame.index for frame in inside.frames] == list(range(3, 13))


async def test_no_span_costs_no_child(pool: DecodePool, tmp_path: Path) -> None:
    """Nothing asked, nothing opened."""
    assert await pool.closer(tmp_path / "missing", [], 0) == ()


async def test_damage_in_a_window_never_escapes(pool: DecodePool, put) -> None:
    """Mutations of a video end as windows or as a typed cause of the file's own."""
    source = media.video(width=96, height=64, seconds=2)
    for seed in range(20):
        try:
            (window,) = await pool.closer(put(media.mutated(source, seed)), [Span(0, 2, 10, "x")], 0)
        except Permanent as error:
            assert error.reason in (Reason.MEDIA_CORRUPT, Reason.MEDIA_UNSUPPORTED, Reason.MEDIA_BOMB)  # noqa: PT017
        else:
            assert all(frame.image.shape[2] == 3 for frame in window.frames)


@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        ("crash", Reason.DECODER_CRASHED),
        ("raise", Reason.DECODER_CRASHED),
        ("eat", Reason.MEDIA_BOMB),
        ("hang", Reason.DECODER_TIMEOUT),
        ("few", Reason.DECODER_CRASHED),
        ("report", Reason.DECODER_CRASHED),
    ],
)
async def test_bad_ends_are_typed(put, deed: str, reason: Reason) -> None:
    """A closer look is enclosed as decoding is; an answer that is none is the child's fault, not a window."""
    budget = DecodeBudget(frames=2, max_side=64, closer_frames=2, closer_side=64, memory_bytes=1024**3, cpu_seconds=2)
    async with DecodePool(1, budget, decoder=DECODER) as pool:
        with pytest.raises(Permanent) as caught:
            await pool.closer(put(deed.encode()), [Span(0, 1, 10, "x")], 0)
        assert caught.value.reason is reason
        (window,) = await pool.closer(put(b"behave"), [Span(0, 1, 10, "x")], 0)
        assert window.note == "stand-in"


async def test_more_spans_than_a_job_holds_are_refused(pool: DecodePool, put) -> None:
    """That is the caller's mistake."""
    with pytest.raises(ValueError, match="spans"):
        await pool.closer(put(b"x"), [Span(0, 1, 10, "x")] * MANY, 0)


# The coded brightness


async def test_a_video_keeps_its_coded_brightness(put) -> None:
    """The first plane as FFmpeg decodes it, unscaled, from the middle, on the grid of the blocks."""
    data = media.video(width=640, height=360, seconds=1)
    async with DecodePool(1, DecodeBudget(max_side=160, native_side=200)) as small:
        clip = await small(put(data))
    with av.open(io.BytesIO(data)) as source:
        plane = next(source.decode(video=0)).to_ndarray()[:360]
    native = clip.keyframes[0].native
    assert clip.keyframes[0].image.shape == (90, 160, 3)
    assert native is not None
    assert native.shape == (200, 200)
    assert np.array_equal(native, plane[80:280, 208:408])


async def test_ten_bits_are_cut_to_eight(decode: DecodeBytes) -> None:
    """The upper eight, not the low byte."""
    data = media.video(codec="libx265", pixel_format="yuv420p10le", seconds=1)
    native = (await decode(data)).keyframes[0].native
    with av.open(io.BytesIO(data)) as source:
        plane = next(source.decode(video=0)).to_ndarray()[:180]
    assert native is not None
    assert native.dtype == np.uint8
    assert np.array_equal(native, plane >> 2)


async def test_a_photograph_keeps_the_brightness_of_its_file(put) -> None:
    """Whatever the picture is scaled to: the middle, unscaled and unturned; None where it is not wanted."""
    data = media.rotated_photo(6, 1600, 1000)
    async with DecodePool(1, DecodeBudget(max_side=400, native_side=256)) as pool:
        clip = await pool(put(data))
        png = await pool(put(media.image("PNG", 640, 400)))
    luma = Image.open(io.BytesIO(data))
    luma.draft("L", None)
    width, height = luma.size
    x, y = (width - 256) // 2 // 16 * 16, (height - 256) // 2 // 16 * 16
    native = clip.keyframes[0].native
    assert native is not None
    assert np.array_equal(native, np.asarray(luma)[y : y + 256, x : x + 256])
    assert png.keyframes[0].native.shape == (256, 256)
    async with DecodePool(1, DecodeBudget(native_side=0)) as pool:
        assert (await pool(put(data))).keyframes[0].native is None


# Packets


@pytest.mark.parametrize(
    ("container", "codec"), [("mp4", "libx264"), ("webm", "libvpx-vp9"), ("mpegts", "libx264"), ("avi", "mpeg4")]
)
async def test_packets_tell_time_size_and_keyframes(decode: DecodeBytes, container: str, codec: str) -> None:
    """One entry per frame, from the list or by reading, without decoding."""
    clip = await decode(media.video(container, codec, seconds=4, fps=10, gop=10, audio=None))
    packets = clip.packets
    assert packets is not None
    assert len(packets.at) == len(packets.size) == len(packets.key)
    assert len(packets.at) in (39, 40)
    assert packets.key.sum() == 4
    assert packets.size[packets.key].min() > np.median(packets.size)
    assert np.diff(np.sort(packets.at)) == pytest.approx(0.1, abs=0.02)
    assert abs(packets.at.min()) < 0.25


async def test_only_so_many_packets_are_told(put) -> None:
    """The budget bounds them."""
    async with DecodePool(1, DecodeBudget(packets=7)) as pool:
        clip = await pool(put(media.video(seconds=2)))
    assert clip.packets is not None
    assert len(clip.packets.at) == 7


async def test_stills_and_sound_have_no_packets(decode: DecodeBytes) -> None:
    """There is no video track to speak of."""
    assert (await decode(media.image())).packets is None
    assert (await decode(media.sound())).packets is None


async def test_side_by_side_looks_wait_their_turn(pool: DecodePool, put) -> None:
    """More looks than children all end well."""
    path = put(media.video(seconds=2))
    answers = await asyncio.gather(*(pool.closer(path, [Span(0, 1, 10, "x")], 0) for _ in range(5)))
    assert [len(window.frames) for (window,) in answers] == [10] * 5
